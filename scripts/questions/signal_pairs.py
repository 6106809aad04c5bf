#!/usr/bin/env python3
"""Which heads and head dimensions tell two of four signals apart among noise (attention-head superposition), with and
without the direct path, by weight decay? Do two heads attend in opposite orders, does one attend evenly, and which rank
has what they say (EVOU)? And which loss has the solution made by hand, by its scale?"""

from __future__ import annotations

from typing import Any

import answers
import numpy as np
import pandas as pd
import panels
from answers import Estimate, Tables, share, text_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from grokjax.analysis.cells import ordered_values
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import PALETTE, group_colors
from grokjax.results.read import Results
from grokjax.spec.drawn_tasks import SignalPairs
from grokjax.tasks.signal_pairs import table as every_sequence

LOSS, PROBE = "final/test/loss", "final/circuits/"
SOLVED = 0.01  # nats: far below the 2.25 of the prior, and what is left is a matter of scale
CELL = ["heads", "d_head", "direct_path", "weight_decay"]
SCALES = (1, 2, 4, 8, 16)
# rows: signals; columns: the pairs 11 12 13 14 22 23 24 33 34 44 (Greenspan and Wynroe 2023)
BY_HAND = ("3222000000", "0200322000", "0020020320", "0002002023")
COLUMNS = [*CELL, "runs", *answers.column_names("share"), *answers.column_names("loss"), "rank", "evenness", "tau"]
CSV = ("cells",)
NOTE = (
    "Solved: the exact test loss ends below 0.01 nats (the prior has 2.25). Bars: 95 % intervals over runs. Right: a "
    "mark a run that solves it; tau is Kendall's, between the orders in which its two heads attend to the signals: -1 "
    "is opposite orders."
)


def data(results: Results) -> Tables:
    """runs: those that ended, with CELL, loss (exact, of all sequences), solved, rank (of both heads' EVOU, rows of
    signals centered), evenness (of the evenest head, 1 is even attention), tau (nan of one head). cells: by CELL the
    share that is solved, the loss (geometric mean), and medians of the rest over runs that solve it. by_hand: scale,
    loss. Raises ValueError where no run has ended, or without the probe `circuits`."""
    runs = answers.ended_runs(results.runs(), loss=LOSS, heads="model.heads", d_head="model.d_head")
    if f"{PROBE}rank_centered" not in runs:
        raise ValueError("these runs have no probe `circuits`: log: {probes: [circuits]}")
    even = [column for column in runs if column.startswith(f"{PROBE}evenness/")]
    tau = runs[f"{PROBE}tau"].astype(float) if f"{PROBE}tau" in runs else np.nan
    runs = runs.assign(
        direct_path=runs["model.direct_path"].astype(bool),
        weight_decay=runs["optimizer.weight_decay"].astype(float),
        solved=runs["loss"] < SOLVED,
        rank=runs[f"{PROBE}rank_centered"].astype(float),
        evenness=runs[even].astype(float).max(axis=1),
        tau=tau,
    )

    def measures(cell: pd.DataFrame) -> dict[str, Any]:
        solving = cell[cell["solved"]]
        plain = {name: solving[name].median() for name in ("rank", "evenness", "tau")}
        found = answers.flat(loss=answers.geometric_mean(cell["loss"].clip(lower=1e-12)))
        return answers.share_columns("share", int(cell["solved"].sum()), len(cell)) | found | plain

    cells = cell_outcomes(runs, CELL, measures).sort_values(CELL, ignore_index=True)
    by_hand = pd.DataFrame([(scale, loss_by_hand(scale)) for scale in SCALES], columns=["scale", "loss"])
    return {"runs": runs, "cells": cells[COLUMNS], "by_hand": by_hand}


