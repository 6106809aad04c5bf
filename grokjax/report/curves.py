"""The curves of all runs in as few records as a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grokjax.analysis.curve_batches import EVALUATED, SPIKE, read_frames
from grokjax.analysis.thinning import largest_since, shared_records
from grokjax.results.read import Results

MOST_EVENTS = 12  # of a run, around which records are kept
BYTES = 9_000_000  # of all runs' curves in the page
POINTS = (24, 300)  # fewest and most log-spaced records of a run, of all and of the evaluated ones each


@dataclass(frozen=True)
class Thinned:
    """curves: run_id, step, the metrics, `common` (whether all runs have records about there, to be averaged over)."""

    curves: pd.DataFrame
    points: int


def points_for(runs: int, metrics: int) -> int:
    """Records of a run that fit into the page: 2 bytes each in base64, of all and of the evaluated ones."""
    room = BYTES / (max(runs, 1) * max(metrics, 1) * 2 * 4 / 3)
    return int(np.clip(room / 2, *POINTS))


def thinned(results: Results, metrics: list[str], events: pd.DataFrame, last: int, lines: int | None = None) -> Thinned:
    """The curves of all runs in few records.

    last: the largest number of steps of any run. lines: of how many of the metrics single runs are drawn at all these
    records; default of all.
    """
    points = points_for(len(results.run_ids), len(metrics) if lines is None else lines)
    steps_of = {run_id: sorted(set(group)) for run_id, group in events.groupby("run_id")["step"]}
    parts = {}
    for frame in read_frames(results, metrics, results.run_ids) if metrics else ():
        for run_id, run in frame.groupby("run_id", sort=False):
            parts[run_id] = _thin(run, metrics, last, points, steps_of.get(run_id, []))
    if not parts:
        return Thinned(pd.DataFrame(columns=["run_id", "step", *metrics, "common"]), points)
    ordered = [parts[run_id] for run_id in results.run_ids if run_id in parts]
    return Thinned(pd.concat(ordered, ignore_index=True), points)


def _thin(run: pd.DataFrame, metrics: list[str], last: int, points: int, events: Sequence[int]) -> pd.DataFrame:
    steps = run["step"].to_numpy()
    evaluated = run[EVALUATED].notna().to_numpy() if EVALUATED in metrics else np.zeros(len(run), bool)
    rows, common = shared_records(steps, evaluated, last, points, events[:MOST_EVENTS])
    thinned_run = run.iloc[rows].copy()
    if SPIKE in metrics:
        largest = largest_since(run[SPIKE].to_numpy(), run[SPIKE].notna().to_numpy(), rows)
        thinned_run[SPIKE] = np.where(largest == -np.inf, np.nan, largest).astype(largest.dtype)
    return thinned_run.assign(common=common)
