"""What the page's script reads: runs, events, colors, bands and curves, as JSON values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from grokjax.analysis.cells import null_number, null_runs, plain_value
from grokjax.analysis.curve_batches import SPIKE
from grokjax.analysis.keys import short_key
from grokjax.analysis.over_runs import carried_runs
from grokjax.figures.style import SEQUENTIAL, value_text
from grokjax.figures.units import loss_unit
from grokjax.report.axes import View, arm_axes, views
from grokjax.report.bands import Packer, time_units
from grokjax.report.curves import thinned
from grokjax.report.metrics import described, page_metrics
from grokjax.report.more import more, packed_view, run_lines
from grokjax.report.pack import StepLists
from grokjax.report.standing import came_to, labels
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer

FINAL = ("final/train/loss", "final/test/loss", "final/test/accuracy", "final/norm/total")
MOST_CURVES = 30_000_000  # bytes of single runs' curves; past it every n-th run has none


@dataclass(frozen=True)
class Payload:
    """data: what the page opens with. more: the metrics that it unpacks when they are asked for."""

    data: dict[str, Any]
    more: dict[str, Any]


def payload(results: Results) -> Payload:
    """All that the page shows. Everything in it is text, a number or null."""
    runs, events = results.runs(), results.events()
    run_ids = list(runs["run_id"])
    run_index = {run_id: index for index, run_id in enumerate(run_ids)}
    arms, all_views = list(results.manifest.axes), views(results, runs)
    metrics = page_metrics(results, all_views, len(runs))
    last = int(runs["train.steps"].max())
    few = thinned(results, metrics.held, events, last, len(metrics.first)).curves
    names = described(metrics, few)
    log, units, ended = {each["name"] for each in names if each["log"]}, time_units(results), carried_runs(results)
    index = {name: place for place, name in enumerate(metrics.held)}
    packer = Packer(index, log, StepLists(), StepLists("<f4"))
    recorded = few["step"].to_numpy(np.int64)
    drawn = [name for name in metrics.first if name != SPIKE]
    packed_views = [packed_view(view, few, drawn, ended, units, packer) for view in all_views]
    data = {
        "name": results.manifest.name,
        "directory": str(results.path),
        "arms": arms,
        "metrics": names,
        "opened": len(metrics.first),
        "left_out": list(metrics.left_out),
        "units": {unit: [float(factors[run_id]) for run_id in run_ids] for unit, factors in units.items()},
        "runs": _runs(results, runs, arms),
        "columns": columns(results, runs),
        "outcomes": labels(),
        "events": _events(events, run_index),
        "axes": [_axes(results, runs, arm, run_index) for arm in arms],
        "views": [_view(view, few, run_index, bands) for view, bands in zip(all_views, packed_views, strict=True)],
        "curves": _curves(few, list(metrics.first), run_ids, packer),
        "scale": [to_hex(SEQUENTIAL(share)) for share in np.linspace(0, 1, 9)],
        "last": last,
        "loss_unit": loss_unit(runs["loss.name"]),
        "first": int(min(recorded[recorded > 0], default=1)),
        "steps": packer.steps.texts,  # the last: views and curves add to them
        "places": packer.places.texts,
    }
    return Payload(data, more(metrics, log, all_views, few, run_ids, ended, units))


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
        "outcome": came_to(results, runs),
        "last_layer": [last[run_id] for run_id in runs["run_id"]],
    }
    return columns | {name: [number(value) for value in runs[name]] for name in numbers if name in runs}


def columns(results: Results, runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The swept values, run by run: what the table shows and sorts by. A null is told by its word, and a key that a run
    has not (another optimizer's) by nothing."""
    keys = dict.fromkeys(key for axes in results.manifest.axes.values() for key in axes if key != "seed")
    found = []
    for key in keys:
        values = [plain_value(value) for value in runs[key]]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        nulls = set(null_runs(results, key, runs))
        texts = [
            value_text(value, key, null_number(key, runs.iloc[[row]]) if value is None else None)
            if value is not None or runs["run_id"].iloc[row] in nulls
            else ""
            for row, value in enumerate(values)
        ]
        sort = [number(value) for value in values] if numeric else None
        found.append({"name": short_key(key), "texts": texts, "numbers": sort})
    return found


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


def _view(view: View, curves: pd.DataFrame, run_index: dict[str, int], packed: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {
            "label": group.label,
            "colors": group.colors,
            "dash": group.dash,
            "runs": [run_index[run_id] for run_id in group.run_ids],
        }
        for group in view.groups
    ]
    note = view.note(set(curves["run_id"]), packed["count_on"])
    return {"arm": view.arm, "name": view.name, "numeric": view.numeric, "note": note, "groups": groups} | packed


def _curves(curves: pd.DataFrame, metrics: list[str], run_ids: list[str], packer: Packer) -> list[Any]:
    """A row a run, see `run_lines`; of very many runs only every n-th has one."""
    every = max(1, math.ceil(len(curves) * len(metrics) * 2 / MOST_CURVES))
    kept = set(run_ids[::every])
    return run_lines(curves[curves["run_id"].isin(kept)], metrics, run_ids, len(curves), packer)
