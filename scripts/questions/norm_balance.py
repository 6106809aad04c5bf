#!/usr/bin/env python3
"""Do the matrices on the path to the logits meet at one norm, for every weight decay and eps, from unbalanced starts
too, and before generalization or after it?

Where the loss depends on a product of factors, <W, grad W> is equal for all of them; under weight decay the norms of
the matrices on the path to the logits then meet. The others (W_Q, W_K, W_pos) only move attention."""

from __future__ import annotations

from collections.abc import Sequence

import answers
import numpy as np
import pandas as pd
import panels
from answers import Tables, geometric_mean, mean, summary, text_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.cells import ordered_values
from grokjax.figures.style import GREY, PALETTE, group_colors, plain_axis
from grokjax.results.read import Results
from grokjax.spec.shapes import is_matrix, is_on_path
from grokjax.spec.wording import number_text

RATIO, INNER, SHARE = "balance/path_ratio", "balance/inner/", "adam/eps_share/total"
NEAR = 1.3  # the largest norm over the least, below which norms count as having met
RATIOS = (1, 1.3, 2, 3, 5, 10, 20)  # ticks
MOST = 30.0  # that is drawn; a run that weight decay takes to 0 has no end of it
LATE = 0.1  # of a run, at its end, over whose records <W, grad W> is taken
CELL = ["arm", "weight_decay", "eps"]
CSV = ("runs",)
NOTE = (
    "Top left and middle: one run each (first seed, middle weight decay, least eps); full lines: matrices on the path"
    " to the logits. Top right: dashed unbalanced, pale larger eps. Bars: 95 % intervals over seeds. Open marks: "
    "never."
)


def data(results: Results) -> Tables:
    """runs: CELL, seed, steps, generalization, balanced (step from which the norms of the path stay within NEAR; nan:
    never); at the end ratio (largest over least norm on the path), off_path (mean norm of the others over the path's),
    below (share of coordinates with sqrt(v) < eps); inner (standard deviation over the path's mean of <W, grad W>,
    median of late records). curves: run_id, CELL, step, ratio. norms: arm, matrix, step, norm; a run an arm. Raises
    ValueError where no run has ended, or without the probe `balance`."""
    if RATIO not in results.metrics():
        raise ValueError("these runs have no probe `balance`: log: {probes: [balance, adam]}")
    runs = answers.ended_runs(
        results.runs(), weight_decay="optimizer.weight_decay", eps="optimizer.eps", ratio=f"final/{RATIO}",
        generalization="generalization_step",
    )  # fmt: skip
    names = [name.removeprefix("norm/") for name in results.metrics() if name.startswith("norm/")]
    path = [name for name in names if is_on_path(name)]
    off = [name for name in names if is_matrix(name) and not is_on_path(name)]
    curves = results.curves([RATIO, *(f"{INNER}{name}" for name in path)], list(runs["run_id"]))
    of_run = curves.groupby("run_id")
    inner = of_run.apply(lambda curve: _inner_spread(curve, [f"{INNER}{name}" for name in path]))
    runs = runs.assign(
        steps=runs["train.steps"],
        balanced=runs["run_id"].map(of_run.apply(lambda curve: met(curve["step"], curve[RATIO]))),
        off_path=_mean_norm(runs, off) / _mean_norm(runs, path),
        inner=runs["run_id"].map(inner),
        below=runs[f"final/{SHARE}"].astype(float) if f"final/{SHARE}" in runs else np.nan,
    )
    columns = ["run_id", *CELL, "seed", "steps", "generalization", "balanced", "ratio", "off_path", "inner", "below"]
    runs = runs[columns].reset_index(drop=True)
    ratios = curves[["run_id", "step", RATIO]].rename(columns={RATIO: "ratio"}).merge(runs[["run_id", *CELL]])
    return {"runs": runs, "curves": ratios, "norms": _norms(results, runs, [*path, *off])}


def met(steps: Sequence[int] | pd.Series, ratio: Sequence[float] | pd.Series, near: float = NEAR) -> float:
    """The first step from which the ratio stays below `near` to the end; nan where it does not end there."""
    apart = np.flatnonzero(~(np.asarray(ratio, float) < near))
    first = int(apart[-1]) + 1 if len(apart) else 0
    return float(np.asarray(steps)[first]) if first < len(ratio) else np.nan


def _mean_norm(runs: pd.DataFrame, names: list[str]) -> pd.Series:
    return runs[[f"final/norm/{name}" for name in names]].mean(axis=1)


def _inner_spread(curve: pd.DataFrame, columns: list[str]) -> float:
    late = curve[curve["step"] >= (1 - LATE) * curve["step"].max()]
    inner = late[columns].to_numpy(np.float64)
    middle = np.abs(inner.mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmedian(np.where(middle > 0, inner.std(axis=1) / middle, np.nan)))


