"""Train and test loss and accuracy on log steps, one color a hyperparameter value."""

from __future__ import annotations

from matplotlib.figure import Figure

from grokjax.figures.bands import ArmBands, arm_bands
from grokjax.figures.bands import bands_table as table
from grokjax.figures.panels import arm_panels, draw_metric, wrapped
from grokjax.figures.style import log_steps, log_steps_label, paper
from grokjax.results.read import Results

__all__ = ["data", "figure", "table"]
METRICS = ("train/loss", "test/loss", "train/accuracy", "test/accuracy")


def data(results: Results, by: str | None = None, arm: str | None = None) -> list[ArmBands]:
    """Train and test loss and accuracy over log steps: median and band over seeds.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    Example: grokjax figure curves runs/quickstart --arm grok
    """
    return arm_bands(results, METRICS, by, arm)


@paper()
def figure(arms: list[ArmBands]) -> Figure:
    """One arm as two rows of train and test; several as one row each."""
    rows, height = (wrapped(METRICS, 2), 1.75) if len(arms) == 1 else ([METRICS], 1.4)
    picture, blocks = arm_panels(arms, [rows] * len(arms), [height], log_steps_label(arms[-1].bands["step"]))
    for arm, panels in zip(arms, blocks, strict=True):
        for kind in ("loss", "accuracy"):
            panels[f"test/{kind}"].sharey(panels[f"train/{kind}"])
        for metric, axes in panels.items():
            draw_metric(axes, arm, metric)
            log_steps(axes, arm.bands["step"])
            axes.tick_params(labelleft=metric.startswith("train"), labelbottom=metric in rows[-1])
    return picture
