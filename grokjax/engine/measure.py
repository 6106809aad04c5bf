"""How long a run-step takes here, for `grokjax plan --measure` and `grokjax bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import jax

from grokjax.engine.loop import Program, begin_chunk
from grokjax.plan.cost import step_flops
from grokjax.plan.plan import Chunk

REPEATS = 3
TARGET_FLOPS = {"cpu": 2e10, "accelerator": 2e12}  # of one timed call: well under a second


def run_step_seconds(chunk: Chunk, devices: int) -> float:
    """Median seconds a run-step over a few timed segments, after a warm-up, with the plan's records."""
    program = Program(chunk.bucket, devices)
    schedule = chunk.bucket.schedule
    most = TARGET_FLOPS["cpu" if jax.default_backend() == "cpu" else "accelerator"] / (
        step_flops(chunk.bucket.spec) * chunk.bucket.width
    )
    # one evaluation a round, or the share of one in a segment that is a part of a round
    steps = min(schedule.steps, max(1, int(most / schedule.round)) * schedule.round)
    advance = stepper(program, chunk)
    advance(1)
    seconds = statistics.median(timed(lambda: advance(steps)) for _ in range(REPEATS))
    return seconds / steps / min(len(chunk.runs), chunk.bucket.width)


def stepper(program: Program, chunk: Chunk) -> Callable[[int], float]:
    """A function that trains the lanes of a chunk by so many further steps (a segment's at most), waits, and returns
    the train loss of the first lane before the first of them."""
    with program.precision():
        lanes, queue, _ = begin_chunk(program, chunk)
        lanes = program.refill(lanes, queue)
    every = program.bucket.schedule.every

    def advance(steps: int) -> float:
        nonlocal lanes
        with program.precision():  # the clock stands at 0, so that the first step has a record
            lanes, records = program.advance(lanes, queue, 0, steps, every)
            jax.block_until_ready(lanes)
        return float(records.train["train/loss"][0, 0])

    return advance


def timed(do: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin
