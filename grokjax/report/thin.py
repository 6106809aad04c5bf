"""Few records of every run: log-spaced ones, those around its events, and its last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from grokjax.results.read import Results

SPIKE = "train/loss_max"
EVALUATED = "test/loss"  # recorded less often than the rest
AROUND = 3  # records kept on either side of an event
MOST_EVENTS = 12  # of a run, around which records are kept
BATCH = 128  # runs read at once
BYTES = 9_000_000  # of all runs' curves in the page
POINTS = (24, 300)  # fewest and most log-spaced records of a run, of all and of the evaluated ones each
COMMON = 110  # most of them that runs are averaged over


@dataclass(frozen=True)
class Thinned:
    """curves: run_id, step, the metrics, `common` (whether all runs have records about there, to be averaged over)."""

    curves: pd.DataFrame
    points: int


def points_for(runs: int, metrics: int) -> int:
    """Records of a run that fit into the page: 2 bytes each in base64, of all and of the evaluated ones."""
    room = BYTES / (max(runs, 1) * max(metrics, 1) * 2 * 4 / 3)
    return int(np.clip(room / 2, *POINTS))


def targets(last: int, count: int) -> np.ndarray:
    """Step 0 and up to `count` log-spaced steps to the last."""
    spaced = np.rint(np.geomspace(1, max(last, 1), count)).astype(np.int64)
    return np.unique(np.concatenate([[0], spaced]))


def nearest(steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Indices of the records nearest to the wanted steps."""
    if not len(steps):
        return np.zeros(0, np.int64)
    right = np.clip(np.searchsorted(steps, wanted), 1, max(len(steps) - 1, 1))
    right = np.minimum(right, len(steps) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(wanted - steps[left] <= steps[right] - wanted, left, right))


def kept_rows(
    steps: np.ndarray, evaluated: np.ndarray, last: int, points: int, events: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """(indices of the records to keep, whether each counts for averages). last: the most steps of any run."""
    common = spaced(steps, evaluated, targets(last, min(points, COMMON)))
    finer = spaced(steps, evaluated, targets(last, points))
    at = np.searchsorted(steps, np.asarray(events[:MOST_EVENTS], np.int64))
    around = (at[:, None] + np.arange(-AROUND, AROUND + 1)).ravel()
    around = around[(around >= 0) & (around < len(steps))]
    kept = np.unique(np.concatenate([common, finer, around])).astype(np.int64)
    return kept, np.isin(kept, common)


def spaced(steps: np.ndarray, evaluated: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Indices of the records nearest to the wanted steps, of all and of the evaluated ones; and the first and last."""
    rows = np.flatnonzero(evaluated)
    found = [nearest(steps, wanted), rows[nearest(steps[rows], wanted)], [0, len(steps) - 1]]
    return np.unique(np.concatenate(found)).astype(np.int64)


def thinned(results: Results, metrics: list[str], events: pd.DataFrame, last: int) -> Thinned:
    """The curves of all runs in few records. last: the largest number of steps of any run."""
    points = points_for(len(results.run_ids), len(metrics))
    steps_of = {run_id: sorted(set(group)) for run_id, group in events.groupby("run_id")["step"]}
    parts = [
        _thin(run, metrics, last, points, steps_of.get(run_id, [])) for run_id, run in _curves_by_run(results, metrics)
    ]
    empty = pd.DataFrame(columns=["run_id", "step", *metrics, "common"])
    return Thinned(pd.concat(parts, ignore_index=True) if parts else empty, points)


def _curves_by_run(results: Results, metrics: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Runs that were trained together are read together: each file is read once or twice, and memory is bounded."""
    known = set(results.run_ids)
    order = [run_id for chunk in results.manifest.chunks for run_id in chunk.run_ids if run_id in known]
    for begin in range(0, len(order), BATCH) if metrics else ():
        for run_id, run in results.curves(metrics, order[begin : begin + BATCH]).groupby("run_id", sort=False):
            yield str(run_id), run


def _thin(run: pd.DataFrame, metrics: list[str], last: int, points: int, events: list[int]) -> pd.DataFrame:
    steps = run["step"].to_numpy()
    evaluated = run[EVALUATED].notna().to_numpy() if EVALUATED in metrics else np.zeros(len(run), bool)
    rows, common = kept_rows(steps, evaluated, last, points, events)
    kept = run.iloc[rows].copy()
    if SPIKE in metrics:  # the largest since the record kept before: no spike is missed
        kept[SPIKE] = np.fmax.reduceat(run[SPIKE].to_numpy(), np.concatenate([[0], rows[:-1] + 1]))
    return kept.assign(common=common)
