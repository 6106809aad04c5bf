"""The local learning coefficient over training, every run a line of its own, above its losses; one color a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokjax.analysis.learning_coefficient import Sampling, learning_coefficient
from grokjax.figures.bands import ArmBands, curve_bands
from grokjax.figures.groups import arms_with, nothing_yet
from grokjax.figures.panels import arm_colors, draw_head, draw_metric, head_inches, line_style
from grokjax.figures.style import WIDTH, paper, plain_steps
from grokjax.results.read import Results

LOSSES = ("train/loss", "test/loss")
MARK: Any = {"markersize": 3, "markeredgewidth": 0.7}


@dataclass(frozen=True)
class ArmCoefficients:
    """losses: the bands of an arm over its runs. coefficients: what `grokjax.analysis.learning_coefficient` has, and
    the group of each run (its index)."""

    losses: ArmBands
    coefficients: pd.DataFrame


def data(
    results: Results,
    by: str | None = None,
    arm: str | None = None,
    chains: int = Sampling.chains,
    draws: int = Sampling.draws,
) -> list[ArmCoefficients]:
    """Of all snapshots of an arm's runs, with the default step size and pull."""
    sampling, arms = Sampling(chains=chains, draws=draws), []
    for grouping, group_of, sizes in arms_with(results, by, arm, lambda run_id: bool(results.snapshots(run_id))):
        coefficients = learning_coefficient(results, list(group_of), sampling=sampling)
        bands, _ = curve_bands(results, group_of, LOSSES)
        coefficients = coefficients.assign(group=coefficients["run_id"].map(group_of))
        arms.append(ArmCoefficients(ArmBands(grouping, bands, sizes), coefficients))
    if not arms:
        raise nothing_yet(results)
    return arms


def table(arms: list[ArmCoefficients]) -> pd.DataFrame:
    """The points that are drawn, a row a run and snapshot: arm, value of the group, run_id, step, lambda, ..."""
    frames = []
    for arm in arms:
        labels = [group.label for group in arm.losses.grouping.groups]
        group = [labels[index] for index in arm.coefficients["group"]]
        frame = arm.coefficients.assign(arm=arm.losses.grouping.arm, group=group)
        frames.append(frame[["arm", "group", *arm.coefficients.columns.drop("group")]])
    return pd.concat(frames, ignore_index=True)


def figure(arms: list[ArmCoefficients]) -> Figure:
    """Of each arm lambda, and below it train and test loss."""
    heights = [height for arm in arms for height in (head_inches(arm.losses), 1.9, 1.3)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
        grid = picture.add_gridspec(len(heights), 2, height_ratios=heights)
        for index, arm in enumerate(arms):
            last = int(max(arm.coefficients["step"].max(), arm.losses.bands["step"].max()))
            draw_head(picture.add_subplot(grid[3 * index, :]), arm.losses, name_arm=len(arms) > 1)
            axes = picture.add_subplot(grid[3 * index + 1, :])
            _draw(axes, arm)
            plain_steps(axes, last)
            axes.set_xlim(0, 1.01 * last)  # whole marks at the end
            for column, metric in enumerate(LOSSES):
                axes = picture.add_subplot(grid[3 * index + 2, column])
                draw_metric(axes, arm.losses, metric, log=True)
                axes.set_title(metric.replace("/", " "))
                plain_steps(axes, last)
        picture.supxlabel("step", fontsize=7.5)
    return picture


def _draw(axes: Axes, arm: ArmCoefficients) -> None:
    colors = arm_colors(arm.losses)
    for (group, _), run in arm.coefficients.groupby(["group", "run_id"], sort=False):
        color, dashes = colors[int(group)], line_style(arm.losses, int(group))  # pyright: ignore[reportArgumentType]
        step, value, error = (run[name].to_numpy(np.float64) for name in ("step", "lambda", "lambda_se"))
        axes.plot(step, value, color=color, linestyle=dashes, linewidth=0.6, alpha=0.6)
        axes.errorbar(step, value, np.nan_to_num(error), color=color, linestyle="none", elinewidth=0.7)
        for trusted, fill in ((True, color), (False, "white")):
            some = run["trusted"].to_numpy(bool) == trusted
            axes.plot(step[some], value[some], "o", color=color, markerfacecolor=fill, **MARK)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_title("local learning coefficient (lines: runs; bars: standard error over chains)")
    marks = [
        Line2D([], [], marker="o", linestyle="none", color="black", markerfacecolor=fill, **MARK)
        for fill in ("black", "white")
    ]
    axes.legend(marks, ["trusted", "not"], loc="upper right", handletextpad=0.1)


def draw(
    results: Results,
    by: str | None = None,
    arm: str | None = None,
    chains: int = Sampling.chains,
    draws: int = Sampling.draws,
) -> Figure:
    """The local learning coefficient of every snapshot, above the losses.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    chains: Langevin chains of a snapshot
    draws: draws of a chain
    Example: grokjax figure learning_coefficient runs/quickstart --arm grok
    """
    return figure(data(results, by, arm, chains, draws))
