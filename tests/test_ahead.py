"""The next bucket compiles in a thread while this one trains: once, to the same bits, and in nobody's way."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from bits import BASE, bits, write

import grokjax
from grokjax import training
from grokjax.ahead import THREAD
from grokjax.cluster.worker import Part, open_worker, work
from grokjax.engine import ahead, loop
from grokjax.launch import plan_into, run
from grokjax.stopping import Interrupted
from grokjax.sweep.expand import load_sweep

SWEEP: dict[str, Any] = {  # three buckets: of the last the numbers are wide, so that its context is another
    "base": BASE,
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 20, "probes": ["drift"]},
    "arms": {
        "narrow": {"base": {"model": {"widths": [5]}}, "parameters": {"seed": {"min": 0, "max": 2}}},
        "wide": {"base": {"model": {"widths": [6]}}, "parameters": {"seed": {"min": 0, "max": 1}}},
        "exact": {"base": {"model": {"widths": [6]}, "loss": {"precision": "float64"}}},
    },
}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """What is compiled lies in JAX's own memory, by function: in these tests each program has its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("segment_program", "refill_program", "close_program"):
            patch.setattr(loop, name, getattr(loop, name).__wrapped__)
        yield


@pytest.fixture
def compiled() -> Iterator[list[tuple[str, str]]]:
    """(thread, function) of all that XLA compiles."""
    found: list[tuple[str, str]] = []

    def heard(event: str, _: float, **more: Any) -> None:
        if event.endswith("backend_compile_duration"):
            found.append((threading.current_thread().name, str(more.get("fun_name"))))

    jax.monitoring.register_event_duration_secs_listener(heard)
    yield found
    jax.monitoring.unregister_event_duration_listener(heard)


def without(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(training.Trainer, "compile_next", lambda self, bucket: None)


def alone(folder: Path) -> dict[str, Any]:
    """Bits of the sweep where nothing is compiled ahead."""
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        run(write(folder, SWEEP), folder / "alone")
    return bits(folder / "alone")


def segments(compiled: list[tuple[str, str]]) -> list[str]:
    """The threads that compiled the program of a bucket's segment, in order."""
    return [thread for thread, function in compiled if "_segment" in function]


def test_the_next_bucket_is_compiled_once_ahead_and_the_bits_are_the_same(
    tmp_path: Path, compiled: list[tuple[str, str]]
):
    wanted = alone(tmp_path)
    of_each = len(compiled)
    assert segments(compiled) == ["MainThread"] * 3
    compiled.clear()
    run(write(tmp_path, SWEEP), tmp_path / "out")
    assert bits(tmp_path / "out") == wanted
    assert segments(compiled) == ["MainThread", THREAD, THREAD]
    assert len(compiled) <= of_each  # nothing twice


@pytest.mark.parametrize(
    "second",
    [
        {"model": {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 8}},
        {"task": {"name": "parity", "bits": 8, "k": 2, "examples": 30}},
        {"train": {"batch": 8}, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}},
        {"constraint": {"name": "fixed_norm"}, "numerics": {"params": "float64"}},
    ],
)
def test_whatever_it_is_nothing_of_the_next_bucket_is_compiled_twice(
    tmp_path: Path, compiled: list[tuple[str, str]], second: dict[str, Any]
):
    sweep = {"base": BASE, "arms": {"first": {}, "second": {"base": second}}}
    run(write(tmp_path, sweep), tmp_path / "out")
    large = [(thread, function) for thread, function in compiled if function.startswith("jit(_")]
    for name in ("_refill", "_segment", "_close"):
        assert [thread for thread, function in large if name in function] == ["MainThread", THREAD]


def test_a_worker_compiles_the_next_bucket_of_its_part_ahead(tmp_path: Path, compiled: list[tuple[str, str]]):
    wanted = alone(tmp_path)
    compiled.clear()
    plan_into(load_sweep(write(tmp_path, SWEEP)), tmp_path / "out", print, 1)
    work(open_worker(tmp_path / "out", False, str, print), Part(), lambda: False)
    assert bits(tmp_path / "out") == wanted
    assert segments(compiled) == ["MainThread", THREAD, THREAD]


