"""What a plan says of work and memory, against what the programs are compiled to."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from grokjax.engine.loop import Program, begin_chunk
from grokjax.plan import cost
from grokjax.plan.plan import Chunk, Device, make_plan
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep
from grokjax.tasks.all import chosen_examples
from grokjax.train.step import step

pytestmark = pytest.mark.as_shipped

LANES = 4
MODULAR = {"p": 23}
REPEATS = {"name": "repeats", "vocabulary": 64, "length": 40, "repeat": 8, "examples": 100, "test_examples": 50}
PARITY = {"name": "parity", "bits": 30, "examples": 300, "test_examples": 300}
SMALL = {"name": "transformer", "d_model": 32, "heads": 4, "d_mlp": 64}
EMBEDDED = {"name": "mlp", "widths": [64], "input": "embedded", "d_model": 32}
CASES: dict[str, dict[str, Any]] = {
    "one layer on three tokens": {"task": MODULAR, "model": SMALL},
    "two layers on three tokens, post-norm": {
        "task": MODULAR, "model": SMALL | {"layers": 2, "layernorm": "post", "positions": "sinusoidal", "bias": False},
    },
    "no mask": {"task": MODULAR, "model": SMALL | {"mask": "none", "attention_mix": 0.5}},
    "attention only, every position scored": {"task": REPEATS, "model": SMALL | {"layers": 2, "d_mlp": 0}},
    "wide heads, pre-norm": {"task": REPEATS, "model": SMALL | {"layernorm": "pre", "d_head": 32}},
    "one-hot mlp": {"task": MODULAR, "model": {"name": "mlp", "widths": [64, 64]}},
    "a table each": {"task": MODULAR, "model": EMBEDDED | {"tables": "each"}},
    "frozen table, added": {
        "task": MODULAR, "model": EMBEDDED | {"combine": "sum"}, "init": {"frozen": ["W_E"]},
    },
    "added one-hot vectors": {"task": MODULAR, "model": {"name": "mlp", "widths": [64], "input": "summed"}},
    "vectors": {"task": PARITY, "model": {"name": "mlp", "widths": [128]}},
}  # fmt: skip


def chunk_of(base: dict[str, Any]) -> Chunk:
    text = json.dumps({"base": base, "parameters": {"seed": {"min": 0, "max": LANES - 1}}, "engine": {"lanes": LANES}})
    plan = make_plan(expand(parse_sweep(text, "s.yaml", Path("."))), Device("cpu", "cpu", 1, 2**33, "test"))
    return plan.chunks[0]


QUICK = {"no mask", "one-hot mlp", "vectors"}  # the others take longer to compile


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in CASES])
def test_memory_and_work_are_within_a_factor_of_two_of_the_compiled_program_s(name: str):
    chunk = chunk_of(CASES[name])
    spec, program = chunk.bucket.spec, Program(chunk.bucket, 1)
    with program.precision():
        lanes, queue, _ = begin_chunk(program, chunk)
        given = (lanes, queue._replace(starts={}), program.table, np.int32(0), np.int32(1), np.int32(1))
        memory = program.segment.lower(*given).compile().memory_analysis()  # pyright: ignore[reportFunctionMemberAccess]
        state, hyper, choice = jax.tree.map(lambda value: value[0], (lanes.state, queue.hyper, queue.examples))
        train, _ = chosen_examples(program.table, choice)
        flops = jax.jit(partial(step, spec)).lower(state, hyper, train).compile().cost_analysis()["flops"]
    measured = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    assert 0.5 < chunk.bucket.memory / measured < 2
    assert 0.5 < cost.step_flops(spec) / flops < 2
