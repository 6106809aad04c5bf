"""Which matrices keep their norm, and when do they meet?

Where the loss depends on a product of factors, <W, grad W> is equal for all of them; under weight decay the norms of
the matrices on the path to the logits then meet. The others (W_Q, W_K, W_pos) only move attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import groups, interval_of_geometric_mean, interval_of_mean, median_time, rows, time_text
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import (
    LEGEND,
    draw_cells,
    ended_runs,
    legend,
    mean_text,
    note,
    panels,
    plain_log,
    unended,
)
from grokjax.figures.style import GREY, PALETTE, group_colors, number_text, paper, plain_steps
from grokjax.results.read import Results
from grokjax.spec.shapes import is_matrix, is_on_path

DECAY, EPS = "optimizer.weight_decay", "optimizer.eps"
RATIO, INNER, SHARE = "balance/path_ratio", "balance/inner/", "adam/eps_share/total"
NEAR = 1.3  # the largest norm over the least, below which norms count as having met
RATIOS = (1, 1.3, 2, 3, 5, 10, 20)  # ticks
MOST = 30.0  # that is drawn; a run that weight decay takes to 0 has no end of it
LATE = 0.1  # of a run, at its end, over whose records <W, grad W> is taken
CELL = ["arm", "weight_decay", "eps"]
MEASURES = ("ratio", "off_path", "inner", "below")


@dataclass(frozen=True)
class BalanceData:
    """runs: one row a run that ended: arm, weight_decay, eps, seed, generalization, balanced (step from which the norms
    of the path stay within NEAR; steps, nan: never), steps; at the end ratio (largest over least norm on the path),
    off_path (mean norm of the others over the path's), below (share of coordinates with sqrt(v) < eps); inner (standard
    deviation over the path's mean of <W, grad W>, median of late records).
    cells: by CELL, of each of MEASURES mean (geometric, of ratios), low, high (`ratio`, `ratio_low`, ...) over seeds.
    ratios: arm, weight_decay, eps, step, ratio (median over seeds). norms: arm, matrix, step, norm; a run an arm."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    ratios: pd.DataFrame
    norms: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> BalanceData:
    """Raises ValueError where no run has ended, or the probe `balance` was not recorded."""
    runs = results.runs()
    if RATIO not in results.metrics():
        raise ValueError("these runs have no probe `balance`: log: {probes: [balance, adam]}")
    ended = ended_runs(runs)
    names = [name.removeprefix("norm/") for name in results.metrics() if name.startswith("norm/")]
    path = [name for name in names if is_on_path(name)]
    off = [name for name in names if is_matrix(name) and not is_on_path(name)]
    curves = results.curves([RATIO, *(f"{INNER}{name}" for name in path)], list(ended["run_id"]))
    by_run = dict(iter(curves.groupby("run_id", sort=False)))
    frame = pd.DataFrame(
        {
            "run_id": ended["run_id"],
            "arm": ended["arm"],
            "weight_decay": ended[DECAY].astype(float),
            "eps": ended[EPS].astype(float),
            "seed": ended["seed"],
            "steps": ended["train.steps"],
            "generalization": ended["generalization_step"].astype(float),
            "balanced": [met(by_run[run_id]["step"], by_run[run_id][RATIO]) for run_id in ended["run_id"]],
            "ratio": ended[f"final/{RATIO}"].astype(float),
            "off_path": _mean_norm(ended, off) / _mean_norm(ended, path),
            "inner": [_inner_spread(by_run[run_id], path) for run_id in ended["run_id"]],
            "below": ended[f"final/{SHARE}"].astype(float) if f"final/{SHARE}" in ended else np.nan,
        }
    ).reset_index(drop=True)
    named = curves[["run_id", "step", RATIO]].merge(frame[["run_id", *CELL]], on="run_id")
    ratios = named.groupby([*CELL, "step"])[RATIO].median().rename("ratio").reset_index()
    return BalanceData(frame, _cells(frame), ratios, _norms(results, frame, [*path, *off]), tuple(unended(runs)))


def met(steps: Sequence[int] | pd.Series, ratio: Sequence[float] | pd.Series, near: float = NEAR) -> float:
    """The first step from which the ratio stays below `near` to the end; nan where it does not end there."""
    there = np.asarray(ratio, float) < near
    after = len(there) - int(np.argmin(there[::-1])) if not there.all() else 0
    return float(np.asarray(steps)[after]) if after < len(there) else np.nan


def _mean_norm(runs: pd.DataFrame, names: list[str]) -> pd.Series:
    return runs[[f"final/norm/{name}" for name in names]].mean(axis=1)


def _inner_spread(curve: pd.DataFrame, path: list[str]) -> float:
    late = curve[curve["step"] >= (1 - LATE) * curve["step"].max()]
    inner = late[[f"{INNER}{name}" for name in path]].to_numpy(np.float64)
    mean = np.abs(inner.mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmedian(np.where(mean > 0, inner.std(axis=1) / mean, np.nan)))


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for values, part in frame.groupby(CELL):
        row = dict(zip(CELL, values, strict=True))
        for name in MEASURES:
            found = interval_of_mean(part[name]) if name == "below" else interval_of_geometric_mean(part[name])
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _norms(results: Results, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Of an arm the first seed of the middle weight decay at the least eps: matrix, step and norm."""
    parts = []
    for arm, part in frame[frame["eps"] == frame["eps"].min()].groupby("arm", sort=False):
        decays = ordered_values(part["weight_decay"])
        run = part[part["weight_decay"] == decays[len(decays) // 2]].iloc[0]
        curves = results.curves([f"norm/{name}" for name in names], run["run_id"]).drop(columns="run_id")
        long = curves.melt("step", var_name="matrix", value_name="norm")
        parts.append(long.assign(matrix=long["matrix"].str.removeprefix("norm/"), arm=arm))
    return pd.concat(parts, ignore_index=True)


def answer(data: BalanceData) -> list[str]:
    lines = list(data.notes)
    for arm, part in data.runs.groupby("arm", sort=False):
        lines += [_ends(str(arm), data.cells[data.cells["arm"] == arm]), _times(str(arm), part)]
    never = data.runs[data.runs["balanced"].isna()]
    if len(never):
        cells = never.groupby(CELL).size()
        each = ", ".join(f"{arm} {number_text(wd)} {number_text(eps)} ({n})" for (arm, wd, eps), n in cells.items())  # pyright: ignore
        lines.append(f"Never within {NEAR} (arm, weight decay, eps; runs): {each}.")
    for name, text in (
        ("off_path", "The others' mean norm over the path's"),
        ("inner", "Spread of <W, grad W> over the path, over its mean (late)"),
        ("below", "Share of coordinates with sqrt(v) below eps at the end"),
    ):
        lines.append(f"{text}, by weight decay / eps: {_over_cells(data.runs, name)}.")
    return lines


def _ends(arm: str, cells: pd.DataFrame) -> str:
    each = [
        f"{number_text(row['weight_decay'])} / {number_text(row['eps'])}: "
        + mean_text(row["ratio"], row["ratio_low"], row["ratio_high"])
        for row in rows(cells)
    ]
    return f"{arm}: largest over least norm on the path at the end, by weight decay / eps: {'; '.join(each)}."


def _times(arm: str, runs: pd.DataFrame) -> str:
    """Whether the norms meet before generalization or after it."""
    steps = float(runs["steps"].max())
    met_at = time_text(*median_time(runs["balanced"]), steps)
    both = runs[runs["balanced"].notna() & runs["generalization"].notna()]
    before = int((both["balanced"] <= both["generalization"]).sum())
    only = int((runs["balanced"].isna() & runs["generalization"].notna()).sum())
    without = int((runs["balanced"].notna() & runs["generalization"].isna()).sum())
    came = time_text(*median_time(runs["generalization"]), steps)
    return (
        f"{arm}: the norms stay within {NEAR} of each other from step {met_at} on (median, "
        f"{runs['balanced'].count()} of {len(runs)} runs), generalization comes at {came}; of {len(both)} runs with "
        f"both, {before} balance first and {len(both) - before} generalize first; {only} generalize and never balance, "
        f"{without} balance and never generalize."
    )


def _over_cells(runs: pd.DataFrame, name: str) -> str:
    """Mean over arms and seeds, by weight decay and eps."""
    each = runs.groupby(["weight_decay", "eps"])[name].mean()
    return "; ".join(f"{number_text(wd)} / {number_text(eps)}: {value:.2g}" for (wd, eps), value in each.items())  # pyright: ignore


def table(data: BalanceData) -> pd.DataFrame:
    """One row a run, as in `BalanceData`."""
    return data.runs


def figure(data: BalanceData) -> Figure:
    """Norms of an arm's middle run; the ratio over training; at the end the ratio and the others' norm against weight
    decay; the step of balance against that of generalization; coordinates below eps."""
    arms = list(dict.fromkeys(data.runs["arm"]))
    cells = data.cells.assign(cell=[f"{row.arm}, eps {number_text(row.eps)}" for row in data.cells.itertuples()])  # pyright: ignore
    with paper():
        picture, grid = panels(3, 2, 2.3)
        for place, arm in enumerate(arms[:2]):
            _draw_norms(grid[0, place], data.norms[data.norms["arm"] == arm], arm, place == 0)
        _draw_ratios(grid[0, 2], data.ratios, arms)
        _draw_end(grid[1, 0], cells, "ratio", "largest / least path norm, end")
        legend(grid[1, 0], columns=2)
        _draw_end(grid[1, 1], cells, "below", "coordinates below eps, end")
        _draw_times(grid[1, 2], data.runs, arms)
        note(
            picture,
            "Top left and middle: one run each (first seed, middle weight decay, least eps); full lines: matrices on "
            "the path to the logits. Top right: dashed unbalanced, pale larger eps. Bars: 95 % intervals over seeds. "
            "Open marks at an edge: never.",
        )
    return picture


def _draw_norms(axes: Axes, norms: pd.DataFrame, arm: str, named: bool) -> None:
    for place, (matrix, part) in enumerate(norms.groupby("matrix", sort=False)):
        style = "-" if is_on_path(str(matrix)) else ":"
        color = PALETTE[place % len(PALETTE)]
        name = str(matrix).partition(".")[0]
        axes.plot(part["step"], part["norm"], style, color=color, label=name, linewidth=0.9)
    axes.set_yscale("log")
    plain_log(axes, (1, 2, 3, 5, 10, 20, 30, 50))
    plain_steps(axes, int(norms["step"].max()))
    axes.set_xlabel("step")
    axes.set_ylabel("norm of matrix")
    if named:
        legend(axes, arm, columns=5)
    else:
        axes.set_title(arm, loc="left", fontsize=LEGEND)


def _draw_ratios(axes: Axes, ratios: pd.DataFrame, arms: list[str]) -> None:
    decays = ordered_values(ratios["weight_decay"])
    colors = group_colors(True, len(decays))
    for (arm, wd, eps), part in groups(ratios, CELL):
        least = eps == ratios["eps"].min()
        label = f"{number_text(wd)}" if arm == arms[0] and least else None
        axes.plot(
            part["step"], part["ratio"], "-" if arm == arms[0] else "--", color=colors[decays.index(wd)], label=label,
            linewidth=0.8, alpha=1.0 if least else 0.4,
        )  # fmt: skip
    axes.axhline(NEAR, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(0.95, min(axes.get_ylim()[1], MOST))
    plain_log(axes, RATIOS)
    plain_steps(axes, int(ratios["step"].max()))
    axes.set_xlabel("step")
    axes.set_ylabel("largest / least path norm")
    legend(axes, "weight_decay")


def _draw_end(axes: Axes, cells: pd.DataFrame, name: str, label: str) -> None:
    draw_cells(axes, cells, "weight_decay", (name, f"{name}_low", f"{name}_high"), "cell", "weight_decay")
    if name == "ratio":
        axes.axhline(NEAR, color=GREY, linewidth=0.6, linestyle=":")
        axes.set_yscale("log")
        axes.set_ylim(0.95, min(axes.get_ylim()[1], MOST))
        plain_log(axes, RATIOS)
    else:
        axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel(label, fontsize=LEGEND + 0.5)


def _draw_times(axes: Axes, runs: pd.DataFrame, arms: list[str]) -> None:
    top = float(runs["steps"].max()) * 1.3
    low = float(runs[["generalization", "balanced"]].clip(lower=1).min().min())
    for place, arm in enumerate(arms):
        part = runs[runs["arm"] == arm]
        missing = part[["generalization", "balanced"]].isna().any(axis=1)
        for never, own in part.groupby(missing):
            axes.plot(
                own["generalization"].fillna(top).clip(lower=1), own["balanced"].fillna(top).clip(lower=1),
                "os"[place % 2], color=PALETTE[place], markersize=3, alpha=0.8, linestyle="none",
                markerfacecolor="none" if never else PALETTE[place], label=None if never else arm,
            )  # fmt: skip
    ends = [low if np.isfinite(low) else 1.0, top]
    axes.plot(ends, ends, color=GREY, linewidth=0.6, zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("step of generalization")
    axes.set_ylabel(f"path within {NEAR} from step")
    if axes.get_legend_handles_labels()[0]:
        legend(axes)