def test_two_buckets_are_compiled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    both, true = threading.Barrier(2), ahead.compile_ahead

    def meet(*given: Any) -> None:
        both.wait(timeout=60)  # the second has begun before the first has ended
        true(*given)

    monkeypatch.setattr(ahead, "compile_ahead", meet)
    run(write(tmp_path, SWEEP), tmp_path / "out")
    assert not both.broken


def test_what_cannot_be_compiled_ahead_is_compiled_when_it_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[tuple[str, str]]
):
    wanted = alone(tmp_path)
    compiled.clear()

    def fails(*_: Any) -> None:
        raise RuntimeError("the compiler has no memory left")

    monkeypatch.setattr(ahead, "compile_ahead", fails)
    run(write(tmp_path, SWEEP), tmp_path / "out")
    assert bits(tmp_path / "out") == wanted
    assert segments(compiled) == ["MainThread"] * 3


OWN = """
from typing import Literal
import optax
from grokjax.spec import Optimizer

class Broken(Optimizer):
    name: Literal["broken"] = "broken"

def broken(optimizer, numbers):
    raise RuntimeError("this one cannot be traced")

OPTIMIZERS = {"broken": broken}
"""


def test_an_error_of_the_next_bucket_does_not_disturb_this_one_and_is_told_when_that_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own.py").write_text(OWN)
    sweep = {
        "uses": "own.py",
        "base": BASE,
        "log": SWEEP["log"],
        "arms": {"sound": {}, "broken": {"base": {"model": {"widths": [6]}, "optimizer": {"name": "broken"}}}},
    }
    tried: list[str] = []
    true = ahead.compile_ahead

    def watched(*given: Any) -> None:
        tried.append(threading.current_thread().name)
        true(*given)

    monkeypatch.setattr(ahead, "compile_ahead", watched)
    with pytest.raises(RuntimeError, match="this one cannot be traced"):
        run(write(tmp_path, sweep), tmp_path / "out")
    assert tried == [THREAD]
    status = grokjax.open_results(tmp_path / "out").runs().set_index("arm")["status"]
    assert dict(status) == {"sound": "ended", "broken": "planned"}


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A compiler that begins, and does not end until the test does. Yields whether it has begun."""
    begun, over = threading.Event(), threading.Event()

    def compile_for_long(*_: Any) -> None:
        begun.set()
        over.wait()

    monkeypatch.setattr(ahead, "compile_ahead", compile_for_long)
    yield begun
    over.set()


def test_a_stop_does_not_wait_for_what_is_compiled_ahead(tmp_path: Path, slow: threading.Event):
    wanted = alone(tmp_path)
    plan_into(load_sweep(write(tmp_path, SWEEP)), tmp_path / "out", print, 1)
    with pytest.raises(Interrupted):  # asked for while the first bucket trains, or the second is waited for
        work(open_worker(tmp_path / "out", False, str, print), Part(), slow.is_set)
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        run(write(tmp_path, SWEEP), tmp_path / "out")
    assert bits(tmp_path / "out") == wanted


PROCESS = """
import os, signal, sys, threading
from grokjax.cli import main
from grokjax.engine import ahead

def compile_for_ever(*_):
    os.kill(os.getpid(), signal.SIGINT)  # as soon as it has begun
    threading.Event().wait()

ahead.compile_ahead = compile_for_ever
main(["run", sys.argv[1], "--out", sys.argv[2]])
"""


def test_a_process_that_is_interrupted_ends_while_it_compiles_ahead(tmp_path: Path):
    line = [sys.executable, "-c", PROCESS, str(write(tmp_path, SWEEP)), str(tmp_path / "out")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "interrupted; what is recorded" in done.stderr
    assert "Traceback" not in done.stderr
