"""What lies across a picture of curves: steps, epochs, or examples seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from grokjax.results.read import Results

UNITS = {"step": "step", "epoch": "epochs", "examples": "examples seen"}


def step_factors(results: Results, unit: str) -> dict[str, float]:
    """run id -> how many of a unit a step of the run is: 1 (step), its batch over its train set (epoch), or its batch
    (examples). Raises ValueError for another unit, and for epochs of a task that has no size that is known."""
    if unit not in UNITS:
        raise ValueError(f"x cannot be {unit!r}; it is one of {', '.join(UNITS)}")
    runs = results.planned()
    if unit == "step":
        return dict.fromkeys(runs["run_id"], 1.0)
    factors = {}
    for run_id, batch in zip(runs["run_id"], runs["batch_size"].astype(float), strict=True):
        size = results.manifest.bucket_of(run_id).sizes
        if unit == "epoch" and size and not size.train:
            raise ValueError(f"run {run_id} has fresh examples at every step, so x cannot be epoch")
        factors[run_id] = float(batch) if unit == "examples" else float(batch) / size.train if size else np.nan
        if np.isnan(factors[run_id]):
            raise ValueError(f"the size of the train set of run {run_id} is not known, so x cannot be {unit}")
    return factors


def across_time(
    curves: pd.DataFrame, factors: dict[str, float], group_of: dict[str, int], metrics: Sequence[str], unit: str
) -> pd.DataFrame:
    """Curves with a column named by the unit in place of step.

    Runs of a group that differ in their factor have records at different places: their values are drawn straight
    between these, at the places of all of them, so that there is a median over all.
    """
    placed = curves.assign(**{unit: curves["step"] * curves["run_id"].map(factors)}).drop(columns="step")
    group = placed["run_id"].map(group_of)
    parts = []
    for _, of_group in placed.groupby(group, sort=False):
        several = len({factors[run_id] for run_id in of_group["run_id"].unique()}) > 1
        parts.append(_on_all_places(of_group, metrics, unit) if several else of_group)
    return pd.concat(parts, ignore_index=True) if parts else placed


def _on_all_places(curves: pd.DataFrame, metrics: Sequence[str], unit: str) -> pd.DataFrame:
    places = np.unique(curves[unit])
    rows = []
    for run_id, run in curves.groupby("run_id", sort=False):
        columns = {metric: _between(run, metric, unit, places) for metric in metrics}
        rows.append(pd.DataFrame({"run_id": run_id, unit: places} | columns))
    return pd.concat(rows, ignore_index=True)


def _between(run: pd.DataFrame, metric: str, unit: str, places: np.ndarray) -> np.ndarray:
    """A run's values at places between its records, nan before the first and after the last."""
    known = run[run[metric].notna()]
    if known.empty:
        return np.full(len(places), np.nan)
    return np.interp(places, known[unit], known[metric].astype(float), left=np.nan, right=np.nan)
