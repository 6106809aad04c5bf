"""What the runs of a cell came to, with its uncertainty; the best of several cells, and whether it lies on an edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.cells import ended_runs, is_null_most, is_number, plain_value
from grokjax.analysis.censored import median_time, wilson


def cell_outcomes(
    runs: pd.DataFrame, keys: Sequence[str], more: Callable[[pd.DataFrame], dict[str, Any]] | None = None
) -> pd.DataFrame:
    """One row a combination of the values of `keys`, sorted by them; none comes first.

    runs: rows of `Results.runs()`; those that have not ended are left out. more: further columns of a cell, from its
    rows. Columns: the keys, those of `cell_outcome`, those of `more`. Raises ValueError where no run has ended.
    """
    ended = ended_runs(runs)
    if ended.empty:
        raise ValueError("no run has ended yet: there is nothing to answer with")
    plain = ended.assign(**{key: [plain_value(value) for value in ended[key]] for key in keys})
    rows = []
    for values, part in plain.groupby(list(keys), dropna=False, sort=True):
        row = dict(zip(keys, values, strict=True)) | cell_outcome(part)
        if more is not None:
            row |= more(part)
        rows.append(row)
    return pd.DataFrame(rows)


def cell_outcome(runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of a cell came to; all must have ended.

    runs, fit, generalized, diverged, slingshots: numbers of runs (the last: that had one). fraction generalized with
    its 95 % Wilson interval low, high. median_step of generalization with its interval median_low, median_high (see
    `median_time`). accuracy: median of the final test accuracy. steps: of the longest run.
    """
    steps = runs["generalization_step"].to_numpy(np.float64)
    generalized, count = int((~np.isnan(steps)).sum()), len(runs)
    low, high = wilson(generalized, count)
    median, median_low, median_high = median_time(steps)
    return {
        "runs": count,
        "fit": int(runs["fit_step"].notna().sum()),
        "generalized": generalized,
        "diverged": int((runs["status"] == "diverged").sum()),
        "slingshots": int((runs["slingshots"] > 0).sum()),
        "fraction": generalized / count,
        "low": low,
        "high": high,
        "median_step": median,
        "median_low": median_low,
        "median_high": median_high,
        "accuracy": _median_accuracy(runs),
        "steps": int(runs["train.steps"].max()),
    }


def _median_accuracy(runs: pd.DataFrame) -> float:
    """nan where no run of the cell was evaluated."""
    if "final/test/accuracy" not in runs:
        return np.nan
    accuracy = runs["final/test/accuracy"].to_numpy(np.float64)
    return float(np.nanmedian(accuracy)) if np.isfinite(accuracy).any() else np.nan


def ranking(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells, the best first: the largest fraction generalized, then the smallest median, then the largest accuracy."""
    return frame.sort_values(["fraction", "median_step", "accuracy"], ascending=[False, True, False], kind="stable")


def edges(frame: pd.DataFrame, best: Any, keys: Iterable[str]) -> list[tuple[str, Any, str]]:
    """(key, value, `largest` or `smallest`) for each numeric axis on whose edge a cell lies.

    A better value may lie beyond the edge. 0 is no edge: nothing lies below; nor is the largest number where null was
    tried, which is more. best: the label of the cell's row.
    """
    edges = []
    for key in keys:
        tried = {plain_value(value) for value in frame[key]}
        values = tried - {None}
        value = plain_value(frame.loc[best, key])
        if len(values) < 2 or value == 0 or not all(is_number(each) for each in values):
            continue
        if value == max(values) and not (None in tried and is_null_most(key)):
            edges.append((key, value, "largest"))
        elif value == min(values):
            edges.append((key, value, "smallest"))
    return edges
