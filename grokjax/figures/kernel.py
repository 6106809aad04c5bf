"""The tangent kernel over training: its alignment with the labels, its change from the start; one color a value.

Where the kernel is nearly one constant the plain alignment is near 0, whatever the rest does: hence the centered one.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokjax.analysis.kernel import Sample, kernel
from grokjax.analysis.over_runs import carried_runs, over_runs
from grokjax.figures.bands import ArmBands, curve_bands, snapshots_text
from grokjax.figures.bands import bands_table as table
from grokjax.figures.groups import grouped_arms
from grokjax.figures.panels import arm_panels, draw_metric, name_arms
from grokjax.figures.style import from_zero, paper, plain_axis
from grokjax.results.read import Results

__all__ = ["data", "figure", "table"]
MEASURED = {
    "alignment": "alignment",
    "centered_alignment": "centered alignment",
    "change": "change from the start",
}
UNITS = {"alignment": "cosine", "centered_alignment": "cosine", "change": "1 − cosine"}
ACCURACY = "test/accuracy"


def data(
    results: Results, by: str | None = None, arm: str | None = None, examples: int = Sample.examples
) -> list[ArmBands]:
    """The tangent kernel over training: alignment with the labels, and change.

    Median and band over the runs of every group, at all steps that have a snapshot and at the start (see
    `grokjax.analysis.kernel.kernel`); test accuracy at its records.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    examples: how many train examples it is taken on
    Example: grokjax figure kernel runs/quickstart --arm grok
    """
    arms, ended = [], carried_runs(results)
    for grouping, group_of, sizes in grouped_arms(results, by, arm):
        kernels = kernel(results, list(group_of), sample=Sample(examples))
        measured = over_runs(kernels, group_of, list(MEASURED), ended)
        accuracy, _ = curve_bands(results, group_of, [ACCURACY])
        both = pd.concat([measured, accuracy], ignore_index=True)
        note = f"kernels on {kernels['examples'].max()} train examples of {snapshots_text(kernels)}"
        arms.append(ArmBands(grouping, both, sizes, measured=note))
    return arms


@paper()
def figure(arms: list[ArmBands]) -> Figure:
    """A row an arm: alignment, plain and centered, change, test accuracy."""
    picture, blocks = arm_panels(arms, [[[*MEASURED, ACCURACY]]] * len(arms), [1.7], "step")
    for arm, panels in zip(arms, blocks, strict=True):
        for metric, axes in panels.items():
            draw_metric(axes, arm, metric, MEASURED.get(metric, ""))
            plain_axis(axes, arm.bands["step"])
            if metric != ACCURACY:
                axes.set_ylabel(UNITS[metric])
                from_zero(axes)
    name_arms(arms, blocks)
    return picture
