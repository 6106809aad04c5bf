"""What makes a run slingshot, and whether a slingshot makes it generalize."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from grokjax.analysis.answers import ENDED, cells, fraction_text, interval_of_mean, median_time, time_text
from grokjax.analysis.censored import wilson
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import draw_cells, legend, note, panels, unended
from grokjax.figures.style import PALETTE, paper, value_text
from grokjax.results.read import Results

KEYS = ["treatment", "optimizer.eps", "optimizer.b2"]
TREATMENTS = ("float32", "float32 centered", "exact", "float64")
FORKS = {"unchanged": "slingshots", "exact": "exact loss", "centered": "centered gradient"}


@dataclass(frozen=True)
class CauseData:
    """cells: one row a treatment, eps and b2: those of `grokjax.analysis.answers.cells`, share of runs with slingshots
    and its interval share_low, share_high, count (mean slingshots a run) and its interval count_low, count_high.
    forks: None, or one row a fork of a parent that had not generalized: arm, parent, time (steps after the fork to
    generalization, nan: never), steps, slingshots."""

    cells: pd.DataFrame
    forks: pd.DataFrame | None
    notes: tuple[str, ...]


def data(results: Results, forks: Results | None = None) -> CauseData:
    """forks: results of the second stage. Raises ValueError where no run has ended."""
    runs = _treated(results.runs())
    found = cells(runs, KEYS)
    ended = runs[runs["status"].isin(ENDED)]
    shares, counts = [], []
    for row in found.to_dict("records"):
        own = ended[np.logical_and.reduce([ended[key] == row[key] for key in KEYS])]
        shares.append((row["slingshots"] / row["runs"], *wilson(row["slingshots"], row["runs"])))
        counts.append(interval_of_mean(own["slingshots"].to_numpy(np.float64)))
    for name, values in (("share", shares), ("count", counts)):
        found[[name, f"{name}_low", f"{name}_high"]] = np.array(values)
    notes = unended(runs) + (unended(forks.runs()) if forks else [])
    return CauseData(found, _forked(forks) if forks else None, tuple(notes))


def _treated(runs: pd.DataFrame) -> pd.DataFrame:
    centered = runs["loss.center_gradient"].eq(True)
    return runs.assign(treatment=runs["loss.precision"].where(~centered, runs["loss.precision"] + " centered"))


def _forked(forks: Results) -> pd.DataFrame:
    """Forks of parents that had not generalized yet: at the fork the test accuracy is under the threshold."""
    runs = forks.runs()
    runs = runs[runs["status"].isin(ENDED)]
    early = set(runs.loc[runs["generalization_step"] == 0, "init.from_run.run"])
    kept = runs[~runs["init.from_run.run"].isin(early)]
    return pd.DataFrame(
        {
            "arm": kept["arm"],
            "parent": kept["init.from_run.run"],
            "time": kept["generalization_step"].astype(float),
            "steps": kept["train.steps"],
            "slingshots": kept["slingshots"],
        }
    ).reset_index(drop=True)


def answer(data: CauseData) -> list[str]:
    """Who slingshots, and whether the forks that do generalize sooner."""
    lines = list(data.notes)
    for treatment in TREATMENTS:
        part = data.cells[data.cells["treatment"] == treatment]
        if part.empty:
            continue
        each = [
            f"eps {value_text(eps)} {fraction_text(int(own['slingshots'].sum()), int(own['runs'].sum()))}"
            for eps, own in part.groupby("optimizer.eps", sort=True)
        ]
        lines.append(f"Runs that slingshot with the {treatment} loss, over all b2: {'; '.join(each)}.")
    exact = data.cells[data.cells["treatment"].isin(["exact", "float64"])]
    if len(exact):
        text = fraction_text(int(exact["slingshots"].sum()), int(exact["runs"].sum()))
        lines.append(f"Slingshots that survive a loss that loses nothing: {text} of the runs.")
    float32 = data.cells[(data.cells["treatment"] == "float32") & (data.cells["slingshots"] > 0)]
    each = [
        f"b2 {value_text(row['optimizer.b2'])} eps {value_text(row['optimizer.eps'])} {row['count']:.1f} "
        f"({max(row['count_low'], 0):.1f} to {row['count_high']:.1f})"
        for row in float32.to_dict("records")
    ]
    if each:
        lines.append(f"Slingshots a run, float32: {'; '.join(each)}.")
    return lines + (_forks_answer(data.forks) if data.forks is not None else [])


def _forks_answer(forks: pd.DataFrame) -> list[str]:
    if forks.empty:
        return ["No parent slingshot before it had generalized: the forks say nothing."]
    lines = []
    for arm in ordered_values(forks["arm"]):
        part = forks[forks["arm"] == arm]
        there = fraction_text(int(part["time"].notna().sum()), len(part))
        steps = time_text(*median_time(part["time"].to_numpy()), part["steps"].max())
        again = int((part["slingshots"] > 0).sum())
        lines.append(
            f"Forks, {FORKS.get(arm, arm)}: {again} of {len(part)} slingshot; {there} generalize, {steps} steps on."
        )
    whole = forks.pivot(index="parent", columns="arm", values="time").fillna(np.inf)
    for arm in [arm for arm in whole.columns if arm != "unchanged" and "unchanged" in whole.columns]:
        sooner, later = (whole["unchanged"] < whole[arm]).sum(), (whole["unchanged"] > whole[arm]).sum()
        p = binomtest(int(sooner), int(sooner + later)).pvalue if sooner + later else 1.0
        lines.append(
            f"Of {len(whole)} parents, {sooner} generalize sooner with their slingshots than as {FORKS.get(arm, arm)}, "
            f"{later} later (sign test p = {p:.2g})."
        )
    return lines


def table(data: CauseData) -> pd.DataFrame:
    """Rows of two kinds: cell and fork (see `CauseData`)."""
    rows = [data.cells.assign(row="cell")]
    if data.forks is not None:
        rows.append(data.forks.assign(row="fork"))
    frame = pd.concat(rows, ignore_index=True)
    return frame[["row", *frame.columns.drop("row")]]


def figure(data: CauseData) -> Figure:
    """A panel a b2: share of runs with slingshots against eps; and, of forks, who has generalized by when."""
    values = ordered_values(data.cells["optimizer.b2"])
    with paper():
        picture, grid = panels(len(values) + (data.forks is not None and len(data.forks) > 0))
        for place, b2 in enumerate(values):
            axes = grid[0, place]
            part = data.cells[data.cells["optimizer.b2"] == b2]
            part = part.assign(order=part["treatment"].map(TREATMENTS.index)).sort_values(["order", "optimizer.eps"])
            draw_cells(axes, part, "optimizer.eps", ("share", "share_low", "share_high"), "treatment")
            axes.set_ylim(-0.04, 1.04)
            axes.set_title(f"b2 {value_text(b2)}", loc="right")
            if place == 0:
                axes.set_ylabel("share of runs with slingshots")
        handles, labels = _largest_legend(grid[0, : len(values)])
        grid[0, 0].legend(handles, labels, loc="center left", fontsize=6.5)
        if data.forks is not None and len(data.forks):
            _draw_forks(grid[0, -1], data.forks)
        note(picture, "Bars: 95 % Wilson intervals over seeds (and, in the answer, b2).")
    return picture


def _largest_legend(row: np.ndarray) -> tuple[list, list]:
    """Of the panels with the most entries: float64 is in one of them only."""
    return max((axes.get_legend_handles_labels() for axes in row), key=lambda both: len(both[1]))


def _draw_forks(axes: Axes, forks: pd.DataFrame) -> None:
    last = float(forks["steps"].max())
    for place, arm in enumerate(ordered_values(forks["arm"])):
        times = np.sort(forks.loc[forks["arm"] == arm, "time"].fillna(np.inf).to_numpy())
        reached = times[np.isfinite(times)]
        at = np.concatenate([[0], reached, [last]])
        share = np.concatenate([[0], np.arange(1, len(reached) + 1), [len(reached)]]) / len(times)
        axes.step(at, share, where="post", color=PALETTE[place], label=FORKS.get(arm, arm), linewidth=1.1)
    axes.set_xlim(0, last)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("steps after the fork")
    axes.set_ylabel("share that has generalized")
    axes.locator_params(axis="x", nbins=4)
    legend(axes, "forked before the first slingshot", columns=2)
