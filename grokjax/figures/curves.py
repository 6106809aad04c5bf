"""Train and test loss and accuracy on log steps, one color a hyperparameter value."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from grokjax.figures.bands import ArmBands, arm_bands, bands_table
from grokjax.figures.panels import draw_head, draw_metric, head_inches
from grokjax.figures.style import WIDTH, first_step, log_steps, log_steps_label, paper
from grokjax.results.read import Results

METRICS = ("train/loss", "test/loss", "train/accuracy", "test/accuracy")


def data(results: Results, by: str | None = None, arm: str | None = None) -> list[ArmBands]:
    """Median and band over seeds of the four curves, by arm and value of `by` (default: see `group_runs`)."""
    return arm_bands(results, METRICS, by, arm)


def table(arms: list[ArmBands]) -> pd.DataFrame:
    """One row an arm, group, metric and step: see `bands_table`."""
    return bands_table(arms)


def figure(arms: list[ArmBands]) -> Figure:
    """One arm as two rows of train and test; several as one row each."""
    columns = 2 if len(arms) == 1 else 4
    rows, panel = len(METRICS) // columns, 1.75 if len(arms) == 1 else 1.4
    heights = [height for arm in arms for height in (head_inches(arm), *[panel] * rows)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.35), layout="constrained")
        grid = picture.add_gridspec(len(heights), columns, height_ratios=heights)
        for index, arm in enumerate(arms):
            top = index * (rows + 1)
            draw_head(picture.add_subplot(grid[top, :]), arm, name_arm=len(arms) > 1)
            _draw_arm(picture, grid, arm, top + 1, columns)
    return picture


def _draw_arm(picture: Figure, grid: GridSpec, arm: ArmBands, top: int, columns: int) -> None:
    first, last = first_step(arm.bands["step"]), int(arm.bands["step"].max())
    left: Axes | None = None
    for place, metric in enumerate(METRICS):
        row, column = top + place // columns, place % columns
        axes = picture.add_subplot(grid[row, column], sharey=left if place % 2 else None)
        left = axes
        draw_metric(axes, arm, metric, log=metric.endswith("loss"))
        log_steps(axes, first, last)
        axes.set_title(metric.replace("/", " "))
        if metric.endswith("accuracy"):
            axes.set_ylim(-0.03, 1.03)
        if place % 2:
            axes.tick_params(labelleft=False)
        if place + columns < len(METRICS):
            axes.tick_params(labelbottom=False)
        elif row == grid.nrows - 1:
            axes.set_xlabel(log_steps_label(first))


def draw(results: Results, by: str | None = None, arm: str | None = None) -> Figure:
    """Train and test loss and accuracy over log steps: median and band over seeds.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    Example: grokjax figure curves runs/quickstart --arm grok
    """
    return figure(data(results, by, arm))
