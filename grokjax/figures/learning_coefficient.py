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
from grokjax.analysis.over_runs import carried_runs, over_runs
from grokjax.figures.bands import ArmBands, curve_bands, snapshots_text
from grokjax.figures.groups import grouped_arms
from grokjax.figures.panels import arm_panels, colors_of, draw_metric, name_arms
from grokjax.figures.style import paper, plain_axis
from grokjax.results.read import Results

LOSSES = ("train/loss", "test/loss")
MARK: Any = {"markersize": 2.4, "markeredgewidth": 0.7}


@dataclass(frozen=True)
class ArmCoefficients:
    """bands: of lambda and the losses of an arm over its runs. coefficients: what
    `grokjax.analysis.learning_coefficient` has, and the group of each run (its index)."""

    bands: ArmBands
    coefficients: pd.DataFrame


def data(
    results: Results,
    by: str | None = None,
    arm: str | None = None,
    chains: int = Sampling.chains,
    draws: int = Sampling.draws,
) -> list[ArmCoefficients]:
    """The local learning coefficient of every snapshot, above the losses.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    chains: Langevin chains of a snapshot
    draws: draws of a chain
    Example: grokjax figure learning_coefficient runs/quickstart --arm grok
    """
    sampling, arms, ended = Sampling(chains=chains, draws=draws), [], carried_runs(results)
    for grouping, group_of, sizes in grouped_arms(results, by, arm):
        coefficients = learning_coefficient(results, list(group_of), sampling=sampling)
        coefficients = coefficients.assign(group=coefficients["run_id"].map(group_of))
        losses, _ = curve_bands(results, group_of, LOSSES)
        bands = pd.concat([over_runs(coefficients, group_of, ["lambda"], ended), losses], ignore_index=True)
        trusted = int(coefficients["trusted"].sum())
        note = f"lambda by {chains} chains of {draws} draws at {snapshots_text(coefficients)}; {trusted} trusted"
        arms.append(ArmCoefficients(ArmBands(grouping, bands, sizes, measured=note), coefficients))
    return arms


def table(arms: list[ArmCoefficients]) -> pd.DataFrame:
    """The points that are drawn, a row a run and snapshot: arm, value of the group, run_id, step, lambda, ..."""
    return pd.concat([arm.bands.grouping.with_labels(arm.coefficients) for arm in arms], ignore_index=True)


@paper()
def figure(arms: list[ArmCoefficients]) -> Figure:
    """Of each arm lambda, and below it train and test loss."""
    rows = [["lambda", "lambda"], LOSSES]
    picture, blocks = arm_panels([arm.bands for arm in arms], [rows] * len(arms), [1.9, 1.3], "step")
    for arm, panels in zip(arms, blocks, strict=True):
        last = int(max(arm.coefficients["step"].max(), arm.bands.bands["step"].max()))
        _draw_coefficients(panels["lambda"], arm)
        for metric in LOSSES:
            draw_metric(panels[metric], arm.bands, metric)
        for axes in panels.values():
            plain_axis(axes, last)
        panels["lambda"].set_xlim(0, 1.01 * last)  # whole marks at the end
    name_arms([arm.bands for arm in arms], blocks)
    return picture


def _draw_coefficients(axes: Axes, arm: ArmCoefficients) -> None:
    grouping = arm.bands.grouping
    colors = colors_of(grouping)
    for (group, _), run in arm.coefficients.groupby(["group", "run_id"], sort=False):
        color = colors[int(group)]  # pyright: ignore[reportArgumentType]
        step, value, error = (run[name].to_numpy(np.float64) for name in ("step", "lambda", "lambda_se"))
        axes.errorbar(step, value, np.nan_to_num(error), color=color, linestyle="none", elinewidth=0.5)
        trusted = run["trusted"].to_numpy(bool)
        axes.plot(step[trusted], value[trusted], "o", color=color, **MARK)
        axes.plot(step[~trusted], value[~trusted], "o", color=color, markerfacecolor="white", **MARK)
    draw_metric(axes, arm.bands, "lambda", "local learning coefficient")
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_ylabel("lambda")
    marks = [Line2D([], [], marker="o", ls="none", color="black", mfc=fill, **MARK) for fill in ("black", "white")]
    words = ["a run, ± standard error over chains", "not trusted"]
    axes.legend(marks, words, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, handletextpad=0.1, borderpad=0)
