"""Medians over the runs of a group, step by step, in which a run that has ended still counts.

A run that stopped early (`stop.after_generalization`) did what it was asked to. A median over those that are left would
be one over the slowest of them, so a run that has ended counts on with its last value. One that diverged has none that
means anything, and one that still trains is not that far: both are left out, and `runs` says how many count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from grokjax.results.read import Results

COLUMNS = ("median", "low", "high", "runs", "live")
QUANTILES = (0.1, 0.9)  # low and high of a band
FEWEST = 5  # runs of which quantiles are taken; of fewer the least and the largest


class Counted(NamedTuple):
    """Values of a group's runs where enough of them count.

    kept: which of the steps these are. runs: how many count there; live: how many of them had not ended.
    """

    kept: Bool[np.ndarray, " steps"]
    values: Float[np.ndarray, "runs kept"]
    runs: Int[np.ndarray, " kept"]
    live: Int[np.ndarray, " kept"]


def carried_runs(results: Results) -> set[str]:
    """The runs that count on past their last record: those that have ended without diverging."""
    return {run_id for run_id, end in results.ends.items() if not end["diverged"]}


def count_on(table: Float[np.ndarray, "runs steps"], ended: Bool[np.ndarray, " runs"]) -> Counted:
    """The values of runs at steps (nan: no record), where those that have ended go on with their last.

    A step is kept where most of the runs that go on have a record (so that one run's last makes no kink), and where at
    least half of all runs count.
    """
    known = ~np.isnan(table)
    runs, steps = table.shape
    last = steps - 1 - np.argmax(known[:, ::-1], axis=1)
    is_past: np.ndarray = np.arange(steps) > last[:, None]
    may_carry = ended & known.any(axis=1)
    is_carried = is_past & may_carry[:, None]
    values = np.where(is_carried, table[np.arange(runs), last][:, None], table)
    going, recorded = (~is_past).sum(axis=0), known.sum(axis=0)
    counted = recorded + is_carried.sum(axis=0)
    kept = (2 * recorded > going) & (2 * counted >= runs)
    return Counted(kept, values[:, kept], counted[kept], recorded[kept])


def over_runs(
    curves: pd.DataFrame,
    group_of: dict[str, int],
    metrics: Sequence[str],
    ended: Collection[str] = (),
    across: str = "step",
) -> pd.DataFrame:
    """One row a group, metric and step: group, metric, step, median, low, high, runs (that count there), live (those of
    them that had not ended).

    curves: run_id, step, the metrics; nan is not recorded. ended: the runs that count on, see `carried_runs`. across:
    the column that takes the place of step.
    """
    group = curves["run_id"].map(group_of).to_numpy()
    step = curves[across].to_numpy()
    ids, names = pd.factorize(curves["run_id"])
    has_ended = np.isin(names, list(ended))
    parts = []
    for metric in metrics:
        value = curves[metric].to_numpy(np.float64)
        for index in sorted(set(group_of.values())):
            rows = (group == index) & ~np.isnan(value)
            if rows.any():
                part = _over_group(ids[rows], step[rows], value[rows], has_ended)
                parts.append(part.assign(group=index, metric=metric))
    columns = ["group", "metric", across, *COLUMNS]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).rename(columns={"step": across})[columns]


def solid_points(band: pd.DataFrame) -> int:
    """How many of a line's first points are drawn solid: until fewer than half of the runs that count still train."""
    is_carried = 2 * band["live"].to_numpy() < band["runs"].to_numpy()
    return int(np.argmax(is_carried)) if is_carried.any() else len(is_carried)


def _over_group(
    ids: np.ndarray,
    step: np.ndarray,
    value: np.ndarray,
    has_ended: np.ndarray,
) -> pd.DataFrame:
    run, row = np.unique(ids, return_inverse=True)
    steps, column = np.unique(step, return_inverse=True)
    table = np.full((len(run), len(steps)), np.nan)
    table[row, column] = value
    counted = count_on(table, has_ended[run])
    low, high = QUANTILES if len(run) >= FEWEST else (0.0, 1.0)
    bounds = quantiles_of(counted.values, (low, 0.5, high))
    columns = {"step": steps[counted.kept], "median": bounds[1], "low": bounds[0], "high": bounds[2]}
    return pd.DataFrame(columns | {"runs": counted.runs, "live": counted.live})


def quantiles_of(values: Float[np.ndarray, "runs steps"], shares: Sequence[float]) -> Float[np.ndarray, "shares steps"]:
    """Over the runs that have a number there; the middle of two is between them."""
    quantile = np.nanquantile if np.isnan(values).any() else np.quantile
    with np.errstate(invalid="ignore"):  # between two infinities
        return quantile(values, list(shares), axis=0)
