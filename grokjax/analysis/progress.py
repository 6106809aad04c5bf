"""Progress measures of stored parameters, many snapshots at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from grokjax.probes import progress as measures
from grokjax.probes.cycle import cycle_of
from grokjax.probes.fourier import neuron_shares, waves
from grokjax.results.manifest import stored_plan
from grokjax.results.read import Results
from grokjax.sweep.check import train_size
from grokjax.sweep.shapes import parameter_count, parameter_shapes
from grokjax.sweep.spec import RunSpec, Transformer
from grokjax.tasks.modular import split, table

BATCH_BYTES = 2**28  # of what a batch holds at once
Steps = int | Iterable[int] | None


class Snapshot(NamedTuple):
    run_id: str
    step: int
    spec: RunSpec


def progress(results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps = None) -> pd.DataFrame:
    """run_id, step, and one float32 column a measure (`grokjax.probes.progress`), by run and step; nan: not defined.

    Key frequencies are those of the run's final network (of its newest snapshot while it trains), at every step, as
    Nanda et al. have them. run_ids, steps: None is all that is stored; without run_ids, runs that have no snapshot at a
    step are left out there. Raises ValueError for an unknown run, or a step without a snapshot.
    """
    found = _measured(results, run_ids, steps, measures.progress, with_train=True)
    return _frame(results, {(run_id, step, None): values for (run_id, step), values in found.items()})


def frequencies(results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps = None) -> pd.DataFrame:
    """run_id, step, frequency, and what `grokjax.probes.progress.spectrum` has for each frequency of the task's group.
    Arguments as of `progress`."""
    found = _measured(results, run_ids, steps, measures.spectrum, with_train=False)
    rows: dict[tuple[str, int, int | None], dict[str, Any]] = {
        (run_id, step, at + 1): {name: value[at] for name, value in values.items()}
        for (run_id, step), values in found.items()
        for at in range(max((len(value) for value in values.values()), default=0))
    }
    return _frame(results, rows)


def _frame(results: Results, rows: dict[tuple[str, int, int | None], dict[str, Any]]) -> pd.DataFrame:
    place = {run_id: at for at, run_id in enumerate(results.run_ids)}
    order = sorted(rows, key=lambda key: (place[key[0]], *key[1:2], key[2] or 0))
    heads = [dict(zip(("run_id", "step", "frequency"), key, strict=True)) for key in order]
    names = dict.fromkeys(name for key in order for name in rows[key])
    frame = pd.DataFrame(heads, columns=["run_id", "step", "frequency"])
    if frame["frequency"].isna().all():
        frame = frame.drop(columns="frequency")
    columns = {name: np.array([rows[key].get(name, np.nan) for key in order], np.float32) for name in names}
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def _measured(
    results: Results,
    run_ids: str | Iterable[str] | None,
    steps: Steps,
    measure: Callable[..., Any],
    with_train: bool,
) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    found: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for spec, wanted, last in _by_program(results, run_ids, steps):
        with jax.enable_x64(spec.numerics.params == "float64"), jax.default_matmul_precision("highest"):
            keys = {}
            if _has_keys(spec):
                of_last = _vmapped(results, spec, last, partial(_keys, spec), lambda one: ())
                keys = {one.run_id: value["keys"] for one, value in of_last}

            def inputs(one: Snapshot, keys: dict[str, np.ndarray] = keys) -> tuple[Any, ...]:
                scale = np.asarray(one.spec.model.logit_scale, one.spec.numerics.params)
                own = (_train_tokens(one.spec), scale) if with_train else (scale,)
                return (*own, keys.get(one.run_id))

            for one, values in _vmapped(results, spec, wanted, partial(measure, spec), inputs):
                found[one.run_id, one.step] = values
    return found


def _by_program(
    results: Results, run_ids: str | Iterable[str] | None, steps: Steps
) -> Iterator[tuple[RunSpec, list[Snapshot], list[Snapshot]]]:
    """(spec, snapshots wanted, the last of each run) of runs that share a program."""
    chosen = results.run_ids if run_ids is None else [run_ids] if isinstance(run_ids, str) else list(run_ids)
    chosen = list(dict.fromkeys(chosen))
    stored = {run_id: list(results.snapshots(run_id)) for run_id in chosen}  # says if there is no such run
    there = stored if steps is None else _asked(results, stored, steps, all_have=run_ids is not None)
    ends = {run_id: int(end["step"]) for run_id, end in results.ends.items()}
    for bucket in stored_plan(results.path).buckets:
        own = {run.run_id: run.spec for run in bucket.runs if there.get(run.run_id)}
        own = {run_id: own[run_id] for run_id in chosen if run_id in own}
        wanted = [Snapshot(run, step, own[run]) for run in own for step in there[run]]
        last = [Snapshot(run, ends.get(run, max(stored[run])), own[run]) for run in own]
        if wanted:
            yield bucket.spec, wanted, last


def _asked(
    results: Results, stored: dict[str, list[int]], steps: int | Iterable[int], all_have: bool
) -> dict[str, list[int]]:
    """Of each run's snapshots those at the steps; each must be there in all runs, or in one."""
    asked = [int(steps)] if isinstance(steps, (int, np.integer)) else sorted(set(steps))
    for step in asked:
        lacking = [run_id for run_id, there in stored.items() if step not in there]
        if lacking and (all_have or len(lacking) == len(stored)):
            results.snapshot(lacking[0], step)  # raises, and says which there are
    return {run_id: [step for step in asked if step in there] for run_id, there in stored.items()}


