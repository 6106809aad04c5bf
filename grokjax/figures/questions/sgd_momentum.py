"""Does SGD with momentum grok, and which matrix blows up first?

A run blows up where its train loss passes 10 times that at the start, or becomes non-finite (it diverges). The matrix
that goes first is the first whose norm passes twice what it was 20 steps before: see `grokjax.analysis.blow_up`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from grokjax.analysis.answers import cells, edges, fraction_text, median_time, ranking, time_text
from grokjax.analysis.blow_up import BEFORE, BLOWN, GROWN, LOSS, LOSS_MAX, BlowUp, blow_up
from grokjax.analysis.censored import wilson
from grokjax.figures.blow_ups import draw_example, draw_first, matrix_colors, name_rows
from grokjax.figures.questions.panels import (
    LEGEND,
    MARKERS,
    draw_cells,
    draw_fractions,
    edge_warnings,
    ended_runs,
    legend,
    note,
    panels,
    shown,
    unended,
)
from grokjax.figures.style import PALETTE, number_text, paper
from grokjax.results.read import Results
from grokjax.spec.shapes import is_matrix

NORMALIZES = 1e-2  # clipping at most at this norm counts as normalizing: gradients are longer until a run has settled
AFTER = 1  # steps after a blow-up that are drawn
PLAIN, FIXED = "plain", "by matrix"  # starts
SETTING = ["lr", "weight_decay"]
CELL = ["arm", "start", *SETTING]


@dataclass(frozen=True)
class MomentumData:
    """arms: in the order of the sweep. cells: one row an arm, start (plain or by matrix), lr and weight_decay (of steps
    along normalized gradients: in their length), with what `grokjax.analysis.answers.outcome` has, best (of its arm and
    start), drawn (the best of its lr), blown (runs that blow up) with share, share_low and share_high.
    blown: one row a run that blew up: run_id, CELL, seed, diverged, and what `grokjax.analysis.blow_up.BlowUp` has.
    example: of one of these step, matrix and growth (of its norm since BEFORE steps before)."""

    arms: tuple[str, ...]
    cells: pd.DataFrame
    blown: pd.DataFrame
    example: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> MomentumData:
    """Raises ValueError where no run has ended."""
    runs = _named(results.runs())
    ended = ended_runs(runs)
    names = [name.removeprefix("norm/") for name in results.metrics() if name.startswith("norm/")]
    matrices = [name for name in names if is_matrix(name)]
    curves = results.curves([LOSS, LOSS_MAX, *(f"norm/{name}" for name in matrices)], list(ended["run_id"]))
    curves = curves.sort_values("step", kind="stable").rename(columns={f"norm/{name}": name for name in matrices})
    diverged = dict(zip(ended["run_id"], ended["status"] == "diverged", strict=True))
    rows = []
    for run_id, curve in curves.groupby("run_id", sort=False):
        found = blow_up(curve, matrices, bool(diverged[run_id]))
        if found is not None:
            rows.append({"run_id": run_id, "diverged": diverged[run_id]} | found._asdict())
    found = pd.DataFrame(rows, columns=["run_id", "diverged", *BlowUp._fields])
    blown = ended[["run_id", *CELL, "seed"]].merge(found, on="run_id")
    arms = tuple(dict.fromkeys(runs["arm"]))
    return MomentumData(arms, _cells(runs, blown, arms), blown, _example(curves, blown, matrices), tuple(unended(runs)))


def _named(runs: pd.DataFrame) -> pd.DataFrame:
    """With start, lr and weight_decay; those of normalized gradients in the length of a step, as if they were clipped
    at 1."""
    factors = runs.filter(like="init.scale_by_matrix.").astype(float).fillna(1.0)
    start = np.where((factors == 1).all(axis=1), PLAIN, FIXED)
    clip = runs["optimizer.clip_norm"].astype(float) if "optimizer.clip_norm" in runs else pd.Series(1.0, runs.index)
    unit = clip.where(clip <= NORMALIZES, 1.0)
    lr, decay = runs["optimizer.lr"] * unit, runs["optimizer.weight_decay"] / unit
    return runs.assign(start=start, lr=[_digits(v) for v in lr], weight_decay=[_digits(v) for v in decay])


def _digits(value: float) -> float:
    return float(f"{value:.6g}")  # 1e-6 / 1e-4 is 0.01


def _cells(runs: pd.DataFrame, blown: pd.DataFrame, arms: tuple[str, ...]) -> pd.DataFrame:
    found = cells(runs, CELL)
    found = found.iloc[np.argsort([arms.index(arm) for arm in found["arm"]], kind="stable")].reset_index(drop=True)
    counts = blown.groupby(CELL).size()
    found["blown"] = [int(counts.get(tuple(row), 0)) for row in found[CELL].to_numpy()]
    found["share"] = found["blown"] / found["runs"]
    intervals = [wilson(row["blown"], row["runs"]) for row in found.to_dict("records")]
    found[["share_low", "share_high"]] = np.array(intervals, float)
    ranked = ranking(found)
    best = ranked.drop_duplicates(["arm", "start"]).index
    drawn = ranked.drop_duplicates(["arm", "start", "lr"]).index
    return found.assign(best=found.index.isin(best), drawn=found.index.isin(drawn))


def _example(curves: pd.DataFrame, blown: pd.DataFrame, matrices: list[str]) -> pd.DataFrame:
    """A run that diverged from the plain start with the most common matrix first, else any whose order was seen."""
    seen = blown[blown["matrix"].notna()]
    if seen.empty:
        return pd.DataFrame(columns=["step", "matrix", "growth"])
    usual = seen["matrix"].eq(seen["matrix"].mode().iloc[0])
    rank = seen["start"].eq(PLAIN) * 4 + seen["diverged"].astype(int) * 2 + usual
    run = _record(seen, rank == rank.max())
    own = curves[(curves["run_id"] == run["run_id"]) & (curves["step"] <= run["step"] + AFTER)]
    near = own[own["step"] >= run["step"] - BEFORE]
    growth = (near[matrices] / near[matrices].iloc[0]).assign(step=near["step"])
    return growth.melt("step", var_name="matrix", value_name="growth")


def answer(data: MomentumData) -> list[str]:
    lines = list(data.notes)
    for name, part in _groups(data.cells):
        lines += _best(name, part)
    fits = [f"{name} {_largest_fit(part)}" for name, part in _groups(data.cells)]
    lines.append(f"Largest lr at which most runs of some weight decay fit: {'; '.join(fits)}.")
    if data.blown.empty:
        return [*lines, f"No run blew up: none diverged, and no train loss passed {BLOWN:.0f} times that at the start."]
    lines.append(
        f"Blown up: train loss over {BLOWN:.0f} times that at the start, or non-finite. First there: the first matrix "
        f"whose norm passes {GROWN:.0f} times what it was {BEFORE} steps before."
    )
    for name, part in _groups(data.cells):
        lines += _first(name, part, _of(data.blown, part))
    return lines


def _groups(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """`clipped, plain start`, and its cells; the start is named where an arm has several."""
    for arm, part in cells.groupby("arm", sort=False):
        several = part["start"].nunique() > 1
        for start, own in sorted(part.groupby("start"), key=lambda pair: pair[0] != PLAIN):
            yield f"{arm}, {start} start" if several else str(arm), own


def _of(blown: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    arm, start = part[["arm", "start"]].iloc[0]
    return blown[(blown["arm"] == arm) & (blown["start"] == start)]


def _best(name: str, part: pd.DataFrame) -> list[str]:
    """What most runs generalize with, out of how much that was tried."""
    runs, there = int(part["runs"].sum()), int(part["generalized"].sum())
    best = part.index[part["best"]][0]
    row = _record(part, part["best"])
    setting = ", ".join(shown(key, row[key]) for key in SETTING)
    if not there:
        close = _record(part, part["accuracy"] == part["accuracy"].max()) if part["accuracy"].notna().any() else row
        setting = ", ".join(shown(key, close[key]) for key in SETTING)
        return [
            f"{name}: none of {runs} runs generalizes, at any of {len(part)} settings (at most "
            f"{100 * wilson(0, runs)[1]:.0f} % would); the largest median test accuracy at the end is "
            f"{close['accuracy']:.3f}, at {setting}."
        ]
    median = time_text(row["median_step"], row["median_low"], row["median_high"], row["steps"])
    own, whole = fraction_text(row["generalized"], row["runs"]), fraction_text(there, runs)
    line = f"{name}: best at {setting}: {own} generalize, median step {median}; over all {len(part)} settings {whole}."
    return [line, *edge_warnings(edges(part, best, SETTING), name)]


def _record(part: pd.DataFrame, chosen: pd.Series) -> dict[str, Any]:
    """The first chosen row, in plain values."""
    return part[chosen].to_dict("records")[0]  # pyright: ignore[reportReturnType]


def _largest_fit(part: pd.DataFrame) -> str:
    most = part[2 * part["fit"] > part["runs"]]
    if most.empty:
        return "none"
    end = " (the largest tried)" if most["lr"].max() == part["lr"].max() else ""
    return f"{number_text(float(most['lr'].max()))}{end}"


def _first(name: str, part: pd.DataFrame, blown: pd.DataFrame) -> list[str]:
    runs = int(part["runs"].sum())
    if blown.empty:
        return [f"{name}: none of {runs} runs blows up (at most {100 * wilson(0, runs)[1]:.0f} % would)."]
    steps = time_text(*median_time(blown["step"]), float(part["steps"].max()))
    many = f"{fraction_text(len(blown), runs)} of the runs blow up"
    line = f"{name}: {many}, {int(blown['diverged'].sum())} of them to non-finite values, at step {steps} (median)"
    seen = blown[blown["matrix"].notna()]
    if seen.empty:
        return [f"{line}; records there are too far apart to tell what went first."]
    first, since = (
        ", ".join(f"{matrix} {count if short else fraction_text(count, len(seen))}" for matrix, count in counts.items())
        for short, counts in enumerate(seen[column].value_counts() for column in ("matrix", "since_start"))
    )
    return [
        f"{line}; of {len(seen)} with records close enough there, first is {first}, in {int(seen['alone'].sum())} of "
        f"these by itself in its record; if growth is counted from the start of training: {since}."
    ]


def table(data: MomentumData) -> pd.DataFrame:
    """Rows of two kinds: cell and blown (see `MomentumData`)."""
    frame = pd.concat([data.cells.assign(row="cell"), data.blown.assign(row="blown")], ignore_index=True)
    return frame[["row", *frame.columns.drop("row")]]


def figure(data: MomentumData) -> Figure:
    """Fraction generalized, median step of it and share blown up, against lr; which matrix went first; one blow-up."""
    starts = [start for start in (PLAIN, FIXED) if (data.cells["start"] == start).any()]
    colors = matrix_colors(data.blown, data.example)
    blown = [(_short(name), _of(data.blown, part)) for name, part in _groups(data.cells)]
    with paper():
        picture, grid = panels(3, 2, 2.3)
        for axes, start in zip(grid[0], starts, strict=False):
            own = data.cells[(data.cells["start"] == start) & data.cells["drawn"]]
            draw_fractions(axes, own, "lr", "arm", f"lr ({start} start)")
        if len(starts) == 1:
            grid[0, 1].set_axis_off()
        _draw_best(grid[0, 2], data)
        _draw_blown(grid[1, 0], data.cells[data.cells["start"] == starts[0]], starts[0])
        draw_first(grid[1, 1], blown, colors)
        draw_example(grid[1, 2], data.example, colors)
        for axes in (*grid[0, : len(starts)], grid[1, 0]):
            _number_ticks(axes, (1, 3))
        legend(grid[0, 0], columns=6)
        note(
            picture,
            "Bars: 95 % intervals over seeds (of medians below six seeds all their range). Top: at each lr the best "
            "weight decay, which was chosen by the runs shown; right: at the best of both. Share blown up: over all "
            "weight decays. lr of normalized gradients: the length of a step. Points of one lr stand apart a little. "
            f"First: the first norm over {GROWN:.0f} times what it was {BEFORE} steps ago. Bottom right: one run.",
        )
    return picture


def _number_ticks(axes: Axes, parts: tuple[int, ...]) -> None:
    """Numbers, not powers, along a logarithmic axis; parts: of each decade, where there are not many."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=parts if high < 200 * low else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(float(f"{value:.3g}"))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _short(name: str) -> str:
    return name.removesuffix(" start")


