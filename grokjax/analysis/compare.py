"""Several results directories beside each other: what differs between their sweeps, and what their runs came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from grokjax.analysis.cell_summary import cell_table
from grokjax.analysis.cells import is_missing, ordered_values, runs_of
from grokjax.results.read import Results


def differences(results: Results) -> pd.DataFrame:
    """One row a key whose values are not the same in all arms: key, and a column an arm with its values, a tuple; seeds
    too. A key that an arm's families do not have has none there."""
    planned = results.planned()
    arms = {arm: runs_of(planned, arm) for arm in results.manifest.axes}
    rows = []
    for key in results.manifest.keys:
        values = {arm: tuple(ordered_values(_having(results, runs, key)[key])) for arm, runs in arms.items()}
        if len({frozenset(of_arm) for of_arm in values.values()}) > 1:
            rows.append({"key": key} | values)
    return pd.DataFrame(rows, columns=["key", *arms])


def _having(results: Results, runs: pd.DataFrame, key: str) -> pd.DataFrame:
    """The runs that have a key, be it null."""
    values = results.manifest.every_run
    return runs[[key in values[run_id].values or not is_missing(value) for run_id, value in _told(runs, key)]]


def _told(runs: pd.DataFrame, key: str) -> list[tuple[str, Any]]:
    return list(zip(runs["run_id"], runs[key], strict=True))


def outcomes_by_arm(results: Results, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row an arm and combination of values of `by`: arm, the keys, and what `cell_outcome` has of the runs that
    have ended; unended: how many have not."""
    runs = results.runs()
    arms = results.manifest.axes
    frame = pd.concat([cell_table(runs_of(runs, arm), by).assign(arm=arm) for arm in arms], ignore_index=True)
    frame["unended"] = frame.pop("going")
    return frame[["arm", *frame.columns.drop("arm")]]
