"""Circuit efficiency: train loss against norm, and logits per norm along an axis, memorizing and generalizing apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokjax.analysis.cells import varied_keys
from grokjax.analysis.efficiency import efficiency
from grokjax.analysis.keys import short_key
from grokjax.figures.groups import Grouping, check_colors, check_key, group_runs, number_axis, varied_arm
from grokjax.figures.null_place import NullPlace, null_place
from grokjax.figures.panels import colors_of, legend_columns
from grokjax.figures.style import log_upwards, paper, picture_width, span_text, value_ticks
from grokjax.results.read import Results

LABELS, SIZES = "task.op", "task.train_fraction"  # what is colored and across where they vary
MARKERS = {"memorizing": "s", "generalizing": "o", "neither": "x"}
DODGE = 0.018  # of the axis, between groups
EDGE = 0.07  # of the axis, beyond its first and last value


@dataclass(frozen=True)
class EfficiencyData:
    """points: one row a run, as `grokjax.analysis.efficiency.efficiency` has it, with group (its index), x, and
    circuit: the logits per norm that its circuit is measured by (nan: neither memorizing nor generalizing)."""

    grouping: Grouping
    x: str
    points: pd.DataFrame
    null: NullPlace | None  # where runs of no number lie on x, whose own x is nan
    left_out: int  # runs that have not ended, or have no snapshot at the step


def data(
    results: Results, by: str | None = None, x: str | None = None, arm: str | None = None, step: int | None = None
) -> EfficiencyData:
    """Train loss against norm, and logits per norm along an axis, of circuits.

    Of a generalizing network the circuit's logits are those in the key frequencies, where there are such (see
    `grokjax.analysis.progress`), else all; of a memorizing one all. Raises ValueError without an axis.

    by: key that is colored; default: task.op where it varies, else the arm's first axis
    x: key across; default: task.train_fraction where it varies, else the first axis of numbers
    arm: which arm; default: the first that varies more than seeds
    step: of the snapshots; default: each run's end
    Example: grokjax figure efficiency runs/data_fraction
    """
    name, by = varied_arm(results, arm), by and check_key(results, by)
    _, x = number_axis(results, [name], x, SIZES, by)
    varied = [key for key in varied_keys(results, name) if key != x]
    by = by or (LABELS if LABELS in varied else next(iter(varied), x))
    runs = results.planned()
    grouping = group_runs(results, runs, name, by)
    check_colors(by, len(grouping.groups))
    group_of = grouping.group_of
    ended = [run_id for run_id in group_of if run_id in results.ends]
    if not ended:
        raise ValueError(f"nothing to draw: no run of arm {name} in {results.path} has ended yet")
    circuits = efficiency(results, ended, "last" if step is None else step)
    kind, logits = circuits["kind"], circuits["efficiency/correct"]
    in_frequencies = circuits["efficiency/trig_correct"].fillna(logits)
    points = circuits.assign(
        group=circuits["run_id"].map(group_of),
        x=circuits["run_id"].map(runs.set_index("run_id")[x].astype(float)),
        circuit=in_frequencies.where(kind == "generalizing", logits.where(kind == "memorizing")),
    )
    of_points = runs[runs["run_id"].isin(points["run_id"])]
    null = null_place(results, of_points, x, is_log(points["x"]))
    return EfficiencyData(grouping, x, points, null, len(group_of) - len(ended))


def is_log(x: pd.Series) -> bool:
    """Whether the axis is logarithmic."""
    return bool(x.min() > 0 and x.max() > 20 * x.min())


def table(data: EfficiencyData) -> pd.DataFrame:
    """One row a run that is drawn: arm, run_id, group, x (named by its key), and what `efficiency` has, circuit."""
    points = data.grouping.with_labels(data.points)
    if data.null is not None:
        points["x"] = points["x"].astype(object).where(points["x"].notna(), data.null.text)
    points = points.drop(columns=data.x, errors="ignore").rename(columns={"x": data.x})
    first = ["arm", "run_id", "group", data.x]
    return points[[*first, *points.columns.drop(first)]]


@paper()
def figure(data: EfficiencyData) -> Figure:
    """Left: train loss against norm, a point a run. Right: logits per norm, a point a run and their medians."""
    picture = Figure(figsize=(picture_width(), 3.1), layout="constrained")
    left, right = picture.subplots(1, 2)
    _draw_losses(left, data)
    _draw_circuits(right, data)
    colors = colors_of(data.grouping)
    handles = [
        Line2D([], [], color=color, linewidth=3, label=label)
        for color, label in zip(colors, data.grouping.labels, strict=True)
    ]
    for kind, marker in MARKERS.items():
        if (data.points["kind"] == kind).any():
            handles.append(Line2D([], [], color="black", marker=marker, markersize=3.5, linestyle="none", label=kind))
    columns = legend_columns([str(handle.get_label()) for handle in handles], picture_width())
    picture.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.2)
    picture.suptitle(_title(data), fontsize=7.5, x=0.02, ha="left")
    return picture


def _title(data: EfficiencyData) -> str:
    text = "" if data.grouping.arm == "main" else f"arm {data.grouping.arm}:   "
    counts = data.points.groupby(["group", "x"], dropna=False).size()
    runs = span_text(counts.min(), counts.max())
    text += f"color: {data.grouping.name}   {len(data.points)} runs, {runs} a color and {short_key(data.x)}"
    text += "; medians and min–max bands over runs; of generalizing networks the logits in the key frequencies"
    pooled = ", ".join(short_key(key) for key in data.grouping.pooled if key != data.x)
    if pooled:
        text += f", also over {pooled}"
    if data.left_out:
        text += f"   ({data.left_out} runs have not ended)"
    return text


def _draw_losses(axes: Axes, data: EfficiencyData) -> None:
    colors = colors_of(data.grouping)
    drawn = data.points[(data.points["train/loss"] > 0) & np.isfinite(data.points["train/loss"])]
    for row in drawn.to_dict("records"):
        style: dict[str, Any] = {"color": colors[row["group"]], "markersize": 3.2}
        axes.plot(row["norm"], row["train/loss"], MARKERS[row["kind"]], **style)
    axes.set_yscale("log")
    if len(drawn):
        log_upwards(axes)
    axes.set_xlabel("L2 norm of all parameters together")
    axes.set_ylabel(data.grouping.loss_unit)
    axes.set_title(f"train loss, at every {short_key(data.x)}")


def _draw_circuits(axes: Axes, data: EfficiencyData) -> None:
    """A line through the medians of each group and kind; groups stand side by side where x is the same."""
    colors, points = colors_of(data.grouping), data.points.dropna(subset="circuit")
    values, log = data.points["x"].dropna(), is_log(data.points["x"])
    if data.null:
        points = points.fillna({"x": data.null.x})
    scaled, unscaled = (np.log, np.exp) if log else (np.asarray, np.asarray)
    width = np.ptp(scaled(values)) or 1
    for (group, kind), runs in points.groupby(["group", "kind"], sort=True):
        index = int(group)  # pyright: ignore[reportArgumentType]
        shift = DODGE * (index - (len(colors) - 1) / 2) * width
        style: dict[str, Any] = {"color": colors[index], "marker": MARKERS[str(kind)]}
        axes.plot(unscaled(scaled(runs["x"]) + shift), runs["circuit"], ls="none", mfc="white", markersize=2.4, **style)
        over = runs.groupby("x")["circuit"].agg(["median", "min", "max"])
        x = unscaled(scaled(over.index) + shift)
        axes.fill_between(x, over["min"], over["max"], color=colors[index], alpha=0.18, linewidth=0)
        axes.plot(x, over["median"], markersize=3.6, **style)
    if log:
        axes.set_xscale("log")
    value_ticks(axes, values, data.null)
    places = [*values, data.null.x] if data.null else values
    low, high = float(np.min(scaled(places))), float(np.max(scaled(places)))
    margin = EDGE * ((high - low) or 1.0)
    axes.set_xlim(float(unscaled(low - margin)), float(unscaled(high + margin)))
    axes.set_xlabel(short_key(data.x))
    axes.set_ylabel("correct logit / norm")
    axes.set_title("efficiency of circuits")
