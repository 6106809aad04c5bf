"""Is a large fixed norm only a tiny learning rate?

Held at a norm, a network is moved by the angle that a step turns its parameters by. If that were all that a norm does,
runs at other norms whose steps turn by the same angle would fit, and generalize, alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from grokjax.analysis.answers import ENDED, cells, edges, groups, median_time, ranking, rows, time_text
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import (
    MARKERS,
    draw_cells,
    draw_fractions,
    edge_warnings,
    legend,
    note,
    panels,
    plain_times,
    shown,
    unended,
)
from grokjax.figures.style import GREY, SEQUENTIAL, number_text, paper
from grokjax.results.read import Results

NORM, LR, SCALE = "constraint.radius", "optimizer.lr", "model.logit_scale"
EARLY = 400  # steps over which a run's angular step and radial share are taken (it may end soon after)
FOLLOWS = "_with_norm"
ANGLE, SHARE = "angular_step/update/total", "radial_share/proposed/total"
ARMS = {
    "adam": "Adam, lr {lr}",
    "adam_with_norm": "Adam, lr ~ norm",
    "sgd": "SGD, lr {lr}",
    "sgd_with_norm": "SGD, lr ~ norm²",
}


@dataclass(frozen=True)
class EffectiveData:
    """runs: one row a run that ended: arm (the first, where it is of two), follows (whether its lr follows the norm),
    norm, lr, logit_scale, seed, fit, generalization (steps, nan: never), steps, angle (median angular step, radians)
    and share (median radial share of the proposed step) over its first 400 steps.
    lines: cells by arm, norm and logit_scale, of arms that vary lr at their middle one (the lower of two); name: arm
    and lr in words. grid: cells by arm, norm, lr and logit_scale, of arms that vary lr."""

    runs: pd.DataFrame
    lines: pd.DataFrame
    grid: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> EffectiveData:
    """Raises ValueError where no run of these arms and a fixed norm has ended."""
    runs = results.runs()
    ended = runs[runs["status"].isin(ENDED) & runs.get(NORM, pd.Series(index=runs.index)).notna()]
    lines, grid = [], []
    for arm, name in ARMS.items():
        part = ended[[arm in arms for arms in ended["arms"]]]
        if part.empty:
            continue
        if _is_grid(part):
            grid.append(cells(part, [NORM, LR, SCALE]).assign(arm=arm))
            part = part[part[LR] == _middle(part[LR])]
        named = name.format(lr=number_text(float(part[LR].iloc[0])))
        lines.append(cells(part, [NORM, SCALE]).assign(arm=arm, name=named))
    if not lines:
        raise ValueError(
            f"no run of the arms {', '.join(ARMS)} has a fixed norm and has ended: there is nothing to answer with"
        )
    early = results.curves([ANGLE, SHARE])
    early = early[(early["step"] > 0) & (early["step"] <= EARLY)].groupby("run_id")[[ANGLE, SHARE]].median()
    frame = pd.DataFrame(
        {
            "run_id": ended["run_id"],
            "arm": ended["arm"],
            "follows": [any(arm.endswith(FOLLOWS) for arm in arms) for arms in ended["arms"]],
            "norm": ended[NORM].astype(float),
            "lr": ended[LR].astype(float),
            "logit_scale": ended[SCALE].astype(float),
            "seed": ended["seed"],
            "fit": ended["fit_step"].astype(float),
            "generalization": ended["generalization_step"].astype(float),
            "steps": ended["train.steps"],
            "angle": ended["run_id"].map(early[ANGLE]),
            "share": ended["run_id"].map(early[SHARE]),
        }
    )
    both = pd.concat(grid, ignore_index=True) if grid else pd.DataFrame()
    return EffectiveData(frame.reset_index(drop=True), pd.concat(lines, ignore_index=True), both, tuple(unended(runs)))


def _is_grid(runs: pd.DataFrame) -> bool:
    """Whether lr is an axis of its own, and does not follow the norm."""
    return bool(runs.groupby(NORM)[LR].nunique().max() > 1)


def _middle(column: pd.Series) -> float:
    values = sorted(set(column))
    return values[(len(values) - 1) // 2]


def answer(data: EffectiveData) -> list[str]:
    lines = list(data.notes)
    for name, part in groups(data.lines[data.lines[SCALE] == 1], "name"):
        each = [
            f"norm {number_text(row[NORM])}: {row['fit']} of {row['runs']} fit, {row['generalized']} generalize, step "
            + time_text(row["median_step"], row["median_low"], row["median_high"], row["steps"])
            for row in rows(part)
        ]
        lines.append(f"{name}, logit scale 1. {'; '.join(each)}.")
    for family in ("adam", "sgd"):
        lines += _window(data.runs, family)
        lines += _best(data.grid, family)
        lines += _equal_angle(data.runs, family) + _radial(data.runs, family)
    return lines


def _of(runs: pd.DataFrame, family: str) -> pd.DataFrame:
    return runs[runs["arm"].isin([family, family + FOLLOWS])]


def _window(runs: pd.DataFrame, family: str) -> list[str]:
    """At which norms runs generalize, with any lr, by logit scale."""
    lines = []
    own = _of(runs, family)
    for scale, part in own.groupby("logit_scale"):
        there = part["generalization"].notna().groupby(part["norm"]).agg(["sum", "size"])
        each = ", ".join(f"norm {number_text(float(norm))} {int(k)} of {int(n)}" for norm, k, n in there.itertuples())  # pyright: ignore
        name = ARMS[family + FOLLOWS].partition(",")[0]
        lines.append(f"{name}, every lr, logit scale {number_text(float(scale))}, runs that generalize: {each}.")  # pyright: ignore
    return lines


def _best(grid: pd.DataFrame, family: str) -> list[str]:
    """Where most generalize, soonest, and whether that lies on an edge."""
    part = grid[(grid["arm"] == family) & (grid["generalized"] > 0)] if len(grid) else grid
    if part.empty:
        return []
    best = ranking(part).iloc[0]
    where = ", ".join(shown(key, best[key]) for key in (NORM, LR, SCALE))
    name = ARMS[family].partition(",")[0]
    when = time_text(best["median_step"], best["median_low"], best["median_high"], int(best["steps"]))
    line = f"{name}: most generalize, soonest, at {where}: {best['generalized']} of {best['runs']}, step {when}."
    own = grid[grid["arm"] == family]
    return [line, *edge_warnings(edges(own, best.name, [NORM, LR, SCALE]), f"{name}, where most generalize, soonest")]


def _equal_angle(runs: pd.DataFrame, family: str) -> list[str]:
    """How far apart the norms are where steps turn by the same angle, for fitting and generalizing."""
    lines, name = [], ARMS[family + FOLLOWS]
    for scale, part in _of(runs, family).query("follows").groupby("logit_scale"):
        own = part.groupby("norm")
        angles = own["angle"].median()
        texts = []
        for what in ("fit", "generalization"):
            medians = own[what].agg(lambda times: median_time(times)[0])
            there = medians[np.isfinite(medians)]
            if len(there):
                never = ", ".join(number_text(norm) for norm in medians[np.isinf(medians)].index)
                steps = f"{there.min():,.0f} to {there.max():,.0f}" + (
                    f" (at norm {never} most never)" if never else ""
                )
                texts.append(f"{what} {steps}")
            else:
                texts.append(f"{what}: at every norm most never")
        lines.append(
            f"{name}, logit scale {number_text(float(scale))}: the early angular step is {angles.min():.2g} to "  # pyright: ignore[reportArgumentType]
            f"{angles.max():.2g} over the norms; median steps over the norms: {'; '.join(texts)}."
        )
    return lines


def _radial(runs: pd.DataFrame, arm: str) -> list[str]:
    part = runs[(runs["arm"] == arm) & (runs["logit_scale"] == 1)]
    shares = part.groupby("norm")["share"].median().dropna()
    if shares.empty:
        return []
    each = ", ".join(f"{share:.2g} at norm {number_text(float(norm))}" for norm, share in shares.items())  # pyright: ignore[reportArgumentType]
    return [f"Radial share of the proposed step, {arm} (median over its first {EARLY} steps and all lr): {each}."]


def table(data: EffectiveData) -> pd.DataFrame:
    """One row a run, as in `EffectiveData`."""
    return data.runs


def figure(data: EffectiveData) -> Figure:
    """Fractions and steps against norm, at one lr and with lr following it; fit and generalization against the angle
    that a step turns by, colored by norm; the radial share against norm."""
    lines = data.lines[data.lines[SCALE] == 1]
    with paper():
        picture, grid = panels(3, 2, 2.2)
        draw_fractions(grid[0, 0], lines, NORM, "name", "norm of all parameters")
        legend(grid[0, 0], "arm", columns=2)
        adam = data.lines[data.lines["arm"] == "adam_with_norm"]
        if len(adam):
            draw_fractions(grid[0, 1], adam, NORM, SCALE, "norm of all parameters")
            legend(grid[0, 1], "logit_scale; Adam, lr ~ norm")
        _draw_share(grid[0, 2], data.runs)
        for place, what in enumerate(("fit", "generalization")):
            _draw_angle(grid[1, place], data.runs[data.runs["arm"].str.startswith("adam")], what)
        _draw_angle(grid[1, 2], data.runs[data.runs["arm"].str.startswith("sgd")], "generalization")
        legend(grid[1, 0], "norm; here and in the middle Adam, at the right SGD", columns=7)
        note(
            picture,
            "Open triangles: never, within the steps given. Bars: 95 % intervals over seeds. Below: a dot a run.",
        )
    return picture


def _draw_angle(axes: Axes, runs: pd.DataFrame, what: str) -> None:
    norms = ordered_values(runs["norm"])
    top = float(runs["steps"].max()) * 1.4
    for place, norm in enumerate(norms):
        part = runs[(runs["norm"] == norm) & (runs["angle"] > 0)]
        color = SEQUENTIAL(place / max(len(norms) - 1, 1))
        there = part[what].notna()
        style = {"color": color, "markersize": 2.6, "linestyle": "none", "alpha": 0.8}
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(part["angle"][there], part[what][there].clip(lower=1), marker, label=number_text(norm), **style)
        axes.plot(part["angle"][~there], np.full((~there).sum(), top), "^", markerfacecolor="none", **style)
    axes.set_xscale("log")
    axes.set_xlabel("angular step (radians, early)")
    axes.xaxis.set_minor_formatter(NullFormatter())
    plain_times(axes, f"step of {what}")


def _draw_share(axes: Axes, runs: pd.DataFrame) -> None:
    part = runs[runs["arm"].isin(["adam", "sgd"]) & (runs["logit_scale"] == 1)]
    rows = [
        {
            "norm": norm,
            "optimizer": arm,
            "share": own["share"].median(),
            "low": own["share"].min(),
            "high": own["share"].max(),
        }
        for (norm, arm), own in groups(part, ["norm", "arm"], sort=True)
    ]
    frame = pd.DataFrame(rows)
    if frame["share"].notna().any():
        draw_cells(axes, frame, "norm", ("share", "low", "high"), "optimizer", "norm of all parameters")
        legend(axes, columns=2)
        axes.set_yscale("log")
    axes.set_ylabel("radial share of proposed step")
    axes.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.4)
