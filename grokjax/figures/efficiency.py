"""Circuit efficiency: train loss against norm, and logits per norm along an axis, memorizing and generalizing apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokjax.analysis.cells import is_number, runs_of, varied_keys
from grokjax.analysis.efficiency import efficiency
from grokjax.figures.groups import MOST_GROUPS, Grouping, check_key, chosen_arms, group_runs
from grokjax.figures.style import WIDTH, group_colors, paper, short_key, value_text, value_ticks
from grokjax.results.read import Results

LABELS, SIZES = "task.op", "task.train_fraction"  # what is colored and across where they vary
MARKERS = {"memorizing": "s", "generalizing": "o", "neither": "x"}
CIRCUITS = {"memorizing": "efficiency/correct", "generalizing": "efficiency/trig_correct"}
WHOLE = "efficiency/correct"
DODGE = 0.018  # of the axis, between groups


@dataclass(frozen=True)
class EfficiencyData:
    """points: one row a run, as `grokjax.analysis.efficiency.efficiency` has it, with group (place in groups), x, and
    circuit: the logits per norm that its circuit is measured by (nan: neither memorizing nor generalizing)."""

    grouping: Grouping
    x: str
    points: pd.DataFrame
    left_out: int  # runs that have not ended, or have no snapshot at the step


def data(
    results: Results, by: str | None = None, x: str | None = None, arm: str | None = None, step: int | None = None
) -> EfficiencyData:
    """Every run of an arm at its end, or at a step. Of a generalizing network the circuit's logits are those in the key
    frequencies, where there are such (see `grokjax.analysis.progress`), else all; of a memorizing one all.

    by: key that is colored; default task.op where it varies, else the arm's first axis besides seeds and x. x: key
    across at the right; default task.train_fraction where it varies, else the first axis of numbers. arm: default the
    first that varies more than seeds. Raises ValueError for an unknown key, arm or step, and without an axis.
    """
    arms = chosen_arms(results, arm)
    name = next((name for name in arms if varied_keys(results, name)), arms[0])
    runs = results.planned()
    x = _across(results, runs_of(runs, name), name, x, by)
    varied = [key for key in varied_keys(results, name) if key != x]
    by = by or (LABELS if LABELS in varied else next(iter(varied), x))
    grouping = group_runs(results, runs, name, by)
    if len(grouping.groups) > MOST_GROUPS:
        raise ValueError(f"{by} has {len(grouping.groups)} values; at most {MOST_GROUPS} can be told apart")
    group_of = grouping.group_of
    ended = [run_id for run_id in group_of if run_id in results.ends]
    if not ended:
        raise ValueError(f"nothing to draw: no run of arm {name} in {results.path} has ended yet")
    circuits = efficiency(results, ended, "last" if step is None else step)
    at = dict(zip(runs["run_id"], runs[x].astype(float), strict=True))
    trig = circuits[CIRCUITS["generalizing"]].fillna(circuits[WHOLE])
    generalizing, memorizing = circuits["kind"] == "generalizing", circuits["kind"] == "memorizing"
    circuit = np.select([generalizing, memorizing], [trig, circuits[WHOLE]], np.nan)
    points = circuits.assign(group=circuits["run_id"].map(group_of), x=circuits["run_id"].map(at), circuit=circuit)
    return EfficiencyData(grouping, x, points, len(group_of) - len(ended))


def _across(results: Results, runs: pd.DataFrame, arm: str, x: str | None, by: str | None) -> str:
    varied = [key for key in varied_keys(results, arm) if key != by] or varied_keys(results, arm)
    numbers = [key for key in varied if all(map(is_number, runs[key]))]
    if x is None:
        if not numbers:
            raise ValueError(f"arm {arm} varies no number but seeds: there is no axis to draw efficiencies against")
        return SIZES if SIZES in numbers else numbers[0]
    if not all(map(is_number, runs[check_key(results, x)])):
        raise ValueError(f"the values of {x} are not all numbers, so they have no place on an axis")
    return x


def table(data: EfficiencyData) -> pd.DataFrame:
    """One row a run that is drawn: arm, run_id, group, x (named by its key), and what `efficiency` has, circuit."""
    labels = [group.label for group in data.grouping.groups]
    points = data.points.assign(arm=data.grouping.arm, group=[labels[at] for at in data.points["group"]])
    if data.x in points:
        points = points.drop(columns=data.x)
    points = points.rename(columns={"x": data.x})
    first = ["arm", "run_id", "group", data.x]
    return points[[*first, *points.columns.drop(first)]]


def figure(data: EfficiencyData) -> Figure:
    """Left: train loss against norm, a point a run. Right: logits per norm, a point a run and their medians."""
    with paper():
        picture = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        left, right = picture.subplots(1, 2)
        _draw_losses(left, data)
        _draw_circuits(right, data)
        kinds = [kind for kind in MARKERS if (data.points["kind"] == kind).any()]
        groups = [group.label for group in data.grouping.groups]
        handles = [Line2D([], [], color=color, linewidth=3) for color in _colors(data)] + [
            _point("black", kind) for kind in kinds
        ]
        names = [*groups, *kinds]
        picture.legend(handles, names, loc="outside lower center", ncols=min(len(names), 7), columnspacing=1.2)
        picture.suptitle(_words(data), fontsize=7.5)
    return picture


def _colors(data: EfficiencyData) -> list[Any]:
    return group_colors(data.grouping.numeric, len(data.grouping.groups))


def _point(color: Any, kind: str) -> Line2D:
    return Line2D([], [], color=color, marker=MARKERS[kind], markersize=3.5, linestyle="none")


def _words(data: EfficiencyData) -> str:
    arm = "" if data.grouping.arm == "main" else f"arm {data.grouping.arm}:   "
    pooled = ", ".join(short_key(key) for key in data.grouping.pooled if key != data.x)
    text = f"{arm}color: {data.grouping.name}   one point a run" + (f", also over {pooled}" if pooled else "")
    return text + (f"   ({data.left_out} runs have not ended)" if data.left_out else "")


def _draw_losses(axes: Axes, data: EfficiencyData) -> None:
    colors = _colors(data)
    for row in data.points.to_dict("records"):
        if row["train/loss"] > 0 and np.isfinite(row["train/loss"]):
            axes.plot(
                row["norm"],
                row["train/loss"],
                MARKERS[row["kind"]],
                color=colors[row["group"]],
                markersize=3.2,
                alpha=0.8,
            )
    axes.set_yscale("log")
    axes.set_xlabel("norm of all parameters together")
    axes.set_title(f"train loss, at every {short_key(data.x)}")


def _draw_circuits(axes: Axes, data: EfficiencyData) -> None:
    """A line through the medians of each group and kind; groups stand side by side where x is the same."""
    colors, points = _colors(data), data.points.dropna(subset="circuit")
    values = sorted(set(data.points["x"]))
    log = values[0] > 0 and values[-1] > 20 * values[0]
    space = np.log(values) if log else np.asarray(values)
    for (group, kind), own in points.groupby(["group", "kind"], sort=True):
        index = int(group)  # pyright: ignore[reportArgumentType]
        shift = DODGE * (index - (len(colors) - 1) / 2) * (np.ptp(space) or 1)
        place = (lambda x, by=shift: x * np.exp(by)) if log else (lambda x, by=shift: x + by)
        axes.plot(place(own["x"]), own["circuit"], MARKERS[str(kind)], color=colors[index], markersize=2.6, alpha=0.4)
        medians = own.groupby("x")["circuit"].median()
        axes.plot(
            place(medians.index.to_numpy()),
            medians,
            MARKERS[str(kind)],
            linestyle="-",
            color=colors[index],
            markersize=4,
        )
    if log:
        axes.set_xscale("log")
        value_ticks(axes, values)
    else:
        axes.set_xticks(values, [value_text(value) for value in values])
    axes.set_xlabel(short_key(data.x))
    axes.set_title("correct logit / norm (generalizing: key frequencies)")


def draw(
    results: Results, by: str | None = None, x: str | None = None, arm: str | None = None, step: int | None = None
) -> Figure:
    """Train loss against norm, and logits per norm along an axis, of circuits.

    by: key that is colored; default: task.op where it varies, else the arm's first axis
    x: key across; default: task.train_fraction where it varies, else the first axis of numbers
    arm: which arm; default: the first that varies more than seeds
    step: of the snapshots; default: each run's end
    Example: grokjax figure efficiency runs/data_fraction
    """
    return figure(data(results, by, x, arm, step))
