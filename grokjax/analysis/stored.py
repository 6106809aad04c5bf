"""Stored parameters: which snapshots there are, and a function of many of them at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from grokjax.analysis.summary import DERIVATION
from grokjax.engine.inputs import Starts, stack_hyper
from grokjax.results.derived import cached
from grokjax.results.follow import follow
from grokjax.results.origins import find_start
from grokjax.results.read import Results
from grokjax.spec.hypers import numbers_read
from grokjax.spec.identity import program_key
from grokjax.spec.matmuls import of_stored
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_count, parameter_shapes
from grokjax.tasks.all import choice, chosen_examples, table
from grokjax.train.state import Examples, State
from grokjax.train.step import precision, start

BATCH_BYTES = 2**28  # of what a batch holds at once
Steps = int | Iterable[int] | None
Measures = dict[str, np.ndarray]


class Snapshot(NamedTuple):
    """A stored run at a step."""

    run_id: str
    step: int
    spec: RunSpec


def specs_of(results: Results) -> dict[str, RunSpec]:
    """run id -> resolved spec, in the order of the sweep. Raises ValueError where families of a user's file would be
    needed."""
    if results.manifest.uses:
        file = results.manifest.uses
        raise ValueError(f"the runs of {results.path} have families of {file}, which is run in training only")
    return {run.run_id: run.spec for run in results.manifest.plan.sweep.runs}


def chosen_snapshots(
    results: Results, run_ids: str | Iterable[str] | None, steps: Steps, with_start: bool = False
) -> list[Snapshot]:
    """Those asked for, by run and step. None is all that is stored; without run_ids, runs that have no snapshot at a
    step are left out there.

    with_start: step 0 counts as stored (`start_params` has it). Raises ValueError for an unknown run, or a step without
    a snapshot.
    """
    chosen = results.whole_run_ids(run_ids)
    first = [0] if with_start else []
    stored = {run_id: sorted({*first, *results.snapshots(run_id)}) for run_id in chosen}
    steps_of = stored if steps is None else _asked(results, stored, steps, all_have=run_ids is not None)
    specs = specs_of(results)
    return [Snapshot(run_id, step, specs[run_id]) for run_id in stored for step in steps_of[run_id]]


def _asked(results: Results, stored: dict[str, list[int]], steps: int | Iterable[int], all_have: bool) -> dict:
    """Of each run's snapshots those at the steps; each must be there in all runs, or in one."""
    asked = [int(steps)] if isinstance(steps, (int, np.integer)) else sorted(set(steps))
    for step in asked:
        without = [run_id for run_id, steps_of_run in stored.items() if step not in steps_of_run]
        if without and (all_have or len(without) == len(stored)):
            results.snapshot(without[0], step)  # raises, and says which there are
    return {run_id: [step for step in asked if step in steps_of_run] for run_id, steps_of_run in stored.items()}


def last_snapshots(results: Results, specs: dict[str, RunSpec]) -> list[Snapshot]:
    """Of runs that have ended their end, of others their newest."""
    ends = {run_id: int(end["step"]) for run_id, end in results.ends.items()}
    return [
        Snapshot(run_id, ends[run_id] if run_id in ends else max(results.snapshots(run_id)), spec)
        for run_id, spec in specs.items()
    ]


def start_params(results: Results, run_ids: Sequence[str]) -> dict[str, Measures]:
    """run id -> parameters before step 0, computed as training did, of runs of one program; of a fork, those that it
    began with. To be called within a precision (`grokjax.train.step.precision`). Raises SweepError where a fork's
    parent is gone."""
    planned = {run.run_id: run for chunk in results.manifest.plan.chunks for run in chunk.runs}
    runs = [planned[results.phases(run_id)[0][0]] for run_id in run_ids]  # before it was given more steps
    find = find_start(results.manifest, lambda path: Results(path, cached(DERIVATION)))
    hyper = stack_hyper(runs, [True] * len(runs))
    starts: Any = Starts(find).of(runs, hyper)
    states = starts if isinstance(starts, State) else jax.vmap(partial(start, runs[0].spec))(starts, hyper)
    params = jax.device_get(states.params)
    return {run_id: {name: params[name][at] for name in params} for at, run_id in enumerate(run_ids)}


