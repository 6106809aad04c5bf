#!/usr/bin/env python3
"""Is the delay proportional to 1 / weight decay, and where does that end?"""

from __future__ import annotations

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.cells import ordered_values
from grokjax.analysis.censored import fit_censored
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import GREY
from grokjax.results.read import Results
from grokjax.spec.wording import number_text

SETTING = ["lr", "weight_decay"]
NEIGHBOURS = 1  # on each side of a weight decay, over which its local exponent is fitted
CSV = ("cells",)
NOTE = (
    "Medians over seeds, and the interval of the sign test; triangles: over half of the runs did not generalize. "
    "Dotted: 1 / weight decay. Fractions: 95 % Wilson intervals."
)


def data(results: Results) -> Tables:
    """cells: by SETTING what `cell_outcomes` has (fit as fits), median delay (inf: over half that fit never
    generalize), and the local exponent b of delay ~ weight_decay^b, over this and the next values, censored delays as
    such (nan: cannot be told). whole: by lr the exponent over all values. Raises ValueError where no run has ended."""
    runs = answers.ended_runs(
        results.runs(), lr="optimizer.lr", weight_decay="optimizer.weight_decay", delay="delay", fitted="fit_step"
    )
    last = runs["run_id"].map({run_id: end["step"] for run_id, end in results.ends.items()})
    runs = runs.assign(happened=runs["delay"].notna(), time=runs["delay"].fillna(last - runs["fitted"]))

    def measures(cell: pd.DataFrame) -> dict[str, float]:
        delay = answers.median(cell.loc[cell["fitted"].notna(), "delay"])
        return answers.flat(delay=delay, exponent=_exponent(_near(runs, cell)))

    cells = cell_outcomes(runs, SETTING, measures).rename(columns={"fit": "fits"})
    whole = [{"lr": lr} | answers.flat(exponent=_exponent(part)) for lr, part in runs.groupby("lr")]
    return {"cells": cells, "whole": pd.DataFrame(whole)}


def _near(runs: pd.DataFrame, cell: pd.DataFrame) -> pd.DataFrame:
    """Runs of a cell and of its neighbours along weight decay."""
    of_lr = runs[runs["lr"] == cell["lr"].iloc[0]]
    values = ordered_values(of_lr["weight_decay"])
    at = values.index(cell["weight_decay"].iloc[0])
    return of_lr[of_lr["weight_decay"].isin(values[max(at - NEIGHBOURS, 0) : at + NEIGHBOURS + 1])]


def _exponent(runs: pd.DataFrame) -> answers.Estimate:
    """Runs that do not fit, or that generalize no later than they fit, have no place on a logarithmic axis."""
    part = runs[(runs["time"] > 0) & (runs["weight_decay"] > 0)]
    try:
        fit = fit_censored(part["weight_decay"], part["time"], part["happened"])
    except ValueError:  # too few events
        return answers.Estimate(np.nan)
    return answers.Estimate(fit.slope, fit.low, fit.high)


def answer(tables: Tables) -> list[str]:
    """Delays and exponents of every setting, where the law holds and ends, and delays at equal lr x weight decay."""
    lines, ends, cells = [], [], tables["cells"]
    for lr, part in cells.groupby("lr"):
        lines.append(
            answers.text_table(
                f"lr {number_text(lr)}, median delay and its local exponent (of 1 / weight decay: -1)",
                part, ["weight_decay", "delay", "generalized", "fits", "exponent"],
            )
        )  # fmt: skip
        what = f"lr {number_text(lr)}, where most generalize, soonest"
        lines += answers.edge_warnings(part, answers.best_of(part), ["weight_decay"], what)
        between = proportional(part)
        ends.append(
            {
                "local exponent -1, not 0": "nowhere" if between is None else " to ".join(map(number_text, between)),
                "half generalize up to": _largest(part, "generalized"),
                "half fit up to": _largest(part, "fits"),
            }
        )
    ends = pd.concat([tables["whole"], pd.DataFrame(ends)], axis=1)
    columns = ["lr", "exponent", *ends.columns[-3:]]
    title = "Exponent over all weight decays; those at which the law holds, by intervals, and at which it ends"
    return [*lines, answers.text_table(title, ends, columns), *_equal_products(cells)]


