#!/usr/bin/env python3
"""How do delay and outcome change with the share of data trained on, and where does generalization end?
With --ungrokking also: below which share does a network that has generalized forget it?"""

from __future__ import annotations

from dataclasses import replace

import answers
import numpy as np
import pandas as pd
import panels
from answers import Estimate, Tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import GREY, PALETTE
from grokjax.results.read import Results
from grokjax.spec.wording import number_text

FRESH, FORKED = "fresh start", "generalized network"
HALF = 0.5  # of the test set: a curve of final accuracies crosses it at the critical fraction
BETWEEN = (0.1, 0.9)  # final test accuracies that are neither memorization's nor generalization's (semi-grokking)
CSV = ("cell", "critical")
NOTE = (
    "Fractions: 95 % Wilson intervals. Delays: medians over seeds, and the interval of the sign test; triangles: over"
    " half of the runs did not generalize. Accuracies: means with 95 % intervals; pale: each."
)


def data(results: Results, ungrokking: Results | None = None) -> Tables:
    """runs: start (FRESH or FORKED), parent (seed, or run forked from), train_fraction, accuracy (of the test set, at
    the end). cell: by start and train_fraction what `cell_outcomes` has (fit as fits), median delay of those that fit
    and mean accuracy, between (runs that end between). critical: by start and parent the fraction at which the accuracy
    crosses HALF. Raises ValueError where no run has ended, or those of the second stage are no forks."""
    runs, cells = [], []
    for start, stage in ((FRESH, results), (FORKED, ungrokking)):
        if stage is None:
            continue
        ended = answers.ended_runs(
            stage.runs(), train_fraction="task.train_fraction", accuracy="final/test/accuracy", delay="delay"
        )
        parent = answers.forked_from(ended) if start == FORKED else ended["seed"].map(str)
        ended = ended.assign(start=start, parent=parent)
        runs.append(ended[["start", "parent", "train_fraction", "accuracy"]])
        measures = [_measures(cell) for _, cell in ended.groupby("train_fraction")]
        of_stage = cell_outcomes(ended, ["start", "train_fraction"]).drop(columns="accuracy")
        cells.append(pd.concat([of_stage, pd.DataFrame(measures)], axis=1))
    both = pd.concat(runs, ignore_index=True)
    critical = answers.summary(
        both, ["start", "parent"],
        fraction=lambda part: crossing(part["train_fraction"].to_numpy(), part["accuracy"].to_numpy()),
    )  # fmt: skip
    cell = pd.concat(cells, ignore_index=True).rename(columns={"fit": "fits"})
    return {"runs": both, "cell": cell, "critical": critical}


def _measures(cell: pd.DataFrame) -> dict[str, float]:
    delay = answers.median(cell.loc[cell["fit_step"].notna(), "delay"])
    between = int(cell["accuracy"].between(*BETWEEN, inclusive="neither").sum())
    return answers.flat(delay=delay, accuracy=answers.mean(cell["accuracy"])) | {"between": between}


def crossing(fractions: np.ndarray, accuracy: np.ndarray, level: float = HALF) -> float:
    """The fraction from which on the accuracy is over `level`, on the line between the two fractions around it.

    nan where the largest fraction ends below it; the smallest fraction where all are above (it lies there or below).
    """
    order = np.argsort(fractions)
    x, y = fractions[order], accuracy[order]
    below = np.flatnonzero(~(y >= level))
    if not len(below):
        return float(x[0])
    last = int(below[-1])
    if last == len(x) - 1:
        return np.nan
    return float(x[last] + (level - y[last]) / (y[last + 1] - y[last]) * (x[last + 1] - x[last]))


def answer(tables: Tables) -> list[str]:
    """Delay, outcome and test accuracy by share of data; the critical shares, and what both together say."""
    columns = ["start", "train_fraction", "delay", "generalized", "accuracy", "between"]
    title = f"Median delay, and test accuracy at the end (mean; runs between {BETWEEN[0]} and {BETWEEN[1]})"
    lines = [answers.text_table(title, tables["cell"], columns)]
    tried = answers.summary(
        tables["cell"], ["start"],
        smallest=lambda cells: cells["train_fraction"].min(),
        largest=lambda cells: cells["train_fraction"].max(),
        smallest_that_generalizes=lambda cells: cells["train_fraction"][cells["generalized"] > 0].min(),
        largest_that_does_not=lambda cells: cells["train_fraction"][cells["generalized"] == 0].max(),
        between=lambda cells: answers.share(cells["between"].sum(), cells["runs"].sum()),
    )  # fmt: skip
    critical = answers.summary(
        tables["critical"].merge(tried), ["start"], parents=len,
        critical_share=lambda part: critical_share(part["fraction"], part["largest"].iloc[0]),
        above_all=lambda part: int(part["fraction"].isna().sum()),
        below_all=lambda part: int((part["fraction"] == part["smallest"]).sum()),
    )  # fmt: skip
    title = f"Critical share of data, where the test accuracy at the end crosses {HALF} (median over parents)"
    lines.append(answers.text_table(title, critical.merge(tried)))
    return lines if len(critical) < 2 else [*lines, _compared(*critical["critical_share"])]


def critical_share(fractions: pd.Series, largest: float) -> Estimate:
    """Median over parents; nan of one, and so inf of the median, lies above the largest share tried."""
    return replace(answers.median(fractions), form=".2f", beyond=f"over {number_text(largest)}")


def _compared(fresh: Estimate, forked: Estimate) -> str:
    """Whether what does not come from a fresh start is lost by a network that has it."""
    if not (np.isfinite(fresh.value) and np.isfinite(forked.value)):
        return "Both critical shares are not known, so they cannot be compared."
    if forked.high < fresh.low:
        return "A generalized network keeps what it can do at shares at which a fresh start does not come to it."
    if fresh.high < forked.low:
        return "A generalized network forgets at shares of data at which a fresh start generalizes."
    return "The two critical shares are not told apart: their intervals meet."


def figure(tables: Tables) -> Figure:
    """Who generalizes, the delay, and the test accuracy at the end, of both starts, against the share of data."""
    fresh = tables["cell"][tables["cell"]["start"] == FRESH]
    label = "steps from fit to generalization"
    with panels.panels(3, 1, NOTE) as (picture, grid):
        panels.draw_cells(grid[0, 0], fresh, "train_fraction", "fraction")
        panels.draw_cells(grid[0, 1], fresh.dropna(subset=["delay"]), "train_fraction", "delay", label=label)
        _draw_accuracy(grid[0, 2], tables)
    return picture


def _draw_accuracy(axes: Axes, tables: Tables) -> None:
    colors = dict(zip(dict.fromkeys(tables["runs"]["start"]), PALETTE, strict=False))
    for (start, _), part in tables["runs"].sort_values("train_fraction").groupby(["start", "parent"]):
        axes.plot(part["train_fraction"], part["accuracy"], color=colors[start], linewidth=0.4, alpha=0.35)
    ends = ["accuracy_low", "accuracy_high"]
    cells = tables["cell"].assign(**{name: tables["cell"][name].clip(0, 1) for name in ends})
    panels.draw_cells(axes, cells, "train_fraction", "accuracy", "start", "test accuracy (end)")
    axes.axhline(HALF, color=GREY, linewidth=0.6, linestyle=":")
    if len(colors) > 1:
        panels.legend(axes, columns=2)


if __name__ == "__main__":
    answers.run_question(__name__, ungrokking="results of sweeps/questions/critical_fraction_ungrokking.yaml")
