"""Optimizers compared, each at the best of its own sweep: how many runs generalize, out of how many that were tried."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from grokjax.analysis.cells import by_values, ended_runs, plain_value, runs_of, varied_keys
from grokjax.analysis.keys import short_key
from grokjax.analysis.outcomes import cell_outcome, edges, ranking
from grokjax.figures.groups import check_colors, check_key, chosen_arms, number_axis
from grokjax.figures.null_place import NullPlace, null_place
from grokjax.figures.panels import legend_columns
from grokjax.figures.style import (
    GREY,
    PALETTE,
    paper,
    picture_width,
    span_text,
    steps_text,
    value_text,
    value_ticks,
)
from grokjax.results.read import Results

FIRST_CHOICE = "optimizer.lr"
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
ROW = 0.52  # inches, of an optimizer in the panel of the best
SIDE_BY_SIDE = 5.5  # inches that both panels need
DODGE = 0.06  # decades between optimizers, so that equal fractions are all seen
WARNING = "#A3123A"


@dataclass(frozen=True)
class OptimizersData:
    """settings: one row an optimizer and setting of its axes: optimizer, a column a key, runs, generalized, diverged,
    fraction, low, high and more (see `grokjax.analysis.outcomes.cell_outcome`), drawn (the best at its x), best (of the
    optimizer), tried_settings, tried_runs, warning (both of the best only)."""

    by: str
    x: str
    names: tuple[str, ...]
    keys: tuple[str, ...]  # the hyperparameters swept by any optimizer, x among them
    settings: pd.DataFrame
    warnings: tuple[str, ...]
    unended: int  # runs left out since they go on
    null: NullPlace | None  # where runs of no number lie on x


def data(results: Results, by: str | None = None, x: str | None = None, arm: str | None = None) -> OptimizersData:
    """Optimizers compared: how many runs generalize, along x and at the best of each.

    A setting is one value of every axis but seeds; the best has the largest fraction generalized, then the smallest
    median step (who never got there is later than any other), then the largest accuracy. A diverged run counts; if it
    had not generalized before, as one that did not. Raises ValueError without an axis of numbers, and where no run has
    ended.

    by: arm, or a key that tells optimizers apart; default: arm where there are
    several, else optimizer.name (SGD with momentum apart)
    x: key across; default: optimizer.lr if it is varied, else the first axis of numbers
    arm: only this arm of the sweep; default: all
    Example: grokjax figure optimizers runs/optimizers
    """
    arms = chosen_arms(results, arm)
    by = by or ("arm" if len(arms) > 1 else "optimizer")
    if by not in ("arm", "optimizer"):
        by = check_key(results, by)
    _, x = number_axis(results, arms, x, FIRST_CHOICE, by, gaps=True)
    parts = [_named(runs_of(results.runs(), name), name, by) for name in arms]
    runs = pd.concat(parts).drop_duplicates(["optimizer", "run_id"])
    ended = ended_runs(runs)
    if ended.empty:
        raise ValueError(f"nothing to draw: no run in {results.path} has ended yet")
    names = tuple(ended["optimizer"].unique())
    check_colors(by, len(names), len(PALETTE))
    swept = dict.fromkeys([x, *(key for name in arms for key in varied_keys(results, name) if key != by)])
    each = [_settings(part, str(name), list(swept), x) for name, part in ended.groupby("optimizer", sort=False)]
    settings = pd.concat(each, ignore_index=True)
    warnings = tuple(text for text in settings["warning"] if text)
    null = null_place(results, ended, x, is_log_scale(ended[x]))
    return OptimizersData(by, x, names, tuple(swept), settings, warnings, len(runs) - len(ended), null)


def _named(runs: pd.DataFrame, arm: str, by: str) -> pd.DataFrame:
    if by == "arm":
        return runs.assign(optimizer=arm)
    if by != "optimizer":
        return runs.assign(optimizer=[value_text(plain_value(value), by) for value in runs[by]])
    momentum = runs.get("optimizer.momentum", pd.Series(0.0, runs.index)).fillna(0.0).astype(float)
    names = runs["optimizer.name"].astype(str)
    return runs.assign(optimizer=names.where(momentum == 0, names + " + momentum"))


def _settings(runs: pd.DataFrame, name: str, keys: list[str], x: str) -> pd.DataFrame:
    """The settings of one optimizer, as in `OptimizersData`."""
    rows = []
    for values, positions in by_values(runs, keys).items():
        setting = {"optimizer": name} | dict(zip(keys, values, strict=True))
        rows.append(setting | cell_outcome(runs.iloc[positions]))
    frame = pd.DataFrame(rows).sort_values(x, kind="stable", ignore_index=True)
    ranked = ranking(frame)
    best = frame.index == ranked.index[0]
    return frame.assign(
        drawn=frame.index.isin(ranked.drop_duplicates(x).index),
        best=best,
        tried_settings=len(frame),
        tried_runs=len(runs),
        warning=np.where(best, _warning(name, frame, ranked.index[0], keys), ""),
    )


def _warning(name: str, frame: pd.DataFrame, best: Any, keys: list[str]) -> str:
    """What makes the best of a sweep no best: nobody generalized, or it lies where the sweep ends."""
    if not frame["generalized"].any():
        return f"{name}: no run generalized, at any setting"
    ends = []
    for key, value, end in edges(frame, best, keys):
        ends.append(f"the best {short_key(key)} {value_text(value)} is the {end} tried")
    return f"{name}: {', '.join(ends)}" if ends else ""


def table(data: OptimizersData) -> pd.DataFrame:
    """One row an optimizer and setting, as in `OptimizersData`."""
    settings, x = data.settings, data.x
    if data.null is not None:
        settings = settings.assign(**{x: settings[x].astype(object).where(settings[x].notna(), data.null.text)})
    return settings


@paper()
def figure(data: OptimizersData) -> Figure:
    """Fraction generalized along x at the left; each optimizer's best, with what was tried, at the right."""
    warnings = [f"! {text}" for text in data.warnings]
    height = max(2.0, ROW * len(data.names) + 0.75) + 0.13 * (len(warnings) + 1)
    stacked = picture_width() < SIDE_BY_SIDE
    if stacked:
        height += 2.2
    picture = Figure(figsize=(picture_width(), height), layout="constrained")
    if stacked:  # each with margins of its own
        left, right = (part.subplots() for part in picture.subfigures(2, 1, squeeze=False).ravel())
    else:
        left, right = picture.subplots(1, 2)
    _draw_sweep(left, data)
    _draw_best(right, data)
    picture.supxlabel(_note(data), x=0.01, ha="left", fontsize=6.5)
    if warnings:
        picture.suptitle("\n".join(warnings), x=0.01, ha="left", fontsize=7.5, color=WARNING)
    return picture


