"""Does a larger embedding gradient remove the delay between fit and generalization?

The embedding's gradient is small against the other matrices'. Its start, and its own learning rate (0 freezes it, with
its weight decay), change how much it learns before the train set is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from grokjax.analysis.answers import cells, edges, fraction_text, groups, median_time, rank_correlation, rows, time_text
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import (
    MARKERS,
    draw_cells,
    draw_fractions,
    edge_warnings,
    ended_runs,
    legend,
    mean_text,
    note,
    panels,
    plain_times,
    unended,
)
from grokjax.figures.style import group_colors, number_text, paper
from grokjax.results.read import Results

FACTOR = {"init": "init.scale_by_matrix.W_E", "lr": "optimizer.lr_by_matrix.W_E"}
NAMES = {"init": "start of W_E", "lr": "lr of W_E"}
DECAY, WIDTH = "optimizer.weight_decay", "model.d_model"
SHARE = "balance/grad_share/W_E"
SHARES = (0.01, 0.03, 0.1, 0.3)  # ticks
SETTING = ["weight_decay", "d_model"]


@dataclass(frozen=True)
class EmbeddingData:
    """runs: one row a run that ended and arm (init or lr) it is of: factor of W_E's start or learning rate,
    weight_decay, d_model, seed, fit, generalization (steps, nan: never), delay (inf where it fits and never
    generalizes, nan where it does not fit), share (of W_E in the squared gradient norm, mean of the records until fit).
    cells: by arm, factor and SETTING, of the delay median, low and high (`delay`, ...), and what
    `grokjax.analysis.answers.outcome` has."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> EmbeddingData:
    """Raises ValueError where no run has ended, or the probe `balance` was not recorded."""
    if SHARE not in results.metrics():
        raise ValueError("these runs have no probe `balance`: log: {probes: [balance]}")
    runs = results.runs()
    ended = ended_runs(runs)
    share = _early_share(results.curves(SHARE, list(ended["run_id"])), ended.set_index("run_id")["fit_step"])
    delay = ended["delay"].astype(float).mask(ended["fit_step"].notna() & ended["delay"].isna(), np.inf)
    plain = ended.assign(weight_decay=ended[DECAY], d_model=ended[WIDTH], delay=delay, share=ended["run_id"].map(share))
    frames, tables = [], []
    for arm, key in FACTOR.items():
        part = plain[[arm in arms for arms in plain["arms"]]]
        if part.empty:
            continue
        part = part.assign(arm=arm, factor=part[key].astype(float).fillna(1.0) if key in part else 1.0)
        frames.append(part.rename(columns={"fit_step": "fit", "generalization_step": "generalization"})[_columns()])
        tables.append(cells(part, ["factor", *SETTING]).merge(_delays(part), on=["factor", *SETTING]).assign(arm=arm))
    if not frames:
        raise ValueError(f"no run of the arms {' and '.join(FACTOR)} has ended yet: there is nothing to answer with")
    return EmbeddingData(
        pd.concat(frames, ignore_index=True), pd.concat(tables, ignore_index=True), tuple(unended(runs))
    )


def _columns() -> list[str]:
    return ["run_id", "arm", "factor", *SETTING, "seed", "fit", "generalization", "delay", "share"]


def _early_share(curves: pd.DataFrame, fit: pd.Series) -> pd.Series:
    """Run id -> mean share over its records until it fits (all of them, where it never does)."""
    until = curves["run_id"].map(fit).fillna(np.inf)
    return curves[curves["step"] <= until].groupby("run_id")[SHARE].mean()


def _delays(runs: pd.DataFrame) -> pd.DataFrame:
    """Median delay over the seeds that fit, by cell; inf: over half of them never generalize."""
    rows = []
    for values, part in runs.groupby(["factor", *SETTING]):
        times = part["delay"].dropna().replace(np.inf, np.nan)
        middle = median_time(times) if len(times) else (np.nan, np.nan, np.nan)
        row = dict(zip(["factor", *SETTING], values, strict=True))
        rows.append(row | dict(zip(["delay", "delay_low", "delay_high"], middle, strict=True)))
    return pd.DataFrame(rows)


def answer(data: EmbeddingData) -> list[str]:
    lines = list(data.notes)
    for setting, part in _settings(data.cells):
        lines += [_delay_line(arm, setting, own) for arm, own in part.groupby("arm", sort=False)]
    lines += [_share_line(arm, part) for arm, part in data.runs.groupby("arm", sort=False)]
    lines += [_relation(setting, part) for setting, part in _settings(data.runs)]
    lines += _frozen(data.cells)
    for setting, part in _settings(data.cells):
        for arm, own in part.groupby("arm", sort=False):
            lines += _best(str(arm), setting, own)
    return lines


