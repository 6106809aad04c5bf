"""Delay and outcome against the share of data trained on, from a fresh start and from a generalized network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import cells, groups, interval_of_mean, median_time, rows, time_text
from grokjax.analysis.censored import wilson
from grokjax.figures.questions.panels import (
    draw_cells,
    ended_runs,
    forked_from,
    legend,
    note,
    panels,
    plain_times,
    unended,
)
from grokjax.figures.style import GREY, PALETTE, number_text, paper
from grokjax.results.read import Results

FRACTION = "task.train_fraction"
FRESH, FORKED = "fresh start", "generalized network"
HALF = 0.5  # of the test set: a curve of final accuracies crosses it at the critical fraction
BETWEEN = (0.1, 0.9)  # final test accuracies that are neither memorization's nor generalization's (semi-grokking)


@dataclass(frozen=True)
class FractionData:
    """runs: one row a run that ended: start (FRESH or FORKED), parent (seed, or run forked from), train_fraction, fit,
    delay (steps; nan: never), accuracy (of the test set, at the end). cells: by start and train_fraction: those of
    `grokjax.analysis.answers.cells`, median delay of those that fit with its interval, mean accuracy with its interval,
    between (runs that end between). critical: by start and parent the fraction at which the accuracy crosses HALF."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    critical: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results, ungrokking: Results | None = None) -> FractionData:
    """ungrokking: results of the second stage. Raises ValueError where no run has ended, or these are no forks."""
    stages = [(FRESH, results)] + ([(FORKED, ungrokking)] if ungrokking is not None else [])
    frames, found, notes = [], [], []
    for start, stage in stages:
        runs = stage.runs()
        notes += unended(runs)
        ended = ended_runs(runs).assign(start=start)
        ended = ended.assign(train_fraction=ended[FRACTION].astype(float))
        found.append(cells(ended, ["start", "train_fraction"]))
        frames.append(_frame(ended))
    frame = pd.concat(frames, ignore_index=True)
    both = pd.concat(found, ignore_index=True)
    measures = [_measures(frame, row["start"], row["train_fraction"]) for row in rows(both)]
    both = pd.concat([both.rename(columns={"fit": "fits"}).drop(columns="accuracy"), pd.DataFrame(measures)], axis=1)
    critical = [
        (start, parent, crossing(part["train_fraction"].to_numpy(), part["accuracy"].to_numpy()))
        for (start, parent), part in groups(frame, ["start", "parent"])
    ]
    return FractionData(frame, both, pd.DataFrame(critical, columns=["start", "parent", "fraction"]), tuple(notes))


def _frame(ended: pd.DataFrame) -> pd.DataFrame:
    parents = forked_from(ended) if (ended["start"] == FORKED).any() else ended["seed"].map(str)
    return pd.DataFrame(
        {
            "start": ended["start"],
            "parent": parents,
            "train_fraction": ended["train_fraction"],
            "fit": ended["fit_step"].astype(float),
            "delay": ended["delay"].astype(float),
            "accuracy": ended["final/test/accuracy"].astype(float),
        }
    )


def _measures(frame: pd.DataFrame, start: str, fraction: float) -> dict[str, float]:
    own = frame[(frame["start"] == start) & (frame["train_fraction"] == fraction)]
    fitted = own[own["fit"].notna()]
    delay = median_time(fitted["delay"]) if len(fitted) else (np.nan,) * 3
    accuracy = interval_of_mean(own["accuracy"].to_numpy(np.float64))
    return {
        **dict(zip(("delay", "delay_low", "delay_high"), delay, strict=True)),
        **dict(zip(("accuracy", "accuracy_low", "accuracy_high"), accuracy, strict=True)),
        "between": int(own["accuracy"].between(*BETWEEN, inclusive="neither").sum()),
    }


def crossing(fractions: np.ndarray, accuracy: np.ndarray, level: float = HALF) -> float:
    """The fraction from which on the accuracy is over `level`, on the line between the two fractions around it.

    nan where the largest fraction ends below it; the smallest fraction where all are above (it lies there or below).
    """
    order = np.argsort(fractions)
    x, y = fractions[order], accuracy[order]
    below = np.flatnonzero(~(y >= level))
    if not len(below):
        return float(x[0])
    last = int(below[-1])
    if last == len(x) - 1:
        return np.nan
    return float(x[last] + (level - y[last]) / (y[last + 1] - y[last]) * (x[last + 1] - x[last]))


def answer(data: FractionData) -> list[str]:
    lines = list(data.notes)
    for start, part in data.cells.groupby("start", sort=False):
        if start == FRESH:
            lines.append(_delay_line(part))
        lines += [_accuracy_line(str(start), part), _critical_line(data, str(start))]
    if data.cells["start"].nunique() > 1:
        lines.append(_both(data))
    return lines


def _delay_line(part: pd.DataFrame) -> str:
    each = []
    for row in rows(part):
        delay = (
            "no fit"
            if np.isnan(row["delay"])
            else time_text(row["delay"], row["delay_low"], row["delay_high"], row["steps"])
        )
        each.append(f"{number_text(row['train_fraction'])}: {delay}, {_fraction(row)}")
    none = part[part["generalized"] == 0]["train_fraction"]
    some = part[part["generalized"] > 0]["train_fraction"]
    found = (
        f"the smallest share at which a run generalizes is {number_text(some.min())}"
        if len(some)
        else "no run generalizes"
    )
    most = f", the largest at which none does {number_text(none.max())}" if len(none) and len(some) else ""
    return (
        f"{FRESH}, by share of data (median delay, runs that generalize): {'; '.join(each)}. Within these steps "
        f"{found}{most}."
    )


