"""Null on an axis of numbers: it has a place of its own, beyond them with a gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from grokjax.analysis.cells import is_missing, is_null_most, null_runs
from grokjax.figures.groups import value_texts
from grokjax.figures.style import GREY
from grokjax.results.read import Results

GAP = 0.22  # of the axis of numbers, between them and null
LEAST = 0.3  # decades of it, on a logarithmic axis


@dataclass(frozen=True)
class NullPlace:
    """x: where null lies. edge: where the gap is marked. text: what null means, such as `full batch (288)`."""

    x: float
    edge: float
    text: str

    @property
    def tick(self) -> str:
        """The text in lines short enough to stand under an axis."""
        return self.text.replace(" ", "\n")

    def mark(self, axes: Axes) -> None:
        """A line in the gap: what lies beyond it is not to scale."""
        axes.axvline(self.edge, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)


def null_place(results: Results, runs: pd.DataFrame, key: str, log: bool) -> NullPlace | None:
    """Where null of a key lies on an axis of the runs' numbers: after them where it is the most that the key may be,
    else before. None: no run has null there. log: whether the axis is logarithmic; its numbers are positive then."""
    if not null_runs(results, key, runs):
        return None
    numbers = np.array([float(value) for value in runs[key] if not is_missing(value)])
    numbers = np.log10(numbers[numbers > 0]) if log else numbers
    gap = max(GAP * float(np.ptp(numbers)), LEAST if log else 0.0) or 1.0
    end, outwards = (numbers.max(), gap) if is_null_most(key) else (numbers.min(), -gap)
    x, edge = float(end + outwards), float(end + outwards / 2)
    text = value_texts(results, runs, key)[None]
    return NullPlace(10.0**x, 10.0**edge, text) if log else NullPlace(x, edge, text)
