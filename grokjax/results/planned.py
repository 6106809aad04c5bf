"""What a plan says of its runs, as the columns of a data frame: nothing is looked at run by run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from grokjax.results.frames import frame_of
from grokjax.results.manifest import Manifest
from grokjax.results.run_table import NONE, Column

STATUSES = ("planned", "running", "ended", "diverged")
MISSING = object()  # no value of any key


def planned_runs(manifest: Manifest, ended: Mapping[int, Mapping[str, bool]]) -> pd.DataFrame:
    """One row a run, in the sweep's order: see `Results.planned`. ended: chunk -> run id -> whether it diverged, of
    those that have ended."""
    table, order = manifest.table, manifest.order
    arms = table.arms.rows(order)
    columns: dict[str, Any] = {
        "run_id": pd.Series(list(manifest.run_ids)).array,
        "arm": _series(arms, lambda names: names[0]),
        "arms": _series(arms),
    }
    for key in manifest.keys:
        columns[key] = _series(table.column(key, order))
    columns["lineage"] = _series(table.origin.rows(order), lambda stored: stored["lineage"])
    columns["batch_size"] = _batch_sizes(manifest)
    columns["status"] = _statuses(manifest, ended)
    return frame_of(columns)


def _series(column: Column, told: Callable[[Any], Any] = lambda value: value) -> Any:
    """The value of each row, None where it has none; of the type that pandas takes for the values that there are.

    told: what of a value is shown.
    """
    there, which = column.numbered()
    return pd.Series([None if code == NONE else told(column.value_of(code)) for code in there]).array.take(which)


def _batch_sizes(manifest: Manifest) -> Any:
    """Examples of a step; nan where they are all of a train set whose size is not known."""
    column = manifest.table.column("train.batch", manifest.order)
    batches = [value if value is not None else NONE for value in column.levels]
    given = np.array([*batches, NONE], object)[column.codes]
    sizes = [np.nan if bucket.sizes is None else bucket.sizes.train for bucket in manifest.buckets]
    whole = np.array(sizes, object)[manifest.table.bucket[manifest.order]]
    return pd.Series(np.where(given == NONE, whole, given).tolist()).array


def _statuses(manifest: Manifest, ended: Mapping[int, Mapping[str, bool]]) -> Any:
    status = np.zeros(len(manifest.table), np.int32)
    for rows, of_chunk in _of_chunks(manifest, ended):
        status[rows] = of_chunk
    return _series(Column(status[manifest.order], [json.dumps(word) for word in STATUSES]))


def with_statuses(planned: pd.DataFrame, manifest: Manifest, ended: Mapping[int, Mapping[str, bool]]) -> pd.DataFrame:
    """What `planned_runs` gave earlier, with the statuses of the runs of some chunks as they are now."""
    status = planned["status"].to_numpy(dtype=object, copy=True)
    for rows, of_chunk in _of_chunks(manifest, ended):
        place = manifest.table.place[rows]
        status[place[place != NONE]] = np.array(STATUSES, object)[of_chunk][place != NONE]
    return planned.assign(status=pd.Series(status.tolist()).array)


def _of_chunks(manifest: Manifest, ended: Mapping[int, Mapping[str, bool]]) -> Iterator[tuple[slice, list[int]]]:
    """Rows of each chunk, and the numbers of their statuses."""
    code = {None: 1, False: 2, True: 3}
    for index, of_chunk in ended.items():
        if 0 <= index < len(manifest.chunks):
            rows = slice(manifest.chunks[index].start, manifest.chunks[index].stop)
            yield rows, [code[of_chunk.get(run_id)] for run_id in manifest.table.ids[rows].to_pylist()]


def constants_of(manifest: Manifest) -> dict[str, Any]:
    """Values that all runs of the sweep share, by their dotted keys."""
    table, order = manifest.table, manifest.order
    buckets = np.unique(table.bucket[order])
    constants = {}
    for key, value in manifest.runs[0].values.items():
        if key not in table.columns:  # each bucket's runs share it
            shared = [table.common[bucket].get(key, MISSING) for bucket in buckets]
            is_constant = all(other is not MISSING and other == value for other in shared)
        else:
            codes, column = table.column(key, order).numbered()[0], table.columns[key]
            is_constant = NONE not in codes and all(column.value_of(code) == value for code in codes)
        if is_constant:
            constants[key] = value
    return constants


def prior_steps_of(manifest: Manifest) -> dict[str, int]:
    """Run id -> steps that its optimizer had behind it at step 0, of forked runs."""
    origin = manifest.table.origin
    rows = manifest.order[origin.codes[manifest.order] != NONE]
    run_ids = manifest.table.ids.take(rows).to_pylist()
    return {run_id: origin[row]["begun"] for run_id, row in zip(run_ids, rows.tolist(), strict=True)}
