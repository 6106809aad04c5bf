"""What is drawn of a group of runs: at every step the median and the band over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.curve_batches import fit_at_once
from grokjax.figures.groups import Grouping, chosen_arms, group_runs, nothing_yet
from grokjax.figures.style import short_key, span_text
from grokjax.results.read import Results

QUANTILES = (0.1, 0.9)
FEWEST = 5  # runs of which quantiles are taken; of fewer the least and the largest


@dataclass(frozen=True)
class ArmBands:
    """An arm's grouping, and one row a group (its index), metric and step (or what else lies across): median, low,
    high, runs recorded."""

    grouping: Grouping
    bands: pd.DataFrame
    sizes: tuple[int, ...]  # runs with records, a group
    across: str = "step"  # the column of bands that is drawn across

    @property
    def note(self) -> str:
        """What the lines and bands are, in words."""
        sizes = sorted({size for size in self.sizes if size})
        if sizes[-1] == 1:
            return "one run each" if len(self.sizes) > 1 else "one run"
        what = "runs" if self.grouping.pooled else "seeds"
        wide = f"{100 * QUANTILES[0]:.0f}–{100 * QUANTILES[1]:.0f}% band"
        band = "min–max band" if sizes[-1] < FEWEST else wide
        if sizes[0] < FEWEST <= sizes[-1]:
            band += f" (min–max below {FEWEST} {what})"
        text = f"median and {band} over {span_text(sizes[0], sizes[-1])} {what}"
        if self.grouping.pooled:
            text += f", pooled over {', '.join(short_key(key) for key in self.grouping.pooled)}"
        return text


def arm_bands(
    results: Results, metrics: dict[str, list[str]] | Sequence[str], by: str | None, arm: str | None
) -> list[ArmBands]:
    """The bands of the metrics (the same, or arm -> its own) in every arm that has records.

    Raises ValueError if no arm has any.
    """
    runs = results.planned()
    arms = []
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        names = metrics[name] if isinstance(metrics, dict) else metrics
        bands, recorded = curve_bands(results, grouping.group_of, names)
        if len(bands):
            sizes = tuple(len(recorded.intersection(group.run_ids)) for group in grouping.groups)
            arms.append(ArmBands(grouping, bands, sizes))
    if not arms:
        raise nothing_yet(results)
    return arms


def curve_bands(results: Results, group_of: dict[str, int], metrics: Sequence[str]) -> tuple[pd.DataFrame, set[str]]:
    """The bands of recorded metrics (see `over_runs`), and the runs that have records.

    Curves that are too many to be held at once are read a group at a time.
    """
    batches = [list(group_of)]
    if not fit_at_once(results, list(group_of), len(metrics)):
        indices = sorted(set(group_of.values()))
        batches = [[run_id for run_id, group in group_of.items() if group == index] for index in indices]
    parts, recorded = [], set()
    for run_ids in batches:
        curves = results.curves(list(metrics), run_ids)
        recorded.update(curves["run_id"].unique())
        parts.append(over_runs(curves, group_of, metrics))
    bands = pd.concat(parts, ignore_index=True)
    rank = bands["metric"].map({name: rank for rank, name in enumerate(metrics)})
    order = np.lexsort((bands["group"].to_numpy(int), rank.to_numpy(int)))
    return bands.iloc[order].reset_index(drop=True), recorded


def bands_table(arms: list[ArmBands]) -> pd.DataFrame:
    """One row an arm, group, metric and step: arm, a column a key that tells the groups apart, metric, step, median,
    low, high, runs (recorded there), band (what low and high are)."""
    keys = list(dict.fromkeys(key for arm in arms for key in arm.grouping.keys))
    parts = []
    for arm in arms:
        group = arm.bands["group"].to_numpy(int)
        values = [dict(zip(arm.grouping.keys, each.values, strict=True)) for each in arm.grouping.groups]
        columns: dict[str, list[Any]] = {key: [values[index].get(key) for index in group] for key in keys}
        few = [size < FEWEST for size in arm.sizes]
        band = ["min to max" if few[index] else f"{QUANTILES[0]} to {QUANTILES[1]} quantile" for index in group]
        head = pd.DataFrame({"arm": [arm.grouping.arm] * len(group)} | columns)
        rest = arm.bands.drop(columns="group").reset_index(drop=True).assign(band=band)
        parts.append(pd.concat([head, rest], axis=1))
    return pd.concat(parts, ignore_index=True)


def over_runs(
    curves: pd.DataFrame, group_of: dict[str, int], metrics: Sequence[str], across: str = "step"
) -> pd.DataFrame:
    """One row a group, metric and step: group, metric, step, median, low, high, runs (recorded there).

    curves: run_id, step, the metrics; nan is not recorded. across: the column that takes the place of step.

    A step counts where most of the runs that go on recorded it (so one run's last record makes no kink), and as
    long as half of the group's runs go on: where more of them diverged, or are not that far, the line ends.
    """
    group = curves["run_id"].map(group_of).to_numpy()
    step = curves[across].to_numpy()
    ids = pd.factorize(curves["run_id"])[0]
    parts = []
    for metric in metrics:
        value = curves[metric].to_numpy(np.float64)
        for index in sorted(set(group_of.values())):
            rows = (group == index) & ~np.isnan(value)
            if rows.any():
                part = _over_group(ids[rows], step[rows], value[rows])
                parts.append(part.assign(group=index, metric=metric))
    columns = ["group", "metric", across, "median", "low", "high", "runs"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).rename(columns={"step": across})[columns]


def _over_group(ids: np.ndarray, step: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    run, row = np.unique(ids, return_inverse=True)
    steps, column = np.unique(step, return_inverse=True)
    table = np.full((len(run), len(steps)), np.nan)
    table[row, column] = value
    known = ~np.isnan(table)
    last = len(steps) - 1 - np.argmax(known[:, ::-1], axis=1)
    going = (last[:, None] >= np.arange(len(steps))).sum(axis=0)
    recorded = known.sum(axis=0)
    keep = (2 * recorded > going) & (2 * recorded >= len(run))
    table = table[:, keep]
    low, high = QUANTILES if len(run) >= FEWEST else (0.0, 1.0)
    quantile = np.nanquantile if np.isnan(table).any() else np.quantile
    with np.errstate(invalid="ignore"):  # between two infinities
        bounds = quantile(table, [low, 0.5, high], axis=0)
    columns = {"step": steps[keep], "median": bounds[1], "low": bounds[0], "high": bounds[2]}
    return pd.DataFrame(columns | {"runs": recorded[keep]})
