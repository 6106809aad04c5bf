"""The bands of the page's views over steps, and over epochs and examples where these are no multiple of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.over_runs import over_runs, solid_points
from grokjax.analysis.thinning import MOST_SHARED, nearest
from grokjax.analysis.time_axis import UNITS, across_time, step_factors
from grokjax.report.axes import View
from grokjax.report.pack import StepLists, pack
from grokjax.results.read import Results

STEP = "step"


@dataclass
class Packer:
    """How the numbers of some metrics are packed: their places among those of the page, which of them by their
    logarithms, where lists of steps (and of epochs, ...) are kept, of how many points at most a band is, and how
    coarse its codes are (see `pack`)."""

    index: dict[str, int]
    log: set[str]
    steps: StepLists
    places: StepLists
    points: int = 2 * MOST_SHARED + 2
    grain: int = 1

    def rows(self, bands: pd.DataFrame, across: str = STEP) -> list[list[Any]]:
        """A row a group and metric: group, metric, list of steps, least, largest, codes, solid points."""
        lists = self.steps if across == STEP else self.places
        rows = []
        for (group, name), whole in bands.groupby(["group", "metric"], sort=False):
            part = whole.iloc[spread(whole[across].to_numpy(np.float64), self.points)]
            codes = pack(
                [part[column].to_numpy() for column in ("low", "median", "high")], name in self.log, self.grain
            )
            rows.append([group, self.index[str(name)], lists.add(part[across]), *codes, solid_points(part)])
        return rows


def spread(places: np.ndarray, points: int) -> np.ndarray:
    """Indices of at most so many places, log-spaced, and of the first and last."""
    if len(places) <= points:
        return np.arange(len(places))
    later = places[places > 0]
    wanted = np.geomspace(later[0], later[-1], points - 2)
    return np.unique(np.concatenate([[0], nearest(places, wanted), [len(places) - 1]]))


def time_units(results: Results) -> dict[str, dict[str, float]]:
    """epoch | examples -> run id -> how many of them a step is; without those that are not known of this sweep."""
    found = {}
    for unit in UNITS:
        try:
            found[unit] = step_factors(results, unit)
        except ValueError:  # a task that has no size that is known
            continue
    return found


def mixed_bands(
    view: View, curves: pd.DataFrame, metrics: Sequence[str], ended: set[str], factors: dict[str, float], unit: str
) -> pd.DataFrame:
    """The bands over a unit of those groups whose runs differ in it; the others lie at a multiple of their steps."""
    differ = [len({factors[run_id] for run_id in group.run_ids}) > 1 for group in view.groups]
    mixed = [place for place, is_mixed in enumerate(differ) if is_mixed]
    group_of = {run_id: place for place in mixed for run_id in view.groups[place].run_ids}
    members = curves[curves["run_id"].isin(list(group_of)) & curves["common"].astype(bool)]
    placed = across_time(members, factors, group_of, metrics, unit) if len(members) else members.assign(**{unit: 0.0})
    return over_runs(placed, group_of, metrics, ended, unit)
