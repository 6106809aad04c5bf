"""Mini-batches: rows put in order for an epoch's worth of steps are those of a sort at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.engine import lanes
from grokjax.engine.batches import nothing_ahead, rows_due
from grokjax.engine.devices import describe_device
from grokjax.engine.lanes import Lanes, segment_program
from grokjax.engine.loop import Program, begin_chunk
from grokjax.engine.states import flatten
from grokjax.plan.plan import Plan, make_plan
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep
from grokjax.tasks.examples import Examples
from grokjax.train.batches import batch_at, rows_ahead
from grokjax.train.state import State

SEEDS = st.integers(0, 2**32 - 1)
SIZES = [(1, 1), (5, 5), (7, 4), (12, 4), (13, 4), (20, 1)]  # examples, and of a batch
PARITY = {
    "task": {"name": "parity", "bits": 10, "examples": 30, "test_examples": 20},
    "model": {"name": "mlp", "widths": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"steps": 1000, "batch": 8},  # three batches an epoch
}
TRANSFORMER = {
    "task": {"p": 5, "train_fraction": 0.6},
    "model": {"d_model": 8, "heads": 2, "d_mlp": 8},
    "train": {"steps": 1000, "batch": 4},
}


def numbered(n: int) -> Examples:
    return Examples(jnp.arange(n)[:, None], jnp.arange(n))


def plan_of(base: dict[str, Any]) -> Plan:
    """Of four seeds, a lane each."""
    sweep = {"name": "b", "base": base, "engine": {"lanes": 4}, "parameters": {"seed": {"min": 0, "max": 3}}}
    return make_plan(expand(parse_sweep(json.dumps(sweep), "b", Path("."))), describe_device())


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 10**6), st.sampled_from(SIZES))
def test_rows_ahead_are_those_of_each_step(seed: int, step: int, sizes: tuple[int, int]):
    n, size = sizes
    per_epoch = n // size
    of_step = jax.vmap(lambda at: batch_at(numbered(n), jnp.uint32(seed), at, size).targets)
    each = of_step(step + jnp.arange(per_epoch))
    assert rows_ahead(n, jnp.uint32(seed), jnp.int32(step), size).tolist() == each.reshape(-1).tolist()
    until_next_epoch = each[: per_epoch - step % per_epoch].reshape(-1).tolist()
    assert len(set(until_next_epoch)) == len(until_next_epoch), "no row twice in an epoch"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(SEEDS, st.integers(0, 1000), st.integers(0, 1000)), min_size=3, max_size=3))
def test_lanes_at_different_steps_are_each_given_their_own(of_lanes: list[tuple[int, int, int]]):
    """Through a loop longer than two epochs; steps before (`prior_steps`), as forks have them, included."""
    spec, steps = plan_of(PARITY).buckets[0].spec, 8
    seed, step, prior = (jnp.array(values, jnp.uint32) for values in zip(*of_lanes, strict=True))
    step, hyper = step.astype(jnp.int32), {"seed": seed, "prior_steps": prior.astype(jnp.int32)}
    blank = State({}, (), {}, step, end=step, held=step, finite=step >= 0, loss_max=jnp.zeros(3))
    train = jax.tree.map(lambda value: jnp.broadcast_to(value, (3, *value.shape)), numbered(30))

    def body(ahead: Any, i: jax.Array) -> tuple[Any, Any]:
        return rows_due(spec, ahead, i, blank._replace(step=step + i), hyper, train)

    seen = jax.lax.scan(body, nothing_ahead(spec, train), jnp.arange(steps))[1]
    for lane, (of_seed, at, before) in enumerate(of_lanes):
        for i in range(steps):
            wanted = batch_at(numbered(30), jnp.uint32(of_seed), jnp.int32(at + before + i), 8).targets
            assert seen[i, lane].tolist() == wanted.tolist()


def trained(program: Program, plan: Plan, segments: tuple[int, ...]) -> tuple[Lanes, list[list[float]]]:
    """The lanes of a plan's only chunk after so many steps, and the losses of their first ten."""
    with program.precision():
        lanes_, queue, _ = begin_chunk(program, plan.chunks[0])
        lanes_, losses, clock = program.refill(lanes_, queue), [], 0
        for steps in segments:
            lanes_, records = program.advance(lanes_, queue, clock, steps, 1)
            losses += records.train["train/loss"][:steps].tolist()
            clock += steps
    return lanes_, losses


@pytest.mark.as_shipped
@pytest.mark.parametrize("base", [PARITY, TRANSFORMER], ids=["vectors", "tokens"])
def test_training_has_the_bits_of_a_sort_at_every_step(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """Whatever segments the steps are in."""
    plan = plan_of(base)
    program = Program(plan.buckets[0], plan.device.count)
    runs = [trained(program, plan, segments) for segments in ((10,), (1, 4, 5), (2,) * 5)]
    monkeypatch.setattr(lanes, "nothing_ahead", lambda spec, train: None)
    program.segment = segment_program(plan.buckets[0].spec, plan.buckets[0].schedule, program.mesh)
    runs.append(trained(program, plan, (10,)))
    (first, losses), *others = runs
    assert len(set(losses[-1])) == 4
    for other, other_losses in others:
        assert other_losses == losses
        for name, value in flatten(first.state, np.arange(4)).items():
            assert np.asarray(flatten(other.state, np.arange(4))[name]).tobytes() == np.asarray(value).tobytes(), name
