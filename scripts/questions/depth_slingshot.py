#!/usr/bin/env python3
"""Do deeper networks slingshot more often, more times and sooner, and do they generalize? MLPs from wide and shallow to
skinny and deep at about equal parameter count, and transformers of several layers.

What a slingshot is: see grokjax.analysis.events. A run without one counts as censored at its last step. The train loss
that it rises from tells those after a fit from the spikes of a network that is still hard to train."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import answers
import numpy as np
import pandas as pd
import panels
from answers import Estimate, Tables, share, summary, text_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.cells import ordered_values, plain_value
from grokjax.analysis.events import SLINGSHOT_WINDOW
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import PALETTE, plain_axis, value_text
from grokjax.results.read import Results

LOSS, LOSS_MAX = "train/loss", "train/loss_max"
FLOOR = 1e-10  # of a loss that is drawn; in float32 it can be 0
EXAMPLES = 2  # arms whose curves are drawn
CELL = ["arm", "lr", "depth"]
ESTIMATES = [column for name in ("share", "count", "first", "accuracy") for column in answers.column_names(name)]
COLUMNS = [*CELL, "runs", "fit", "generalized", "diverged", "steps", "shape", "parameters", "before", *ESTIMATES]
CSV = ("cells",)
NOTE = (
    "Bars: 95 % intervals over seeds (of medians below six seeds all their range). Depth: hidden layers of an MLP, "
    "layers of a transformer. Open triangles: most runs have none within the steps given. Curves: the largest train "
    "loss since the record before, of the run with the median number of slingshots."
)


def data(results: Results) -> Tables:
    """runs: those of `Results.runs()` that ended, with group (arm and lr), lr, depth (hidden layers of an MLP, layers
    of a transformer), first (step of the first slingshot; nan: none), before (median train loss in the SLINGSHOT_WINDOW
    steps before it), accuracy. cells: COLUMNS, in the order of the sweep: shape (`70 x 4`), parameters, before
    (median), share of runs that slingshot, count (slingshots a run), first (median; inf: most have none), accuracy
    (mean). examples: of the first two arms at their first lr, of the shallowest and the deepest: arm, depth, shape,
    step and loss (largest since the record before), of the run with the median number of slingshots. Raises ValueError
    where no run has ended."""
    runs = answers.ended_runs(results.runs(), lr="optimizer.lr", accuracy="final/test/accuracy")
    first = results.events().query("kind == 'slingshot'").groupby("run_id")["step"].min()
    shapes = [_shape(run) for run in runs.to_dict("records")]
    runs = runs.assign(
        depth=[depth for depth, _ in shapes],
        shape=[shape for _, shape in shapes],
        first=runs["run_id"].map(first).astype(float),
        before=runs["run_id"].map(_loss_before(results, first)).astype(float),
    )

    def measures(cell: pd.DataFrame) -> dict[str, Any]:
        slingshots = cell["slingshots"]
        size = sum(int(np.size(value)) for value in results.params(cell["run_id"].iloc[0]).values())
        plain = {"shape": cell["shape"].iloc[0], "parameters": size, "before": cell["before"].median()}
        means = answers.flat(
            count=answers.mean(slingshots), first=answers.median(cell["first"]), accuracy=answers.mean(cell["accuracy"])
        )
        return plain | answers.share_columns("share", int((slingshots > 0).sum()), len(cell)) | means

    order = {arm: index for index, arm in enumerate(dict.fromkeys(results.runs()["arm"]))}
    cells = cell_outcomes(runs, CELL, measures)
    cells = cells.sort_values("arm", key=lambda arms: arms.map(order), kind="stable", ignore_index=True)
    return {"runs": runs, "cells": cells[COLUMNS], "examples": _examples(results, runs, cells)}


def _shape(run: dict[Any, Any]) -> tuple[int, str]:
    """Depth, and `70 x 4`, or `70-35` where hidden layers differ; of a transformer d_model."""
    widths = plain_value(run.get("model.widths"))
    if not widths:
        return int(run["model.layers"]), f"d_model {int(run['model.d_model'])}"
    same = len(set(widths)) == 1
    return len(widths), f"{widths[0]} x {len(widths)}" if same else "-".join(map(str, widths))


def _loss_before(results: Results, first: pd.Series) -> dict[Any, float]:
    """Run id -> median train loss in the steps before its first slingshot."""
    if first.empty:
        return {}
    curves = results.curves(LOSS, list(first.index))
    before = curves["run_id"].map(first) - curves["step"]
    near = curves[(before > 0) & (before <= SLINGSHOT_WINDOW)]
    return near.groupby("run_id")[LOSS].median().to_dict()


def _examples(results: Results, runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for arm in list(dict.fromkeys(cells["arm"]))[:EXAMPLES]:
        of_arm = cells[cells["arm"] == arm]
        depths = of_arm[of_arm["lr"] == of_arm["lr"].iloc[0]].sort_values("depth")
        for cell in depths.iloc[sorted({0, len(depths) - 1})].to_dict("records"):
            of_cell = runs[(runs[CELL] == pd.Series({key: cell[key] for key in CELL})).all(axis=1)]
            run_id = of_cell.sort_values("slingshots")["run_id"].iloc[len(of_cell) // 2]
            curve = results.curves(LOSS_MAX, run_id).dropna().sort_values("step").rename(columns={LOSS_MAX: "loss"})
            parts.append(curve.assign(**{key: cell[key] for key in ("arm", "depth", "shape")}))
    return pd.concat(parts, ignore_index=True)


def answer(tables: Tables) -> list[str]:
    """What each network does; how that goes with depth; whether runs that slingshot generalize more often."""
    columns = ["depth", "shape", "parameters", "count", "first", "before", "fit", "generalized", "accuracy"]
    lines, cells, runs = [], _grouped(tables["cells"]), _grouped(tables["runs"])
    often = [share(round(part * count), count) for part, count in zip(cells["share"], cells["runs"], strict=True)]
    cells = cells.assign(slingshot=often, before=cells["before"].map(lambda loss: Estimate(loss, form=".1g")))
    for group, part in cells.groupby("group", sort=False):
        lines.append(text_table(f"{group}, slingshots (mean count, median step of the first, train loss before)", part,
                                [*columns[:3], "slingshot", *columns[3:]]))  # fmt: skip
        lines += _most(str(group), part)
    several = runs.groupby("group")["depth"].transform("nunique") >= 3
    trends = summary(
        runs[several], ["group"], runs=len,
        slingshots=lambda part: answers.rank_correlation(part["depth"], part["slingshots"]),
        first=lambda part: answers.rank_correlation(part["depth"], part["first"].fillna(np.inf)),
        accuracy=lambda part: answers.rank_correlation(part["depth"], part["accuracy"]),
    )  # fmt: skip
    if len(trends):
        trends = trends.rename(columns={"slingshots": "number_of_slingshots"})
        lines.append(text_table("Rank correlations with depth, over runs", trends))
    both = {"with": runs[runs["slingshots"] > 0], "without": runs[runs["slingshots"] == 0]}
    rows = [
        {"slingshots": word, "generalize": share(part["generalization_step"].notna().sum(), len(part)),
         "accuracy": answers.mean(part["accuracy"]).within(0, 1)}
        for word, part in both.items()
    ]  # fmt: skip
    return [*lines, text_table("Of all runs (not the same networks), by slingshots", pd.DataFrame(rows))]


def _grouped(frame: pd.DataFrame) -> pd.DataFrame:
    """With group: `mlp, lr 1e-3`."""
    return frame.assign(group=frame["arm"] + frame["lr"].map(lambda lr: f", lr {value_text(lr)}"))


def _most(group: str, cells: pd.DataFrame) -> list[str]:
    """The depth with most slingshots, where there is one, with a warning on an edge."""
    most = cells[cells["count"] == cells["count"].max()].to_dict("records")
    if cells["depth"].nunique() < 3 or len(most) > 1 or most[0]["count"] == 0:  # of two, both are edges
        return []
    depth, ends = most[0]["depth"], {cells["depth"].min(): "smallest", cells["depth"].max(): "largest"}
    lines = [f"{group}: most slingshots at depth {depth}, {answers.with_interval(most[0], 'count')} a run."]
    if depth in ends:
        lines.append(f"Warning: {group}, depth {depth} is the {ends[depth]} tried; there may be more beyond.")
    return lines


def figure(tables: Tables) -> Figure:
    """Against depth: share of runs that slingshot, slingshots a run, step of the first, test accuracy; and the loss of
    a shallow and of a deep network of the first two arms."""
    cells, by = _grouped(tables["cells"]), "group" if tables["cells"]["lr"].nunique() > 1 else "arm"
    depths = ordered_values(cells["depth"])
    with panels.panels(3, 2, NOTE) as (picture, grid):
        panels.draw_cells(grid[0, 0], cells, "depth", "share", by, "share of runs that slingshot")
        panels.draw_cells(grid[0, 1], cells, "depth", "count", by, "slingshots a run (mean)")
        panels.draw_cells(grid[0, 2], cells, "depth", "first", by, "step of the first (median)")
        panels.draw_cells(grid[1, 0], cells, "depth", "accuracy", by, "test accuracy, end (mean)")
        grid[0, 1].set_ylim(bottom=min(0.0, -0.04 * grid[0, 1].get_ylim()[1]))
        for axes in (*grid[0], grid[1, 0]):
            axes.set_xticks(depths, [str(depth) for depth in depths])
        for axes, arm in zip_longest(grid[1, 1:], dict.fromkeys(tables["examples"]["arm"])):
            _draw_examples(axes, tables["examples"][tables["examples"]["arm"] == arm])
        panels.legend(grid[0, 0], columns=5)
    return picture


def _draw_examples(axes: Axes, examples: pd.DataFrame) -> None:
    if examples.empty:
        axes.set_axis_off()
        return
    for index, (depth, part) in enumerate(examples.groupby("depth")):
        arm, shape = part[["arm", "shape"]].iloc[0]
        label = f"{arm}, depth {depth} ({shape})"
        axes.plot(part["step"], part["loss"].clip(lower=FLOOR), color=PALETTE[index], linewidth=0.6, label=label)
    axes.set_yscale("log")
    plain_axis(axes, examples["step"])
    axes.set(xlabel="step", ylabel="largest train loss")
    panels.legend(axes, columns=1)


if __name__ == "__main__":
    answers.run_question(__name__)
