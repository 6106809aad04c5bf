#!/usr/bin/env python3
"""Does SGD with momentum grok once its learning rate is swept, with a start put right matrix by matrix, with gradients
clipped or normalized? Which matrix grows first where training blows up?

A run blows up where its train loss passes 10 times that at the start, or becomes non-finite (it diverges). The matrix
that goes first is the first whose norm passes twice what it was 20 steps before: see blow_up.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables, share, summary, text_table
from blow_up import BEFORE, BLOWN, GROWN, LOSS, LOSS_MAX, BlowUp, blow_up
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from grokjax.analysis.outcomes import cell_outcomes, ranking
from grokjax.figures.style import GREY, PALETTE
from grokjax.results.read import Results
from grokjax.spec.shapes import is_matrix
from grokjax.spec.wording import number_text

NORMALIZES = 1e-2  # clipping at most at this norm counts as normalizing: gradients are longer until a run has settled
AFTER = 1  # steps after a blow-up that are drawn
PLAIN, FIXED = "plain", "by matrix"  # starts
SETTING = ["lr", "weight_decay"]
CELL = ["arm", "start", *SETTING]
TICKS = (0.2, 0.5, 1, 2, 5, 10, 100, 1000, 1e4, 1e5, 1e6)
COLORS = (*PALETTE, "#5D3A9B")  # as many as a layer has matrices
CSV = ("cell", "blown")
NOTE = (
    "Bars: 95 % intervals over seeds (of medians below six seeds all their range). Top: at each lr the best weight "
    "decay, which was chosen by the runs shown; right: at the best of both. Share blown up: over all weight decays. "
    "lr of normalized gradients: the length of a step. Points of one lr stand apart a little. "
    f"First: the first norm over {GROWN:.0f} times what it was {BEFORE} steps ago. Bottom right: one run."
)


def data(results: Results) -> Tables:
    """cell: by arm (in the order of the sweep), start (PLAIN or FIXED), lr and weight_decay (of steps along normalized
    gradients: in their length) what `cell_outcomes` has, blown (runs that blow up) and their share, best (of its arm
    and start), drawn (the best of its lr). blown, one row a run that blew up: run_id, CELL, seed, diverged, and what
    `BlowUp` has. example, of one of these: step, matrix and growth (of its norm since BEFORE steps before). Raises
    ValueError where no run has ended."""
    runs = _named(results.runs())
    ended = answers.ended_runs(runs)
    norms = [name for name in results.metrics() if name.startswith("norm/") and is_matrix(name.removeprefix("norm/"))]
    matrices = [name.removeprefix("norm/") for name in norms]
    curves = results.curves([LOSS, LOSS_MAX, *norms], list(ended["run_id"])).sort_values("step", kind="stable")
    curves = curves.rename(columns=dict(zip(norms, matrices, strict=True)))
    blown = _blow_ups(curves, ended, matrices)

    def measures(cell: pd.DataFrame) -> dict[str, Any]:
        count = int(cell["run_id"].isin(blown["run_id"]).sum())
        return {"blown": count} | answers.share_columns("share", count, len(cell))

    order = {arm: place for place, arm in enumerate(dict.fromkeys(runs["arm"]))}
    cells = cell_outcomes(runs, CELL, measures)
    cells = cells.sort_values("arm", key=lambda arms: arms.map(order), kind="stable", ignore_index=True)
    best, drawn = (ranking(cells).drop_duplicates(keys).index for keys in (["arm", "start"], ["arm", "start", "lr"]))
    cells = cells.assign(best=cells.index.isin(best), drawn=cells.index.isin(drawn))
    return {"cell": cells, "blown": blown, "example": _example(curves, blown, matrices)}


def _named(runs: pd.DataFrame) -> pd.DataFrame:
    """With start, lr and weight_decay; those of normalized gradients in the length of a step, as if they were clipped
    at 1."""
    factors = runs.filter(like="init.scale_by_matrix.").astype(float).fillna(1.0)
    start = np.where((factors == 1).all(axis=1), PLAIN, FIXED)
    clip = runs["optimizer.clip_norm"].astype(float) if "optimizer.clip_norm" in runs else pd.Series(1.0, runs.index)
    unit = clip.where(clip <= NORMALIZES, 1.0)
    lr, decay = runs["optimizer.lr"] * unit, runs["optimizer.weight_decay"] / unit
    return runs.assign(start=start, lr=lr.map(_rounded), weight_decay=decay.map(_rounded))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")  # 1e-6 / 1e-4 is 0.01


def _blow_ups(curves: pd.DataFrame, ended: pd.DataFrame, matrices: list[str]) -> pd.DataFrame:
    diverged = dict(zip(ended["run_id"], ended["status"] == "diverged", strict=True))
    rows = []
    for run_id, curve in curves.groupby("run_id", sort=False):
        blown = blow_up(curve, matrices, bool(diverged[run_id]))
        if blown is not None:
            rows.append({"run_id": run_id, "diverged": diverged[run_id]} | blown._asdict())
    frame = pd.DataFrame(rows, columns=["run_id", "diverged", *BlowUp._fields])
    return ended[["run_id", *CELL, "seed"]].merge(frame, on="run_id")


def _example(curves: pd.DataFrame, blown: pd.DataFrame, matrices: list[str]) -> pd.DataFrame:
    """A run that diverged from the plain start with the most common matrix first, else any whose order was seen."""
    seen = blown[blown["matrix"].notna()]
    if seen.empty:
        return pd.DataFrame(columns=["step", "matrix", "growth"])
    usual = seen["matrix"].eq(seen["matrix"].mode().iloc[0])
    rank = seen["start"].eq(PLAIN) * 4 + seen["diverged"].astype(int) * 2 + usual
    run_id, step = seen.loc[rank.idxmax(), ["run_id", "step"]]
    near = curves[(curves["run_id"] == run_id) & curves["step"].between(step - BEFORE, step + AFTER)]
    growth = (near[matrices] / near[matrices].iloc[0]).assign(step=near["step"])
    return growth.melt("step", var_name="matrix", value_name="growth")


def answer(tables: Tables) -> list[str]:
    """The best setting of each arm and start, and how many runs blow up, with which matrix first."""
    cells, blown = _grouped(tables["cell"]), tables["blown"]
    best = cells[cells["best"]]
    whole = summary(cells, ["group"], settings=len, of_all=lambda part: _share(part, "generalized"), lr_that_fits=_fits)
    columns = ["group", *SETTING, "generalized", "median_step", "accuracy", *whole.columns[1:]]
    title = "Best setting of each; the largest lr at which most runs of some weight decay fit"
    lines = [text_table(title, best.merge(whole), columns)]
    for group, part in cells.groupby("group", sort=False):
        chosen = part.index[part["best"] & (part["generalized"] > 0)]
        lines += answers.edge_warnings(part, chosen, SETTING, str(group))
    if blown.empty:
        return [*lines, f"No run blew up: none diverged, and no train loss passed {BLOWN:.0f} times that at the start."]
    title = (
        f"Runs that blow up (train loss over {BLOWN:.0f} times that at the start, or non-finite); of those in close "
        f"records the first matrix whose norm passes {GROWN:.0f} times that {BEFORE} steps before, or at the start"
    )
    often = summary(cells, ["group"], blow_up=lambda part: _share(part, "blown"))
    seen = summary(
        blown.merge(cells[[*CELL, "group"]], on=CELL), ["group"],
        non_finite=lambda part: int(part["diverged"].sum()),
        step=lambda part: answers.median(part["step"]),
        seen=lambda part: int(part["matrix"].notna().sum()),
        first=lambda part: _counted(part["matrix"]),
        alone=lambda part: int(part["alone"].sum()),
        since_start=lambda part: _counted(part["since_start"]),
    )  # fmt: skip
    return [*lines, text_table(title, often.merge(seen, how="left"))]


def _fits(cells: pd.DataFrame) -> str:
    lrs = cells.loc[2 * cells["fit"] > cells["runs"], "lr"]
    if lrs.empty:
        return "none"
    return number_text(lrs.max()) + (" (the largest tried)" if lrs.max() == cells["lr"].max() else "")


def _share(cells: pd.DataFrame, count: str) -> answers.Estimate:
    return share(cells[count].sum(), cells["runs"].sum())


def _counted(matrices: pd.Series) -> str:
    counts = matrices.value_counts()
    return ", ".join(f"{matrix} {share(count, counts.sum())}" for matrix, count in counts.items())


def _grouped(cells: pd.DataFrame) -> pd.DataFrame:
    """With group: arm, and the start where an arm has several; the plain start first."""
    several = cells.groupby("arm")["start"].transform("nunique") > 1
    group = cells["arm"] + ("; " + cells["start"] + " start").where(several, "")
    arms, start = pd.factorize(cells["arm"])[0], cells["start"] != PLAIN
    return cells.assign(group=group).iloc[np.lexsort((start, arms))]


def figure(tables: Tables) -> Figure:
    """Fraction generalized, median step of it and share blown up, against lr; which matrix went first; one blow-up."""
    cells, blown, example = _grouped(tables["cell"]), tables["blown"], tables["example"]
    starts = [start for start in (PLAIN, FIXED) if (cells["start"] == start).any()]
    first = [*blown["matrix"].value_counts().index, *example["matrix"]]
    colors = {name: COLORS[place % len(COLORS)] for place, name in enumerate(dict.fromkeys(first))}
    with panels.panels(3, 2, NOTE) as (picture, grid):
        for axes, start in zip(grid[0], starts, strict=False):
            drawn = cells[(cells["start"] == start) & cells["drawn"]]
            panels.draw_cells(axes, drawn, "lr", "fraction", "arm", x_label=f"lr ({start} start)")
        if len(starts) == 1:
            grid[0, 1].set_axis_off()
        _draw_best(grid[0, 2], cells)
        _draw_blown(grid[1, 0], cells[cells["start"] == starts[0]], starts[0])
        _draw_first(grid[1, 1], blown.dropna(subset="matrix").merge(cells[[*CELL, "group"]], on=CELL), colors)
        _draw_example(grid[1, 2], example, colors)
        for axes in (*grid[0, : len(starts)], grid[1, 0]):
            _number_ticks(axes, (1, 3))
        panels.legend(grid[0, 0], columns=6)
    return picture


def _number_ticks(axes: Axes, parts: tuple[int, ...]) -> None:
    """Numbers, not powers, along a logarithmic axis; parts: of each decade, where there are not many."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=parts if high < 200 * low else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(float(f"{value:.3g}"))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _name_rows(axes: Axes, groups: Sequence[str]) -> None:
    """Names of rows from the top, at 0, 1, ..."""
    axes.set_yticks(range(len(groups)), [name.removesuffix(" start") for name in groups], fontsize=panels.LEGEND - 0.5)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _draw_best(axes: Axes, cells: pd.DataFrame) -> None:
    """The median step of generalization at the best setting of each; an arrow where it is not reached."""
    best, arms = cells[cells["best"]].to_dict("records"), list(dict.fromkeys(cells["arm"]))
    for place, row in enumerate(best):
        index = arms.index(row["arm"])
        color, marker = PALETTE[index % len(PALETTE)], panels.MARKERS[index % len(panels.MARKERS)]
        middle, *ends = (min(row[key], cells["steps"].max()) for key in answers.column_names("median_step"))
        marker, face = (marker, color) if np.isfinite(row["median_step"]) else (">", "none")
        axes.plot(ends, [place, place], color=color, linewidth=0.9)
        axes.plot(middle, place, marker, color=color, markersize=4, markerfacecolor=face)
        text, where = f"{row['generalized']}/{row['runs']}", axes.get_yaxis_transform()
        axes.text(1.02, place, text, fontsize=panels.LEGEND, va="center", transform=where)
    _name_rows(axes, [row["group"] for row in best])
    axes.set_xscale("log")
    _number_ticks(axes, (1, 2, 5))
    axes.set_xlabel("step of generalization, best setting")


