"""The norm of every matrix over log steps: one panel a matrix, or all in one to see which of them meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from grokjax.analysis.cells import runs_of
from grokjax.analysis.curve_batches import TOTAL
from grokjax.analysis.keys import short_key
from grokjax.figures.bands import ArmBands, arm_bands, bands_table
from grokjax.figures.groups import chosen_arms
from grokjax.figures.panels import arm_panels, draw_median, draw_metric, legend_columns, name_arms, wrapped
from grokjax.figures.style import PALETTE, log_axis, log_label, most_columns, paper, picture_width
from grokjax.figures.together import is_log_metric
from grokjax.figures.units import NORM
from grokjax.results.read import Results
from grokjax.spec.shapes import OFF_PATH, is_matrix, is_on_path

PANEL = 1.15  # inches
# The gradient of these has <W, grad W> equal for all in a homogeneous network; the others only move attention.
PATH, OTHERS = "on the path to the logits", "others"
COLORS = {PATH: PALETTE[0], OTHERS: PALETTE[1]}
MEETING = 1.75  # inches of a panel that holds all matrices
MEETING_WIDTH = 2.2
MEDIAN = 0.9  # of a line's width, where all are in one panel
LABEL = 0.085  # of its height, that a matrix's name takes


@dataclass(frozen=True)
class NormData:
    """Bands of all norms. equal: all of an arm's matrices in one panel a group."""

    arms: list[ArmBands]
    equal: bool


def data(results: Results, by: str | None = None, arm: str | None = None, equal: bool = False) -> NormData:
    """The norm of every matrix over log steps: median and band over seeds.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    equal: all matrices in one panel a value, to see which of them end at one norm
    Example: grokjax figure norms runs/quickstart --arm grok --equal
    """
    return NormData(
        arm_bands(results, {name: norms_of(results, name) for name in chosen_arms(results, arm)}, by, arm), equal
    )


def norms_of(results: Results, arm: str) -> list[str]:
    """The norms of an arm's matrices, from the input to the logits, and norm/total; vectors are left out."""
    names: dict[str, None] = {}
    for run_id in runs_of(results.planned(), arm)["run_id"]:
        names |= dict.fromkeys(f"norm/{name}" for name in results.parameters(run_id) if is_matrix(name))
    known = results.metrics()
    return [name for name in [*names, TOTAL] if name in known]


def set_of(metric: str) -> str:
    """Whether a matrix is on the path to the logits: of a transformer all but W_Q, W_K, W_pos; of an MLP all."""
    return PATH if is_on_path(metric.removeprefix("norm/")) else OTHERS


def final_spreads(arm: ArmBands) -> pd.DataFrame:
    """How far the final norms of a set of matrices lie apart: one row an arm's group (its index) and set, with step
    (the last), least and most of the set's median norms, ratio of the two."""
    rows = []
    for group, part in arm.bands[arm.bands["metric"] != TOTAL].groupby("group", sort=True):
        last = part.sort_values("step").groupby("metric").last()
        for name, ends in last.groupby(last.index.map(set_of), sort=True):
            least, most = float(ends["median"].min()), float(ends["median"].max())
            ratio = most / least if least > 0 else math.nan
            rows.append((group, name, int(ends["step"].max()), least, most, ratio))
    return pd.DataFrame(rows, columns=["group", "set", "step", "least", "most", "ratio"])


def table(data: NormData) -> pd.DataFrame:
    """One row an arm, group, metric and step: see `bands_table`. With `equal` also the `set` of every matrix, and rows
    of metric `ratio`: low and high are the least and most of a set's final norms, the median is their ratio."""
    rows = bands_table(data.arms)
    if not data.equal:
        return rows
    rows["set"] = [set_of(name) if name != TOTAL else None for name in rows["metric"]]
    ratios = []
    for arm in data.arms:
        spreads = final_spreads(arm).rename(columns={"ratio": "median", "least": "low", "most": "high"})
        for spread in spreads.to_dict("records"):
            values = dict(zip(arm.grouping.keys, arm.grouping.groups[spread["group"]].told, strict=True))
            ratios.append({"arm": arm.grouping.arm, "metric": "ratio"} | values | spread)
    return pd.concat([rows, pd.DataFrame(ratios).reindex(columns=rows.columns)], ignore_index=True)


@paper()
def figure(data: NormData) -> Figure:
    """A grid of panels for each arm: one a matrix; with `equal` one a group."""
    return _draw_equal(data.arms) if data.equal else _draw_each(data.arms)


