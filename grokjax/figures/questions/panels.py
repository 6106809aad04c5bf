"""What the pictures of questions share: cells over an axis, with intervals, a color a value of another key."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from grokjax.analysis.answers import ENDED, plain_value
from grokjax.figures.groups import ordered_values
from grokjax.figures.style import (
    GREY,
    WIDTH,
    group_colors,
    is_missing,
    is_number,
    number_text,
    short_key,
    steps_text,
    value_text,
    value_ticks,
)

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
DODGE = 0.012  # of the axis, between values of another key, so that equal ones are all seen
LETTERS = 150  # of a line across the picture
LEGEND = 6.5  # points


@dataclass(frozen=True)
class Axis:
    """Where the values of a key lie: as numbers, logarithmic where they span a decade, or in order."""

    key: str
    values: tuple[Any, ...]
    log: bool
    least: float  # the least positive value

    def at(self, column: pd.Series, shift: float = 0.0) -> np.ndarray:
        """Places of values; shift: in shares of the axis."""
        if not self.numeric:
            return np.array([self.values.index(plain_value(value)) for value in column]) + shift * len(self.values)
        values = column.to_numpy(np.float64)
        if not self.log:
            return values + shift * (max(self.values) - min(self.values))
        decades = np.log10(max(self.values) / self.least) + 1
        return np.where(values > 0, values * 10 ** (shift * decades), shift * self.least)

    @property
    def numeric(self) -> bool:
        return all(map(is_number, self.values))


def axis_of(column: pd.Series, key: str) -> Axis:
    values = tuple(ordered_values(column))
    if not all(map(is_number, values)):
        return Axis(key, values, False, 1.0)
    positive = [value for value in values if value > 0]
    log = bool(positive) and min(values) >= 0 and (max(positive) >= 10 * min(positive) or 0 in values)
    return Axis(key, values, log, float(min(positive, default=1.0)))


def set_axis(axes: Axes, axis: Axis, label: str | None = None) -> None:
    """Ticks at the values, on a logarithmic axis where it is one; 0 has room there."""
    if not axis.numeric:
        axes.set_xticks(range(len(axis.values)), [value_text(value) for value in axis.values])
        axes.set_xlim(-0.5, len(axis.values) - 0.5)
    elif axis.log and 0 in axis.values:
        axes.set_xscale("symlog", linthresh=axis.least, linscale=0.4)
        axes.set_xticks(axis.values, [value_text(value) for value in axis.values])
        axes.xaxis.set_minor_locator(NullLocator())
    elif axis.log:
        axes.set_xscale("log")
        value_ticks(axes, axis.values)
    axes.set_xlabel(label or short_key(axis.key))


def draw_cells(
    axes: Axes,
    frame: pd.DataFrame,
    x: str,
    columns: tuple[str, str, str],
    by: str | None = None,
    label: str | None = None,
) -> None:
    """The middle of columns (value, low, high) along x with its interval, a color a value of `by`.

    Where the value is inf, it was not reached: an open triangle at the top, from where the interval begins.
    """
    axis, groups = axis_of(frame[x], x), [None] if by is None else ordered_values(frame[by])
    colors = group_colors(all(map(is_number, groups)), len(groups))
    finite = frame[list(columns)].to_numpy(np.float64)
    finite = finite[np.isfinite(finite)]
    top = (finite.max() if len(finite) else 1.0) * 1.5
    for place, group in enumerate(groups):
        part = frame if by is None else frame[[plain_value(value) == group for value in frame[by]]]
        at = axis.at(part[x], DODGE * (place - (len(groups) - 1) / 2))
        value, low, high = (part[column].to_numpy(np.float64) for column in columns)
        reached = np.isfinite(value)
        style: dict[str, Any] = {"color": colors[place], "marker": MARKERS[place % len(MARKERS)], "markersize": 3.4}
        style["linestyle"] = "-" if axis.numeric else "none"
        with np.errstate(invalid="ignore"):  # inf - inf, of what is not drawn as a bar
            reach = np.maximum([value - low, np.where(np.isinf(high), top, high) - value], 0)
        reach = np.where(np.isfinite(reach), reach, 0)
        name = None if group is None and by is None else value_text(group)
        axes.errorbar(
            at[reached],
            value[reached],
            reach[:, reached],
            capsize=1.5,
            elinewidth=0.6,
            capthick=0.6,
            label=name,
            **style,
        )
        never = np.isinf(value)
        axes.plot(
            at[never], np.full(never.sum(), top), "^", color=colors[place], markerfacecolor="none", markersize=4.5
        )
    set_axis(axes, axis, label)


def draw_fractions(axes: Axes, frame: pd.DataFrame, x: str, by: str | None = None, label: str | None = None) -> None:
    draw_cells(axes, frame, x, ("fraction", "low", "high"), by, label)
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("fraction generalized")


def draw_times(axes: Axes, frame: pd.DataFrame, x: str, by: str | None = None, label: str | None = None) -> None:
    draw_cells(axes, frame, x, ("median_step", "median_low", "median_high"), by, label)
    plain_times(axes, "step of generalization (median)")


def plain_times(axes: Axes, label: str) -> None:
    """Steps on a logarithmic axis, as 100, 1k, 10k."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)


