"""What the page's script reads: runs, events, colors, bands and curves, as JSON values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from grokjax.analysis.cells import plain_value
from grokjax.analysis.curve_batches import SPIKE
from grokjax.analysis.over_runs import carried_runs, solid_points
from grokjax.figures.norms import norms_of
from grokjax.figures.style import SEQUENTIAL, short_key, value_text
from grokjax.report.axes import View, arm_axes, views
from grokjax.report.curves import Thinned, thinned
from grokjax.report.pack import StepLists, pack
from grokjax.results.read import Results
from grokjax.spec.losses import LOSSES, Loss
from grokjax.spec.shapes import last_layer

CURVES = ("train/loss", "test/loss", "train/accuracy", "test/accuracy")
FINAL = ("final/train/loss", "final/test/loss", "final/test/accuracy", "final/norm/total")
MOST_CURVES = 30_000_000  # bytes of single runs' curves; past it every n-th run has none


def payload(results: Results) -> dict[str, Any]:
    """All that the page shows. Everything in it is text, a number or null."""
    runs, events = results.runs(), results.events()
    run_index = {run_id: index for index, run_id in enumerate(runs["run_id"])}
    metrics = _metrics(results)
    last = int(runs["train.steps"].max())
    few = thinned(results, metrics, events, last)
    steps, ended = StepLists(), carried_runs(results)
    recorded = few.curves["step"].to_numpy(np.int64)
    arms = list(results.manifest.axes)
    return {
        "name": results.manifest.name,
        "arms": arms,
        "metrics": [{"name": name, "log": "loss" in name, "norm": name.startswith("norm/")} for name in metrics],
        "runs": _runs(results, runs, arms),
        "columns": _columns(results, runs),
        "events": _events(events, run_index),
        "axes": [_axes(results, runs, arm, run_index) for arm in arms],
        "views": [_view(view, few.curves, metrics, run_index, steps, ended) for view in views(results, runs)],
        "curves": _curves(few, metrics, list(runs["run_id"]), steps),
        "scale": [to_hex(SEQUENTIAL(share)) for share in np.linspace(0, 1, 9)],
        "last": last,
        "loss_unit": _loss_unit(runs),
        "first": int(min(recorded[recorded > 0], default=1)),
        "steps": steps.texts,  # the last: views and curves add to them
    }


def _loss_unit(runs: pd.DataFrame) -> str:
    units = {LOSSES.get(name, Loss).unit for name in runs["loss.name"].unique()}
    return units.pop() if len(units) == 1 else ""


def _metrics(results: Results) -> list[str]:
    """The curves and the norms of all arms' matrices, in the network's order, the total last."""
    known = results.metrics()
    norms = dict.fromkeys(name for arm in results.manifest.axes for name in norms_of(results, arm))
    total = [name for name in norms if name == "norm/total"]
    names = [*CURVES, SPIKE, *(name for name in norms if name not in total), *total]
    return [name for name in names if name in known]


def number(value: Any) -> float | int | None:
    """A number that JSON can hold, to six digits; null for what is none."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def _runs(results: Results, runs: pd.DataFrame, arms: list[str]) -> dict[str, Any]:
    last = {run_id: f"norm/{last_layer(results.parameters(run_id))}" for run_id in runs["run_id"]}
    numbers = ["seed", "fit_step", "generalization_step", "delay", "slingshots", *FINAL]
    columns: dict[str, Any] = {
        "id": list(runs["run_id"]),
        "arm": [arms.index(arm) for arm in runs["arm"]],
        "arms": [[arms.index(arm) for arm in run_arms] for run_arms in runs["arms"]],
        "outcome": [
            plain_value(value) or status for value, status in zip(runs["outcome"], runs["status"], strict=True)
        ],
        "last_layer": [last[run_id] for run_id in runs["run_id"]],
    }
    return columns | {name: [number(value) for value in runs[name]] for name in numbers if name in runs}


def _columns(results: Results, runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The swept values, run by run: what the table shows and sorts by."""
    keys = dict.fromkeys(key for axes in results.manifest.axes.values() for key in axes if key != "seed")
    columns = []
    for key in keys:
        values = [plain_value(value) for value in runs[key]]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        texts = [value_text(value) for value in values]
        sort = [number(value) for value in values] if numeric else None
        columns.append({"name": short_key(key), "texts": texts, "numbers": sort})
    return columns


def _events(events: pd.DataFrame, run_index: dict[str, int]) -> dict[str, Any]:
    of_runs = events[events["run_id"].isin(run_index)]
    return {
        "run": [run_index[run_id] for run_id in of_runs["run_id"]],
        "kind": list(of_runs["kind"]),
        "step": [int(step) for step in of_runs["step"]],
        "value": [number(value) for value in of_runs["value"]],
        "norm_jump": [number(value) for value in of_runs["norm_jump"]],
        "matrix": [plain_value(value) for value in of_runs["matrix"]],
    }


def _axes(results: Results, runs: pd.DataFrame, arm: str, run_index: dict[str, int]) -> list[dict[str, Any]]:
    """For the phase diagrams: the labels of each axis of an arm, and where on it each of its runs lies."""
    axes = []
    for axis in arm_axes(results, runs, arm):
        rank = {label: index for index, label in enumerate(axis.labels)}
        at = [[run_index[run_id], rank[label]] for run_id, label in axis.label_of.items()]
        axes.append({"key": axis.key, "name": axis.name, "labels": list(axis.labels), "at": at})
    return axes


def _view(
    view: View,
    curves: pd.DataFrame,
    metrics: list[str],
    run_index: dict[str, int],
    steps: StepLists,
    ended: set[str],
) -> dict[str, Any]:
    drawn = [name for name in metrics if name != SPIKE]
    bands = view.bands(curves, drawn, ended)
    rows = []
    for (group, name), part in bands.groupby(["group", "metric"], sort=False):
        codes = pack([part[column].to_numpy() for column in ("low", "median", "high")], "loss" in str(name))
        row = [int(group), metrics.index(str(name)), steps.add(part["step"]), *codes, solid_points(part)]  # pyright: ignore[reportArgumentType]
        rows.append(row)
    groups = [
        {
            "label": group.label,
            "color": group.color,
            "dash": group.dash,
            "runs": [run_index[run_id] for run_id in group.run_ids],
        }
        for group in view.groups
    ]
    note = view.note(set(curves["run_id"]), bands)
    return {"arm": view.arm, "name": view.name, "note": note, "groups": groups, "bands": rows}


def _curves(few: Thinned, metrics: list[str], run_ids: list[str], steps: StepLists) -> list[Any]:
    """A row a run, null without records: its steps, and of every metric it has the scale and codes."""
    size = len(few.curves) * len(metrics) * 2
    every = max(1, math.ceil(size / MOST_CURVES))
    curves: dict[str, Any] = {}
    for run_id, run in few.curves.groupby("run_id", sort=False):
        recorded = [index for index, name in enumerate(metrics) if run[name].notna().any()]
        codes = [[index, *pack([run[metrics[index]].to_numpy()], "loss" in metrics[index])] for index in recorded]
        curves[str(run_id)] = [steps.add(run["step"]), codes]
    return [curves.get(run_id) if index % every == 0 else None for index, run_id in enumerate(run_ids)]