def _draw_each(arms: list[ArmBands]) -> Figure:
    metrics = [list(dict.fromkeys(arm.bands["metric"])) for arm in arms]
    most = max(map(len, metrics))
    columns = min(5 if most > 8 else min(most, 4), most_columns(picture_width()))
    rows = [wrapped(names, columns) for names in metrics]
    picture, blocks = arm_panels(arms, rows, [PANEL], log_label(arms[-1].bands["step"]))
    for arm, panels in zip(arms, blocks, strict=True):
        for index, (metric, axes) in enumerate(panels.items()):
            log = is_log_metric(arm, metric)
            title = "total norm" if metric == TOTAL else metric.removeprefix("norm/")
            draw_metric(axes, arm, metric, title, log)
            log_axis(axes, arm.bands["step"])
            axes.tick_params(labelbottom=index + columns >= len(panels))
            if not log:
                axes.yaxis.set_major_locator(MaxNLocator(4))
            if index % columns:
                axes.set_ylabel("")
    name_arms(arms, blocks)
    return picture


def _draw_equal(arms: list[ArmBands]) -> Figure:
    """One panel a group, all of an arm with the same axes."""
    most = max(len(arm.grouping.groups) for arm in arms)
    columns = min(2 if most == 4 else min(most, 3), max(1, int(picture_width() / MEETING_WIDTH)))
    rows = [wrapped(arm.grouping.labels, columns) for arm in arms]
    uncolored = [replace(arm, grouping=replace(arm.grouping, keys=())) for arm in arms]
    picture, blocks = arm_panels(uncolored, rows, [MEETING], log_label(arms[-1].bands["step"]))
    sets = set()
    for arm, panels in zip(arms, blocks, strict=True):
        bands, spreads = arm.bands[arm.bands["metric"] != TOTAL], final_spreads(arm)
        sets |= set(spreads["set"])
        median = bands.loc[bands["median"] > 0, "median"]
        limits = float(median.min()) / 1.1, float(median.max()) * 2.6  # room for the ratios
        for index, axes in enumerate(panels.values()):
            _draw_group(axes, bands[bands["group"] == index], arm.sizes[index] > 1)
            log_axis(axes, bands["step"])
            _log_norms(axes, *limits)
            texts = zip(arm.grouping.keys, arm.grouping.groups[index].texts, strict=True)
            axes.set_title(", ".join(f"{short_key(key)} {text}" for key, text in texts))
            axes.set_ylabel(NORM if index % columns == 0 else "")
            _mark(axes, bands[bands["group"] == index], spreads[spreads["group"] == index])
    name_arms(arms, blocks)
    words = {PATH: f"matrices {PATH}", OTHERS: ", ".join(OFF_PATH)}
    lines = [
        Line2D([], [], color=color, linewidth=MEDIAN, label=words[name])
        for name, color in COLORS.items()
        if name in sets
    ]
    columns = legend_columns([str(line.get_label()) for line in lines], picture_width())
    picture.legend(handles=lines, loc="outside upper left", ncols=columns)
    return picture


def _draw_group(axes: Axes, bands: pd.DataFrame, several: bool) -> None:
    for metric, part in bands.groupby("metric", sort=False):
        color = COLORS[set_of(str(metric))]
        if several:
            axes.fill_between(part["step"], part["low"], part["high"], color=color, alpha=0.12, linewidth=0)
        draw_median(axes, part, "step", color=color, linewidth=MEDIAN)


def _log_norms(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis upwards, with plain numbers at 1, 2 and 5 times powers of ten."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, bands: pd.DataFrame, spreads: pd.DataFrame) -> None:
    """At the end: a bracket over each set's norms with their ratio, and the matrices' names."""
    beside = axes.get_yaxis_transform()  # x: parts of the panel; y: norms
    spread_of = spreads.set_index("set").to_dict("index")
    for index, name in enumerate(name for name in COLORS if name in spread_of):
        spread, color = spread_of[name], COLORS[name]
        text = f"largest / least at the end: {spread['ratio']:.2f}"
        axes.text(0.03, 0.97 - 0.1 * index, text, transform=axes.transAxes, va="top", fontsize=6.5, color=color)
        x = 1.015 + 0.02 * index
        ends = [spread["least"], spread["most"]]
        axes.plot([x, x], ends, transform=beside, color=color, linewidth=2, solid_capstyle="butt", clip_on=False)
    last = bands.sort_values("step").groupby("metric")["median"].last().sort_values()
    low, high = np.log(axes.get_ylim())
    heights = (np.log(last.to_numpy()) - low) / (high - low)
    for metric, height, y in zip(last.index, heights, apart(heights, LABEL), strict=True):
        color = COLORS[set_of(metric)]
        axes.plot([1.05, 1.1], [height, y], transform=axes.transAxes, color=color, linewidth=0.4, clip_on=False)
        axes.text(1.11, y, metric.removeprefix("norm/"), transform=axes.transAxes, va="center", fontsize=6, color=color)


def apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Rising heights moved as little as it takes (alike for those that touch) until neighbours are `gap` apart."""
    groups: list[tuple[float, int]] = []  # the mean height, how many
    for height in heights:
        center, count = float(height), 1
        while groups and center - groups[-1][0] < gap * (count + groups[-1][1]) / 2:
            other, more = groups.pop()
            center, count = (center * count + other * more) / (count + more), count + more
        groups.append((center, count))
    return np.concatenate([center + gap * (np.arange(count) - (count - 1) / 2) for center, count in groups])
