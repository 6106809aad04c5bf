"""Train and test loss and accuracy, or any other metrics, over steps; one color a hyperparameter value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.curve_batches import CURVES
from grokjax.analysis.time_axis import UNITS
from grokjax.figures.bands import ArmBands, arm_bands, bands_table
from grokjax.figures.panels import arm_panels, draw_metric, name_arms, wrapped
from grokjax.figures.style import log_axis, log_label, most_columns, paper, picture_width, plain_axis
from grokjax.figures.together import is_log_metric
from grokjax.results.read import Results

KINDS = ("loss", "accuracy")  # of these, train and test have one axis upwards
PANEL = 1.4  # inches; of the usual four of one arm a little more


@dataclass(frozen=True)
class CurvesData:
    """The bands of every arm, and the scale of what lies across."""

    arms: list[ArmBands]
    metrics: tuple[str, ...]
    x_scale: str


def data(
    results: Results,
    metric: list[str] | None = None,
    by: str | None = None,
    arm: str | None = None,
    x: Literal["step", "epoch", "examples"] = "step",
    x_scale: Literal["log", "linear"] = "log",
) -> CurvesData:
    """Train and test loss and accuracy, or any metrics: median and band over seeds.

    Raises ValueError for an unknown metric, and where no run has records.

    metric: a panel each, repeatable: norm/W_E, grad_norm/W_E, update_norm/W_E, margin/min and whatever else probes
    recorded; default: train and test loss and accuracy
    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    x: step; epoch: steps times the batch over the train set; examples: seen, steps times the batch
    x_scale: log has room for 0
    Example: grokjax figure curves runs/quickstart --arm grok --metric norm/W_E --x epoch
    """
    if x_scale not in ("log", "linear"):
        raise ValueError(f"x_scale is log or linear, not {x_scale!r}")
    metrics = tuple(dict.fromkeys([metric] if isinstance(metric, str) else metric or CURVES))
    return CurvesData(arm_bands(results, metrics, by, arm, x), metrics, x_scale)


def table(data: CurvesData) -> pd.DataFrame:
    """One row an arm, group, metric and step, epoch or examples: see `bands_table`."""
    return bands_table(data.arms)


@paper()
def figure(data: CurvesData) -> Figure:
    """The usual four: one arm as two rows of train and test; several as one row each. Others in rows."""
    arms, room = data.arms, most_columns(picture_width())
    columns = min(room, 2 if len(arms) == 1 and data.metrics == CURVES else 4)
    rows = wrapped(data.metrics, columns)
    height = 1.75 if columns == 2 else PANEL
    across = pd.concat([arm.bands[arm.across] for arm in arms])
    word = UNITS[arms[0].across]
    label = log_label(across, word) if data.x_scale == "log" else word
    picture, blocks = arm_panels(arms, [rows] * len(arms), [height], label)
    for arm, panels in zip(arms, blocks, strict=True):
        _share(panels)
        for metric, axes in panels.items():
            draw_metric(axes, arm, metric, log=is_log_metric(arm, metric))
            scale = log_axis if data.x_scale == "log" else plain_axis
            scale(axes, arm.bands[arm.across])
            axes.tick_params(labelbottom=metric in data.metrics[-columns:])
    name_arms(arms, blocks)
    return picture


def _share(panels: dict[str, Axes]) -> None:
    """Train and test side by side have one axis upwards, told at the left one."""
    for kind in KINDS:
        train, test = panels.get(f"train/{kind}"), panels.get(f"test/{kind}")
        if train is not None and test is not None:
            test.sharey(train)
