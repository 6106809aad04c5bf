"""Time to generalize by activation, and how nearly neurons compute squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import (
    cells,
    edges,
    fraction_text,
    interval_of_mean,
    rank_correlation,
    ranking,
    rows,
    time_text,
)
from grokjax.analysis.neurons import neurons
from grokjax.figures.questions.panels import (
    draw_fractions,
    draw_times,
    edge_warnings,
    ended_runs,
    legend,
    mean_text,
    note,
    panels,
    unended,
)
from grokjax.figures.style import PALETTE, number_text, paper
from grokjax.results.read import Results

ACTIVATION, LR = "model.activation", "optimizer.lr"
CELL = ["arm", "activation", "lr"]
ORDER = ("square", "relu", "gelu", "tanh", "identity")  # from what squares to what cannot multiply
EXACT = ("square", "identity")  # that compute a square, or none, whatever the weights are


@dataclass(frozen=True)
class ActivationData:
    """runs: one row a run that ended: arm, activation, lr, seed, fit, generalization (steps, nan: never), accuracy (of
    the test set, at the end), beyond (variance of its neurons that a square explains beyond a line, at the end, mean
    of layers; see `grokjax.analysis.neurons`). cells: by CELL, those of `grokjax.analysis.answers.cells`. best: of each
    arm and activation the best cell (most generalize, then soonest, then most accurate)."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    best: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> ActivationData:
    """Raises ValueError where no run has ended."""
    runs = results.runs()
    ended = ended_runs(runs).rename(columns={ACTIVATION: "activation"})
    ended = ended.assign(lr=ended[LR].astype(float))
    squares = neurons(results, list(ended["run_id"]), "last").groupby("run_id")["beyond"].mean()
    frame = pd.DataFrame(
        {
            **{name: ended[name] for name in ("run_id", *CELL, "seed")},
            "fit": ended["fit_step"].astype(float),
            "generalization": ended["generalization_step"].astype(float),
            "accuracy": ended["final/test/accuracy"].astype(float),
            "beyond": ended["run_id"].map(squares),
        }
    ).reset_index(drop=True)
    found = cells(ended, CELL)
    found = found.assign(order=[_order(name) for name in found["activation"]])
    found = found.sort_values(["arm", "order", "lr"], kind="stable", ignore_index=True).drop(columns="order")
    best = [ranking(part).iloc[0] for _, part in found.groupby(["arm", "activation"], sort=False)]
    return ActivationData(frame, found, pd.DataFrame(best), tuple(unended(runs)))


def _order(activation: str) -> int:
    return ORDER.index(activation) if activation in ORDER else len(ORDER)


def answer(data: ActivationData) -> list[str]:
    lines = list(data.notes)
    for arm, best in data.best.groupby("arm", sort=False):
        own = data.cells[data.cells["arm"] == arm]
        lines.append(_best_line(str(arm), best))
        for place, row in best.iterrows():
            of = own[own["activation"] == row["activation"]]
            if row["generalized"]:
                lines += edge_warnings(edges(of, place, ["lr"]), f"{arm}, {row['activation']}")
        part = data.runs[data.runs["arm"] == arm]
        lines += [_square_line(str(arm), part), _relation(str(arm), part)]
    return lines


def _best_line(arm: str, best: pd.DataFrame) -> str:
    each = [
        f"{row['activation']} (lr {number_text(row['lr'])}) {_time(row)}, "
        f"{fraction_text(int(row['generalized']), int(row['runs']))}"
        for row in rows(ranking(best))
    ]
    return (
        f"{arm}, each activation at its best lr, the best first (median step, runs that generalize): {'; '.join(each)}."
    )


def _time(row: dict[Any, Any]) -> str:
    if row["generalized"]:
        return time_text(row["median_step"], row["median_low"], row["median_high"], row["steps"])
    fits = "" if row["fit"] else ", never fits"
    return f"over {row['steps']:,} (test accuracy {row['accuracy']:.2f}{fits})"


def _square_line(arm: str, runs: pd.DataFrame) -> str:
    """Of runs that generalized and that did not, apart: mean over runs."""
    each = []
    for activation, own in sorted(runs.groupby("activation"), key=lambda pair: _order(str(pair[0]))):
        there = own["generalization"].notna()
        texts = [
            f"{_mean_text(own[which]['beyond'])} {word} ({int(which.sum())} runs)"
            for word, which in (("where it generalized", there), ("where not", ~there))
            if which.any()
        ]
        each.append(f"{activation} {', '.join(texts)}")
    return f"{arm}, variance of neurons that a square explains beyond a line, at the end: {'; '.join(each)}."


def _mean_text(values: pd.Series) -> str:
    return mean_text(*interval_of_mean(values.to_numpy(np.float64)))


def _relation(arm: str, runs: pd.DataFrame) -> str:
    """Whether, at one activation and lr, runs whose neurons square more generalize sooner."""
    part = runs[~runs["activation"].isin(EXACT) & runs["beyond"].notna()]
    later = part["generalization"].fillna(np.inf)
    names = "/".join(sorted(part["activation"].unique(), key=_order))
    if part.empty:
        return f"{arm}: no activation that could square more or less."
    within = part.assign(later=later).groupby(["activation", "lr"])[["beyond", "later"]].rank(pct=True)
    found = mean_text(*rank_correlation(within["beyond"], within["later"]))
    return (
        f"{arm}: rank correlation, within an activation ({names}) and lr, of that share with the step of "
        f"generalization (never is last): {found}."
    )


def table(data: ActivationData) -> pd.DataFrame:
    """One row a run, as in `ActivationData.runs`."""
    return data.runs


def figure(data: ActivationData) -> Figure:
    """A row an arm: who generalizes and when, by activation and lr; and how much neurons square, a mark a run."""
    arms = list(dict.fromkeys(data.cells["arm"]))
    with paper():
        picture, grid = panels(3, len(arms))
        for row, arm in zip(grid, arms, strict=True):
            own = data.cells[data.cells["arm"] == arm]
            draw_fractions(row[0], own, "activation", "lr")
            legend(row[0], f"{arm}; lr")
            draw_times(row[1], own, "activation", "lr")
            row[1].set_ylabel("step of generalization")
            _draw_squares(row[2], data.runs[data.runs["arm"] == arm])
        note(
            picture,
            "Fractions: 95 % Wilson intervals; steps: medians with the interval of the sign test, open triangles where "
            "most did not generalize. Right: at the end, a mark a run of any lr; open: it did not generalize.",
        )
    return picture


def _draw_squares(axes: Axes, runs: pd.DataFrame) -> None:
    names = sorted(runs["activation"].unique(), key=_order)
    for place, name in enumerate(names):
        part = runs[runs["activation"] == name].sort_values("beyond")
        at = place + np.linspace(-0.4, 0.4, len(part)) if len(part) > 1 else np.array([float(place)])
        there = part["generalization"].notna().to_numpy()
        style: dict[str, Any] = {"color": PALETTE[place % len(PALETTE)], "linestyle": "none", "markersize": 2.0}
        axes.plot(at[there], part["beyond"][there], "o", **style)
        axes.plot(at[~there], part["beyond"][~there], "o", markerfacecolor="none", **style)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("activation")
    axes.set_ylim(bottom=-0.03)
    axes.set_ylabel("share that a square explains")