def by_program(snapshots: Iterable[Snapshot]) -> list[list[Snapshot]]:
    """Those together whose runs compile to the same program, with the same numbers in its forward pass."""
    alike: dict[tuple[str, str], list[Snapshot]] = {}
    keys: dict[str, tuple[str, str]] = {}  # of runs: a key costs more than a look
    for snapshot in snapshots:
        if snapshot.run_id not in keys:
            numbers = json.dumps(numbers_read(snapshot.spec), sort_keys=True)
            keys[snapshot.run_id] = program_key(snapshot.spec), numbers
        alike.setdefault(keys[snapshot.run_id], []).append(snapshot)
    return list(alike.values())


def asked_snapshots(
    results: Results, run_ids: str | Iterable[str] | None, steps: Steps | Literal["last"]
) -> list[Snapshot]:
    """As `chosen_snapshots`; at "last" those of `last_snapshots`, without run_ids of the runs that have any. Raises
    ValueError where there are none."""
    snapshots = chosen_snapshots(results, run_ids, None if steps == "last" else steps)
    if not snapshots:
        raise ValueError(f"no snapshots in {results.path} yet")
    return (
        last_snapshots(results, {snapshot.run_id: snapshot.spec for snapshot in snapshots})
        if steps == "last"
        else snapshots
    )


def examples_of(spec: RunSpec) -> tuple[Examples, Examples]:
    """A run's train and test examples. Raises ValueError where there is no train set."""
    if spec.task.is_online:
        raise ValueError(f"task {spec.task.name} has fresh examples at every step, and no train set to measure with")
    examples = table(spec.task)
    train, test = chosen_examples(examples, choice(spec.task, examples))
    return jax.tree.map(np.asarray, (train, test))


def logit_scale(spec: RunSpec) -> np.ndarray:
    """What the logits are multiplied by, in the precision of the run."""
    return np.asarray(spec.model.logit_scale, spec.numerics.params)


def total_norm(params: dict[str, np.ndarray]) -> float:
    """Norm of all parameters together, summed in float64."""
    return float(np.sqrt(sum(float(np.square(value.astype(np.float64)).sum()) for value in params.values())))


def measured(
    measure: Callable[..., dict[str, Any]],
    snapshots: Iterable[Snapshot],
    inputs: Callable[[Snapshot], tuple[Any, ...]],
    bytes_of: Callable[[RunSpec], int],
    matmul: str | None = None,
) -> Iterator[tuple[Snapshot, Measures]]:
    """Each snapshot with measure(spec, *inputs(snapshot)), program by program, in the precision of the runs.

    Snapshots of one program are measured in batches of one size; the last batch is filled up. bytes_of: what the
    measure of one snapshot of such a run holds at once. matmul: the precision of products, by default the runs' own,
    and highest where that was a dot algorithm (see `of_stored`).
    """
    chosen = list(snapshots)
    return follow(_measured(measure, chosen, inputs, bytes_of, matmul), "snapshots", len(chosen))


def _measured(
    measure: Callable[..., dict[str, Any]],
    snapshots: Iterable[Snapshot],
    inputs: Callable[[Snapshot], tuple[Any, ...]],
    bytes_of: Callable[[RunSpec], int],
    matmul: str | None,
) -> Iterator[tuple[Snapshot, Measures]]:
    for alike in by_program(snapshots):
        spec = alike[0].spec
        many = jax.jit(jax.vmap(partial(measure, spec)))
        size = max(1, min(len(alike), BATCH_BYTES // bytes_of(spec)))
        for begin in range(0, len(alike), size):
            batch = alike[begin : begin + size]
            with precision(spec, matmul or of_stored(spec.numerics.matmul)):
                rows = [inputs(snapshot) for snapshot in batch]
                rows += rows[-1:] * (size - len(rows))
                values = jax.device_get(many(*jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *rows)))
            for index, snapshot in enumerate(batch):
                yield snapshot, {name: np.asarray(value[index]) for name, value in values.items()}


def all_pairs_bytes(spec: RunSpec) -> int:
    """About what a function of one network on all pairs holds: activations, logits and their transforms."""
    held = spec.model.widest(spec.task) + spec.task.classes
    width = np.dtype(spec.numerics.params).itemsize
    return 3 * width * spec.task.examples * held + 2 * width * parameter_count(parameter_shapes(spec))


def in_order(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by run and step."""
    position = {run_id: at for at, run_id in enumerate(results.run_ids)}
    order = np.lexsort((frame["step"], frame["run_id"].map(position)))
    return frame.iloc[order].reset_index(drop=True)
