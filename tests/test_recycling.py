"""Lane recycling: a lane that has finished takes the queue's next run, and no bit of any run tells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lanes import MLP, Lanes, Memory, Seen, compilations, plan_of

from grokjax.engine.inputs import distribute
from grokjax.engine.loop import Program, train_chunk
from grokjax.plan.plan import Chunk, Schedule
from grokjax.results.segment import Segment

STEPS = {"a": 50, "b": 12, "c": 3, "d": 27, "e": 41, "f": 1, "g": 20, "h": 33}
WIDTH = 8  # two lanes on each of the four devices


def lanes_of(folder: Path, log: dict[str, int], schedule: Schedule) -> Lanes:
    """Runs of other lengths, two that diverge and two that stop by the rule, with segments of a given length."""
    arms: dict[str, dict[str, Any]] = {
        name: {"seed": seed, "train.steps": steps} for seed, (name, steps) in enumerate(STEPS.items())
    }
    arms["at_once"] = {"optimizer.lr": 1e30, "optimizer.lr_by_matrix": {"W.1": 1e30}}
    arms["grows"] = {"optimizer.lr": 1e4, "optimizer.weight_decay": 0.01}
    for after in (0, 7):
        arms[f"stops{after}"] = {"stop.after_generalization": after, "events.generalization": 0.05, "optimizer.lr": 0.3}
    arms |= {f"many{seed}": {"seed": seed, "train.steps": 50 if seed % 5 == 0 else 5} for seed in range(20, 52)}
    base = MLP | {"train": {"steps": 50}}
    (bucket,) = plan_of(folder, base, arms, log=log, engine={"lanes": WIDTH}).buckets
    bucket = replace(bucket, schedule=schedule)
    return Lanes(Program(bucket, 4), {run.arms[0]: run for run in bucket.runs})


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Lanes:
    return lanes_of(tmp_path_factory.mktemp("queue"), {"every": 5, "eval_every": 10}, Schedule(5, 10, 10, 0))


def one_by_one(lanes: Lanes) -> dict[str, Seen]:
    """Every run in a chunk of its own, so that no lane is ever used twice."""
    return {name: lanes.train([name])[name] for name in lanes.named if not name.startswith("many")}


@pytest.fixture(scope="module")
def alone(lanes: Lanes) -> dict[str, Seen]:
    return one_by_one(lanes)


def observed(lanes: Lanes, names: Sequence[str]) -> Memory:
    chunk = Chunk(0, lanes.bucket, tuple(lanes.named[name] for name in names))
    memory = Memory()
    assert train_chunk(lanes.program, chunk, memory, lambda: False)
    return memory


def test_the_runs_end_where_they_should(lanes: Lanes, alone: dict[str, Seen]):
    ends = {name: seen.end for name, seen in alone.items() if seen.end}
    assert len(ends) == 12
    assert {name: ends[name].step for name in STEPS} == STEPS
    assert ends["at_once"].diverged
    assert ends["grows"].diverged
    assert 0 < ends["grows"].step < 50
    assert ends["stops7"].step == ends["stops0"].step + 7 < 50


def test_a_run_has_the_same_bits_in_a_used_lane_whatever_the_order_and_nothing_compiles_again(
    lanes: Lanes, alone: dict[str, Seen]
):
    names = list(alone)
    shuffled = list(np.random.Generator(np.random.PCG64(1)).permutation(names))
    with compilations() as seen:
        for order in (names, names[::-1], shuffled, shuffled[:7]):
            memory = observed(lanes, order)
            assert len(memory.runs) == len(order)
            for name in order:
                assert memory.runs[lanes.named[name].run_id].bits() == alone[name].bits(), name
    assert seen == []


def test_recycled_lanes_stand_idle_less(lanes: Lanes):
    """7 runs of 50 steps among 32, the others of 5: apart, lanes wait for the long run beside them."""
    names = [name for name in lanes.named if name.startswith("many")]
    together = observed(lanes, names)
    apart = [observed(lanes, names[begin : begin + WIDTH]) for begin in range(0, len(names), WIDTH)]
    useful = 7 * 50 + 25 * 5
    assert together.run_steps == useful == sum(part.run_steps for part in apart)
    assert useful < together.lane_steps < sum(part.lane_steps for part in apart)


@pytest.mark.parametrize("steps", [28, 7], ids=["whole rounds", "parts of a round"])
def test_a_dense_start_is_recorded_of_runs_that_begin_late_too(tmp_path: Path, steps: int):
    lanes = lanes_of(tmp_path, {"every": 7, "eval_every": 14, "dense_first": 9}, Schedule(7, 14, steps, 14))
    names = [*STEPS, "grows"]
    memory = observed(lanes, names)
    for name in names:
        seen = memory.runs[lanes.named[name].run_id]
        assert seen.end is not None
        expected = {t for t in range(seen.end.step) if t < 9 or t % 7 == 0} | {seen.end.step}
        if name != "grows":
            assert seen.steps == sorted(expected), name
            assert list(seen.curve("test/loss")) == sorted({*range(0, seen.end.step, 14), seen.end.step}), name
    for name in ("a", "c", "grows"):
        assert memory.runs[lanes.named[name].run_id].bits() == lanes.train([name])[name].bits(), name


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5))
def test_runs_are_distributed_round_to_the_devices_and_padding_comes_last(runs: int, devices: int, more: int):
    queue = (-(-runs // devices) + more) * devices
    queues = distribute(runs, queue, devices)
    assert queues.shape == (devices, queue // devices)
    assert sorted(queues[queues >= 0]) == list(range(runs))
    for row in queues:
        real = row[row >= 0]
        assert (np.diff(real) > 0).all()
        assert (row[len(real) :] == -1).all()
    sizes = (queues >= 0).sum(1)
    assert sizes.max() - sizes.min() <= 1


def test_a_segment_is_written_while_the_next_one_runs(lanes: Lanes, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    advance = lanes.program.advance

    class Told(Memory):
        def segment(self, segment: Segment) -> None:
            order.append(f"write {segment.index}")
            super().segment(segment)

    def told(*arguments: Any) -> Any:
        order.append(f"run {sum(word.startswith('run') for word in order)}")
        return advance(*arguments)

    monkeypatch.setattr(lanes.program, "advance", told)
    chunk = Chunk(0, lanes.bucket, (lanes.named["d"],))
    assert train_chunk(lanes.program, chunk, Told(), lambda: False)
    assert order == ["run 0", "run 1", "write 0", "run 2", "write 1", "write 2"]


STARTED = """
import os, sys
from grokjax.planning import prepare_jax
prepare_jax()
import jax
print(jax.local_device_count(), len(os.sched_getaffinity(0)), jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize("given", [None, 3])
def test_each_cpu_core_is_a_device_unless_xla_was_told_otherwise_and_programs_are_kept(
    tmp_path: Path, given: int | None
):
    flags = f"--xla_force_host_platform_device_count={given}" if given else ""
    environment = os.environ | {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, check=True)
    devices, cores, cache = done.stdout.split()
    assert devices == (str(given) if given else cores)
    assert cache.startswith(str(tmp_path / "grokjax" / "compiled"))