def plain_log(axes: Axes, ticks: Sequence[float]) -> None:
    """Ticks of a logarithmic axis upwards that is too short for powers of ten."""
    low, high = axes.get_ylim()
    at = [value for value in ticks if low <= value <= high]
    axes.yaxis.set_major_locator(FixedLocator(at))
    axes.set_yticklabels([number_text(float(value)) for value in at])
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


def panels(columns: int, rows: int = 1, height: float = 2.3) -> tuple[Figure, Any]:
    """A picture across both columns of a paper, and its axes [rows, columns]."""
    picture = Figure(figsize=(WIDTH, rows * height), layout="constrained")
    return picture, picture.subplots(rows, columns, squeeze=False)


def note(picture: Figure, text: str) -> None:
    """Below the panels."""
    picture.supxlabel("\n".join(textwrap.wrap(text, LETTERS)), x=0.01, ha="left", fontsize=6.5, color=GREY)


def unended(runs: pd.DataFrame) -> list[str]:
    """A sentence if some runs go on."""
    ended = int(runs["status"].isin(ENDED).sum())
    return [] if ended == len(runs) else [f"Only {ended} of {len(runs)} runs have ended; the others are left out."]


def ended_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of `Results.runs()` that ended. Raises ValueError where none has."""
    ended = runs[runs["status"].isin(ENDED)]
    if ended.empty:
        raise ValueError("no run has ended yet: there is nothing to answer with")
    return ended


def forked_from(forks: pd.DataFrame) -> pd.Series:
    """The run that each row of `Results.runs()` was forked from. Raises ValueError where they are no forks."""
    if "init.from_run.run" not in forks:
        raise ValueError("the runs of the second stage are no forks: none has an init.from_run")
    return forks["init.from_run.run"]


def mean_text(mean: float, low: float, high: float) -> str:
    """`1.24 (1.1 to 1.38)`; without an interval where there is none; `none` for nan."""
    if not np.isfinite(mean):
        return "none"
    return f"{mean:.3g} ({low:.3g} to {high:.3g})" if np.isfinite(low) and np.isfinite(high) else f"{mean:.3g}"


def edge_warnings(found: Sequence[tuple[str, Any, str]], what: str) -> list[str]:
    """Sentences for what `grokjax.analysis.answers.edges` found."""
    return [
        f"Warning: {what}, {short_key(key)} {value_text(value)} is the {end} tried; what is best may lie beyond."
        for key, value, end in found
    ]


def shown(key: str, value: Any) -> str:
    """`weight_decay 0.3`."""
    return f"{short_key(key)} {'none' if is_missing(value) else value_text(value)}"
