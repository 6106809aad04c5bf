#!/usr/bin/env python3
"""Which labels does a norm fit better, true or random ones? Norm at equal train loss, and train loss at equal norm,
over the size of the train set; the local learning coefficient at equal train loss.

Varma et al. 2023 (arXiv 2309.02390): a memorizing circuit needs more norm the more examples it holds, a generalizing
one does not, so that beyond a critical size of the train set the generalizing one is the more efficient. Random labels
can only be memorized. What the runs of all weight decays come to gives, a seed, a line of train loss against norm;
these are compared at an equal train loss (how much norm it takes) and at an equal norm (which loss it buys)."""

from __future__ import annotations

from typing import Any

import answers
import numpy as np
import pandas as pd
import panels
from answers import Estimate, Tables, geometric_mean, text_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from scipy.stats import gmean

from grokjax.analysis.cells import ordered_values
from grokjax.analysis.learning_coefficient import Sampling, learning_coefficient
from grokjax.figures.style import GREY, PALETTE
from grokjax.results.read import Results

KINDS = ("generalizing", "memorizing", "random")  # true labels that generalized at the end, that did not; random labels
COLORS = dict(zip(KINDS, PALETTE, strict=False))
CLOSE = 3.0  # a snapshot is at the common train loss within this factor
SIZE, CURVE = ["p", "kind", "size"], ["p", "kind", "size", "seed"]
CSV = ("runs",)
NOTE = (
    "Left: a mark a run at its end, mean lines over seeds; grey: the common train loss. Middle: dotted where random "
    "labels come to take the norm of the generalizing solution. Bars: 95 % intervals over seeds."
)


def data(results: Results, sampling: Sampling | None = None) -> Tables:
    """runs: p, kind (of KINDS), size (of the train set), fraction, weight_decay, seed, and at the end norm, loss
    (train) and accuracy (test). curves: by CURVE the norm that a train loss common to a p's curves takes, and that loss
    (common). ratios: by p and size: of random labels over the generalizing solution, norm at that loss and loss at its
    norm. critical: by p: size at which random labels come to take as much norm (nan: not among the sizes).
    coefficients: by CURVE the learning coefficient (lambda, trusted) near that loss. Raises ValueError where no run has
    ended."""
    runs = _ends(results.runs())
    common = {p: common_loss(part) for p, part in runs.groupby("p")}
    curves = answers.summary(
        runs.sort_values(CURVE, kind="stable"), CURVE,
        common=lambda curve: common[curve["p"].iloc[0]],
        norm=lambda curve: crossing(curve, "loss", common[curve["p"].iloc[0]], "norm"),
    ).dropna()  # fmt: skip
    tables = {"runs": runs, "curves": curves, "coefficients": _coefficients(results, runs, curves, sampling)}
    general = (
        curves[curves["kind"] == "generalizing"].groupby("p")["norm"].agg(lambda norms: geometric_mean(norms).value)
    )
    random = curves[(curves["kind"] == "random") & curves["p"].isin(general.index)]
    critical = [
        {"p": p, "general": norm} | answers.flat(critical=_critical(random[random["p"] == p], norm))
        for p, norm in general.items()
    ]
    ratios = [
        {"p": p, "size": size}
        | _ratios(part, random[(random["p"] == p) & (random["size"] == size)], general[p], common[p])
        for (p, size), part in runs[runs["kind"] == "random"].groupby(["p", "size"])
        if p in general
    ]
    for name, rows in (("critical", critical), ("ratios", ratios)):
        tables[name] = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["p"])
    return tables


def _ends(planned: pd.DataFrame) -> pd.DataFrame:
    ended = answers.ended_runs(
        planned, fraction="task.train_fraction", weight_decay="optimizer.weight_decay", norm="final/norm/total",
        loss="final/train/loss", accuracy="final/test/accuracy",
    )  # fmt: skip
    generalized = np.where(ended["accuracy"] >= ended["events.generalization"], "generalizing", "memorizing")
    ended = ended.assign(
        p=ended["task.p"],
        kind=np.where(ended["task.op"] == "random", "random", generalized),
        size=(ended["task.p"] ** 2 * ended["fraction"]).astype(int),
    )
    columns = ["run_id", "p", "kind", "size", "fraction", "weight_decay", "seed", "norm", "loss", "accuracy"]
    return ended.loc[(ended["loss"] > 0) & np.isfinite(ended["loss"]), columns].reset_index(drop=True)


