"""Many runs as lanes of one compiled program, on every device of a mesh. Arrays are [lanes, ...] here, [B, ...] below.

Each device has its own part of the lanes and of the queue, so devices never talk to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from grokjax.engine.batches import Ahead, nothing_ahead, rows_due
from grokjax.engine.devices import LANES
from grokjax.engine.padding import padded, without_padding
from grokjax.engine.rows import Columns, Rows, Scalar, blank, columns_of, names_of, put, row_of
from grokjax.models.params import Params
from grokjax.plan.plan import Schedule
from grokjax.probes.all import is_of_update, observe, observe_evaluation
from grokjax.spec.hypers import Hyper
from grokjax.spec.run import RunSpec
from grokjax.tasks.all import chosen_examples
from grokjax.tasks.examples import Indices, Own, Table
from grokjax.train.constraints import norm
from grokjax.train.state import Examples, State, View
from grokjax.train.step import apply_stop_rule, is_active, start, step, tested_params

EVALUATION, RECORD = "evaluation", "record"  # by which a compiled program knows what it does now and then
Carry = tuple[Scalar, "State", Rows, Ahead]  # steps taken, lanes, what was recorded, mini-batches ahead


class Queue(NamedTuple):
    """The runs of a chunk, [R, ...]: all that a lane needs to begin one."""

    hyper: Hyper
    examples: Indices | Own  # rows of the task's table, or each run's own examples
    starts: Params | State  # unscaled values; or all that continues, of runs that go on where others were
    first: Params  # parameters at each run's own step 0, where a probe reads them; else empty


class Lanes(NamedTuple):
    """What continues: the lanes, which run of the queue each holds (-1: none yet), and the queue's next run."""

    state: State  # [B]
    run: Int[Array, " B"]
    next: Int[Array, " D"]  # one a device


class Records(NamedTuple):
    """Stacked observations of a segment. A row counts only where the run was still training."""

    train: dict[str, Float[Array, "rows B"]]
    test: dict[str, Float[Array, "evals B"]]
    step: Int[Array, "rows B"]
    counts: Bool[Array, "rows B"]
    taken: Int[Array, " D"]  # steps that each device's lanes took


class Close(NamedTuple):
    """Runs as they ended: their last record, and for those that diverged which matrices are not finite."""

    train: dict[str, Float[Array, " B"]]
    test: dict[str, Float[Array, " B"]]
    bad_gradient: dict[str, Bool[Array, " B"]]
    bad_proposal: dict[str, Bool[Array, " B"]]
    growth: dict[str, Float[Array, " B"]]  # norm over initial norm; 0 for what started at 0


def empty_lanes(spec: RunSpec, queue: Queue, width: int, devices: int) -> Lanes:
    """Lanes that hold nothing yet: shapes and dtypes only, for the caller to fill with zeros."""

    def lane(queue: Queue) -> State:
        return _begin(spec, *jax.tree.map(lambda value: value[0], (queue.starts, queue.hyper)))

    def many(queue: Queue) -> Lanes:
        state = jax.tree.map(lambda value: jnp.zeros((width, *value.shape), value.dtype), lane(queue))
        return Lanes(state, jnp.zeros(width, jnp.int32), jnp.zeros(devices, jnp.int32))

    return jax.eval_shape(many, queue)


Segment = Callable[[Lanes, Queue, Table, Any, Any, Any], tuple[Lanes, Records]]


def segment_program(spec: RunSpec, schedule: Schedule, mesh: Mesh) -> Segment:
    """(lanes, queue, table, clock, steps, every) -> (lanes, records); the lanes are donated.

    clock: steps of the chunk so far; steps: how many to take, with a record where the clock is a multiple of `every`
    (at most `schedule.rows` of them).
    """
    by_lane, rows = PartitionSpec(LANES), PartitionSpec(None, LANES)
    many = jax.shard_map(
        partial(_segment, spec, schedule),
        mesh=mesh,
        in_specs=(by_lane, by_lane, *[PartitionSpec()] * 4),
        out_specs=(by_lane, Records(rows, rows, rows, rows, by_lane)),  # pyright: ignore[reportArgumentType]
        check_vma=False,
    )
    return jax.jit(many, donate_argnums=0)


