"""How long a run-step takes here, for `grokjax plan --measure`."""

from __future__ import annotations

import time
from dataclasses import replace

import jax
import numpy as np

from grokjax.engine.loop import Program, begin_chunk
from grokjax.sweep.cost import evaluation_flops, step_flops
from grokjax.sweep.plan import Chunk, Schedule

REPEATS = 3
TARGET_FLOPS = {"cpu": 2e10, "accelerator": 2e12}  # of one timed call: well under a second


def run_step_seconds(chunk: Chunk, devices: int) -> float:
    """Median seconds a run-step over a few timed calls, after a warm-up, with the plan's records.

    The timed segment is short, so it holds more than its share of evaluations: by the cost model's FLOPs of
    an evaluation they are put back to one every `log.eval_every` steps.
    """
    bucket = chunk.bucket
    schedule, flops = bucket.schedule, step_flops(bucket.spec)
    most = TARGET_FLOPS[_platform()] / (flops * bucket.width * schedule.every)
    short = replace(schedule, records=max(1, min(int(most), schedule.records)), evals=1)
    program = Program(replace(bucket, schedule=short, dense=None, dense_segments=0), devices)
    with program.precision():
        seconds = float(np.median(_time(program, chunk, short)))
    evaluation = evaluation_flops(bucket.spec) / flops  # in steps
    return (
        seconds / (short.steps + evaluation) * (1 + evaluation / (schedule.every * schedule.records)) / len(chunk.runs)
    )


def _platform() -> str:
    return "cpu" if jax.default_backend() == "cpu" else "accelerator"


def _time(program: Program, chunk: Chunk, schedule: Schedule) -> list[float]:
    state, hyper, indices = begin_chunk(program, chunk)
    seconds = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        state, _ = program.segments[schedule](state, hyper, indices, program.table)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]
