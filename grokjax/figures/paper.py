"""A paper's claims: the curves that matter, and what was measured against what was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from grokjax.analysis.cells import in_value_order
from grokjax.analysis.claims import NOT_MEASURED, REPRODUCED, Judged
from grokjax.analysis.claims_file import Picture
from grokjax.analysis.keys import short_key, whole_key
from grokjax.analysis.where import chosen_runs
from grokjax.figures.bands import curve_bands
from grokjax.figures.finish import finish
from grokjax.figures.style import (
    BLUE,
    COLUMN,
    GREY,
    ORANGE,
    drawn_at,
    group_colors,
    log_axis,
    log_label,
    log_upwards,
    paper,
    picture_width,
    value_text,
    write,
    write_table,
)
from grokjax.results.read import Results

CURVES, ROW = 1.5, 0.3  # inches: of the curves, of a claim
MOST_DECADES = 3.0  # on both sides of what was published; what lies further away is drawn at the edge
MOST_LETTERS = 24  # of a label, two of which stand side by side
COLORS = {REPRODUCED: BLUE, NOT_MEASURED: GREY}


@dataclass(frozen=True)
class PaperData:
    """bands: of the curves (see `over_runs`), by group; labels: of the groups; judged: the claims. beside: the same on
    the train set, where the metric is the test set's; else empty."""

    title: str
    metric: str
    beside: str
    bands: pd.DataFrame
    labels: tuple[str, ...]
    numeric: bool
    judged: tuple[Judged, ...]


def make_paper(results: Results, title: str, asked: Picture, judged: Sequence[Judged], path: Path) -> list[Path]:
    """Draw a paper, write it as PATH.png and PATH.svg, and its numbers as PATH.csv; return their paths."""
    with drawn_at(COLUMN):
        drawn = data(results, title, asked, judged)
        picture = figure(drawn)
    finish(picture)
    return [*write(picture, path), write_table(table(drawn), path)]


def data(results: Results, title: str, asked: Picture, judged: Sequence[Judged]) -> PaperData:
    """One line an arm and value of the key that the paper's picture asks for. Raises ValueError for what is none."""
    if asked.where is not None:
        results = chosen_runs(results, asked.where)
    runs = results.runs()
    keys = [whole_key(asked.by, map(str, runs), results.path)] if asked.by else []
    if runs["arm"].nunique() > 1:
        keys = ["arm", *keys]
    members = in_value_order(runs, keys)
    group_of = {runs["run_id"].iloc[row]: group for group, rows in enumerate(members.values()) for row in rows}
    beside = _beside(results, asked.metric)
    bands, _ = curve_bands(results, group_of, [asked.metric, *([beside] if beside else [])])
    labels = tuple(_label(keys, values) for values in members)
    return PaperData(title, asked.metric, beside, bands, labels, keys != ["arm"] and len(keys) == 1, tuple(judged))


def _beside(results: Results, metric: str) -> str:
    """What a metric of the test set is on the train set, of the whole of it where that was recorded."""
    part, _, rest = metric.partition("/")
    recorded = results.metrics()
    return next((name for name in (f"train_set/{rest}", f"train/{rest}") if part == "test" and name in recorded), "")


def _label(keys: Sequence[str], values: Sequence[Any]) -> str:
    parts = [
        str(value) if key == "arm" else f"{short_key(key)} {value_text(value, key)}"
        for key, value in zip(keys, values, strict=True)
    ]
    return ", ".join(parts)


def table(data: PaperData) -> pd.DataFrame:
    """Rows of two kinds. claim: name, what, published, criterion, measured (inf: a median that was not reached), low,
    high, runs, verdict, why. curve: name (of the line), metric, step, median, low, high, runs."""
    claims = [
        {
            "row": "claim",
            "name": each.claim.name,
            "what": each.claim.what,
            "published": each.claim.published,
            "criterion": each.claim.criterion,
            "measured": each.measured.value if each.measured else None,
            "low": each.measured.low if each.measured else None,
            "high": each.measured.high if each.measured else None,
            "runs": each.measured.runs if each.measured else None,
            "verdict": each.verdict,
            "why": each.why,
        }
        for each in data.judged
    ]
    curves = data.bands[["group", "metric", "step", "median", "low", "high", "runs"]]
    names = [data.labels[int(group)] or "all runs" for group in curves["group"]]
    curves = curves.drop(columns="group").assign(row="curve", name=names)
    return pd.concat([pd.DataFrame(claims), curves], ignore_index=True)


@paper()
def figure(data: PaperData) -> Figure:
    """Two panels at column width: the curves, and below them a row a claim."""
    rows = ROW * len(data.judged)
    legend = 0.13 * math.ceil(len(data.labels) / _legend_columns(data.labels)) if any(data.labels) else 0.0
    picture = Figure(figsize=(picture_width(COLUMN), CURVES + legend + rows + 0.75), layout="constrained")
    upper, lower = picture.subplots(2, 1, height_ratios=[CURVES + legend, rows])
    _draw_curves(upper, data)
    _draw_claims(lower, data.judged)
    picture.suptitle(data.title, fontsize=7.5)
    return picture