def _settings(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """`d_model 32, weight decay 1`, and its rows."""
    for (decay, width), part in groups(frame, SETTING, sort=True):
        yield f"d_model {width}, weight decay {number_text(float(decay))}", part


def _delay_line(arm: Any, setting: str, part: pd.DataFrame) -> str:
    each = [
        f"{number_text(row['factor'])}: {_delay_text(row)}, {row['generalized']} of {row['runs']}"
        for row in rows(part.sort_values("factor"))
    ]
    return f"{setting}, {NAMES[arm]} times (median delay, runs that generalize): {'; '.join(each)}."


def _delay_text(row: dict[str, Any]) -> str:
    if np.isnan(row["delay"]):
        return "no fit"
    return time_text(row["delay"], row["delay_low"], row["delay_high"], row["steps"])


def _share_line(arm: Any, runs: pd.DataFrame) -> str:
    shares = runs.groupby("factor")["share"].mean()
    each = [f"{number_text(float(factor))}: {share:.2g}" for factor, share in shares.items()]  # pyright: ignore[reportArgumentType]
    return f"The embedding's share of the squared gradient norm until fit, {NAMES[arm]} times: {', '.join(each)}."


def _relation(setting: str, runs: pd.DataFrame) -> str:
    """Rank correlation of the share and the delay, over runs that fit; those that never generalize are last."""
    texts = []
    for arm, part in [*runs.groupby("arm", sort=False), ("both", runs.drop_duplicates("run_id"))]:
        known = part[part["delay"].notna() & part["share"].notna()]
        rho, low, high = rank_correlation(known["share"], known["delay"])
        texts.append(f"{mean_text(rho, low, high)} ({NAMES.get(str(arm), 'all runs')}, {len(known)} runs)")
    return f"{setting}: rank correlation of that share with the delay: {'; '.join(texts)}."


def _frozen(cells: pd.DataFrame) -> list[str]:
    frozen = cells[(cells["arm"] == "lr") & (cells["factor"] == 0)]
    if frozen.empty:
        return []
    each = [
        f"{setting}: {fraction_text(int(part['generalized'].sum()), int(part['runs'].sum()))} generalize, delay "
        f"{_delay_text(rows(part)[0])}"
        for setting, part in _settings(frozen)
    ]
    return [f"With W_E frozen at its start: {'; '.join(each)}."]


def _best(arm: str, setting: str, part: pd.DataFrame) -> list[str]:
    """The factor with the least delay of those that generalize most often, against that at factor 1."""
    reached = part[part["generalized"] > 0]
    if reached.empty:
        return []
    best = reached.sort_values(["fraction", "delay"], ascending=[False, True]).index[0]
    row, lines = rows(reached.loc[[best]])[0], []
    usual = part[part["factor"] == 1]
    against = f", against {_delay_text(rows(usual)[0])} at 1" if len(usual) else ""
    lines.append(
        f"{setting}, {NAMES[arm]}: most generalize, with the least delay, at {number_text(row['factor'])}: "
        f"{_delay_text(row)}{against}."
    )
    return lines + edge_warnings(edges(part, best, ["factor"]), f"{setting}, {NAMES[arm]}")


def table(data: EmbeddingData) -> pd.DataFrame:
    """One row a run and arm, as in `EmbeddingData`."""
    return data.runs


def figure(data: EmbeddingData) -> Figure:
    """Of each arm the fraction, the delay and the delay against the embedding's share of the gradient."""
    arms = [arm for arm in FACTOR if (data.cells["arm"] == arm).any()]
    with paper():
        picture, grid = panels(3, len(arms), 2.3)
        for row, arm in zip(grid, arms, strict=True):
            own = data.cells[data.cells["arm"] == arm]
            own = own.assign(setting=[_short(one) for one in rows(own)])
            label = f"factor of the {NAMES[arm]}"
            draw_fractions(row[0], own, "factor", "setting", label)
            _draw_delays(row[1], own, label)
            _draw_share(row[2], data.runs[data.runs["arm"] == arm], label)
        legend(grid[0, 0], columns=2)
        note(
            picture,
            "Bars: 95 % intervals over seeds (all their range below six). Open triangles: most never generalize within "
            "the steps given. Right: a dot a run, the share its mean until fit; open: it never generalizes.",
        )
    return picture


def _short(row: dict[Any, Any]) -> str:
    return f"d_model {row['d_model']}, wd {number_text(float(row['weight_decay']))}"


def _draw_delays(axes: Axes, cells: pd.DataFrame, label: str) -> None:
    known = cells[cells["delay"].notna()]
    least = cells.assign(delay=known["delay"].clip(lower=1))  # no delay is drawn as one step
    draw_cells(axes, least, "factor", ("delay", "delay_low", "delay_high"), "setting", label)
    plain_times(axes, "delay (median)")


def _draw_share(axes: Axes, runs: pd.DataFrame, label: str) -> None:
    factors = ordered_values(runs["factor"])
    colors = group_colors(True, len(factors))
    reached = runs["delay"][np.isfinite(runs["delay"])]
    top = (float(reached.max()) if len(reached) else 1.0) * 2
    for place, factor in enumerate(factors):
        part = runs[(runs["factor"] == factor) & runs["delay"].notna() & (runs["share"] > 0)]
        there = np.isfinite(part["delay"])
        style: dict[str, Any] = {"color": colors[place], "markersize": 3, "linestyle": "none", "alpha": 0.85}
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(part["share"][there], part["delay"][there].clip(lower=1), marker, **style)
        axes.plot(part["share"][~there], np.full(int((~there).sum()), top), marker, markerfacecolor="none", **style)
        axes.plot([], [], marker, label=number_text(float(factor)), **style)
    axes.set_xscale("log")
    plain_times(axes, "delay")
    axes.xaxis.set_major_locator(FixedLocator(SHARES))
    axes.set_xticklabels([number_text(share) for share in SHARES])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("W_E's share of squared gradient")
    legend(axes, label, columns=5)
