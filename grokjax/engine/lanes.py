"""Many runs as lanes of compiled programs: start, segment and close, each vmapped, sharded and jitted once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from grokjax.engine.devices import LANES
from grokjax.models.network import initial_params
from grokjax.probes.core import core
from grokjax.sweep.plan import Schedule
from grokjax.sweep.shapes import parameter_shapes
from grokjax.sweep.spec import RunSpec
from grokjax.tasks.modular import Indices, Table
from grokjax.train.state import Examples, Hyper, Params, State
from grokjax.train.step import evaluate, heed_evaluation, is_active, start, step

Metrics = dict[str, Array]


class Records(NamedTuple):
    """Stacked observations of a segment. A row counts only where the run was still training."""

    train: dict[str, Float[Array, " records"]]
    test: dict[str, Float[Array, " evals"]]
    step: Int[Array, " records"]
    counts: Bool[Array, " records"]


class Close(NamedTuple):
    """A run's end: its last record, and which matrices are not finite where it diverged."""

    train: dict[str, Float[Array, ""]]
    test: dict[str, Float[Array, ""]]
    bad_gradient: dict[str, Bool[Array, ""]]
    bad_proposal: dict[str, Bool[Array, ""]]


def draw_params(spec: RunSpec) -> Callable[[Any], Params]:
    """Seed -> starting parameters; one at a time, so that a seed's bits and the program depend on no other."""
    shapes = parameter_shapes(spec)
    assert spec.init.scheme is not None, "a resolved spec has its scheme"
    return jax.jit(partial(initial_params, model=spec.model, scheme=spec.init.scheme, shapes=shapes))


def start_program(spec: RunSpec, mesh: Mesh) -> Callable[[Params, Hyper], State]:
    """(starting values [B, ...], hyper [B]) -> state [B]."""
    return jax.jit(_over_lanes(partial(start, spec), mesh, "BB"))


def segment_program(
    spec: RunSpec, schedule: Schedule, mesh: Mesh
) -> Callable[[State, Hyper, Indices, Table], tuple[State, Records]]:
    """(state [B], hyper [B], indices [B], table) -> (state [B], records [B, ...]); the state is donated."""
    return jax.jit(_over_lanes(partial(lane_segment, spec, schedule), mesh, "BBB-"), donate_argnums=0)


def close_program(spec: RunSpec, mesh: Mesh) -> Callable[[State, Hyper, Indices, Table], Close]:
    """(state [B], hyper [B], indices [B], table) -> close [B]."""
    return jax.jit(_over_lanes(partial(lane_close, spec), mesh, "BBB-"))


def _over_lanes(one: Callable, mesh: Mesh, axes: str) -> Callable:
    """vmap over lanes (B) on every device of the mesh; lanes never talk to each other."""
    many = jax.vmap(one, in_axes=tuple(0 if axis == "B" else None for axis in axes))
    specs = tuple(PartitionSpec(LANES) if axis == "B" else PartitionSpec() for axis in axes)
    return jax.shard_map(many, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(LANES), check_vma=False)


def lane_segment(
    spec: RunSpec, schedule: Schedule, state: State, hyper: Hyper, indices: Indices, table: Table
) -> tuple[State, Records]:
    """One lane's segment: evaluate, then records with plain steps between them, again and again."""
    train, test = _examples(table, indices.train), _examples(table, indices.test)

    def plain(state: State, _: None) -> tuple[State, None]:
        return step(spec, state, hyper, train)[0], None

    def record(state: State, _: None) -> tuple[State, tuple[Metrics, Array, Array]]:
        at, counts = state.step, is_active(state)
        moved, view = step(spec, state, hyper, train)
        reset = jnp.where(counts & moved.finite, -jnp.inf, moved.loss_max).astype(state.loss_max.dtype)
        moved = moved._replace(loss_max=reset)
        moved, _ = jax.lax.scan(plain, moved, length=schedule.every - 1)
        return moved, (core(view), at, counts)

    def window(state: State, _: None) -> tuple[State, tuple[Metrics, Metrics, Array, Array]]:
        tested = _as_float32(evaluate(spec, state.params, test, hyper))
        state = heed_evaluation(spec, state, hyper, tested["test/accuracy"])
        state, (trained, at, counts) = jax.lax.scan(record, state, length=schedule.records)
        return state, (trained, tested, at, counts)

    state, (trained, tested, at, counts) = jax.lax.scan(window, state, length=schedule.evals)
    flat = {name: values.reshape(-1) for name, values in trained.items()}
    return state, Records(flat, tested, at.reshape(-1), counts.reshape(-1))


def lane_close(spec: RunSpec, state: State, hyper: Hyper, indices: Indices, table: Table) -> Close:
    """The record at a run's last parameters; where it diverged, the update that it did not survive."""
    _, view = step(spec, state, hyper, _examples(table, indices.train))
    trained = {name: value for name, value in core(view).items() if not name.startswith("update_norm/")}
    tested = _as_float32(evaluate(spec, state.params, _examples(table, indices.test), hyper))

    def bad(params: Params) -> dict[str, Array]:
        return {name: ~jnp.isfinite(value).all() for name, value in params.items()}

    return Close(trained, tested, bad(view.grads), bad(view.proposed))


def _examples(table: Table, rows: Int[Array | np.ndarray, " n"]) -> Examples:
    at = jnp.asarray(rows)
    return Examples(jnp.asarray(table.tokens)[at], jnp.asarray(table.labels)[at])


def _as_float32(metrics: Metrics) -> Metrics:
    return {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
