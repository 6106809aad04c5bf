"""Which metrics the page holds: those it opens with, and as many of all others as have room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.curve_batches import CURVES, SPIKE, TOTAL
from grokjax.figures.norms import norms_of
from grokjax.report.axes import View
from grokjax.results.read import Results

MORE_BYTES = 2_400_000  # of the numbers of metrics that are unpacked when they are asked for
BAND_POINTS = 60  # of a band of these
GRAIN = 32  # of their codes: a 2,048th of a picture's height
FEWEST_POINTS, MOST_POINTS = 16, 150  # of a run's line of these; with room for fewer, no run has one
LOG_FROM = 100.0  # largest over least value from which positive numbers are packed by their logarithms


@dataclass(frozen=True)
class Metrics:
    """first: what the page opens with. more: what it unpacks when asked. left_out: what has no room.

    points: of a run's line of `more`; 0: it has none.
    """

    first: tuple[str, ...]
    more: tuple[str, ...]
    left_out: tuple[str, ...]
    points: int

    @property
    def held(self) -> list[str]:
        return [*self.first, *self.more]


def page_metrics(results: Results, views: list[View], runs: int) -> Metrics:
    """The curves and the norms of all arms' matrices, in the network's order, the total last; then all others."""
    known = results.metrics()
    norms = dict.fromkeys(name for arm in results.manifest.axes for name in norms_of(results, arm))
    names = [*CURVES, SPIKE, *(name for name in norms if name != TOTAL), TOTAL]
    first = tuple(name for name in names if name in known)
    others = [name for name in known if name not in first]
    band = sum(len(view.groups) for view in views) * BAND_POINTS * 3 * 2
    more = others[: MORE_BYTES // max(band, 1)]
    room = (MORE_BYTES - band * len(more)) // max(2 * runs * len(more), 1)
    points = 0 if room < FEWEST_POINTS else min(room, MOST_POINTS)
    return Metrics(first, tuple(more), tuple(others[len(more) :]), points)


def is_log(curves: pd.DataFrame, name: str) -> bool:
    """Whether a metric is packed by its logarithms: losses, and what is positive and spans a wide range."""
    if "loss" in name or "accuracy" in name:
        return "loss" in name
    values = curves[name].to_numpy(np.float64)
    values = values[np.isfinite(values)]
    some = values[values > 0]
    return len(some) > 0 and bool(values.min() >= 0 and some.max() > LOG_FROM * some.min())


def described(metrics: Metrics, curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Of every metric of the page: its name, and how it is packed."""
    return [
        {"name": name, "log": is_log(curves, name), "norm": name.startswith("norm/") and name in metrics.first}
        for name in metrics.held
    ]
