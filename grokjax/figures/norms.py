"""The norm of every matrix over log steps, one panel a matrix, one color a hyperparameter value."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from grokjax.figures.bands import ArmBands, arm_bands
from grokjax.figures.groups import chosen_arms, runs_of
from grokjax.figures.panels import draw_head, draw_metric, head_inches
from grokjax.figures.style import WIDTH, first_step, log_steps, log_steps_label, paper
from grokjax.results.read import Results
from grokjax.sweep.shapes import is_matrix

LOG_FROM = 20.0  # largest over least norm from which a panel is logarithmic
PANEL = 1.15  # inches


def data(results: Results, by: str | None = None, arm: str | None = None) -> list[ArmBands]:
    """Median and band over seeds of every matrix's norm and of the total, by arm and value of `by`."""
    return arm_bands(results, {name: norms_of(results, name) for name in chosen_arms(results, arm)}, by, arm)


def norms_of(results: Results, arm: str) -> list[str]:
    """The norms of an arm's matrices, from the input to the logits, and norm/total; vectors are left out."""
    names: dict[str, None] = {}
    for run_id in runs_of(results.planned(), arm)["run_id"]:
        names |= dict.fromkeys(f"norm/{name}" for name in results.parameters(run_id) if is_matrix(name))
    known = results.metrics()
    return [name for name in [*names, "norm/total"] if name in known]


def figure(arms: list[ArmBands]) -> Figure:
    """A grid of panels for each arm."""
    most = max(len(_metrics(arm)) for arm in arms)
    columns = 5 if most > 8 else min(most, 4)
    rows = [math.ceil(len(_metrics(arm)) / columns) for arm in arms]
    heights = [h for arm, count in zip(arms, rows, strict=True) for h in (head_inches(arm), *[PANEL] * count)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.35), layout="constrained")
        grid = picture.add_gridspec(len(heights), columns, height_ratios=heights)
        top = 0
        for arm, count in zip(arms, rows, strict=True):
            draw_head(picture.add_subplot(grid[top, :]), arm, name_arm=len(arms) > 1)
            _draw_arm(picture, grid, arm, top + 1, columns)
            top += count + 1
        picture.supxlabel(log_steps_label(first_step(arms[-1].bands["step"])), fontsize=7.5)
    return picture


def _metrics(arm: ArmBands) -> list[str]:
    return list(dict.fromkeys(arm.bands["metric"]))


def _draw_arm(picture: Figure, grid: GridSpec, arm: ArmBands, top: int, columns: int) -> None:
    first, last = first_step(arm.bands["step"]), int(arm.bands["step"].max())
    metrics = _metrics(arm)
    for place, metric in enumerate(metrics):
        axes = picture.add_subplot(grid[top + place // columns, place % columns])
        median = arm.bands.loc[arm.bands["metric"] == metric, "median"]
        log = bool(median.min() > 0 and median.max() > LOG_FROM * median.min())
        draw_metric(axes, arm, metric, log)
        log_steps(axes, first, last)
        axes.set_title("total norm" if metric == "norm/total" else metric.removeprefix("norm/"))
        if not log:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        if place + columns < len(metrics):
            axes.tick_params(labelbottom=False)


def draw(results: Results, by: str | None = None, arm: str | None = None) -> Figure:
    """The norm dynamics of a sweep.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes. arm: only this arm.
    """
    return figure(data(results, by, arm))