def _draw_curves(axes: Axes, data: PaperData) -> None:
    colors = group_colors(data.numeric, len(data.labels))
    for group, (label, color) in enumerate(zip(data.labels, colors, strict=True)):
        bands = data.bands[data.bands["group"] == group]
        band, beside = (bands[bands["metric"] == metric] for metric in (data.metric, data.beside))
        axes.plot(beside["step"], beside["median"], color=color, linewidth=0.7, linestyle=(0, (3, 1.5)))
        axes.plot(band["step"], band["median"], color=color, label=label or None)
        axes.fill_between(band["step"], band["low"], band["high"], color=color, alpha=0.18, linewidth=0)
    log_axis(axes, data.bands["step"])
    axes.set_xlabel(log_label(data.bands["step"]))
    words = [data.metric.replace("/", " "), *(["(dashed: train)"] if data.beside else [])]
    axes.set_ylabel("\n".join(words))
    if "loss" in data.metric:
        axes.set_yscale("log")
        log_upwards(axes)
    if any(data.labels):
        columns = _legend_columns(data.labels)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=6, ncols=columns, borderpad=0, labelspacing=0.2)


def _legend_columns(labels: Sequence[str]) -> int:
    """Two where there are many and they have room."""
    return 2 if len(labels) > 3 and max(map(len, labels)) <= MOST_LETTERS else 1


def _draw_claims(axes: Axes, judged: Sequence[Judged]) -> None:
    """Each claim over its published number, or, hollow, over the bound that counts; what is accepted lies in grey."""
    limit = _limit(judged)
    axes.set_xscale("log")
    axes.set(xlim=(1 / limit, limit), ylim=(len(judged) - 0.3, -0.55))
    for row, each in enumerate(judged):
        unit, color = _unit(each), COLORS.get(each.verdict, ORANGE)
        axes.text(0.01, row - 0.3, each.claim.name, transform=axes.get_yaxis_transform(), va="center", fontsize=6)
        if unit:
            low, high = (_place(bound / unit, limit) for bound in each.claim.accepted)
            axes.fill_betweenx([row - 0.06, row + 0.3], low, high, color="#E4E4E4", linewidth=0)
        if each.measured is None or not unit:
            style: dict[str, Any] = {"va": "center", "fontsize": 5.5, "color": color}
            axes.text(0.01, row + 0.12, _text(each), transform=axes.get_yaxis_transform(), **style)
        else:
            _draw_measured(axes, row + 0.12, each, unit, color, limit)
    axes.axvline(1.0, color="0.3", linewidth=0.6, zorder=0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if limit < 10:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("measured / published (hollow: / bound)")
    mark: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.4}
    names = {BLUE: "reproduced", ORANGE: "not reproduced"}
    handles = [Line2D([], [], color=color, label=name, **mark) for color, name in names.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=6, borderpad=0)


def _limit(judged: Sequence[Judged]) -> float:
    """How far the axis reaches on both sides of 1: to all that was measured, and half a decade at least."""
    decades = 0.5
    for each in judged:
        unit = _unit(each)
        if each.measured is None or not unit:
            continue
        ends = [each.measured.end, each.measured.low, each.measured.high]
        logs = [abs(math.log10(end / unit)) for end in ends if end > 0 and math.isfinite(end)]
        decades = max([decades, *(1.15 * log for log in logs)])
    return 10 ** min(decades, MOST_DECADES)


def _draw_measured(axes: Axes, row: float, each: Judged, unit: float, color: str, limit: float) -> None:
    """The value with its interval; an arrow where only a bound is known, or beyond the edge."""
    measured = each.measured
    assert measured is not None
    ratio = measured.end / unit
    ends = [_place(end / unit, limit) for end in (measured.low, measured.high)]
    if measured.is_known and not np.isnan(ends).any():
        axes.plot(ends, [row, row], color=color, linewidth=1.0)
    is_left = measured.is_below or ratio < 1 / limit
    marker = "<" if is_left else "o" if measured.is_known and ratio <= limit else ">"
    face = color if each.claim.published is not None else "white"
    style: dict[str, Any] = {"marker": marker, "markersize": 3.6, "markerfacecolor": face, "clip_on": False}
    axes.plot([_place(ratio, limit)], [row], color=color, **style)


def _unit(each: Judged) -> float:
    """What the row is divided by: the published number, or the bound; 0: it cannot be."""
    bounds = [bound for bound in (each.claim.at_least, each.claim.at_most) if bound is not None]
    unit = each.claim.published if each.claim.published is not None else bounds[0]
    return unit if unit > 0 else 0.0


def _place(value: float, limit: float) -> float:
    return value if math.isnan(value) else min(max(value, 1 / limit), limit)


def _text(each: Judged) -> str:
    """What stands in a row that has no place on the axis."""
    if each.measured is None:
        return each.verdict
    return f"{each.verdict}: {each.measured.value:.3g}, {each.claim.criterion}"
