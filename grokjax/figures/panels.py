"""Pictures of bands: a block an arm, its head that tells the colors above rows of panels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from grokjax.analysis.cells import is_number
from grokjax.analysis.over_runs import solid_points
from grokjax.analysis.thinning import envelope
from grokjax.figures.bands import ArmBands
from grokjax.figures.groups import Grouping, has_color_bar
from grokjax.figures.style import SCALE, group_colors, log_upwards, most_columns, picture_width
from grokjax.figures.together import lying_together
from grokjax.figures.units import unit_of

MOST_POINTS = 600  # of a band's outline
WIDTH, THIN = 1.1, 0.6  # of lines; of many
STYLES: tuple[Any, ...] = ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1)))
ENDED = (0, (1, 1.6))  # dashes of a line most of whose runs have ended
LETTER = 0.062  # inches, at the legend's size
LINE = 0.16  # inches, of a legend's line
HANDLE = 0.48  # inches, of its line and what is around it
BAR = 0.09  # inches, of a color bar
HEAD = "head"


def arm_panels(
    arms: Sequence[ArmBands], rows: Sequence[Sequence[Sequence[str]]], heights: Sequence[float], label: str = ""
) -> tuple[Figure, list[dict[str, Axes]]]:
    """A picture with a block an arm, and of each arm its panels by name.

    rows: of each arm the names of its panels, row by row; a name that is repeated is one wide panel. heights: inches of
    such a row, the last for all that follow. label: what lies across all panels.
    """
    rows = [fitted(block, most_columns(picture_width())) for block in rows]
    columns = max(len(row) for block in rows for row in block)
    arms = [_with_note(arm, block) for arm, block in zip(arms, rows, strict=True)]
    mosaic, inches = [], []
    for index, (arm, block) in enumerate(zip(arms, rows, strict=True)):
        for row in ([HEAD] * columns, *block):
            empty = ["."] * (columns - len(row))
            mosaic.append([f"{index} {name}" for name in row] + empty)
        inches += [head_inches(arm), *(heights[min(at, len(heights) - 1)] for at in range(len(block)))]
    picture = Figure(figsize=(picture_width(), sum(inches) + 0.35), layout="constrained")
    panels = picture.subplot_mosaic(mosaic, height_ratios=inches)
    picture.supxlabel(label, fontsize=7.5)
    for index, arm in enumerate(arms):
        draw_head(panels[f"{index} {HEAD}"], arm)
    return picture, [
        {name: panels[f"{index} {name}"] for row in block for name in row} for index, block in enumerate(rows)
    ]


def _with_note(arm: ArmBands, rows: Sequence[Sequence[str]]) -> ArmBands:
    """The arm with a word about lines that lie on each other; of many thin ones a reader expects it."""
    if has_color_bar(arm.grouping):
        return arm
    together = lying_together(arm, {name for row in rows for name in row})
    return replace(arm, measured="; ".join(filter(None, [arm.measured, together])))


def name_arms(arms: Sequence[ArmBands], blocks: Sequence[dict[str, Axes]]) -> None:
    """Puts the arm before the title of every panel, where there are several."""
    if len({arm.grouping.arm for arm in arms}) == 1:
        return
    for arm, panels in zip(arms, blocks, strict=True):
        for axes in panels.values():
            axes.set_title(f"{arm.grouping.arm}: {axes.get_title()}")


def fitted(rows: Sequence[Sequence[str]], most: int) -> list[Sequence[str]]:
    """Rows of at most so many panels; one wide panel stays one."""
    narrow: list[Sequence[str]] = []
    for row in rows:
        narrow += [row[:most]] if len(set(row)) == 1 else wrapped(row, most)
    return narrow


def wrapped(names: Sequence[Any], columns: int) -> list[Sequence[Any]]:
    """Names in rows of so many."""
    return [names[start : start + columns] for start in range(0, len(names), columns)]


def colors_of(grouping: Grouping) -> list[Any]:
    """One color a group."""
    if has_color_bar(grouping):
        norm = _norm(grouping)
        values = [group.values[0] for group in grouping.groups]
        return [SCALE(norm(value)) if is_number(value) else "black" for value in values]
    return group_colors(grouping.numeric, len(grouping.groups))


def line_style(grouping: Grouping, group: int) -> Any:
    """Values without a scale also differ in their dashes: where two curves are equal, both are seen."""
    return "-" if grouping.numeric else STYLES[group % len(STYLES)]


def _norm(grouping: Grouping) -> Normalize:
    values = [group.values[0] for group in grouping.groups if is_number(group.values[0])]
    low, high = min(values), max(values)
    return LogNorm(low, high) if low > 0 and high / low > 20 else Normalize(low, high)


def draw_metric(axes: Axes, arm: ArmBands, metric: str, title: str = "", log: bool | None = None) -> None:
    """All groups of an arm in one panel. title: default the metric. log: default for losses.

    On a log scale, values of 0 lie on the lowest line. Accuracies lie from 0 to 1.
    """
    bands = arm.bands[arm.bands["metric"] == metric].replace([np.inf, -np.inf], np.nan)
    colors, thin = colors_of(arm.grouping), has_color_bar(arm.grouping)
    is_log = "loss" in metric if log is None else log
    if is_log:
        axes.set_yscale("log")
        columns = ["median", "low", "high"]
        bands[columns] = bands[columns].clip(lower=_floor(bands[columns].to_numpy()))
    for group, part in bands.groupby("group", sort=True):
        index = int(group)  # pyright: ignore[reportArgumentType]
        color, dashes = colors[index], line_style(arm.grouping, index)
        if arm.sizes[index] > 1 and not thin:
            x, low, high = (part[name].to_numpy(np.float64) for name in (arm.across, "low", "high"))
            bounds = envelope(x, low, high, MOST_POINTS)
            axes.fill_between(*bounds, color=color, alpha=0.18, linewidth=0)
        draw_median(axes, part, arm.across, color=color, linestyle=dashes, linewidth=THIN if thin else WIDTH)
    axes.set_title(title or metric.replace("/", " "))
    axes.set_ylabel(unit_of(metric, arm.grouping.loss_unit))
    if metric.endswith("accuracy"):
        axes.set_ylim(-0.03, 1.03)
    if is_log:
        log_upwards(axes)


def draw_median(axes: Axes, band: pd.DataFrame, across: str, **style: Any) -> None:
    """The median of a group; dotted from where most of its runs have ended and count on with their last values."""
    x, median, solid = band[across].to_numpy(), band["median"].to_numpy(), solid_points(band)
    axes.plot(x[:solid], median[:solid], **style)
    if solid < len(x):
        first = max(solid - 1, 0)
        ended: dict[str, Any] = style | {"linestyle": ENDED}
        axes.plot(x[first:], median[first:], **ended)


def _floor(values: np.ndarray) -> float:
    values = values[values > 0]
    return float(values.min()) if len(values) else 1e-12


def head_inches(arm: ArmBands) -> float:
    """How high an arm's head is."""
    if has_color_bar(arm.grouping):
        return LINE * len(_head_lines(arm)) + BAR + 0.3
    rows = math.ceil(len(arm.grouping.groups) / _legend_columns(arm.grouping)) if arm.grouping.keys else 0
    return LINE * (0.5 + len(_head_lines(arm)) + rows)


