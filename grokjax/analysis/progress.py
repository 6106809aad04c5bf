"""Progress measures of stored parameters, many snapshots at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.stored import (
    Snapshot,
    Steps,
    all_pairs_bytes,
    by_program,
    chosen_snapshots,
    examples_of,
    last_snapshots,
    logit_scale,
    measured,
)
from grokjax.probes import progress as measures
from grokjax.probes.fourier import neuron_shares, waves
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.tasks.cycle import cycle_of
from grokjax.train.step import precision


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
    for wanted in by_program(chosen_snapshots(results, run_ids, steps)):
        spec = wanted[0].spec
        with precision(spec, matmul="highest"):
            keys = final_keys(results, wanted)

            def inputs(one: Snapshot, keys: dict[str, np.ndarray] = keys) -> tuple[Any, ...]:
                tokens = (examples_of(one.spec)[0].inputs,) if with_train else ()
                return results.params(one.run_id, one.step), *tokens, logit_scale(one.spec), keys.get(one.run_id)

            for one, values in measured(partial(measure, spec), wanted, inputs, all_pairs_bytes(spec)):
                found[one.run_id, one.step] = values
    return found


def final_keys(results: Results, wanted: list[Snapshot]) -> dict[str, np.ndarray]:
    """run id -> key frequencies of its last network, of runs of one program; empty where it has none to find."""
    spec = wanted[0].spec
    if not _has_keys(spec):
        return {}
    last = last_snapshots(results, {one.run_id: one.spec for one in wanted})

    def inputs(one: Snapshot) -> tuple[Any, ...]:
        return (results.params(one.run_id, one.step),)

    return {
        one.run_id: value["keys"] for one, value in measured(partial(_keys, spec), last, inputs, all_pairs_bytes(spec))
    }


def _keys(spec: RunSpec, params: measures.Params) -> dict[str, Any]:
    cycle = cycle_of(spec.task)
    neurons = measures.see(spec, params, cycle, 1.0).neurons
    assert neurons is not None
    return {"keys": measures.key_frequencies(spec, neuron_shares(neurons, waves(cycle.n, neurons.dtype)))}


def _has_keys(spec: RunSpec) -> bool:
    has_neurons = spec.model.has_neurons
    return has_neurons and cycle_of(spec.task).n > 2