def _vmapped(
    results: Results,
    spec: RunSpec,
    snapshots: Sequence[Snapshot],
    measure: Callable[..., dict[str, Any]],
    inputs: Callable[[Snapshot], tuple[Any, ...]],
) -> Iterator[tuple[Snapshot, dict[str, np.ndarray]]]:
    """Each snapshot with what is measured of it: in batches of one size, the last one filled up."""
    many = jax.jit(jax.vmap(measure))
    size = min(len(snapshots), max(1, BATCH_BYTES // _bytes(spec)))
    for begin in range(0, len(snapshots), size):
        batch = snapshots[begin : begin + size]
        rows = [(results.params(one.run_id, one.step), *inputs(one)) for one in batch]
        rows += rows[-1:] * (size - len(rows))
        values = jax.device_get(many(*jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *rows)))
        for at, one in enumerate(batch):
            yield one, {name: np.asarray(value[at]) for name, value in values.items()}


def _keys(spec: RunSpec, params: measures.Params) -> dict[str, Any]:
    cycle = cycle_of(spec.task)
    neurons = measures.see(spec, params, cycle, 1.0).neurons
    assert neurons is not None
    return {"keys": measures.key_frequencies(spec, neuron_shares(neurons, waves(cycle.n, neurons.dtype)))}


def _has_keys(spec: RunSpec) -> bool:
    has_neurons = not isinstance(spec.model, Transformer) or spec.model.d_mlp > 0
    return has_neurons and cycle_of(spec.task).n > 2


def _train_tokens(spec: RunSpec) -> np.ndarray:
    examples = table(spec.task)
    return np.asarray(examples.tokens)[split(spec.task, len(examples.labels), train_size(spec)).train]


def _bytes(spec: RunSpec) -> int:
    """About what the measures of one snapshot hold at once: activations, logits and their transforms on all pairs."""
    model = spec.model
    widest = 3 * model.d_model + model.d_mlp if isinstance(model, Transformer) else 2 * spec.task.p + max(model.widths)
    width = np.dtype(spec.numerics.params).itemsize
    return 3 * width * spec.task.p**2 * (widest + spec.task.p) + 2 * width * parameter_count(parameter_shapes(spec))
