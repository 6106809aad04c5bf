"""What the pictures of questions share: cells over an axis with their intervals, a color a value of another key."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from answers import TIMES, column_names
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from grokjax.analysis.cells import is_number, ordered_values, plain_value
from grokjax.analysis.keys import short_key
from grokjax.figures.style import (
    GREY,
    WIDTH,
    group_colors,
    number_text,
    paper,
    steps_text,
    value_text,
    value_ticks,
)  # fmt: skip

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
DODGE = 0.012  # of the axis, between values of another key, so that equal ones are all seen
LETTERS = 150  # of a line across the picture
LEGEND = 6.5  # points
SHARES = ("fraction", "share", "accuracy", "below")  # columns that lie from 0 to 1
LABELS = {"fraction": "fraction generalized", "median_step": "step of generalization (median)"}


@contextmanager
def panels(columns: int, rows: int, note: str, height: float = 2.3) -> Iterator[tuple[Figure, Any]]:
    """A picture across both columns of a paper, with a note below, and its axes [rows, columns]."""
    with paper():
        picture = Figure(figsize=(WIDTH, rows * height), layout="constrained")
        picture.supxlabel("\n".join(textwrap.wrap(note, LETTERS)), x=0.01, ha="left", fontsize=6.5, color=GREY)
        yield picture, picture.subplots(rows, columns, squeeze=False)


class Scale(NamedTuple):
    """Where the values of a key lie: as numbers, logarithmic where they span a decade, or in order."""

    values: list[Any]
    numeric: bool
    log: bool
    least: float  # the least positive value

    def positions(self, column: pd.Series, shift: float) -> np.ndarray:
        """Of values along the axis; shift: in shares of the axis."""
        if not self.numeric:
            return np.array([self.values.index(plain_value(value)) for value in column]) + shift * len(self.values)
        values = column.to_numpy(np.float64)
        if not self.log:
            return values + shift * (max(self.values) - min(self.values))
        decades = np.log10(max(self.values) / self.least) + 1
        return np.where(values > 0, values * 10 ** (shift * decades), shift * self.least)


def scale_of(column: pd.Series) -> Scale:
    values = ordered_values(column)
    if not all(map(is_number, values)):
        return Scale(values, False, False, 1.0)
    positive = [value for value in values if value > 0]
    log = bool(positive) and min(values) >= 0 and (max(positive) >= 10 * min(positive) or 0 in values)
    return Scale(values, True, log, float(min(positive, default=1.0)))


def set_scale(axes: Axes, scale: Scale) -> None:
    """Ticks at the values, on a logarithmic axis where it is one; 0 has room there."""
    texts = [value_text(value) for value in scale.values]
    if not scale.numeric:
        axes.set_xticks(range(len(texts)), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    elif scale.log and 0 in scale.values:
        axes.set_xscale("symlog", linthresh=scale.least, linscale=0.4)
        axes.set_xticks(scale.values, texts)
        axes.xaxis.set_minor_locator(NullLocator())
    elif scale.log:
        axes.set_xscale("log")
        value_ticks(axes, scale.values)


def draw_cells(
    axes: Axes, frame: pd.DataFrame, x: str, name: str, by: str | None = None, label: str = "", x_label: str = ""
) -> None:
    """Values of a name along x with their intervals (see `answers.column_names`), a color a value of `by`.

    Where the value is inf, it was not reached: an open triangle at the top, from where the interval begins.
    """
    scale, values = scale_of(frame[x]), [None] if by is None else ordered_values(frame[by])
    colors = group_colors(all(map(is_number, values)), len(values))
    finite = frame[list(column_names(name))].to_numpy(np.float64)
    top = 1.5 * max(finite[np.isfinite(finite)], default=1.0)
    for index, group in enumerate(values):
        part = frame if by is None else frame[[plain_value(each) == group for each in frame[by]]]
        at = scale.positions(part[x], DODGE * (index - (len(values) - 1) / 2))
        value, low, high = (part[column].to_numpy(np.float64) for column in column_names(name))
        reached, never = np.isfinite(value), np.isinf(value)
        with np.errstate(invalid="ignore"):  # inf - inf, of what is not drawn as a bar
            reach = np.maximum([value - low, np.where(np.isinf(high), top, high) - value], 0)
        reach = np.where(np.isfinite(reach), reach, 0)[:, reached]
        style: dict[str, Any] = {"color": colors[index], "marker": MARKERS[index % len(MARKERS)], "markersize": 3.4}
        style |= {"linestyle": "-" if scale.numeric else "none", "label": None if by is None else value_text(group)}
        axes.errorbar(at[reached], value[reached], reach, capsize=1.5, elinewidth=0.6, capthick=0.6, **style)
        tops = np.full(never.sum(), top)
        axes.plot(at[never], tops, "^", color=colors[index], markerfacecolor="none", markersize=4.5)
    set_scale(axes, scale)
    axes.set(xlabel=x_label or short_key(x), ylabel=label or LABELS.get(name, ""))
    if name in SHARES:
        axes.set_ylim(-0.04, 1.04)
    if name in TIMES:
        log_times(axes)


def draw_runs(axes: Axes, runs: pd.DataFrame, x: str, y: str, by: str, top: float) -> None:
    """A mark a run, colored by numbers of `by`; open at the top where y (a step) was never reached: nan or inf."""
    values = ordered_values(runs[by])
    colors = group_colors(True, len(values))
    for index, value in enumerate(values):
        part = runs[(runs[by] == value) & (runs[x] > 0)]
        reached = np.isfinite(part[y])
        marker = MARKERS[index % len(MARKERS)]
        style: dict[str, Any] = {"color": colors[index], "markersize": 2.8, "linestyle": "none", "alpha": 0.85}
        axes.plot(part[x][reached], part[y][reached].clip(lower=1), marker, label=number_text(float(value)), **style)
        axes.plot(part[x][~reached], np.full(int((~reached).sum()), top), marker, markerfacecolor="none", **style)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    log_times(axes)


def log_times(axes: Axes) -> None:
    """Steps upwards on a logarithmic axis, as 100, 1k, 10k."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain_log(axes: Axes, ticks: Sequence[float]) -> None:
    """A logarithmic axis upwards that is too short for powers of ten, with these ticks."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    shown = [value for value in ticks if low <= value <= high]
    axes.yaxis.set_major_locator(FixedLocator(shown))
    axes.set_yticklabels([number_text(float(value)) for value in shown])
    axes.yaxis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, by: str = "", columns: int = 4, handles: Sequence[Artist] | None = None) -> None:
    """Above the panel, so that it hides no point; under `by` as its title. It may be wider than the panel, which keeps
    its width."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return
    drawn = axes.legend(
        handles=list(handles), title=short_key(by) or None, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=columns,
        borderpad=0.1, columnspacing=0.8, handlelength=1.4, handletextpad=0.4, fontsize=LEGEND, title_fontsize=LEGEND,
        alignment="left", borderaxespad=0.2,
    )  # fmt: skip
    drawn.set_in_layout(False)
    lines = -(-len(handles) // columns) + bool(by)
    axes.set_title("\n" * lines, loc="left", fontsize=LEGEND)  # room for it
