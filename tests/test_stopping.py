"""Ctrl-C and SIGTERM: answered at once, twice they end, however often without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from bits import PLAIN, write

import grokjax
from grokjax.launch import run
from grokjax.stopping import FIRST, Interrupted, stop_on_signal


def started(tmp_path: Path) -> subprocess.Popen[str]:
    """`grokjax run`, which has just begun to compile."""
    sweep = write(tmp_path, PLAIN | {"log": {"every": 100}})
    command = [sys.executable, "-m", "grokjax.cli", "run", sweep.name, "--out", "the results"]
    child = subprocess.Popen(
        [*command, "--set", "train.steps=100000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if "compiling" in line:
            return child
    raise AssertionError(child.communicate())


def test_signals_while_compiling_are_answered_at_once_and_end_without_a_traceback(tmp_path: Path):
    child = started(tmp_path)
    assert child.stdout is not None
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == f"{FIRST}\n"
    assert not list(tmp_path.glob("*/chunks/*/*/work/*/curves/*"))  # it compiles still
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 75, said
    assert "Traceback" not in said
    assert "  grokjax run sweep.yaml --out 'the results' --set train.steps=100000\n" in said


def test_outside_of_training_ctrl_c_ends_at_once_wherever_it_comes(tmp_path: Path):
    """Also where an exception would be swallowed, or come out of somebody else's code. The signal goes to this thread:
    one to the process may come to another of its threads, and be told a moment later."""
    told = (
        "import gc, signal, grokjax.cli\n"
        "def work(*_):\n"
        "    gc.callbacks.append(lambda *_: signal.raise_signal(signal.SIGINT))\n"
        "    gc.collect()\n"
        "    print('went on')\n"
        "grokjax.launch.open_results = work\n"
        "grokjax.cli.main(['status', 'x'])\n"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "interrupted\n")


class Signals:
    """A screen that sends signals to this process at the first segment."""

    def __init__(self, *numbers: int):
        self.numbers, self.said = numbers, []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def say(self, text: str) -> None:
        self.said.append(text)

    def segment(self, bucket: Any, segment: Any) -> None:
        for number in self.numbers:
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT] * 3], ids=["once", "three times"])
def test_a_call_from_python_raises_interrupted_that_says_how_to_go_on(tmp_path: Path, numbers: list[int]):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    screen = Signals(*numbers)
    log = {"log.every": 5, "train.steps": 100_000, "log.snapshot_steps": "log:2"}
    with pytest.raises(Interrupted) as raised:
        run(write(tmp_path, PLAIN), tmp_path / "out", log, screen)
    assert raised.value.out == tmp_path / "out"
    assert "the same call goes on" in str(raised.value)
    assert raised.value.command in str(raised.value)
    assert raised.value._render_traceback_() == [f"Interrupted: {raised.value}"]
    assert screen.said == [FIRST]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert len(grokjax.open_results(tmp_path / "out").run_ids) == 4


def test_other_signals_and_other_threads_are_left_alone():
    said: list[str] = []
    took = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with stop_on_signal(said.append) as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not stop()
        with stop_on_signal(said.append) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop()
    finally:
        signal.signal(signal.SIGUSR1, took)
    assert said == [FIRST]

    def elsewhere() -> None:
        with stop_on_signal(said.append) as stop:
            found.append(stop())

    found: list[bool] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]


def test_the_second_signal_leaves_where_that_is_asked_for():
    left = threading.Event()
    with stop_on_signal(lambda text: None, left.set) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert left.wait(10)
        assert stop()
