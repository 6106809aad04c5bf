"""Loss against weight norm along the ray through stored parameters, one color a hyperparameter value."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from grokjax.analysis.landscape import ray
from grokjax.analysis.over_runs import over_runs
from grokjax.figures.bands import ArmBands
from grokjax.figures.groups import grouped_arms
from grokjax.figures.panels import arm_panels, colors_of, draw_metric, name_arms
from grokjax.figures.style import paper
from grokjax.results.read import Results

METRICS = ("train/loss", "test/loss", "test/accuracy")


def data(results: Results, by: str | None = None, arm: str | None = None, step: int | None = None) -> list[ArmBands]:
    """Loss and accuracy along the ray through stored parameters, against their norm.

    Median and band over the runs of every group that have ended (see `grokjax.analysis.landscape.ray`). Across lies
    the norm of all parameters together: the median of the runs' norms times `scale`, which is 1 where the runs were.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    step: of the snapshots; default: each run's end
    Example: grokjax figure landscape runs/quickstart --arm grok
    """
    arms = []
    for grouping, group_of, sizes in grouped_arms(results, by, arm, results.ends):
        rays = ray(results, list(group_of), step)
        trained = rays[_is_trained(rays)]
        norms = trained.groupby(trained["run_id"].map(group_of))["norm"].median()
        bands = over_runs(rays, group_of, METRICS, across="scale")
        norm = bands["scale"].to_numpy() * bands["group"].map(norms).to_numpy()
        arms.append(ArmBands(grouping, bands.assign(norm=norm), sizes, across="norm", measured=_measured(rays)))
    return arms


def _measured(rays: pd.DataFrame) -> str:
    scales = rays["scale"]
    return f"all parameters times {scales.nunique()} factors from {scales.min():g} to {scales.max():g}"


def _is_trained(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of the parameters as they were trained."""
    return np.abs(rows["scale"].to_numpy() - 1) < 1e-9


def table(arms: list[ArmBands]) -> pd.DataFrame:
    """The lines that are drawn: arm, value of the group, metric, norm, median, low, high, runs."""
    names = ["arm", "group", "metric", "norm", "median", "low", "high", "runs"]
    return pd.concat([arm.grouping.with_labels(arm.bands)[names] for arm in arms], ignore_index=True)


@paper()
def figure(arms: list[ArmBands]) -> Figure:
    """A row an arm: train loss, test loss, test accuracy; a dot where the runs were."""
    label = "norm of all parameters together, all scaled alike (dots: as trained)"
    picture, blocks = arm_panels(arms, [[METRICS]] * len(arms), [1.7], label)
    for arm, panels in zip(arms, blocks, strict=True):
        colors, trained = colors_of(arm.grouping), arm.bands[_is_trained(arm.bands)]
        for metric, axes in panels.items():
            draw_metric(axes, arm, metric)
            axes.set_xscale("log")
            for row in trained[trained["metric"] == metric].to_dict("records"):
                axes.plot(row["norm"], row["median"], "o", color=colors[row["group"]], markersize=3.5, zorder=3)
    name_arms(arms, blocks)
    return picture
