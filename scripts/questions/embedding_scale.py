#!/usr/bin/env python3
"""Does a larger embedding gradient remove the delay between fit and generalization? W_E at other starts and learning
rates, frozen too (with its weight decay), at two widths and weight decays."""

from __future__ import annotations

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables, summary, text_table
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from grokjax.analysis.cells import runs_of
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.results.read import Results
from grokjax.spec.wording import number_text

FACTOR = {"init": "init.scale_by_matrix.W_E", "lr": "optimizer.lr_by_matrix.W_E"}
NAMES = {"init": "start of W_E", "lr": "lr of W_E"}
SHARE = "balance/grad_share/W_E"
SHARES = (0.01, 0.03, 0.1, 0.3)  # ticks
SETTING = ["weight_decay", "d_model"]
CSV = ("runs",)
NOTE = (
    "Bars: 95 % intervals over seeds (all their range below six). Open triangles: most never generalize within the "
    "steps given. Right: a mark a run, the share its mean until fit; open: it never generalizes."
)


def data(results: Results) -> Tables:
    """runs, one row a run and arm (init or lr) it is of: factor of W_E's start or learning rate, SETTING, seed, fit and
    generalization (steps, nan: never), delay (inf where it fits and never generalizes, nan where it does not fit),
    share (of W_E in the squared gradient norm, mean of the records until fit). cells: by arm, factor and SETTING what
    `cell_outcomes` has, and median delay. Raises ValueError where no run has ended, or without the probe `balance`."""
    if SHARE not in results.metrics():
        raise ValueError("these runs have no probe `balance`: log: {probes: [balance]}")
    runs = answers.ended_runs(results.runs(), delay="delay")
    curves = results.curves(SHARE, list(runs["run_id"]))
    until = curves["run_id"].map(runs.set_index("run_id")["fit_step"]).fillna(np.inf)
    share = curves[curves["step"] <= until].groupby("run_id")[SHARE].mean()
    runs = runs.assign(
        weight_decay=runs["optimizer.weight_decay"],
        d_model=runs["model.d_model"],
        fit=runs["fit_step"],
        generalization=runs["generalization_step"],
        delay=runs["delay"].mask(runs["fit_step"].notna() & runs["delay"].isna(), np.inf),
        share=runs["run_id"].map(share),
    )
    of_arm, cells = [], []
    for arm, key in FACTOR.items():
        part = runs_of(runs, arm)
        if len(part):
            of_arm.append(part.assign(arm=arm, factor=part[key].astype(float).fillna(1.0) if key in part else 1.0))
            cells.append(cell_outcomes(of_arm[-1], ["factor", *SETTING], _median_delay).assign(arm=arm))
    if not of_arm:
        raise ValueError(f"no run of the arms {' and '.join(FACTOR)} has ended yet: there is nothing to answer with")
    columns = ["run_id", "arm", "factor", *SETTING, "seed", "fit", "generalization", "delay", "share"]
    runs, cells = pd.concat(of_arm, ignore_index=True)[columns], pd.concat(cells, ignore_index=True)
    return {"runs": runs, "cells": cells.assign(setting=cells.apply(_setting, axis=1))}


def _median_delay(runs: pd.DataFrame) -> dict[str, float]:
    """Over the seeds that fit; inf: over half of them never generalize."""
    return answers.flat(delay=answers.median(runs["delay"].dropna().replace(np.inf, np.nan)))


def _setting(row: pd.Series) -> str:
    return f"d_model {row['d_model']}, wd {number_text(float(row['weight_decay']))}"


def answer(tables: Tables) -> list[str]:
    """Delays by factor, the best of which, and how W_E's share of the gradient goes with them."""
    lines, best = [], []
    for (arm, setting), part in (
        tables["cells"].sort_values([*SETTING, "factor"]).groupby(["arm", "setting"], sort=False)
    ):
        title = f"{setting}, times the {NAMES[arm]}: median delay"
        lines.append(text_table(title, part, ["factor", "delay", "generalized"]))
        reached = part[part["generalized"] > 0].sort_values(["fraction", "delay"], ascending=[False, True])[:1]
        best.append(reached.assign(of=NAMES[arm]))
        lines += answers.edge_warnings(part, reached.index, ["factor"], f"{setting}, {NAMES[arm]}")
    best = pd.concat(best)
    if len(best):
        lines.append(
            text_table("Where most generalize, with the least delay", best, ["setting", "of", "factor", "delay"])
        )
    runs = tables["runs"].assign(setting=tables["runs"].apply(_setting, axis=1), of=tables["runs"]["arm"].map(NAMES))
    shares = summary(runs.sort_values("factor"), ["of", "factor"], share=lambda part: f"{part['share'].mean():.2g}")
    lines.append(text_table("The embedding's share of the squared gradient norm until fit", shares))
    both = pd.concat([runs, runs.drop_duplicates("run_id").assign(of="both")]).dropna(subset=["delay", "share"])
    relations = summary(
        both, ["setting", "of"], runs=len,
        correlation=lambda part: answers.rank_correlation(part["share"], part["delay"]),
    )  # fmt: skip
    title = "Rank correlation of that share with the delay, over runs that fit (never is last)"
    return [*lines, text_table(title, relations)]


def figure(tables: Tables) -> Figure:
    """Of each arm the fraction, the delay and the delay against the embedding's share of the gradient."""
    cells = tables["cells"].assign(delay=tables["cells"]["delay"].clip(lower=1))  # no delay is drawn as one step
    arms = [arm for arm in FACTOR if (cells["arm"] == arm).any()]
    with panels.panels(3, len(arms), NOTE) as (picture, grid):
        for row, arm in zip(grid, arms, strict=True):
            part, label = cells[cells["arm"] == arm], f"factor of the {NAMES[arm]}"
            panels.draw_cells(row[0], part, "factor", "fraction", "setting", x_label=label)
            panels.draw_cells(row[1], part, "factor", "delay", "setting", "delay (median)", label)
            runs = tables["runs"][(tables["runs"]["arm"] == arm) & tables["runs"]["delay"].notna()]
            top = 2 * max(runs["delay"][np.isfinite(runs["delay"])], default=1.0)
            panels.draw_runs(row[2], runs, "share", "delay", "factor", top)
            row[2].xaxis.set_major_locator(FixedLocator(SHARES))
            row[2].set_xticklabels([number_text(share) for share in SHARES])
            row[2].set(xlabel="W_E's share of squared gradient", ylabel="delay")
            panels.legend(row[2], label, columns=5)
        panels.legend(grid[0, 0], columns=2)
    return picture


if __name__ == "__main__":
    answers.run_question(__name__)
