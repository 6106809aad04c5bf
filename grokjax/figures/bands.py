"""What is drawn of a group of runs: at every step the median and the band over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.curve_batches import fit_at_once
from grokjax.analysis.keys import short_key
from grokjax.analysis.over_runs import FEWEST, QUANTILES, carried_runs, over_runs
from grokjax.analysis.time_axis import across_time, step_factors
from grokjax.figures.groups import Grouping, chosen_arms, group_runs, has_color_bar, nothing_yet
from grokjax.figures.style import span_text, steps_text
from grokjax.results.read import Results


@dataclass(frozen=True)
class ArmBands:
    """An arm's grouping, and one row a group (its index), metric and step (or what lies across): see `over_runs`."""

    grouping: Grouping
    bands: pd.DataFrame
    sizes: tuple[int, ...]  # runs with records, a group
    across: str = "step"  # the column of bands that is drawn across
    between: bool = False  # whether values lie between records: those of a group's runs are at different places
    measured: str = ""  # what was measured besides the records, and on how much

    @property
    def note(self) -> str:
        """What the lines and bands are, in words."""
        sizes = sorted({size for size in self.sizes if size})
        if sizes[-1] == 1:
            text = "one run each" if len(self.sizes) > 1 else "one run"
            return f"{text}; {self.measured}" if self.measured else text
        what = "runs" if self.grouping.pooled else "seeds"
        wide = f"{100 * QUANTILES[0]:.0f}–{100 * QUANTILES[1]:.0f}% band"
        band = "min–max band" if sizes[-1] < FEWEST else wide
        if sizes[0] < FEWEST <= sizes[-1]:
            band += f" (min–max below {FEWEST} {what})"
        lines = "median" if has_color_bar(self.grouping) else f"median and {band}"
        text = f"{lines} over {span_text(sizes[0], sizes[-1])} {what}"
        if (self.bands["live"] < self.bands["runs"]).any():
            text += "; ended runs count on with their last value, dotted where most have ended"
        if self.between:
            text += "; straight between the records of each run"
        if self.grouping.pooled:
            text += f", pooled over {', '.join(short_key(key) for key in self.grouping.pooled)}"
        return f"{text}; {self.measured}" if self.measured else text


def snapshots_text(measured: pd.DataFrame) -> str:
    """How many snapshots were measured, and from which step to which. measured: a row each, with its step."""
    count = len(measured[["run_id", "step"]].drop_duplicates())
    first, last = int(measured["step"].min()), int(measured["step"].max())
    steps = f"step {first}" if first == last else f"steps {steps_text(first)} to {steps_text(last)}"
    return f"{count} snapshots, {steps}"


def arm_bands(
    results: Results, metrics: dict[str, list[str]] | Sequence[str], by: str | None, arm: str | None, unit: str = "step"
) -> list[ArmBands]:
    """The bands of the metrics (the same, or arm -> its own) in every arm that has records.

    unit: what lies across, see `grokjax.analysis.time_axis`. Raises ValueError if no arm has any.
    """
    factors = step_factors(results, unit)
    runs = results.planned()
    arms = []
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        names = metrics[name] if isinstance(metrics, dict) else metrics
        bands, recorded = curve_bands(results, grouping.group_of, names, unit, factors)
        if len(bands):
            sizes = tuple(len(recorded.intersection(group.run_ids)) for group in grouping.groups)
            arms.append(ArmBands(grouping, bands, sizes, unit, _differ(grouping, factors)))
    if not arms:
        raise nothing_yet(results)
    return arms


def _differ(grouping: Grouping, factors: dict[str, float]) -> bool:
    """Whether runs of one group lie at different places."""
    return any(len({factors[run_id] for run_id in group.run_ids}) > 1 for group in grouping.groups)


def curve_bands(
    results: Results,
    group_of: dict[str, int],
    metrics: Sequence[str],
    unit: str = "step",
    factors: dict[str, float] | None = None,
) -> tuple[pd.DataFrame, set[str]]:
    """The bands of recorded metrics (see `over_runs`), and the runs that have records.

    unit, factors: what lies across, see `grokjax.analysis.time_axis`; default steps. Curves that are too many to be
    held at once are read a group at a time.
    """
    batches, ended = [list(group_of)], carried_runs(results)
    if not fit_at_once(results, list(group_of), len(metrics)):
        indices = sorted(set(group_of.values()))
        batches = [[run_id for run_id, group in group_of.items() if group == index] for index in indices]
    parts, recorded = [], set()
    for run_ids in batches:
        curves = results.curves(list(metrics), run_ids)
        recorded.update(curves["run_id"].unique())
        if unit != "step" and factors is not None:
            curves = across_time(curves, factors, group_of, metrics, unit)
        parts.append(over_runs(curves, group_of, metrics, ended, unit))
    bands = pd.concat(parts, ignore_index=True)
    rank = bands["metric"].map({name: rank for rank, name in enumerate(metrics)})
    order = np.lexsort((bands["group"].to_numpy(int), rank.to_numpy(int)))
    return bands.iloc[order].reset_index(drop=True), recorded


def bands_table(arms: list[ArmBands]) -> pd.DataFrame:
    """One row an arm, group, metric and step (or the column of `across`): arm, a column a key that tells the groups
    apart, metric, step, median, low, high, runs (that count there), live (those of them that had not ended), band (what
    low and high are)."""
    keys = list(dict.fromkeys(key for arm in arms for key in arm.grouping.keys))
    parts = []
    for arm in arms:
        group = arm.bands["group"].to_numpy(int)
        values = [dict(zip(arm.grouping.keys, each.told, strict=True)) for each in arm.grouping.groups]
        columns: dict[str, list[Any]] = {key: [values[index].get(key) for index in group] for key in keys}
        few = [size < FEWEST for size in arm.sizes]
        band = ["min to max" if few[index] else f"{QUANTILES[0]} to {QUANTILES[1]} quantile" for index in group]
        head = pd.DataFrame({"arm": [arm.grouping.arm] * len(group)} | columns)
        rest = arm.bands.drop(columns="group").reset_index(drop=True).assign(band=band)
        parts.append(pd.concat([head, rest], axis=1))
    return pd.concat(parts, ignore_index=True)
