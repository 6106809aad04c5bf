#!/usr/bin/env python3
"""Which activation generalizes soonest on modular addition, and how nearly do its neurons come to compute squares?"""

from __future__ import annotations

from typing import Any

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.neurons import neurons
from grokjax.analysis.outcomes import cell_outcomes, ranking
from grokjax.figures.style import PALETTE
from grokjax.results.read import Results

CELL = ["arm", "activation", "lr"]
ORDER = ("square", "relu", "gelu", "tanh", "identity")  # from what squares to what cannot multiply
EXACT = ("square", "identity")  # that compute a square, or none, whatever the weights are
CSV = ("runs",)
NOTE = (
    "Fractions: 95 % Wilson intervals; steps: medians with the interval of the sign test, open triangles where most "
    "did not generalize. Right: at the end, a mark a run of any lr; open: it did not generalize."
)


def data(results: Results) -> Tables:
    """runs: run_id, CELL, seed, fit and generalization (steps, nan: never), accuracy (of the test set, at the end),
    beyond (variance of its neurons that a square explains beyond a line, at the end, mean of layers; see
    `grokjax.analysis.neurons`). cells: by CELL what `cell_outcomes` has. Raises ValueError where no run has ended."""
    runs = answers.ended_runs(
        results.runs(), lr="optimizer.lr", fit="fit_step", generalization="generalization_step",
        accuracy="final/test/accuracy",
    )  # fmt: skip
    squares = neurons(results, list(runs["run_id"]), "last").groupby("run_id")["beyond"].mean()
    runs = runs.assign(activation=runs["model.activation"], beyond=runs["run_id"].map(squares))
    cells = cell_outcomes(runs, CELL).sort_values(CELL, key=_ordered, kind="stable", ignore_index=True)
    columns = ["run_id", *CELL, "seed", "fit", "generalization", "accuracy", "beyond"]
    return {"runs": runs[columns].reset_index(drop=True), "cells": cells}


def _ordered(column: pd.Series) -> pd.Series:
    return column.map(_order) if column.name == "activation" else column


def _order(activation: Any) -> int:
    return ORDER.index(activation) if activation in ORDER else len(ORDER)


def answer(tables: Tables) -> list[str]:
    """Of each arm the activations at their best lr, how much they square, and whether more of it means sooner."""
    cells, lines = tables["cells"], []
    ranked = ranking(cells).drop_duplicates(["arm", "activation"])
    for arm, best in ranked.groupby("arm"):
        columns = ["activation", "lr", "median_step", "generalized", "fit", "accuracy"]
        lines.append(answers.text_table(f"{arm}, each activation at its best lr", best, columns))
        for row, activation in best.loc[best["generalized"] > 0, "activation"].items():
            tried = cells[(cells["arm"] == arm) & (cells["activation"] == activation)]
            lines += answers.edge_warnings(tried, [row], ["lr"], f"{arm}, {activation}")
        runs = tables["runs"][tables["runs"]["arm"] == arm].sort_values("activation", key=_ordered)
        runs = runs.assign(generalized=runs["generalization"].notna())
        squares = answers.summary(
            runs, ["activation", "generalized"], count=len, beyond=lambda part: answers.mean(part["beyond"])
        )
        lines.append(answers.text_table(f"{arm}, variance of neurons that a square explains beyond a line", squares))
        lines.append(f"{arm}, rank correlation of that with the step of generalization: {_relation(runs)}.")
    return lines


def _relation(runs: pd.DataFrame) -> str:
    """Whether, at one activation and lr, runs whose neurons square more generalize sooner; never is last."""
    part = runs[~runs["activation"].isin(EXACT) & runs["beyond"].notna()]
    if part.empty:
        return "no activation could square more or less"
    part = part.assign(later=part["generalization"].fillna(np.inf))
    ranks = part.groupby(["activation", "lr"])[["beyond", "later"]].rank(pct=True)
    correlation = answers.rank_correlation(ranks["beyond"], ranks["later"])
    return f"{correlation}, within an activation ({'/'.join(part['activation'].unique())}) and lr"


def figure(tables: Tables) -> Figure:
    """A row an arm: who generalizes and when, by activation and lr; and how much neurons square, a mark a run."""
    arms = list(dict.fromkeys(tables["cells"]["arm"]))
    with panels.panels(3, len(arms), NOTE) as (picture, grid):
        for row, arm in zip(grid, arms, strict=True):
            cells = tables["cells"][tables["cells"]["arm"] == arm]
            panels.draw_cells(row[0], cells, "activation", "fraction", "lr")
            panels.legend(row[0], f"{arm}; lr")
            panels.draw_cells(row[1], cells, "activation", "median_step", "lr", "step of generalization")
            _draw_squares(row[2], tables["runs"][tables["runs"]["arm"] == arm])
    return picture


def _draw_squares(axes: Axes, runs: pd.DataFrame) -> None:
    names = sorted(runs["activation"].unique(), key=_order)
    for index, name in enumerate(names):
        part = runs[runs["activation"] == name].sort_values("beyond")
        at = index + (np.linspace(-0.4, 0.4, len(part)) if len(part) > 1 else np.zeros(1))
        generalized = part["generalization"].notna().to_numpy()
        style: dict[str, Any] = {"color": PALETTE[index % len(PALETTE)], "linestyle": "none", "markersize": 2.0}
        axes.plot(at[generalized], part["beyond"][generalized], "o", **style)
        axes.plot(at[~generalized], part["beyond"][~generalized], "o", markerfacecolor="none", **style)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("activation")
    axes.set_ylim(bottom=-0.03)
    axes.set_ylabel("share that a square explains")


if __name__ == "__main__":
    answers.run_question(__name__)