def _draw_sweep(axes: Axes, data: OptimizersData) -> None:
    points = data.settings[data.settings["drawn"]]
    least, log = _scale(axes, points[data.x], data.null)
    for index, name in enumerate(data.names):
        part = points[points["optimizer"] == name]
        shift = DODGE * (index - (len(data.names) - 1) / 2)
        x = part[data.x].to_numpy(np.float64)
        if data.null:
            x = np.where(np.isnan(x), data.null.x, x)
        if log:
            x = np.where(x > 0, x * 10**shift, shift * least)
        fraction = part["fraction"].to_numpy()
        reach = np.maximum([fraction - part["low"], part["high"] - fraction], 0)
        style: dict[str, Any] = {"color": PALETTE[index], "marker": MARKERS[index], "label": name, "markersize": 3.2}
        axes.errorbar(x, fraction, reach, capsize=1.5, elinewidth=0.6, capthick=0.6, **style)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel(short_key(data.x))
    axes.set_ylabel("fraction generalized")
    columns = legend_columns(data.names, picture_width() / (1 if picture_width() < SIDE_BY_SIDE else 2) - 0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderpad=0.1, columnspacing=1.2, fontsize=6.5)


def is_log_scale(column: pd.Series) -> bool:
    """Whether an axis of these values is logarithmic: where they span a decade; 0 has room then."""
    values = column.dropna().to_numpy(np.float64)
    positive = values[values > 0]
    return len(positive) > 0 and values.min() >= 0 and bool(positive.max() >= 10 * positive.min() or 0 in values)


def _scale(axes: Axes, column: pd.Series, null: NullPlace | None) -> tuple[float, bool]:
    """The least positive value, and whether the axis is logarithmic."""
    values = column.dropna().to_numpy(np.float64)
    if not is_log_scale(column):
        if null:
            value_ticks(axes, values, null)
        return 1.0, False
    least = float(values[values > 0].min())
    if 0 in values:
        axes.set_xscale("symlog", linthresh=least, linscale=0.4)
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xscale("log")
    if null or 0 not in values:
        value_ticks(axes, values, null)
    return least, True


def _draw_best(axes: Axes, data: OptimizersData) -> None:
    best = data.settings[data.settings["best"]]
    for y, row in enumerate(best.to_dict("records")):
        axes.plot([row["low"], row["high"]], [y, y], color=PALETTE[y], linewidth=1.2)
        axes.plot(row["fraction"], y, color=PALETTE[y], marker=MARKERS[y], markersize=4.5)
        axes.text(1.03, y, _best_text(data, row), fontsize=6.5, va="center", transform=axes.get_yaxis_transform())
    names = list(best["optimizer"].where(best["warning"] == "", best["optimizer"] + " !"))
    axes.set_yticks(range(len(names)), names)
    for label, color in zip(axes.get_yticklabels(), PALETTE, strict=False):
        label.set(color=color, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.06, 1.06)
    axes.set_xlabel("fraction generalized")
    axes.set_title("best setting of each", loc="left")
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.5)
    axes.tick_params(axis="y", length=0)


def _best_text(data: OptimizersData, row: dict[Any, Any]) -> str:
    settings = data.settings[data.settings["optimizer"] == row["optimizer"]]
    keys = [key for key in data.keys if settings[key].nunique(dropna=False) > 1]
    setting = ", ".join(f"{short_key(key)} {value_text(row[key], key)}" for key in keys) or "its only setting"
    median = steps_text(row["median_step"]) if np.isfinite(row["median_step"]) else "never"
    return "\n".join(textwrap.wrap(setting, 36)) + (
        f"\n{row['generalized']}/{row['runs']} runs, median step {median}\n"
        f"final test accuracy {row['accuracy']:.3g} (median)\n"
        f"of {row['tried_settings']} settings, {row['tried_runs']} runs"
    )


def _note(data: OptimizersData) -> str:
    runs = span_text(data.settings["runs"].min(), data.settings["runs"].max())
    text = f"Bars: 95 % Wilson intervals over the {runs} runs of a setting; "
    text += "median step: of generalization, who never got there is later than any. "
    others = ", ".join(short_key(key) for key in data.keys if key != data.x)
    if others:
        where = "Above" if picture_width() < SIDE_BY_SIDE else "Left"
        text += f"{where}: at each {short_key(data.x)} the best over {others}. "
    text += "A best was chosen by the runs shown, so it is optimistic."
    if data.unended:
        text += f" {data.unended} runs have not ended and are left out."
    return text