def legend_columns(labels: Sequence[str], inches: float) -> int:
    """How many of a legend's entries stand side by side in so many inches."""
    widths = [LETTER * len(label) + HANDLE for label in labels]
    for columns in range(len(labels), 1, -1):
        if sum(column.max() for column in np.array_split(widths, columns)) <= inches:
            return columns
    return 1


def _legend_columns(grouping: Grouping) -> int:
    return legend_columns(grouping.labels, picture_width() - 0.7)


def _head_lines(arm: ArmBands) -> list[str]:
    """Arm, colored key, and what lines and bands are, in lines of the picture's width."""
    grouping = arm.grouping
    name = "" if grouping.arm == "main" else f"arm {grouping.arm}"
    text = "   ".join(filter(None, [name, f"color: {grouping.name}" if grouping.keys else "", arm.note]))
    return textwrap.wrap(text, int((picture_width() - 0.5) / LETTER)) or [""]


def draw_head(axes: Axes, arm: ArmBands) -> None:
    """Arm, colored key, what lines and bands are; below it the values and their colors."""
    axes.set_axis_off()
    grouping = arm.grouping
    axes.text(0, 1, "\n".join(_head_lines(arm)), transform=axes.transAxes, va="top", fontsize=7.5)
    if has_color_bar(grouping):
        top = ScaledTranslation(0, 1, axes.transAxes)  # pyright: ignore[reportArgumentType]
        below = axes.figure.dpi_scale_trans + top  # in inches
        place = blended_transform_factory(axes.transAxes, below)
        bar = axes.inset_axes((0.0, -LINE * len(_head_lines(arm)) - 0.05 - BAR, 0.5, BAR), transform=place)
        mappable = ScalarMappable(_norm(grouping), SCALE)
        axes.figure.colorbar(mappable, cax=bar, orientation="horizontal")
    elif grouping.keys:
        styles = [(color, line_style(grouping, group)) for group, color in enumerate(colors_of(grouping))]
        below = ScaledTranslation(0, -LINE * (len(_head_lines(arm)) + 0.1), axes.figure.dpi_scale_trans)
        legend = axes.legend(
            [Line2D([], [], color=color, linestyle=dashes, linewidth=WIDTH) for color, dashes in styles],
            grouping.labels,
            loc="upper left",
            bbox_to_anchor=(0, 1),
            bbox_transform=axes.transAxes + below,
            ncols=_legend_columns(grouping),
            borderaxespad=0,
            borderpad=0,
            handlelength=2.4,
            columnspacing=1.4,
            labelspacing=0.3,
        )
        legend.set_in_layout(False)
