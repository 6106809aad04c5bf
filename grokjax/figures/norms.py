"""The norm of every matrix over log steps: one panel a matrix, or all in one to see which of them meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, ScalarFormatter

from grokjax.analysis.cells import runs_of
from grokjax.figures.bands import ArmBands, arm_bands, bands_table
from grokjax.figures.groups import chosen_arms
from grokjax.figures.panels import draw_head, draw_metric, head_inches
from grokjax.figures.style import PALETTE, WIDTH, first_step, log_steps, log_steps_label, paper, short_key, value_text
from grokjax.results.read import Results
from grokjax.spec.shapes import OFF_PATH, is_matrix, is_on_path

LOG_FROM = 20.0  # largest over least norm from which a panel is logarithmic
PANEL = 1.15  # inches
# The gradient of these has <W, grad W> equal for all in a homogeneous network; the others only move attention.
PATH, OTHERS = "on the path to the logits", "others"
COLORS = {PATH: PALETTE[0], OTHERS: PALETTE[1]}
MEETING = 1.75  # inches of a panel that holds all matrices
LABEL = 0.085  # of its height, that a matrix's name takes


@dataclass(frozen=True)
class NormData:
    """Bands of all norms. spreads: None, or one row an arm, group (its index) and set of matrices: arm, group, set,
    step (the last), least and most of the set's median norms there, ratio of the two."""

    arms: tuple[ArmBands, ...]
    spreads: pd.DataFrame | None


def data(results: Results, by: str | None = None, arm: str | None = None, equal: bool = False) -> NormData:
    """Median and band over seeds of every matrix's norm and of the total, by arm and value of `by`; with `equal` also
    how far the norms of the matrices on the path to the logits are from one another at the end, and the others'."""
    arms = arm_bands(results, {name: norms_of(results, name) for name in chosen_arms(results, arm)}, by, arm)
    return NormData(tuple(arms), pd.concat(map(final_spreads, arms), ignore_index=True) if equal else None)


def norms_of(results: Results, arm: str) -> list[str]:
    """The norms of an arm's matrices, from the input to the logits, and norm/total; vectors are left out."""
    names: dict[str, None] = {}
    for run_id in runs_of(results.planned(), arm)["run_id"]:
        names |= dict.fromkeys(f"norm/{name}" for name in results.parameters(run_id) if is_matrix(name))
    known = results.metrics()
    return [name for name in [*names, "norm/total"] if name in known]


def set_of(metric: str) -> str:
    """Whether a matrix is on the path to the logits: of a transformer all but W_Q, W_K, W_pos; of an MLP all."""
    return PATH if is_on_path(metric.removeprefix("norm/")) else OTHERS


def final_spreads(arm: ArmBands) -> pd.DataFrame:
    """An arm's rows of `NormData.spreads`."""
    rows = []
    for group, part in arm.bands[arm.bands["metric"] != "norm/total"].groupby("group", sort=True):
        last = part.sort_values("step").groupby("metric").last()
        for name, ends in last.groupby(last.index.map(set_of), sort=True):
            least, most = float(ends["median"].min()), float(ends["median"].max())
            ratio = most / least if least > 0 else math.nan
            rows.append((arm.grouping.arm, group, name, int(ends["step"].max()), least, most, ratio))
    return pd.DataFrame(rows, columns=["arm", "group", "set", "step", "least", "most", "ratio"])


def table(data: NormData) -> pd.DataFrame:
    """One row an arm, group, metric and step: see `bands_table`. With spreads also the `set` of every matrix, and rows
    of metric `ratio`: low and high are the least and most of a set's final norms, the median is their ratio."""
    rows = bands_table(list(data.arms))
    if data.spreads is None:
        return rows
    rows["set"] = [set_of(name) if name != "norm/total" else None for name in rows["metric"]]
    marks = []
    for spread in data.spreads.to_dict("records"):
        arm = next(arm for arm in data.arms if arm.grouping.arm == spread["arm"])
        keys = dict(zip(arm.grouping.keys, arm.grouping.groups[spread["group"]].values, strict=True))
        what = {"metric": "ratio", "step": spread["step"], "set": spread["set"], "median": spread["ratio"]}
        marks.append({"arm": spread["arm"]} | keys | what | {"low": spread["least"], "high": spread["most"]})
    return pd.concat([rows, pd.DataFrame(marks).reindex(columns=rows.columns)], ignore_index=True)


