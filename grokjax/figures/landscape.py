"""Loss against weight norm along the ray through stored parameters, one color a hyperparameter value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.landscape import ray
from grokjax.figures.bands import ArmBands, over_runs
from grokjax.figures.groups import arms_with, nothing_yet
from grokjax.figures.panels import arm_colors, draw_head, draw_metric, head_inches
from grokjax.figures.style import WIDTH, paper
from grokjax.results.read import Results

METRICS = ("train/loss", "test/loss", "test/accuracy")


@dataclass(frozen=True)
class ArmLandscape:
    """bands: those of an arm over its runs; x is the norm of all parameters together, the median over the group's runs
    times the factor that all were scaled by. trained: those where the runs were, a row a group and metric."""

    bands: ArmBands
    trained: pd.DataFrame


def data(
    results: Results, by: str | None = None, arm: str | None = None, step: int | None = None
) -> list[ArmLandscape]:
    """Median and band over seeds along the ray, of runs that have ended (see `grokjax.analysis.landscape.ray`)."""
    arms, ends = [], results.ends
    for grouping, group_of, sizes in arms_with(results, by, arm, lambda run_id: run_id in ends):
        rays = ray(results, list(group_of), step)
        group = rays["run_id"].map(group_of)
        norms = rays[rays["scale"].sub(1).abs() < 1e-9]["norm"].groupby(group).median()
        bands = over_runs(rays, group_of, METRICS, across="scale").rename(columns={"scale": "x"})
        scale = bands["x"].to_numpy()
        bands = bands.assign(x=scale * bands["group"].map(norms).to_numpy())
        arms.append(ArmLandscape(ArmBands(grouping, bands, sizes, across="x"), bands[np.abs(scale - 1) < 1e-9]))
    if not arms:
        raise nothing_yet(results)
    return arms


def table(arms: list[ArmLandscape]) -> pd.DataFrame:
    """The lines that are drawn: arm, value of the group, metric, norm, median, low, high, runs."""
    frames = []
    for arm in arms:
        labels = [group.label for group in arm.bands.grouping.groups]
        frame = arm.bands.bands.rename(columns={"x": "norm"})
        frame = frame.assign(group=[labels[index] for index in frame["group"]])
        frames.append(frame.assign(arm=arm.bands.grouping.arm)[["arm", *frame.columns]])
    return pd.concat(frames, ignore_index=True)


def figure(arms: list[ArmLandscape]) -> Figure:
    """A row an arm: train loss, test loss, test accuracy; a dot where the runs were."""
    heights = [height for arm in arms for height in (head_inches(arm.bands), 1.7)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.35), layout="constrained")
        grid = picture.add_gridspec(len(heights), len(METRICS), height_ratios=heights)
        for index, arm in enumerate(arms):
            draw_head(picture.add_subplot(grid[2 * index, :]), arm.bands, name_arm=len(arms) > 1)
            for column, metric in enumerate(METRICS):
                axes = picture.add_subplot(grid[2 * index + 1, column])
                _draw(axes, arm, metric)
        picture.supxlabel("norm of all parameters together, all scaled alike (dots: as trained)", fontsize=7.5)
    return picture


def _draw(axes: Axes, arm: ArmLandscape, metric: str) -> None:
    draw_metric(axes, arm.bands, metric, log=metric.endswith("loss"))
    axes.set_xscale("log")
    colors = arm_colors(arm.bands)
    for row in arm.trained[arm.trained["metric"] == metric].itertuples():
        axes.plot(row.x, row.median, "o", color=colors[int(row.group)], markersize=3.5, zorder=3)  # pyright: ignore[reportArgumentType]
    axes.set_title(metric.replace("/", " "))
    if metric.endswith("accuracy"):
        axes.set_ylim(-0.03, 1.03)


def draw(results: Results, by: str | None = None, arm: str | None = None, step: int | None = None) -> Figure:
    """Loss and accuracy along the ray through stored parameters, against their norm.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    step: of the snapshots; default: each run's end
    Example: grokjax figure landscape runs/quickstart --arm grok
    """
    return figure(data(results, by, arm, step))