def refill_program(spec: RunSpec, mesh: Mesh) -> Callable[[Lanes, Queue], Lanes]:
    """(lanes, queue) -> lanes, which are donated. Lanes that have finished take the next runs of the queue."""
    by_lane = PartitionSpec(LANES)
    many = jax.shard_map(
        partial(_refill, spec), mesh=mesh, in_specs=(by_lane, by_lane), out_specs=by_lane, check_vma=False
    )
    return jax.jit(many, donate_argnums=0)


def close_program(spec: RunSpec, mesh: Mesh) -> Callable[[Lanes, Queue, Table], Close]:
    """(lanes, queue, table) -> close of the run in each lane."""
    by_lane = PartitionSpec(LANES)
    return jax.jit(
        jax.shard_map(
            partial(_close, spec),
            mesh=mesh,
            in_specs=(by_lane, by_lane, PartitionSpec()),
            out_specs=by_lane,
            check_vma=False,
        )
    )


def _segment(
    spec: RunSpec,
    schedule: Schedule,
    lanes: Lanes,
    queue: Queue,
    table: Table,
    clock: Scalar,
    steps: Scalar,
    every: Scalar,
) -> tuple[Lanes, Records]:
    state, run, next_run = lanes
    hyper, train, test = _of_runs(queue, run, table)
    shown = padded(spec, train)
    first = jax.tree.map(lambda value: value[run], queue.first)
    many_step = jax.vmap(partial(step, spec))
    evaluated, recorded = _instruments(spec, hyper, train, test, first)
    of_record = names_of(lambda state: recorded(many_step(state, hyper, shown)[1]), state)
    of_evaluation = names_of(evaluated, state)
    blank_record, blank_evaluation = (
        jnp.zeros((len(names), len(run)), jnp.float32) for names in (of_record, of_evaluation)
    )

    def tested(state: State) -> tuple[Array, Array, Array]:
        metrics = evaluated(state)
        stopped = jax.vmap(partial(apply_stop_rule, spec))(state, hyper, metrics["test/accuracy"])
        return stopped.held, stopped.end, row_of(metrics)

    def untested(state: State) -> tuple[Array, Array, Array]:
        return state.held, state.end, blank_evaluation

    def body(carry: Carry) -> Carry:
        i, state, rows, ahead = carry
        now = clock + i
        is_due, is_record = now % schedule.round == 0, now % every == 0
        with jax.named_scope(EVALUATION):
            held, end, evaluation = jax.lax.cond(is_due, tested, untested, state)
        state = state._replace(held=held, end=end)
        counts, at = jax.vmap(is_active)(state), state.step
        ahead, of_batch = rows_due(spec, ahead, i, state, hyper, train)
        state, view = many_step(state, hyper, shown, of_batch)
        with jax.named_scope(RECORD):
            record = jax.lax.cond(is_record, lambda view: row_of(recorded(view)), lambda view: blank_record, view)
        position, due = now // every - first_in(clock, every), now // schedule.round - first_in(clock, schedule.round)
        rows = Rows(
            put(rows.train, record, position, is_record),
            put(rows.test, evaluation, due, is_due),
            put(rows.stamps, jnp.stack([at, counts.astype(jnp.int32)]), position, is_record),
        )
        covered = is_record & counts & state.finite
        return i + 1, state._replace(loss_max=jnp.where(covered, -jnp.inf, state.loss_max)), rows, ahead

    def goes_on(carry: Carry) -> Bool[Array, ""]:
        i, state, *_ = carry
        return (i < steps) & jax.vmap(is_active)(state).any()

    empty = Rows(
        blank(len(of_record), schedule.rows, len(run)),
        blank(len(of_evaluation), schedule.evals, len(run)),
        blank(2, schedule.rows, len(run), jnp.int32),
    )
    begin = jnp.int32(0), state, empty, nothing_ahead(spec, train)
    taken, state, rows, _ = jax.lax.while_loop(goes_on, body, begin)
    return Lanes(state, run, next_run), _records(rows, of_record, of_evaluation, taken)