def _draw_blown(axes: Axes, cells: pd.DataFrame, start: str) -> None:
    """Over all weight decays, since it hardly depends on them."""
    sums = cells.groupby(["arm", "lr"], sort=False)[["blown", "runs"]].sum().reset_index().to_dict("records")
    shares = [row | answers.share_columns("share", row["blown"], row["runs"]) for row in sums]
    panels.draw_cells(axes, pd.DataFrame(shares), "lr", "share", "arm", "share blown up", f"lr ({start} start)")


def _draw_first(axes: Axes, seen: pd.DataFrame, colors: dict[str, str]) -> None:
    """A bar a group of runs that blew up: how often each matrix went first."""
    if seen.empty:
        axes.text(0.5, 0.5, "no blow-up was seen", ha="center", transform=axes.transAxes, color=GREY)
        axes.set_axis_off()
        return
    counts = pd.crosstab(seen["group"], seen["matrix"]).loc[list(dict.fromkeys(seen["group"]))]
    left = np.zeros(len(counts))
    for matrix in (name for name in colors if name in counts):
        label = matrix.removesuffix(".0")
        axes.barh(range(len(counts)), counts[matrix], left=left, color=colors[matrix], height=0.6, label=label)
        left += counts[matrix].to_numpy()
    _name_rows(axes, list(counts.index))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("blow-ups, by the matrix first")
    style: dict[str, Any] = {"linewidth": 4, "solid_capstyle": "butt"}
    bars = [(bar.get_label(), bar[0].get_facecolor()) for bar in axes.containers]
    panels.legend(axes, columns=3, handles=[Line2D([], [], color=color, label=label, **style) for label, color in bars])


def _draw_example(axes: Axes, example: pd.DataFrame, colors: dict[str, str]) -> None:
    """Growth of every matrix in the steps up to a blow-up."""
    if example.empty:
        axes.set_axis_off()
        return
    for place, matrix in enumerate(name for name in colors if (example["matrix"] == name).any()):
        growth = example[example["matrix"] == matrix]
        style = "-" if place < len(COLORS) else ":"  # a color that comes again
        axes.plot(growth["step"], growth["growth"], style, color=colors[matrix], label=matrix.removesuffix(".0"))
    axes.axhline(GROWN, color=GREY, linewidth=0.6, linestyle=":")
    panels.plain_log(axes, TICKS)
    axes.set(xlabel="step", ylabel=f"norm / norm {BEFORE} steps before")
    panels.legend(axes, columns=3)


if __name__ == "__main__":
    answers.run_question(__name__)
