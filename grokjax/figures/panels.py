"""Drawing bands: one panel of groups, and the head of an arm that tells its colors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D

from grokjax.analysis.cells import is_number
from grokjax.analysis.thinning import envelope
from grokjax.figures.bands import ArmBands
from grokjax.figures.groups import MOST_GROUPS
from grokjax.figures.style import SEQUENTIAL, WIDTH, group_colors

MOST_POINTS = 600  # of a band's outline
STYLES = ("-", "--", "-.", ":")
LETTER = 0.062  # inches, at the legend's size
LINE = 0.16  # inches, of a legend's line


def has_color_bar(arm: ArmBands) -> bool:
    """Numbers too many for a legend get a color bar, thin lines and no bands."""
    return arm.grouping.numeric and len(arm.grouping.groups) > MOST_GROUPS


def arm_colors(arm: ArmBands) -> list[Any]:
    """One color a group."""
    if has_color_bar(arm):
        norm = _norm(arm)
        values = [group.values[0] for group in arm.grouping.groups]
        return [SEQUENTIAL(norm(value)) if is_number(value) else "black" for value in values]
    return group_colors(arm.grouping.numeric, len(arm.grouping.groups))


def line_style(arm: ArmBands, group: int) -> Any:
    """Values without a scale also differ in their dashes: where two curves are equal, both are seen."""
    return "-" if arm.grouping.numeric else STYLES[group % len(STYLES)]


def _norm(arm: ArmBands) -> Normalize:
    values = [group.values[0] for group in arm.grouping.groups if is_number(group.values[0])]
    low, high = min(values), max(values)
    return LogNorm(low, high) if low > 0 and high / low > 20 else Normalize(low, high)


def draw_metric(axes: Axes, arm: ArmBands, metric: str, log: bool) -> None:
    """All groups of an arm in one panel. On a log scale, values of 0 lie on the lowest line."""
    bands = arm.bands[arm.bands["metric"] == metric]
    colors, thin = arm_colors(arm), has_color_bar(arm)
    floor = _floor(bands) if log else None
    for index, part in bands.groupby("group", sort=True):
        part = part.replace([np.inf, -np.inf], np.nan)
        if floor is not None:
            columns = ["median", "low", "high"]
            part[columns] = part[columns].clip(lower=floor)
        group = int(index)  # pyright: ignore[reportArgumentType]
        color, dashes = colors[group], line_style(arm, group)
        if arm.sizes[group] > 1 and not thin:
            x, low, high = (part[name].to_numpy(np.float64) for name in (arm.across, "low", "high"))
            bounds = envelope(x, low, high, MOST_POINTS)
            axes.fill_between(*bounds, color=color, alpha=0.18, linewidth=0)
        axes.plot(part[arm.across], part["median"], color=color, linestyle=dashes, linewidth=0.6 if thin else None)
    if log:
        axes.set_yscale("log")


def _floor(bands: pd.DataFrame) -> float:
    values = bands[["median", "low", "high"]].to_numpy()
    values = values[(values > 0) & np.isfinite(values)]
    return float(values.min()) if len(values) else 1e-12


def head_inches(arm: ArmBands) -> float:
    """How high an arm's head is."""
    if has_color_bar(arm):
        return 0.62
    return LINE * (1.5 + _legend_rows(arm))


def _legend_rows(arm: ArmBands) -> int:
    return math.ceil(len(arm.grouping.groups) / _legend_columns(arm)) if arm.grouping.keys else 0


def _legend_columns(arm: ArmBands) -> int:
    longest = max(len(group.label) for group in arm.grouping.groups)
    return max(1, min(len(arm.grouping.groups), int((WIDTH - 0.6) / (LETTER * longest + 0.52))))


def draw_head(axes: Axes, arm: ArmBands, name_arm: bool) -> None:
    """Arm, colored key, what lines and bands are; below it the values and their colors."""
    axes.set_axis_off()
    grouping = arm.grouping
    parts = [f"arm {grouping.arm}" if name_arm else "", f"color: {grouping.name}" if grouping.keys else "", arm.note]
    title = "   ".join(part for part in parts if part)
    axes.text(0, 1, title, transform=axes.transAxes, va="top", fontsize=7.5)
    if has_color_bar(arm):
        bar = axes.inset_axes((0.0, 0.38, 0.5, 0.2))
        mappable = ScalarMappable(_norm(arm), SEQUENTIAL)
        axes.figure.colorbar(mappable, cax=bar, orientation="horizontal")
    elif grouping.keys:
        styles = [(color, line_style(arm, group)) for group, color in enumerate(arm_colors(arm))]
        lines = [Line2D([], [], color=color, linestyle=dashes, linewidth=2) for color, dashes in styles]
        legend = axes.legend(
            lines,
            [group.label for group in grouping.groups],
            loc="lower left",
            bbox_to_anchor=(0, 0),
            ncols=_legend_columns(arm),
            borderaxespad=0,
            borderpad=0,
            handlelength=2.2,
            columnspacing=1.4,
            labelspacing=0.3,
        )
        legend.set_in_layout(False)