def _draw_best(axes: Axes, data: MomentumData) -> None:
    """The median step of generalization at the best setting of each; an arrow where it is not reached."""
    best = [(name, _record(part, part["best"])) for name, part in _groups(data.cells)]
    steps = float(data.cells["steps"].max())
    for place, (_, row) in enumerate(best):
        color = PALETTE[data.arms.index(row["arm"]) % len(PALETTE)]
        middle, low, high = (min(row[key], steps) for key in ("median_step", "median_low", "median_high"))
        reached = np.isfinite(row["median_step"])
        axes.plot([low, high], [place, place], color=color, linewidth=0.9)
        axes.plot(
            middle, place, MARKERS[data.arms.index(row["arm"]) % len(MARKERS)] if reached else ">", color=color,
            markersize=4, markerfacecolor=color if reached else "none",
        )  # fmt: skip
        text = f"{row['generalized']}/{row['runs']}"
        axes.text(1.02, place, text, fontsize=LEGEND, va="center", transform=axes.get_yaxis_transform())
    name_rows(axes, [_short(name) for name, _ in best])
    axes.set_xscale("log")
    _number_ticks(axes, (1, 2, 5))
    axes.set_xlabel("step of generalization, best setting")


def _draw_blown(axes: Axes, cells: pd.DataFrame, start: str) -> None:
    """Over all weight decays, since it hardly depends on them."""
    sums = cells.groupby(["arm", "lr"], sort=False)[["blown", "runs"]].sum().reset_index()
    found = np.array([(row.blown / row.runs, *wilson(row.blown, row.runs)) for row in sums.itertuples()])  # pyright: ignore
    sums[["share", "share_low", "share_high"]] = found
    draw_cells(axes, sums, "lr", ("share", "share_low", "share_high"), "arm", f"lr ({start} start)")
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("share blown up")
