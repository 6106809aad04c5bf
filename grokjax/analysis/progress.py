"""Progress measures of stored parameters, many snapshots at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.stored import (
    Snapshot,
    Steps,
    all_pairs_bytes,
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


def progress(results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps = None) -> pd.DataFrame:
    """run_id, step, and one float32 column a measure (`grokjax.probes.progress`), by run and step; nan: not defined.

    Key frequencies are those of the run's final network (of its newest snapshot while it trains), at every step, as
    Nanda et al. have them. run_ids, steps: None is all that is stored; without run_ids, runs that have no snapshot at a
    step are left out there. Raises ValueError for an unknown run, or a step without a snapshot.
    """
    values_of = _measured(results, run_ids, steps, measures.progress, with_train=True)
    return _frame(results, {(run_id, step, None): values for (run_id, step), values in values_of.items()})


def frequencies(results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps = None) -> pd.DataFrame:
    """run_id, step, frequency, and what `grokjax.probes.progress.spectrum` has for each frequency of the task's group.
    Arguments as of `progress`."""
    values_of = _measured(results, run_ids, steps, measures.spectrum, with_train=False)
    rows: dict[tuple[str, int, int | None], dict[str, Any]] = {
        (run_id, step, at + 1): {name: value[at] for name, value in values.items()}
        for (run_id, step), values in values_of.items()
        for at in range(max((len(value) for value in values.values()), default=0))
    }
    return _frame(results, rows)


def _frame(results: Results, rows: dict[tuple[str, int, int | None], dict[str, Any]]) -> pd.DataFrame:
    position = {run_id: at for at, run_id in enumerate(results.run_ids)}
    order = sorted(rows, key=lambda key: (position[key[0]], *key[1:2], key[2] or 0))
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
    snapshots = chosen_snapshots(results, run_ids, steps)
    keys = final_keys(results, snapshots, matmul="highest")

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        tokens = (examples_of(snapshot.spec)[0].inputs,) if with_train else ()
        params = results.params(snapshot.run_id, snapshot.step)
        return params, *tokens, logit_scale(snapshot.spec), keys.get(snapshot.run_id)

    values_of = measured(measure, snapshots, inputs, all_pairs_bytes, matmul="highest")
    return {(snapshot.run_id, snapshot.step): values for snapshot, values in values_of}


def final_keys(results: Results, snapshots: list[Snapshot], matmul: str | None = None) -> dict[str, np.ndarray]:
    """run id -> key frequencies of its last network; runs without neurons, or in a group of two, are left out.

    matmul: as of `measured`.
    """
    specs = {
        snapshot.run_id: snapshot.spec
        for snapshot in snapshots
        if snapshot.spec.model.has_neurons and cycle_of(snapshot.spec.task).n > 2
    }

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        return (results.params(snapshot.run_id, snapshot.step),)

    keys_of = measured(_keys, last_snapshots(results, specs), inputs, all_pairs_bytes, matmul)
    return {snapshot.run_id: values["keys"] for snapshot, values in keys_of}


def _keys(spec: RunSpec, params: measures.Params) -> dict[str, Any]:
    cycle = cycle_of(spec.task)
    neurons = measures.see(spec, params, cycle, 1.0).neurons
    assert neurons is not None
    return {"keys": measures.key_frequencies(spec, neuron_shares(neurons, waves(cycle.n, neurons.dtype)))}