def figure(data: NormData) -> Figure:
    """A grid of panels for each arm: one a matrix; with spreads one a group."""
    return _matrices(data.arms) if data.spreads is None else _meetings(data.arms, data.spreads)


def _matrices(arms: Sequence[ArmBands]) -> Figure:
    most = max(len(_metrics(arm)) for arm in arms)
    columns = 5 if most > 8 else min(most, 4)
    rows = [math.ceil(len(_metrics(arm)) / columns) for arm in arms]
    heights = [h for arm, count in zip(arms, rows, strict=True) for h in (head_inches(arm), *[PANEL] * count)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.35), layout="constrained")
        grid = picture.add_gridspec(len(heights), columns, height_ratios=heights)
        top = 0
        for arm, count in zip(arms, rows, strict=True):
            draw_head(picture.add_subplot(grid[top, :]), arm, name_arm=len(arms) > 1)
            _draw_arm(picture, grid, arm, top + 1, columns)
            top += count + 1
        picture.supxlabel(log_steps_label(first_step(arms[-1].bands["step"])), fontsize=7.5)
    return picture


def _metrics(arm: ArmBands) -> list[str]:
    return list(dict.fromkeys(arm.bands["metric"]))


def _draw_arm(picture: Figure, grid: GridSpec, arm: ArmBands, top: int, columns: int) -> None:
    first, last = first_step(arm.bands["step"]), int(arm.bands["step"].max())
    metrics = _metrics(arm)
    for place, metric in enumerate(metrics):
        axes = picture.add_subplot(grid[top + place // columns, place % columns])
        median = arm.bands.loc[arm.bands["metric"] == metric, "median"]
        log = bool(median.min() > 0 and median.max() > LOG_FROM * median.min())
        draw_metric(axes, arm, metric, log)
        log_steps(axes, first, last)
        axes.set_title("total norm" if metric == "norm/total" else metric.removeprefix("norm/"))
        if not log:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        if place + columns < len(metrics):
            axes.tick_params(labelbottom=False)


def _meetings(arms: Sequence[ArmBands], spreads: pd.DataFrame) -> Figure:
    most = max(len(arm.grouping.groups) for arm in arms)
    columns = 2 if most == 4 else min(most, 3)
    rows = [math.ceil(len(arm.grouping.groups) / columns) for arm in arms]
    heights = [h for count in rows for h in (0.22, *[MEETING] * count)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.6), layout="constrained")
        grid = picture.add_gridspec(len(heights), columns, height_ratios=heights)
        top = 0
        for arm, count in zip(arms, rows, strict=True):
            head = picture.add_subplot(grid[top, :])
            head.set_axis_off()
            name = f"arm {arm.grouping.arm}:   " if len(arms) > 1 else ""
            head.text(0, 1, name + arm.note, transform=head.transAxes, va="top", fontsize=7.5)
            _meet_arm(picture, grid, arm, spreads[spreads["arm"] == arm.grouping.arm], top + 1, columns)
            top += count + 1
        picture.supxlabel(log_steps_label(first_step(arms[-1].bands["step"])), fontsize=7.5)
        sets = [name for name in COLORS if (spreads["set"] == name).any()]
        words = {PATH: f"matrices {PATH}", OTHERS: ", ".join(OFF_PATH)}
        lines = [Line2D([], [], color=COLORS[name], label=words[name]) for name in sets]
        picture.legend(handles=lines, loc="outside upper left", ncols=2)
    return picture


def _meet_arm(picture: Figure, grid: GridSpec, arm: ArmBands, spreads: pd.DataFrame, top: int, columns: int) -> None:
    """One panel a group, all with the same axes."""
    bands = arm.bands[arm.bands["metric"] != "norm/total"]
    first, last = first_step(bands["step"]), int(bands["step"].max())
    median = bands.loc[bands["median"] > 0, "median"]
    low, high = float(median.min()) / 1.1, float(median.max()) * 2.6  # room for the ratios
    for group, each in enumerate(arm.grouping.groups):
        axes = picture.add_subplot(grid[top + group // columns, group % columns])
        for metric, part in bands[bands["group"] == group].groupby("metric", sort=False):
            color = COLORS[set_of(str(metric))]
            if arm.sizes[group] > 1:
                axes.fill_between(part["step"], part["low"], part["high"], color=color, alpha=0.12, linewidth=0)
            axes.plot(part["step"], part["median"], color=color, linewidth=0.9)
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        log_steps(axes, first, last)
        _few_ticks(axes, low, high)
        values = zip(arm.grouping.keys, each.values, strict=True)
        axes.set_title(", ".join(f"{short_key(key)} {value_text(value)}" for key, value in values))
        axes.set_ylabel("norm" if group % columns == 0 else "")
        _mark(axes, bands[bands["group"] == group], spreads[spreads["group"] == group])


def _few_ticks(axes: Axes, low: float, high: float) -> None:
    """Plain numbers at 1, 2 and 5 times powers of ten."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    at = [digit * 10.0**power for power in decades for digit in ((1, 2, 5) if len(decades) < 5 else (1,))]
    axes.yaxis.set_major_locator(FixedLocator(at))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, bands: pd.DataFrame, spreads: pd.DataFrame) -> None:
    """At the end: a bracket over each set's norms with their ratio, and the matrices' names."""
    beside = axes.get_yaxis_transform()  # x: parts of the panel; y: norms
    for place, name in enumerate(name for name in COLORS if name in set(spreads["set"])):
        spread = spreads[spreads["set"] == name].iloc[0]
        text = f"largest / least at the end: {spread['ratio']:.2f}"
        axes.text(0.03, 0.97 - 0.1 * place, text, transform=axes.transAxes, va="top", fontsize=6.5, color=COLORS[name])
        x = 1.015 + 0.02 * place
        ends = [spread["least"], spread["most"]]
        axes.plot([x, x], ends, transform=beside, color=COLORS[name], linewidth=2, solid_capstyle="butt", clip_on=False)
    last = bands.sort_values("step").groupby("metric")["median"].last().sort_values()
    low, high = np.log(axes.get_ylim())
    wanted = (np.log(last.to_numpy()) - low) / (high - low)
    for metric, at, y in zip(last.index, wanted, apart(wanted, LABEL), strict=True):
        color = COLORS[set_of(metric)]
        axes.plot([1.05, 1.1], [at, y], transform=axes.transAxes, color=color, linewidth=0.4, clip_on=False)
        axes.text(1.11, y, metric.removeprefix("norm/"), transform=axes.transAxes, va="center", fontsize=6, color=color)


def apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Rising places moved as little as it takes (alike for those that touch) until neighbours are `gap` apart."""
    groups: list[tuple[float, int]] = []  # the mean place, how many
    for place in places:
        center, count = float(place), 1
        while groups and center - groups[-1][0] < gap * (count + groups[-1][1]) / 2:
            other, more = groups.pop()
            center, count = (center * count + other * more) / (count + more), count + more
        groups.append((center, count))
    return np.concatenate([center + gap * (np.arange(count) - (count - 1) / 2) for center, count in groups])


def draw(results: Results, by: str | None = None, arm: str | None = None, equal: bool = False) -> Figure:
    """The norm of every matrix over log steps: median and band over seeds.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    equal: all matrices in one panel a value, to see which of them end at one norm
    Example: grokjax figure norms runs/quickstart --arm grok --equal
    """
    return figure(data(results, by, arm, equal))