def _fraction(row: dict) -> str:
    low, high = wilson(row["generalized"], row["runs"])
    return f"{row['generalized']} of {row['runs']} ({100 * low:.0f} to {100 * high:.0f} %)"


def _accuracy_line(start: str, part: pd.DataFrame) -> str:
    each = [f"{number_text(row['train_fraction'])}: {_share_text(row)}" for row in rows(part)]
    low, high = BETWEEN
    ends = f"{int(part['between'].sum())} of {int(part['runs'].sum())} runs end between {low} and {high}"
    return f"{start}: test accuracy at the end (mean over runs): {'; '.join(each)}; {ends}."


def _share_text(row: dict) -> str:
    """An interval of a share ends at 0 and 1."""
    mean, low, high = (row[name] for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return f"{mean:.2f}" if np.isnan(low) else f"{mean:.2f} ({max(low, 0):.2f} to {min(high, 1):.2f})"


def _critical(data: FractionData, start: str) -> tuple[np.ndarray, tuple[float, float, float]]:
    values = data.critical[data.critical["start"] == start]["fraction"].to_numpy(np.float64)
    return values, median_time(values)


def _critical_line(data: FractionData, start: str) -> str:
    values, (median, low, high) = _critical(data, start)
    tried = data.cells[data.cells["start"] == start]["train_fraction"]
    what = f"{start}: critical fraction (where the test accuracy at the end crosses {HALF})"
    if np.isinf(median):
        beyond = f"{int(np.isnan(values).sum())} of {len(values)}"
        return f"{what}: over {number_text(tried.max())}, the largest tried, for {beyond}."
    text = f"{median:.2f} ({low:.2f} to {f'{high:.2f}' if np.isfinite(high) else f'over {number_text(tried.max())}'})"
    line = f"{what}, median over {len(values)}: {text}."
    above = int((values == tried.min()).sum())
    if above:
        line += f" Warning: {above} do not fall below it at {number_text(tried.min())}, the smallest tried."
    return line


def _both(data: FractionData) -> str:
    """Whether what does not come from a fresh start is lost by a network that has it."""
    (_, fresh), (_, forked) = _critical(data, FRESH), _critical(data, FORKED)
    if not (np.isfinite(fresh[0]) and np.isfinite(forked[0])):
        return "Both critical fractions are not known, so they cannot be compared."
    if forked[2] < fresh[1]:
        return (
            "A generalized network keeps what it can do at shares of data at which a fresh start does not come to it "
            "in these steps: between the two, memorizing or generalizing is a matter of the start, or of time."
        )
    if fresh[2] < forked[1]:
        return "A generalized network forgets at shares of data at which a fresh start generalizes."
    return "The two critical fractions are not told apart: their intervals meet."


def table(data: FractionData) -> pd.DataFrame:
    """Rows of two kinds: cell and critical (see `FractionData`)."""
    frame = pd.concat([data.cells.assign(row="cell"), data.critical.assign(row="critical")], ignore_index=True)
    return frame[["row", *frame.columns.drop("row")]]


def figure(data: FractionData) -> Figure:
    """Who generalizes, the delay, and the test accuracy at the end, of both starts, against the share of data."""
    fresh = data.cells[data.cells["start"] == FRESH]
    with paper():
        picture, grid = panels(3)
        draw_cells(grid[0, 0], fresh, "train_fraction", ("fraction", "low", "high"))
        grid[0, 0].set_ylim(-0.04, 1.04)
        grid[0, 0].set_ylabel("fraction generalized")
        draw_cells(grid[0, 1], fresh.dropna(subset=["delay"]), "train_fraction", ("delay", "delay_low", "delay_high"))
        plain_times(grid[0, 1], "steps from fit to generalization")
        _draw_accuracy(grid[0, 2], data)
        note(
            picture,
            "Fractions: 95 % Wilson intervals. Delays: medians over seeds, and the interval of the sign test; "
            "triangles: over half of the runs did not generalize. Accuracies: means with 95 % intervals; pale: each.",
        )
    return picture


def _draw_accuracy(axes: Axes, data: FractionData) -> None:
    starts = list(dict.fromkeys(data.runs["start"]))
    for (start, _), part in groups(data.runs, ["start", "parent"]):
        part = part.sort_values("train_fraction")
        color = PALETTE[starts.index(start)]
        axes.plot(part["train_fraction"], part["accuracy"], color=color, linewidth=0.4, alpha=0.35)
    drawn = data.cells.assign(**{name: data.cells[name].clip(0, 1) for name in ("accuracy_low", "accuracy_high")})
    draw_cells(axes, drawn, "train_fraction", ("accuracy", "accuracy_low", "accuracy_high"), "start")
    axes.axhline(HALF, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("test accuracy (end)")
    if len(starts) > 1:
        legend(axes, columns=2)
