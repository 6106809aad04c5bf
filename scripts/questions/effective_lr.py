#!/usr/bin/env python3
"""Is a large fixed norm only a tiny learning rate? Norm, learning rate and output temperature, under Adam and SGD, and
arms in which the learning rate grows with the norm so that a step turns the parameters by the same angle."""

from __future__ import annotations

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables, summary, text_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.cells import ended_runs, runs_of
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import GREY
from grokjax.results.read import Results
from grokjax.spec.wording import number_text

NORM = "constraint.radius"
EARLY = 400  # steps over which a run's angular step and radial share are taken (it may end soon after)
ANGLE, SHARE = "angular_step/update/total", "radial_share/proposed/total"
ARMS = {"adam": "Adam, lr {lr}", "adam_with_norm": "Adam, lr ~ norm",
        "sgd": "SGD, lr {lr}", "sgd_with_norm": "SGD, lr ~ norm²"}  # fmt: skip
FOLLOWS = "_with_norm"  # ends the arms whose lr follows the norm
FAMILIES = {"adam": "Adam", "sgd": "SGD"}
SETTING = ["norm", "lr", "logit_scale"]
ACROSS = "norm of all parameters"
CSV = ("runs",)
NOTE = "Open marks: never, within the steps given. Bars: 95 % intervals over seeds. Below: a mark a run."


