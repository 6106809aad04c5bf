#!/usr/bin/env python
"""Save a W&B workspace for a sweep that `grokjax sync` wrote, and print its address.

Grokking curves by each axis of the sweep, the norm of each matrix, slingshots, outcomes, and a table of runs. With
--cells the curves and the table are those of cells (medians over seeds): W&B draws only a sample of many runs.

    pip install 'grokjax[workspace]'
    python scripts/wandb_workspace.py runs/quickstart --entity USER
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

import grokjax
from grokjax.analysis.curve_batches import CURVES
from grokjax.results.read import Results
from grokjax.results.written import read_written
from grokjax.sinks.heads import CELL, SEEDS

MOST_LINES = 60
OUTCOMES = ("runs/fit", "runs/generalized", "runs/slingshot", "runs/diverged", "runs/ended")
TABLE = ("outcome", "fit_step", "generalization_step", "delay", "slingshots", "final/test/accuracy", "final/norm/total")


def axes_of(results: Results) -> list[str]:
    """Every axis of any arm, but seeds."""
    axes = [key for keys in results.manifest.axes.values() for key in keys if key not in SEEDS]
    return list(dict.fromkeys(axes))


def line(
    metric: str, place: int, title: str | None = None, group: str | None = None, log_y: bool = False
) -> wr.LinePlot:
    """A curve against the step; those of runs of one group share a color, and are drawn as median and range."""
    grouped = {"groupby": wr.Config(group), "groupby_aggfunc": "median", "groupby_rangefunc": "minmax"} if group else {}
    return wr.LinePlot(
        title=title or metric,
        x="Step",
        y=[metric],
        log_x=True,
        log_y=log_y,
        max_runs_to_show=MOST_LINES,
        aggregate=bool(group),
        layout=wr.Layout(x=8 * (place % 3), y=6 * (place // 3), w=8, h=6),
        **grouped,
    )


def is_log(metric: str) -> bool:
    return not metric.endswith("accuracy")


def sections(results: Results) -> list[ws.Section]:
    """What the workspace shows, from top to bottom."""
    axes = axes_of(results)
    curves = [
        ws.Section(
            f"Grokking by {axis}",
            [line(metric, at, f"{metric} by {axis}", axis, is_log(metric)) for at, metric in enumerate(CURVES)],
            is_open=at_axis == 0,
        )
        for at_axis, axis in enumerate(axes)
    ] or [ws.Section("Grokking", [line(metric, at, log_y=is_log(metric)) for at, metric in enumerate(CURVES)], True)]
    norms = [name for name in results.metrics() if name.startswith("norm/")]
    spikes = [name for name in ("train/loss_max", "train/loss", "norm/W_U") if name in results.metrics()]
    return [
        ws.Section("The sweep", [overview(at, metric) for at, metric in enumerate(OUTCOMES)], is_open=True),
        *curves,
        ws.Section("Norm of each matrix", [line(name, at, log_y=True) for at, name in enumerate(norms)], is_open=True),
        ws.Section("Slingshots", [*[line(name, at, log_y=True) for at, name in enumerate(spikes)], slingshots()], True),
        ws.Section("Outcomes and axes", [delays(axes)], is_open=True),
    ]


def overview(place: int, metric: str) -> wr.LinePlot:
    """A fraction of the sweep's runs as it trained."""
    layout = wr.Layout(x=8 * (place % 3), y=6 * (place // 3), w=8, h=6)
    return wr.LinePlot(title=metric, x="speed/run_steps", y=[metric], range_y=(0, 1), layout=layout)


def slingshots() -> wr.BarPlot:
    return wr.BarPlot(
        title="slingshots a run, mean by arm",
        metrics=[wr.SummaryMetric("slingshots")],
        groupby=wr.Config("arm"),
        groupby_aggfunc="mean",
        layout=wr.Layout(x=0, y=6, w=8, h=6),
    )


def delays(axes: list[str]) -> wr.ParallelCoordinatesPlot:
    """Every run from its values to when it generalized."""
    keys = [wr.ParallelCoordinatesPlotColumn(wr.Config(axis)) for axis in axes]
    ends = [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name)) for name in ("fit_step", "generalization_step")]
    return wr.ParallelCoordinatesPlot(columns=[*keys, *ends], layout=wr.Layout(x=0, y=0, w=24, h=8))


def column(axis: str) -> str:
    """A column of the table, as W&B names nested config."""
    first, dot, rest = axis.partition(".")
    return f"config:{first}.value{dot}{rest}"


def table(results: Results, group: str, cells: bool) -> ws.RunsetSettings:
    """The table beside the panels: runs of this sweep, or its cells, with what they did."""
    kinds = [CELL, "sweep"] if cells else [*results.manifest.axes, "sweep"]
    columns = [*(column(axis) for axis in axes_of(results)), *(f"summary:{name}" for name in TABLE)]
    return ws.RunsetSettings(
        filters=[ws.Metric("Group") == group, ws.Metric("JobType").isin(kinds)],
        pinned_columns=["run:displayName", *columns],
    )


def build(results: Results, project: str, entity: str, group: str, cells: bool) -> ws.Workspace:
    """The workspace, which nothing but `save` needs a network for."""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{results.manifest.name} (grokjax)",
        sections=sections(results),
        settings=ws.WorkspaceSettings(x_axis="Step", max_runs=MOST_LINES, tooltip_number_of_runs="single"),
        runset_settings=table(results, group, cells),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR", type=Path, help="results directory")
    parser.add_argument("--entity", help="W&B user or team; default $WANDB_ENTITY, or as DIR was synced")
    parser.add_argument("--project", help="W&B project; default as DIR was synced")
    parser.add_argument("--cells", action="store_true", help="medians over seeds instead of single runs")
    parser.add_argument("--print", action="store_true", help="print the workspace as JSON, without a network")
    chosen = parser.parse_args()
    results = grokjax.open_results(chosen.directory)
    written = read_written(results.path)
    project = chosen.project or (written.project if written else os.environ.get("WANDB_PROJECT", "grokjax"))
    entity = chosen.entity or (written.entity if written else None) or os.environ.get("WANDB_ENTITY")
    if not entity:
        sys.exit("whose workspace? give --entity USER (your W&B user or team)")
    group = (written.group if written else None) or results.manifest.name
    workspace = build(results, project, entity, group, chosen.cells)
    if chosen.print:
        print(workspace._to_model().model_dump_json(by_alias=True))
        return
    workspace.save()
    print(workspace.url)


if __name__ == "__main__":
    main()
