"""What makes a run slingshot, and whether a slingshot makes it generalize."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import ENDED, cells, fraction_text, groups, interval_of_mean, rows
from grokjax.analysis.censored import wilson
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import draw_cells, forked_from, note, panels, unended
from grokjax.figures.style import PALETTE, paper, value_text
from grokjax.results.read import Results

LR = "optimizer.lr"
KEYS = [LR, "treatment", "optimizer.eps", "optimizer.b2"]
TREATMENTS = ("float32", "float32 centered", "exact", "float64")
FORKS = {"unchanged": "nothing changed", "exact": "exact loss", "centered": "centered gradient"}


@dataclass(frozen=True)
class CauseData:
    """cells: one row a learning rate, treatment, eps and b2: those of `grokjax.analysis.answers.cells`, share of runs
    with slingshots and its interval share_low, share_high, count (mean slingshots a run) and its interval count_low,
    count_high. forks: None, or one row a fork: arm, parent, begun and accuracy (of the test set, at the fork and at the
    end), generalization_step and first_slingshot (after the fork), steps, slingshots (how many)."""

    cells: pd.DataFrame
    forks: pd.DataFrame | None
    notes: tuple[str, ...]


def data(results: Results, forks: Results | None = None) -> CauseData:
    """forks: results of the second stage.

    Raises ValueError where no run has ended, or the forks are not one a parent and arm.
    """
    runs = _treated(results.runs())
    found = cells(runs, KEYS)
    ended = runs[runs["status"].isin(ENDED)]
    shares, counts = [], []
    for row in rows(found):
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
    runs = forks.runs()
    runs = runs[runs["status"] == "ended"]
    parents = forked_from(runs)
    first = forks.curves("test/accuracy").sort_values("step").groupby("run_id")["test/accuracy"].first()
    events = forks.events()
    columns = {
        "arm": runs["arm"],
        "parent": parents,
        "begun": runs["run_id"].map(first),
        "accuracy": runs["final/test/accuracy"].astype(float),
        "generalization_step": runs["generalization_step"].astype(float),
        "steps": runs["train.steps"],
        "slingshots": runs["slingshots"],
        "first_slingshot": runs["run_id"].map(events[events["kind"] == "slingshot"].groupby("run_id")["step"].min()),
    }
    frame = pd.DataFrame(columns)
    for (parent, arm), own in groups(frame, ["parent", "arm"]):
        if len(own) > 1:
            raise ValueError(f"{parent} has {len(own)} forks in the arm {arm}: they are compared one an arm")
    return frame.reset_index(drop=True)


def answer(data: CauseData) -> list[str]:
    """Who slingshots, and whether the forks that do generalize sooner."""
    lines = list(data.notes)
    for (lr, treatment), part in groups(data.cells, [LR, "treatment"], sort=True):
        each = [
            f"eps {value_text(eps)} {fraction_text(int(own['slingshots'].sum()), int(own['runs'].sum()))}"
            for eps, own in part.groupby("optimizer.eps", sort=True)
        ]
        over = ", over all b2" if part["optimizer.b2"].nunique() > 1 else ""
        lines.append(f"Runs that slingshot with lr {value_text(lr)} and the {treatment} loss{over}: {'; '.join(each)}.")
    exact = data.cells[data.cells["treatment"].isin(["exact", "float64"])]
    if len(exact):
        text = fraction_text(int(exact["slingshots"].sum()), int(exact["runs"].sum()))
        lines.append(f"Slingshots that survive a loss that loses nothing: {text} of the runs.")
    float32 = data.cells[(data.cells["treatment"] == "float32") & (data.cells["slingshots"] > 0)]
    each = [
        f"lr {value_text(row[LR])} b2 {value_text(row['optimizer.b2'])} eps {value_text(row['optimizer.eps'])} "
        f"{row['count']:.1f} ({max(row['count_low'], 0):.1f} to {row['count_high']:.1f})"
        for row in rows(float32)
    ]
    if each:
        lines.append(f"Slingshots a run, float32: {'; '.join(each)}.")
    return lines + (_forks_answer(data.forks) if data.forks is not None else [])


def _forks_answer(forks: pd.DataFrame) -> list[str]:
    if forks.empty:
        return ["No fork has ended: they say nothing yet."]
    lines = []
    for arm in ordered_values(forks["arm"]):
        part = forks[forks["arm"] == arm]
        there = fraction_text(int(part["generalization_step"].notna().sum()), len(part))
        again, accuracy = int((part["slingshots"] > 0).sum()), _mean_text(part["accuracy"])
        before = f"test accuracy from {part['begun'].mean():.3f} to {accuracy}"
        first = part["first_slingshot"].median()
        when = f" (the first {first:,.0f} steps after the fork, median)" if again else ""
        lines.append(
            f"Forks, {FORKS.get(arm, arm)}: {again} of {len(part)} slingshot{when}, {part['slingshots'].mean():.1f} a "
            f"run; {before}; {there} generalize."
        )
    whole = forks.pivot(index="parent", columns="arm", values="accuracy")
    for arm in whole.columns.drop("unchanged", errors="ignore"):
        if "unchanged" in whole:
            gain = (whole["unchanged"] - whole[arm]).dropna()
            lines.append(
                f"The same parent ends with {_mean_text(gain)} more test accuracy if it may slingshot than as "
                f"{FORKS.get(arm, arm)} (mean over {len(gain)} parents, 95 % interval)."
            )
    return lines


def _mean_text(values: pd.Series) -> str:
    mean, low, high = interval_of_mean(values.to_numpy(np.float64))
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def table(data: CauseData) -> pd.DataFrame:
    """Rows of two kinds: cell and fork (see `CauseData`)."""
    rows = [data.cells.assign(row="cell")]
    if data.forks is not None:
        rows.append(data.forks.assign(row="fork"))
    frame = pd.concat(rows, ignore_index=True)
    return frame[["row", *frame.columns.drop("row")]]


def figure(data: CauseData) -> Figure:
    """A panel a b2, of the learning rate with the most cells: share of runs with slingshots against eps; and the test
    accuracy that forks end with."""
    lr = data.cells[LR].mode().iloc[0]
    drawn = data.cells[data.cells[LR] == lr]
    values = ordered_values(drawn["optimizer.b2"])
    with paper():
        picture, grid = panels(len(values) + (data.forks is not None and len(data.forks) > 0))
        for place, b2 in enumerate(values):
            axes = grid[0, place]
            part = drawn[drawn["optimizer.b2"] == b2]
            part = part.assign(order=part["treatment"].map(TREATMENTS.index)).sort_values(["order", "optimizer.eps"])
            draw_cells(axes, part, "optimizer.eps", ("share", "share_low", "share_high"), "treatment")
            axes.set_ylim(-0.04, 1.04)
            axes.set_xlabel(f"eps, with b2 {value_text(b2)}")
            if place == 0:
                axes.set_ylabel("share of runs with slingshots")
        handles, labels = _largest_legend(grid[0, : len(values)])
        picture.legend(handles, labels, title="loss", loc="outside upper left", ncols=4, alignment="left")
        if data.forks is not None and len(data.forks):
            _draw_forks(grid[0, -1], data.forks)
        note(
            picture,
            f"Learning rate {value_text(lr)}. Bars: 95 % Wilson intervals over seeds. Right: a line a parent; its "
            "forks end with these test accuracies.",
        )
    return picture


def _largest_legend(row: np.ndarray) -> tuple[list, list]:
    """Of the panels with the most entries: float64 is in one of them only."""
    return max((axes.get_legend_handles_labels() for axes in row), key=lambda both: len(both[1]))


def _draw_forks(axes: Axes, forks: pd.DataFrame) -> None:
    """A line a parent: the test accuracy at the fork, and that its forks end with."""
    arms = [arm for arm in FORKS if arm in set(forks["arm"])]
    for _, own in forks.groupby("parent"):
        ends = own.set_index("arm")["accuracy"].reindex(arms)
        values = [own["begun"].iloc[0], *ends]
        axes.plot(range(len(values)), values, "o-", color=PALETTE[0], markersize=2.5, linewidth=0.6, alpha=0.7)
    axes.set_xticks(range(len(arms) + 1), ["at the\nfork", *(FORKS[arm].replace(" ", "\n") for arm in arms)])
    axes.set_ylabel("test accuracy (end)")