def data(results: Results) -> Tables:
    """runs: arm (the first, where it is of two), follows (whether its lr follows the norm), SETTING, seed, fit and
    generalization (steps, nan: never), angle (median angular step, radians) and share (median radial share of the
    proposed step) over the first EARLY steps. lines: cells by arm, norm and logit_scale, of arms that vary lr at their
    middle one (the lower of two); name: arm and lr in words. grid: cells by arm and SETTING, of arms that vary lr.
    Raises ValueError where no run of these arms and a fixed norm has ended."""
    runs = ended_runs(results.runs())
    runs = runs[runs[NORM].notna()] if NORM in runs else runs[:0]
    if not any(arm in arms for arms in runs["arms"] for arm in ARMS):
        raise ValueError(
            f"no run of the arms {', '.join(ARMS)} has a fixed norm and has ended: there is nothing to answer with"
        )
    runs = answers.ended_runs(
        runs, norm=NORM, lr="optimizer.lr", logit_scale="model.logit_scale", fit="fit_step",
        generalization="generalization_step",
    )  # fmt: skip
    early = results.curves([ANGLE, SHARE])
    early = early[(early["step"] > 0) & (early["step"] <= EARLY)].groupby("run_id")[[ANGLE, SHARE]].median()
    runs = runs.assign(
        follows=[any(arm.endswith(FOLLOWS) for arm in arms) for arms in runs["arms"]],
        steps=runs["train.steps"],
        angle=runs["run_id"].map(early[ANGLE]),
        share=runs["run_id"].map(early[SHARE]),
    )
    lines, grid = [], [pd.DataFrame(columns=["arm", "generalized"])]
    for arm, name in ARMS.items():
        part = runs_of(runs, arm)
        if part.empty:
            continue
        if part.groupby("norm")["lr"].nunique().max() > 1:  # lr is an axis of its own, and does not follow the norm
            grid.append(cell_outcomes(part, SETTING).assign(arm=arm))
            lrs = sorted(set(part["lr"]))
            part = part[part["lr"] == lrs[(len(lrs) - 1) // 2]]
        name = name.format(lr=number_text(part["lr"].iloc[0]))
        lines.append(cell_outcomes(part, ["norm", "logit_scale"]).assign(arm=arm, name=name))
    columns = ["run_id", "arm", "follows", *SETTING, "seed", "fit", "generalization", "steps", "angle", "share"]
    tables = {"runs": runs[columns].reset_index(drop=True), "lines": pd.concat(lines, ignore_index=True)}
    return tables | {"grid": grid[0] if len(grid) == 1 else pd.concat(grid[1:], ignore_index=True)}


def answer(tables: Tables) -> list[str]:
    """Which norms generalize, with which lr and temperature, and whether steps of equal angle are alike."""
    lines = tables["lines"][tables["lines"]["logit_scale"] == 1]
    texts = [text_table("At logit scale 1", lines, ["name", "norm", "fit", "generalized", "median_step"])]
    runs = tables["runs"].assign(family=tables["runs"]["arm"].str.removesuffix(FOLLOWS).map(FAMILIES))
    runs = runs.dropna(subset="family").sort_values(["family", "logit_scale", "norm"], kind="stable")
    windows = summary(runs, ["family", "logit_scale"], generalize_by_norm=_window)
    texts.append(text_table("Runs that generalize with any lr, by norm", windows))
    for arm, tried in tables["grid"].groupby("arm"):
        best, what = answers.best_of(tried), f"{FAMILIES[arm]}, where most generalize, soonest"
        if len(best):
            texts.append(text_table(what, tried.loc[best], [*SETTING, "generalized", "median_step"]))
        texts += answers.edge_warnings(tried, best, SETTING, what)
    alike = summary(
        runs[runs["follows"]], ["family", "logit_scale"],
        early_angular_step=lambda part: _span(part.groupby("norm")["angle"].median(), ".2g"),
        fit=lambda part: _span(_medians(part, "fit"), ",.0f"),
        generalization=lambda part: _span(_medians(part, "generalization"), ",.0f"),
    )  # fmt: skip
    texts.append(text_table("Where lr follows the norm, least to most over the norms (medians)", alike))
    alone = runs[runs["arm"].isin(FAMILIES) & (runs["logit_scale"] == 1)]
    radial = summary(alone, ["family", "norm"], radial_share=lambda part: f"{part['share'].median():.2g}")
    return [*texts, text_table(f"Radial share of the proposed step (median of {EARLY} steps and all lr)", radial)]


def _window(runs: pd.DataFrame) -> str:
    counts = runs["generalization"].notna().groupby(runs["norm"]).agg(["sum", "size"])
    return ", ".join(f"{number_text(norm)}: {count} of {of}" for norm, count, of in counts.itertuples())


def _medians(runs: pd.DataFrame, what: str) -> pd.Series:
    return runs.groupby("norm")[what].agg(lambda times: answers.median(times).value)


def _span(values: pd.Series, form: str) -> str:
    """Least to most over the norms, and at which norms it was never reached."""
    known, never = values[np.isfinite(values)], values.index[np.isinf(values)]
    text = f"{known.min():{form}} to {known.max():{form}}" if len(known) else "none"
    return text + (f", never at norm {' '.join(map(number_text, never))}" if len(never) else "")


def figure(tables: Tables) -> Figure:
    """Fractions against norm, at one lr and with lr following it; the radial share against norm; fit and
    generalization against the angle that a step turns by, colored by norm."""
    lines, runs = tables["lines"], tables["runs"]
    adam = lines[lines["arm"] == "adam_with_norm"]
    with panels.panels(3, 2, NOTE, 2.2) as (picture, grid):
        panels.draw_cells(grid[0, 0], lines[lines["logit_scale"] == 1], "norm", "fraction", "name", x_label=ACROSS)
        panels.legend(grid[0, 0], "arm", columns=2)
        if len(adam):
            panels.draw_cells(grid[0, 1], adam, "norm", "fraction", "logit_scale", x_label=ACROSS)
            panels.legend(grid[0, 1], "logit_scale; Adam, lr ~ norm")
        _draw_share(grid[0, 2], runs)
        drawn = (("adam", "fit"), ("adam", "generalization"), ("sgd", "generalization"))
        for axes, (family, what) in zip(grid[1], drawn, strict=True):
            of_family = runs[runs["arm"].str.startswith(family)]
            panels.draw_runs(axes, of_family, "angle", what, "norm", float(runs["steps"].max()) * 1.4)
            axes.set(xlabel="angular step (radians, early)", ylabel=f"step of {what}")
        panels.legend(grid[1, 0], "norm; here and in the middle Adam, at the right SGD", columns=7)
    return picture


def _draw_share(axes: Axes, runs: pd.DataFrame) -> None:
    part = runs[runs["arm"].isin(FAMILIES) & (runs["logit_scale"] == 1)]
    shares = part.groupby(["norm", "arm"])["share"].agg(radial="median", radial_low="min", radial_high="max")
    if shares["radial"].notna().any():
        panels.draw_cells(axes, shares.reset_index(), "norm", "radial", "arm", x_label=ACROSS)
        panels.legend(axes, columns=2)
        axes.set_yscale("log")
    axes.set_ylabel("radial share of proposed step")
    axes.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.4)


if __name__ == "__main__":
    answers.run_question(__name__)
