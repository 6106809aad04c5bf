"""The tangent kernel over training: its alignment with the labels, its change from the start; one color a value.

Where the kernel is nearly one constant the plain alignment is near 0, whatever the rest does: hence the centered one.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokjax.analysis.kernel import Sample, kernel
from grokjax.figures.bands import ArmBands, bands_table, curve_bands, over_runs
from grokjax.figures.groups import arms_with, nothing_yet
from grokjax.figures.panels import draw_head, draw_metric, head_inches
from grokjax.figures.style import WIDTH, paper, plain_steps
from grokjax.results.read import Results

METRICS = {
    "alignment": "alignment",
    "centered_alignment": "centered alignment",
    "change": "change from the start",
    "test/accuracy": "test accuracy",
}


def data(
    results: Results, by: str | None = None, arm: str | None = None, examples: int = Sample.examples
) -> list[ArmBands]:
    """Median and band over the runs of every group, at all steps that have a snapshot and at the start (see
    `grokjax.analysis.kernel.kernel`); test accuracy at its records."""
    arms, accuracy = [], ["test/accuracy"]
    for grouping, group_of, sizes in arms_with(results, by, arm, lambda run_id: bool(results.snapshots(run_id))):
        kernels = kernel(results, list(group_of), sample=Sample(examples))
        parts = [
            over_runs(kernels, group_of, [metric for metric in METRICS if metric not in accuracy]),
            curve_bands(results, group_of, accuracy)[0],
        ]
        arms.append(ArmBands(grouping, pd.concat(parts, ignore_index=True), sizes))
    if not arms:
        raise nothing_yet(results)
    return arms


def table(arms: list[ArmBands]) -> pd.DataFrame:
    """The lines that are drawn: arm, a column a key of the groups, metric, step, median, low, high, runs, band."""
    return bands_table(arms)


def figure(arms: list[ArmBands]) -> Figure:
    """A row an arm: alignment, plain and centered, change, test accuracy."""
    heights = [height for arm in arms for height in (head_inches(arm), 1.7)]
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
        grid = picture.add_gridspec(len(heights), len(METRICS), height_ratios=heights)
        for index, arm in enumerate(arms):
            draw_head(picture.add_subplot(grid[2 * index, :]), arm, name_arm=len(arms) > 1)
            for column, (metric, title) in enumerate(METRICS.items()):
                axes = picture.add_subplot(grid[2 * index + 1, column])
                draw_metric(axes, arm, metric, log=False)
                plain_steps(axes, int(arm.bands["step"].max()))
                axes.set_ylim(-0.03, 1.03) if metric == "test/accuracy" else axes.set_ylim(bottom=0)
                axes.set_title(title)
        picture.supxlabel("step", fontsize=7.5)
    return picture


def draw(results: Results, by: str | None = None, arm: str | None = None, examples: int = Sample.examples) -> Figure:
    """The tangent kernel over training: alignment with the labels, and change.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    examples: how many train examples it is taken on
    Example: grokjax figure kernel runs/quickstart --arm grok
    """
    return figure(data(results, by, arm, examples))
