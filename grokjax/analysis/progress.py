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
    values_of: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for alike in by_program(chosen_snapshots(results, run_ids, steps)):
        spec = alike[0].spec
        with precision(spec, matmul="highest"):
            keys = final_keys(results, alike)

            def inputs(snapshot: Snapshot, keys: dict[str, np.ndarray] = keys) -> tuple[Any, ...]:
                tokens = (examples_of(snapshot.spec)[0].inputs,) if with_train else ()
                return (
                    results.params(snapshot.run_id, snapshot.step),
                    *tokens,
                    logit_scale(snapshot.spec),
                    keys.get(snapshot.run_id),
                )

            for snapshot, values in measured(partial(measure, spec), alike, inputs, all_pairs_bytes(spec)):
                values_of[snapshot.run_id, snapshot.step] = values
    return values_of


def final_keys(results: Results, snapshots: list[Snapshot]) -> dict[str, np.ndarray]:
    """run id -> key frequencies of its last network, of runs of one program; empty where it has none to find."""
    spec = snapshots[0].spec
    if not spec.model.has_neurons or cycle_of(spec.task).n <= 2:
        return {}
    last = last_snapshots(results, {snapshot.run_id: snapshot.spec for snapshot in snapshots})

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        return (results.params(snapshot.run_id, snapshot.step),)

    return {
        snapshot.run_id: value["keys"]
        for snapshot, value in measured(partial(_keys, spec), last, inputs, all_pairs_bytes(spec))
    }


def _keys(spec: RunSpec, params: measures.Params) -> dict[str, Any]:
    cycle = cycle_of(spec.task)
    neurons = measures.see(spec, params, cycle, 1.0).neurons
    assert neurons is not None
    return {"keys": measures.key_frequencies(spec, neuron_shares(neurons, waves(cycle.n, neurons.dtype)))}