def _instruments(
    spec: RunSpec, hyper: Hyper, train: Examples, test: Examples, first: Params
) -> tuple[Callable[[State], Columns], Callable[[View], Columns]]:
    """What a test evaluation and a record hold of all lanes."""

    def evaluated(state: State) -> Columns:
        return jax.vmap(partial(_evaluation, spec))(state, train, test, hyper)

    def recorded(view: View) -> Columns:
        return jax.vmap(partial(observe, spec))(without_padding(view, train)._replace(first=first))

    return evaluated, recorded


def _records(rows: Rows, of_record: list[str], of_evaluation: list[str], taken: Scalar) -> Records:
    at, counts = columns_of(rows.stamps, ["step", "counts"]).values()
    train, test = columns_of(rows.train, of_record), columns_of(rows.test, of_evaluation)
    return Records(train, test, at, counts > 0, taken[None])


def _evaluation(spec: RunSpec, state: State, train: Examples, test: Examples, hyper: Hyper) -> Columns:
    return observe_evaluation(spec, tested_params(spec, state, hyper), train, test, hyper)


def first_in(clock: Any, every: Any) -> Any:
    """Of the multiples of `every`, the number of the first that is not before the clock."""
    return -(-clock // every)


def _begin(spec: RunSpec, starts: Params | State, hyper: Hyper) -> State:
    return starts if isinstance(starts, State) else start(spec, starts, hyper)


def _refill(spec: RunSpec, lanes: Lanes, queue: Queue) -> Lanes:
    """Lanes that have finished take the next runs of the queue, in order of lane, while there are any."""
    free = ~jax.vmap(is_active)(lanes.state)
    upcoming = lanes.next[0] + jnp.cumsum(free, dtype=jnp.int32) - 1
    takes_run = free & (upcoming < queue.hyper["seed"].shape[0])
    run = jnp.where(takes_run, upcoming, lanes.run)
    starts, hyper = jax.tree.map(lambda value: value[run], (queue.starts, queue.hyper))
    fresh = jax.vmap(partial(_begin, spec))(starts, hyper)

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(takes_run.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    state = jax.tree.map(choose, fresh, lanes.state)
    return Lanes(state, run, lanes.next + takes_run.sum(dtype=jnp.int32))


def _of_runs(queue: Queue, run: Int[Array, " B"], table: Table) -> tuple[Hyper, Examples, Examples]:
    """Hyperparameters, train and test examples of the run in each lane."""
    hyper, choice = jax.tree.map(lambda value: value[run], (queue.hyper, queue.examples))
    return hyper, *chosen_examples(table, choice)


def _close(spec: RunSpec, lanes: Lanes, queue: Queue, table: Table) -> Close:
    """The record at each run's last parameters; where it diverged, the update that it did not survive."""
    hyper, train, test = _of_runs(queue, lanes.run, table)
    starts, first = jax.tree.map(lambda value: value[lanes.run], (queue.starts, queue.first))
    return jax.vmap(partial(_close_one, spec))(lanes.state, starts, first, hyper, train, test)


def _close_one(
    spec: RunSpec,
    state: State,
    starts: Params | State,
    first: Params,
    hyper: Hyper,
    train: Examples,
    test: Examples,
) -> Close:
    _, view = step(spec, state, hyper, train)
    trained = observe(spec, view._replace(first=first))
    trained = {name: value for name, value in trained.items() if not is_of_update(name)}
    tested = _evaluation(spec, state, train, test, hyper)
    start_norms = {name: norm(value) for name, value in _begin(spec, starts, hyper).params.items()}

    def bad(params: Params) -> dict[str, Array]:
        return {name: ~jnp.isfinite(value).all() for name, value in params.items()}

    return Close(
        train=trained,
        test={name: value.astype(jnp.float32) for name, value in tested.items()},
        bad_gradient=bad(view.grads),
        bad_proposal=bad(view.proposed),
        growth={
            name: jnp.where(start_norm > 0, norm(state.params[name]) / jnp.where(start_norm > 0, start_norm, 1), 0)
            for name, start_norm in start_norms.items()
        },
    )
