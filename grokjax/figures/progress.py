"""Progress measures over training, as Nanda et al. 2023 draw them: losses above, structure below; one color a value."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokjax.analysis.over_runs import carried_runs, over_runs
from grokjax.analysis.progress import progress
from grokjax.figures.bands import ArmBands, snapshots_text
from grokjax.figures.bands import bands_table as table
from grokjax.figures.groups import grouped_arms
from grokjax.figures.panels import arm_panels, draw_metric, name_arms
from grokjax.figures.style import from_zero, paper, plain_axis
from grokjax.results.read import Results

__all__ = ["data", "figure", "table"]
RECORDED = {"train/loss": "train loss", "test/loss": "test loss"}
LOSSES = {**RECORDED, "progress/restricted_loss": "restricted loss", "progress/excluded_loss": "excluded loss"}
STRUCTURE = {
    "progress/gini_in": "Fourier norms of W_E",
    "progress/gini_out": "Fourier norms of W_out W_U",
    "progress/neuron_share": "neurons in one frequency",
    "progress/logit_share": "logits in key frequencies",
}


def data(results: Results, by: str | None = None, arm: str | None = None) -> list[ArmBands]:
    """Progress measures of stored networks over training, with their losses.

    Median and band over the runs of every group: measures at all steps that have a snapshot (see
    `grokjax.analysis.progress.progress`), losses at their records. Raises ValueError without snapshots.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    Example: grokjax figure progress runs/quickstart --arm grok
    """
    arms, ended = [], carried_runs(results)
    for grouping, group_of, sizes in grouped_arms(results, by, arm):
        values = progress(results, list(group_of))
        measures = [name for name in LOSSES | STRUCTURE if name in values and name not in RECORDED]
        losses = results.curves(list(RECORDED), list(group_of)).dropna()
        parts = [
            over_runs(values, group_of, measures, ended),
            over_runs(losses, group_of, list(RECORDED), ended),
        ]
        note = f"measured at {snapshots_text(values)}"
        arms.append(ArmBands(grouping, pd.concat(parts, ignore_index=True), sizes, measured=note))
    return arms


@paper()
def figure(arms: list[ArmBands]) -> Figure:
    """Two rows an arm: train, test, restricted and excluded loss; structure. What a task has not is left out."""
    known = [set(arm.bands["metric"]) for arm in arms]
    rows = [[[name for name in row if name in names] for row in (LOSSES, STRUCTURE)] for names in known]
    picture, blocks = arm_panels(arms, rows, [1.7], "step")
    for arm, panels in zip(arms, blocks, strict=True):
        for metric, axes in panels.items():
            draw_metric(axes, arm, metric)
            axes.set_title((LOSSES | STRUCTURE)[metric])
            plain_axis(axes, arm.bands["step"])
            if metric in STRUCTURE:
                from_zero(axes)
    name_arms(arms, blocks)
    return picture