def common_loss(runs: pd.DataFrame) -> float:
    """The train loss that lies within the range of the most curves, in the middle of such losses; runs: of one p."""
    spans = np.log(runs.groupby(CURVE)["loss"].agg(["min", "max"]).to_numpy())
    grid = np.linspace(spans.min(), spans.max(), 401)
    covered = ((spans[:, :1] <= grid) & (grid <= spans[:, 1:])).sum(axis=0)
    return float(np.exp(np.median(grid[covered == covered.max()])))


def crossing(curve: pd.DataFrame, x: str, value: float, y: str) -> float:
    """y of a curve where x has a value, between its runs and linear in logarithms; nan beyond them."""
    ordered = curve.sort_values(x)
    with np.errstate(divide="ignore"):
        log_x, log_y, wanted = np.log(ordered[x]), np.log(ordered[y]), np.log(value)
    return float(np.exp(np.interp(wanted, log_x, log_y, left=np.nan, right=np.nan)))


def _ratios(runs: pd.DataFrame, curves: pd.DataFrame, norm: float, loss: float) -> dict[str, float]:
    """Random labels of one size over the generalizing solution, whose norm is its mean over sizes and seeds."""
    buys = [crossing(curve, "norm", norm, "loss") / loss for _, curve in runs.groupby("seed")]
    return answers.flat(norm=geometric_mean(curves["norm"] / norm), loss=geometric_mean(buys))


def _critical(curves: pd.DataFrame, norm: float) -> Estimate:
    """Where, a seed, the norm of random labels first passes that of the generalizing solution; curves: of one p."""
    sizes = []
    for _, part in curves.sort_values("size").groupby("seed"):
        sizes.append(crossing(part.assign(norm=part["norm"].cummax()), "norm", norm, "size"))
    return geometric_mean(sizes)


def _coefficients(
    results: Results, runs: pd.DataFrame, curves: pd.DataFrame, sampling: Sampling | None
) -> pd.DataFrame:
    """Of each curve at its end nearest to the common train loss, if within CLOSE of it."""
    near = runs.merge(curves[[*CURVE, "common"]], on=CURVE)
    near = near.assign(apart=np.abs(np.log(near["loss"] / near["common"]))).sort_values("apart")
    near = near[near["apart"] <= np.log(CLOSE)].groupby(CURVE).head(1)
    if near.empty:
        return pd.DataFrame(columns=[*CURVE, "lambda", "trusted"])
    ends = near["run_id"].map({run_id: int(end["step"]) for run_id, end in results.ends.items()})
    parts = [learning_coefficient(results, list(part["run_id"]), step, sampling) for step, part in near.groupby(ends)]
    return near.merge(pd.concat(parts)[["run_id", "lambda", "trusted"]], on="run_id").sort_values(CURVE)


def answer(tables: Tables) -> list[str]:
    """Norms and learning coefficients at equal loss, random labels against the generalizing solution, critical size."""
    if tables["curves"].empty:
        return ["No train loss is common to runs of several weight decays: there is nothing to compare."]
    lines = []
    for p, curves in tables["curves"].groupby("p"):
        norms = answers.summary(curves, ["kind", "size"], norm=lambda part: geometric_mean(part["norm"]))
        lines.append(text_table(f"p {p}: norm that a train loss of {curves['common'].iloc[0]:.2g} takes", norms))
        critical, ratios, coefficients = (
            tables[name][tables[name]["p"] == p] for name in ("critical", "ratios", "coefficients")
        )
        lines += _against(f"p {p}", critical, ratios)
        if len(coefficients):
            rows = answers.summary(
                coefficients, ["kind", "size"],
                coefficient=lambda part: geometric_mean(part["lambda"]),
                trusted=lambda part: f"{part['trusted'].sum()} of {np.isfinite(part['lambda']).sum()}",
            )  # fmt: skip
            lines.append(text_table(f"p {p}: learning coefficient within a factor {CLOSE:g} of that loss", rows))
    return lines