def loss_by_hand(scale: float) -> float:
    """Of one head that attends evenly to both signals, with the EVOU of BY_HAND times a scale."""
    examples = every_sequence(SignalPairs())
    evou = np.array([[int(digit) for digit in row] for row in BY_HAND], float)
    logits = scale * evou[np.asarray(examples.inputs)[:, :2] - 1].mean(1)
    top = logits.max(1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
    right = log_p[np.arange(len(log_p)), np.asarray(examples.targets)]
    assert examples.weights is not None
    return float(-(right * np.asarray(examples.weights)).sum())


def answer(tables: Tables) -> list[str]:
    """Who solves it; the least head dimension that does; orders, evenness and ranks of those that do; the solution by
    hand."""
    cells, runs = tables["cells"], tables["runs"]
    lines = []
    for direct, part in cells.groupby("direct_path"):
        way = "with" if direct else "without"
        rows = part.assign(solved=[share(round(s * n), n) for s, n in zip(part["share"], part["runs"], strict=True)])
        shown = ["heads", "d_head", "weight_decay", "solved", "loss", "rank", "evenness", "tau"]
        lines.append(text_table(f"{way.capitalize()} the direct path (loss: geometric mean)", rows, shown))
    lines += _least(cells)
    solving = runs[runs["solved"]]
    both = solving[solving["heads"] == 2]["tau"].dropna()
    if len(both):
        opposite, same = share(int((both < 0).sum()), len(both)), share(int((both > 0).sum()), len(both))
        lines.append(f"Two heads that solve it attend in orders that are more opposite than not in {opposite} runs, "
                     f"more alike in {same}; mean tau {answers.mean(both)}.")  # fmt: skip
    one = solving[solving["heads"] == 1]["evenness"].dropna()
    if len(one):
        lines.append(f"One head that solves it attends with an evenness of {answers.mean(one).within(0, 1)} (1: even).")
    by_hand = tables["by_hand"].assign(loss=[Estimate(loss, form=".4f") for loss in tables["by_hand"]["loss"]])
    return [*lines, text_table("By hand: one head that attends evenly, EVOU times a scale", by_hand)]


def _least(cells: pd.DataFrame) -> list[str]:
    """The least head dimension that every run solves it with, by heads and path."""
    lines = []
    for (heads, direct), part in cells.groupby(["heads", "direct_path"]):
        setting = f"{heads:.0f} head{'s' if heads > 1 else ''}, direct path {'on' if direct else 'off'}"
        whole = part[part["share"] == 1]
        least = whole[whole["d_head"] == whole["d_head"].min()]
        if least.empty:
            lines.append(f"{setting}: no head dimension and weight decay tried solves it in every run.")
            continue
        decays = ", ".join(f"{decay:g}" for decay in least["weight_decay"])
        lines.append(f"{setting}: in every run from d_head {least['d_head'].iloc[0]:.0f} on (weight decay {decays}).")
    return lines


def figure(tables: Tables) -> Figure:
    """Against the head dimension, by weight decay: the share that is solved with one head and with two, with and
    without the direct path; the loss; and tau of two heads."""
    cells, runs = tables["cells"], tables["runs"]
    widths = ordered_values(cells["d_head"].astype(int))
    with panels.panels(3, 2, NOTE) as (picture, grid):
        for row, direct in enumerate((True, False)):
            for column, heads in enumerate((1, 2)):
                part = cells[(cells["direct_path"] == direct) & (cells["heads"] == heads)]
                words = f"solved, {heads} head{'s' if heads > 1 else ''}, {'with' if direct else 'no'} direct path"
                if len(part):
                    panels.draw_cells(grid[row, column], part, "d_head", "share", "weight_decay", words)
        _draw_orders(grid[0, 2], runs[(runs["heads"] == 2) & runs["solved"]])
        for axes in (*grid[:, 0], *grid[:, 1], grid[0, 2]):
            axes.set_xticks(widths, [str(width) for width in widths])
        by_hand = tables["by_hand"]
        grid[1, 2].plot(by_hand["scale"], by_hand["loss"], "o-", color=PALETTE[0], markersize=3.4)
        grid[1, 2].set(xlabel="scale of the solution by hand", ylabel="loss (nats)", xscale="log", yscale="log")
        grid[1, 2].set_xticks(SCALES, [str(scale) for scale in SCALES])
        grid[1, 2].xaxis.set_minor_locator(NullLocator())
        panels.legend(grid[0, 0], "weight_decay")
    return picture


def _draw_orders(axes: Axes, runs: pd.DataFrame) -> None:
    """A mark a run of two heads, beside each other where they are equal."""
    decays = ordered_values(runs["weight_decay"])
    for index, (decay, color) in enumerate(zip(decays, group_colors(True, len(decays)), strict=True)):
        part = runs[runs["weight_decay"] == decay].sort_values(["d_head", "tau"])
        beside = (part.groupby("d_head").cumcount() - 1) * 0.03 + (index - (len(decays) - 1) / 2) * 0.12
        axes.plot(part["d_head"] + beside, part["tau"], panels.MARKERS[index], color=color, markersize=3, alpha=0.8)
    axes.set(xlabel="d_head", ylabel="tau of two heads' orders", ylim=(-1.1, 1.1))


if __name__ == "__main__":
    answers.run_question(__name__)