def _norms(results: Results, runs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Of an arm the first seed of the middle weight decay at the least eps: matrix, step and norm."""
    parts = []
    for arm, part in runs[runs["eps"] == runs["eps"].min()].groupby("arm", sort=False):
        decays = ordered_values(part["weight_decay"])
        run = part[part["weight_decay"] == decays[len(decays) // 2]].iloc[0]
        curves = results.curves([f"norm/{name}" for name in names], run["run_id"]).drop(columns="run_id")
        parts.append(curves.melt("step", var_name="matrix", value_name="norm").assign(arm=arm))
    norms = pd.concat(parts, ignore_index=True)
    return norms.assign(matrix=norms["matrix"].str.removeprefix("norm/"))


def answer(tables: Tables) -> list[str]:
    """Ratios at the end of every setting; balance before or after generalization; the other measures."""
    runs = tables["runs"]
    balance, generalize = runs["balanced"].notna(), runs["generalization"].notna()
    ends = summary(
        runs, CELL,
        ratio=lambda part: geometric_mean(part["ratio"]),
        balance=lambda part: f"{part['balanced'].count()} of {len(part)}",
    )  # fmt: skip
    first = runs.assign(
        both=balance & generalize,
        balance_first=balance & generalize & (runs["balanced"] <= runs["generalization"]),
        generalize_first=balance & generalize & (runs["balanced"] > runs["generalization"]),
        only_generalize=generalize & ~balance,
        only_balance=balance & ~generalize,
    )
    counts = {name: lambda part, name=name: int(part[name].sum()) for name in first.columns.drop(runs.columns)}
    times = summary(
        first, ["arm"], runs=len,
        balanced_from=lambda part: answers.median(part["balanced"], part["steps"].max()),
        generalization=lambda part: answers.median(part["generalization"], part["steps"].max()),
        balance=lambda part: int(part["balanced"].count()), **counts,
    )  # fmt: skip
    means = summary(
        runs, ["weight_decay", "eps"],
        others_over_path=lambda part: f"{part['off_path'].mean():.2g}",
        spread_of_inner_products=lambda part: f"{part['inner'].mean():.2g}",
        below_eps=lambda part: f"{part['below'].mean():.2g}",
    )  # fmt: skip
    return [
        text_table(f"Largest over least norm on the path at the end (mean), and runs that stay within {NEAR}", ends),
        text_table("Balance and generalization (medians of steps, numbers of runs)", times),
        text_table(
            "Mean norm of the others over the path's; spread of <W, grad W> over its mean; sqrt(v) < eps", means
        ),
    ]


def figure(tables: Tables) -> Figure:
    """Norms of an arm's middle run; the ratio over training; at the end the ratio and coordinates below eps against
    weight decay; the step of balance against that of generalization."""
    runs, norms = tables["runs"], tables["norms"]
    arms = list(dict.fromkeys(runs["arm"]))
    cells = [
        dict(zip(CELL, values, strict=True))
        | answers.flat(ratio=geometric_mean(part["ratio"]), below=mean(part["below"]))
        | {"cell": f"{values[0]}, eps {number_text(values[2])}"}
        for values, part in runs.groupby(CELL)
    ]
    with panels.panels(3, 2, NOTE) as (picture, grid):
        for axes, arm in zip(grid[0, :2], arms, strict=False):
            _draw_norms(axes, norms[norms["arm"] == arm], arm, arm == arms[0])
        _draw_ratios(grid[0, 2], tables["curves"], arms)
        for axes, name, label in (
            (grid[1, 0], "ratio", "largest / least path norm"),
            (grid[1, 1], "below", "coordinates below eps"),
        ):
            panels.draw_cells(axes, pd.DataFrame(cells), "weight_decay", name, "cell", f"{label}, end")
        _near_scale(grid[1, 0])
        panels.legend(grid[1, 0], columns=2)
        _draw_times(grid[1, 2], runs, arms)
    return picture


def _draw_norms(axes: Axes, norms: pd.DataFrame, arm: str, named: bool) -> None:
    for index, (matrix, part) in enumerate(norms.groupby("matrix", sort=False)):
        style, color = "-" if is_on_path(matrix) else ":", PALETTE[index % len(PALETTE)]
        axes.plot(part["step"], part["norm"], style, color=color, label=matrix.partition(".")[0], linewidth=0.9)
    panels.plain_log(axes, (1, 2, 3, 5, 10, 20, 30, 50))
    plain_axis(axes, norms["step"])
    axes.set(xlabel="step", ylabel="norm of matrix")
    if named:
        panels.legend(axes, arm, columns=5)
    else:
        axes.set_title(arm, loc="left", fontsize=panels.LEGEND)


def _draw_ratios(axes: Axes, curves: pd.DataFrame, arms: list[str]) -> None:
    decays = ordered_values(curves["weight_decay"])
    colors = dict(zip(decays, group_colors(True, len(decays)), strict=True))
    for (arm, decay, eps), part in curves.groupby(CELL):
        ratio, first, least = part.groupby("step")["ratio"].median(), arm == arms[0], eps == curves["eps"].min()
        label = number_text(decay) if first and least else None
        axes.plot(ratio.index, ratio, "-" if first else "--", color=colors[decay], linewidth=0.8, label=label,
                  alpha=1.0 if least else 0.4)  # fmt: skip
    _near_scale(axes)
    plain_axis(axes, curves["step"])
    axes.set(xlabel="step", ylabel="largest / least path norm")
    panels.legend(axes, "weight_decay")


def _near_scale(axes: Axes) -> None:
    axes.axhline(NEAR, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(0.95, min(axes.get_ylim()[1], MOST))
    panels.plain_log(axes, RATIOS)


def _draw_times(axes: Axes, runs: pd.DataFrame, arms: list[str]) -> None:
    top = float(runs["steps"].max()) * 1.3
    times = runs[["generalization", "balanced"]]
    drawn, never = times.fillna(top).clip(lower=1), times.isna().any(axis=1)
    for index, arm in enumerate(arms):
        style = {"color": PALETTE[index], "markersize": 3, "alpha": 0.8, "linestyle": "none"}
        for chosen, more in ((~never, {"label": arm}), (never, {"markerfacecolor": "none"})):
            part = drawn[chosen & (runs["arm"] == arm)]
            if len(part):
                axes.plot(part["generalization"], part["balanced"], "os"[index % 2], **style, **more)
    ends = [drawn.min().min(), top]
    axes.plot(ends, ends, color=GREY, linewidth=0.6, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="step of generalization", ylabel=f"path within {NEAR} from step")
    panels.legend(axes)


if __name__ == "__main__":
    answers.run_question(__name__)