def _against(name: str, critical: pd.DataFrame, ratios: pd.DataFrame) -> list[str]:
    """Random labels against the generalizing solution, and the critical size."""
    if critical.empty:
        return [f"{name}: no weight decays of one seed generalize and come to that loss: no critical size."]
    if ratios.empty:
        return [f"{name}: no run with random labels to compare with."]
    title = f"{name}: random labels over the generalizing solution, norm at equal loss and loss at equal norm"
    lines = [text_table(title, ratios, ["size", "norm", "loss"])]
    size = answers.with_interval(critical.iloc[0], "critical")
    if np.isfinite(size.value):
        return [*lines, f"{name}: random labels become the less efficient at {size} examples."]
    known = ratios["norm"].dropna()
    where = "above the largest" if len(known) and known.iloc[-1] < 1 else "below the smallest"
    return [*lines, f"{name}: the critical size is not among those tried; it lies {where}."]


def figure(tables: Tables) -> Figure:
    """A row a p: train loss against norm at the end, a line a size and kind; the norm that the common loss takes, and
    the learning coefficient there, against the size of the train set."""
    ps = ordered_values(tables["runs"]["p"])
    with panels.panels(3, len(ps), NOTE, 2.4) as (picture, grid):
        for row, p in zip(grid, ps, strict=True):
            runs, curves, critical, coefficients = (
                tables[name][tables[name]["p"] == p] for name in ("runs", "curves", "critical", "coefficients")
            )
            _draw_lines(row[0], runs, p)
            if len(curves):
                row[0].axhline(curves["common"].iloc[0], color=GREY, linewidth=0.6, zorder=0)
            _draw_sizes(row[1], curves, "norm", "norm at that train loss")
            for size in critical["critical"].dropna() if len(critical) else ():
                row[1].axvline(size, color="black", linewidth=0.6, linestyle=":")
            _draw_sizes(row[2], coefficients, "lambda", "learning coefficient there")
            row[2].set_yscale("log")
            row[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panels.legend(grid[0, 1], "labels")
    return picture


def _draw_lines(axes: Axes, runs: pd.DataFrame, p: int) -> None:
    markers = dict(zip(ordered_values(runs["size"]), 2 * panels.MARKERS, strict=False))
    for (kind, size), part in runs.groupby(["kind", "size"]):
        style: dict[str, Any] = {"color": COLORS[kind], "linewidth": 0.7}
        axes.plot(part["norm"], part["loss"], markers[size], markersize=2.4, alpha=0.5, **style)
        middle = part.groupby("weight_decay")[["norm", "loss"]].agg(gmean)
        axes.plot(middle["norm"], middle["loss"], "-", **style)
    axes.set(yscale="log", xlabel="norm of all parameters", ylabel="train loss")
    style = {"color": "black", "linestyle": "none", "markersize": 3}
    marks = [Line2D([], [], marker=marker, label=str(size), **style) for size, marker in markers.items()]
    panels.legend(axes, f"p = {p}; train examples", handles=marks)


def _draw_sizes(axes: Axes, frame: pd.DataFrame, name: str, label: str) -> None:
    """Geometric means over seeds."""
    cells = [
        dict(zip(SIZE, values, strict=True)) | answers.flat(**{name: geometric_mean(part[name])})
        for values, part in frame.groupby(SIZE)
    ]
    if cells:
        panels.draw_cells(axes, pd.DataFrame(cells), "size", name, "kind")
        for line in axes.containers:
            for part in (line[0], *line[1], *line[2]):
                part.set_color(COLORS[line.get_label()])
    axes.set(ylabel=label, xlabel="train examples")


if __name__ == "__main__":
    answers.run_question(__name__)
