"""Progress measures over training, as Nanda et al. 2023 draw them: losses above, structure below; one color a value."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokjax.analysis.progress import progress
from grokjax.figures.bands import ArmBands, bands_table, over_runs
from grokjax.figures.groups import arms_with, nothing_yet
from grokjax.figures.panels import draw_head, draw_metric, head_inches
from grokjax.figures.style import WIDTH, paper, plain_steps
from grokjax.results.read import Results

RECORDED = {"train/loss": "train loss", "test/loss": "test loss"}
LOSSES = {**RECORDED, "progress/restricted_loss": "restricted loss", "progress/excluded_loss": "excluded loss"}
STRUCTURE = {
    "progress/gini_in": "Gini, Fourier norms of W_E",
    "progress/gini_out": "Gini, Fourier norms of W_out W_U",
    "progress/neuron_share": "neurons: share in one frequency",
    "progress/logit_share": "logits: share in key frequencies",
}
ROWS = (LOSSES, STRUCTURE)


def data(results: Results, by: str | None = None, arm: str | None = None) -> list[ArmBands]:
    """Median and band over the runs of every group: measures at all steps that have a snapshot (see
    `grokjax.analysis.progress.progress`), losses at their records. Raises ValueError without snapshots."""
    arms, measures = [], [name for row in ROWS for name in row if name not in RECORDED]
    for grouping, group_of, sizes in arms_with(results, by, arm, lambda run_id: bool(results.snapshots(run_id))):
        values = progress(results, list(group_of))
        known = [name for name in measures if name in values and values[name].notna().any()]
        losses = results.curves(list(RECORDED), list(group_of)).dropna()
        parts = [over_runs(values, group_of, known), over_runs(losses, group_of, list(RECORDED))]
        arms.append(ArmBands(grouping, pd.concat(parts, ignore_index=True), sizes))
    if not arms:
        raise nothing_yet(results)
    return arms


def table(arms: list[ArmBands]) -> pd.DataFrame:
    """The lines that are drawn: arm, a column a key of the groups, metric, step, median, low, high, runs, band."""
    return bands_table(arms)


def figure(arms: list[ArmBands]) -> Figure:
    """Two rows an arm: train, test, restricted and excluded loss; structure. What a task has not is left out."""
    heights = [height for arm in arms for height in (head_inches(arm), 1.7, 1.7)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
        grid = picture.add_gridspec(len(heights), 4, height_ratios=heights)
        for index, arm in enumerate(arms):
            draw_head(picture.add_subplot(grid[3 * index, :]), arm, name_arm=len(arms) > 1)
            for row, metrics in enumerate(ROWS):
                there = [name for name in metrics if (arm.bands["metric"] == name).any()]
                for column, name in enumerate(there):
                    axes = picture.add_subplot(grid[3 * index + 1 + row, column])
                    draw_metric(axes, arm, name, log=metrics is LOSSES)
                    plain_steps(axes, int(arm.bands["step"].max()))
                    axes.set_title(metrics[name], fontsize=7)
                    if metrics is STRUCTURE:
                        axes.set_ylim(bottom=0)
        picture.supxlabel("step", fontsize=7.5)
    return picture


def draw(results: Results, by: str | None = None, arm: str | None = None) -> Figure:
    """Progress measures of stored networks over training, with their losses.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    Example: grokjax figure progress runs/quickstart --arm grok
    """
    return figure(data(results, by, arm))