def proportional(part: pd.DataFrame) -> tuple[float, float] | None:
    """The longest range of weight decays at which the interval of the local exponent holds -1 and not 0 (with few
    runs it holds everything); None: nowhere."""
    holds = (part["exponent_low"] <= -1) & (part["exponent_high"] >= -1) & (part["exponent_high"] < 0)
    ranges = part["weight_decay"][holds].groupby((~holds).cumsum()[holds]).agg(["first", "last", "size"])
    if ranges.empty:
        return None
    first, last, _ = ranges.loc[ranges["size"].idxmax()]
    return float(first), float(last)


def _largest(part: pd.DataFrame, count: str) -> str:
    """The largest weight decay at which half of the runs count, and how many do at the next."""
    most = part["weight_decay"][part[count] * 2 >= part["runs"]].max()
    if np.isnan(most):
        return "nowhere"
    beyond = part[part["weight_decay"] > most].head(1).to_dict("records")
    next_one = [f" (at {number_text(row['weight_decay'])}: {row[count]} of {row['runs']})" for row in beyond]
    return number_text(most) + "".join(next_one)


def _equal_products(cells: pd.DataFrame) -> list[str]:
    """Median delays at equal lr x weight decay, of the smallest and the largest lr."""
    lrs = sorted(cells["lr"].unique())
    if len(lrs) < 2:
        return []
    product = (cells["lr"] * cells["weight_decay"]).map(lambda value: float(f"{value:.6g}"))
    finite = cells.assign(product=product)[np.isfinite(cells["delay"])]
    slow, fast = (finite[finite["lr"] == lr].set_index("product")["delay"] for lr in (lrs[0], lrs[-1]))
    ratios = (slow / fast).dropna().map(lambda ratio: f"{ratio:.2g}").rename("ratio").reset_index()
    ends = f"lr {number_text(lrs[0])}", f"lr {number_text(lrs[-1])}"
    if ratios.empty:
        return [f"No lr x weight decay has a median delay at both {' and '.join(ends)}."]
    title = f"Median delay with {ends[0]} over that with {ends[1]}, at equal lr x weight decay (1, if only it mattered)"
    return [answers.text_table(title, ratios)]


def figure(tables: Tables) -> Figure:
    """Delay against weight decay, and against lr x weight decay; the local exponent; who generalizes."""
    cells = tables["cells"].assign(product=tables["cells"]["lr"] * tables["cells"]["weight_decay"])
    delays, label = cells.dropna(subset=["delay"]), "steps from fit to generalization"
    exponents = cells.dropna(subset=list(answers.column_names("exponent")))
    with panels.panels(2, 2, NOTE) as (picture, grid):
        panels.draw_cells(grid[0, 0], delays, "weight_decay", "delay", "lr", label)
        panels.draw_cells(grid[0, 1], delays, "product", "delay", "lr", label, "lr × weight_decay")
        _draw_law(grid[0, 0], cells)
        panels.legend(grid[0, 0], "lr")
        if len(exponents):
            panels.draw_cells(grid[1, 0], exponents, "weight_decay", "exponent", "lr")
        grid[1, 0].axhline(-1, color=GREY, linewidth=0.6, linestyle=":")
        grid[1, 0].axhline(0, color=GREY, linewidth=0.4)
        grid[1, 0].set_ylabel("local exponent of weight_decay")
        panels.draw_cells(grid[1, 1], cells, "weight_decay", "fraction", "lr")
    return picture


def _draw_law(axes: Axes, cells: pd.DataFrame) -> None:
    """1 / weight decay through the median delay in the middle of the slowest lr."""
    part = cells[(cells["lr"] == cells["lr"].min()) & np.isfinite(cells["delay"])]
    if len(part):
        middle, limits = part.iloc[len(part) // 2], axes.get_ylim()
        ends = cells["weight_decay"].agg(["min", "max"])
        axes.plot(ends, middle["delay"] * middle["weight_decay"] / ends, ":", color=GREY, linewidth=0.8, zorder=0)
        axes.set_ylim(*limits)


if __name__ == "__main__":
    answers.run_question(__name__)
