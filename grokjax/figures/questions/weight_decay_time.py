"""Is the delay proportional to 1 / weight decay, and where does that end?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import cells, edges, fraction_text, groups, median_time, ranking, rows, time_text
from grokjax.analysis.censored import fit_censored
from grokjax.figures.questions.panels import (
    draw_cells,
    edge_warnings,
    ended_runs,
    legend,
    mean_text,
    note,
    panels,
    plain_times,
    unended,
)
from grokjax.figures.style import GREY, number_text, paper
from grokjax.results.read import Results

DECAY, LR = "optimizer.weight_decay", "optimizer.lr"
SETTING = ["lr", "weight_decay"]
NEIGHBOURS = 1  # on each side of a weight decay, over which its local exponent is fitted
EXPONENT = ["exponent", "exponent_low", "exponent_high"]
DELAY = ["delay", "delay_low", "delay_high"]


@dataclass(frozen=True)
class DecayData:
    """runs: one row a run that ended: lr, weight_decay, seed, fit (step, nan: never), delay (steps; of one that never
    generalizes its last step less its fit step), generalized. cells: by lr and weight_decay: those of
    `grokjax.analysis.answers.cells`, median delay with its interval (inf: over half that fit never generalize), the
    share that fit with its interval, and the local exponent b of delay ~ weight_decay^b with its interval, fitted
    over this and the next values, censored times as such (nan: cannot be told). whole: by lr the exponent over all."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    whole: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> DecayData:
    """Raises ValueError where no run has ended."""
    runs = results.runs()
    ended = ended_runs(runs)
    fit, delay = ended["fit_step"].astype(float), ended["delay"].astype(float)
    last = ended["run_id"].map({run_id: end["step"] for run_id, end in results.ends.items()})
    ended = ended.assign(
        lr=ended[LR].astype(float),
        weight_decay=ended[DECAY].astype(float),
        fit=fit,
        generalized=delay.notna(),
        delay=delay.fillna(last - fit),
    )
    frame = ended[["run_id", *SETTING, "seed", "fit", "generalized", "delay"]].reset_index(drop=True)
    found = cells(ended, SETTING)
    of_cell = frame.groupby(SETTING)
    delays = [_delays(of_cell.get_group((row["lr"], row["weight_decay"]))) for row in rows(found)]
    found = pd.concat([found.rename(columns={"fit": "fits"}), pd.DataFrame(delays)], axis=1)
    found[EXPONENT] = [_local(frame, row["lr"], row["weight_decay"]) for row in rows(found)]
    whole = [(lr, *_exponent(part)) for lr, part in frame.groupby("lr")]
    return DecayData(frame, found, pd.DataFrame(whole, columns=["lr", *EXPONENT]), tuple(unended(runs)))


def _delays(runs: pd.DataFrame) -> dict[str, float]:
    """Of a cell: the median delay of the runs that fit (nan where none does)."""
    fitted = runs[runs["fit"].notna()]
    times = fitted["delay"].where(fitted["generalized"])
    return dict(zip(DELAY, median_time(times) if len(times) else (np.nan,) * 3, strict=True))


def _local(runs: pd.DataFrame, lr: float, weight_decay: float) -> tuple[float, float, float]:
    own = runs[runs["lr"] == lr]
    values = sorted(own["weight_decay"].unique())
    place = values.index(weight_decay)
    near = values[max(place - NEIGHBOURS, 0) : place + NEIGHBOURS + 1]
    return _exponent(own[own["weight_decay"].isin(near)])


def _exponent(runs: pd.DataFrame) -> tuple[float, float, float]:
    """b of delay ~ weight_decay^b with its 95 % interval; nan where it cannot be told. Runs that do not fit, or that
    generalize no later than they fit, have no place on a logarithmic axis."""
    part = runs[(runs["delay"] > 0) & (runs["weight_decay"] > 0)]
    try:
        found = fit_censored(part["weight_decay"], part["delay"], part["generalized"])
    except ValueError:  # too few events
        return np.nan, np.nan, np.nan
    return found.slope, found.low, found.high


def answer(data: DecayData) -> list[str]:
    lines = list(data.notes)
    for lr, part in groups(data.cells, "lr", sort=True):
        name = f"lr {number_text(float(lr))}"
        lines += [_delay_line(name, part), _exponent_line(name, part, data.whole[data.whole["lr"] == lr])]
        lines += _ends(name, part)
        best = ranking(part[part["generalized"] > 0])
        if len(best):
            lines += edge_warnings(
                edges(part, best.index[0], ["weight_decay"]), f"{name}, where most generalize, soonest"
            )
    return lines + _collapse(data.cells)


def _delay_line(name: str, part: pd.DataFrame) -> str:
    each = [
        f"{number_text(row['weight_decay'])}: {_delay_text(row)}, {row['generalized']} of {row['runs']}"
        for row in rows(part)
    ]
    return f"{name}, by weight decay (median delay, runs that generalize): {'; '.join(each)}."


def _delay_text(row: dict[str, Any]) -> str:
    median, low, high = (row[name] for name in DELAY)
    return "no fit" if np.isnan(median) else time_text(median, low, high, row["steps"])


def _exponent_line(name: str, part: pd.DataFrame, whole: pd.DataFrame) -> str:
    each = [
        f"{number_text(row['weight_decay'])}: {mean_text(*(row[key] for key in EXPONENT))}"
        for row in rows(part.dropna(subset=EXPONENT))
    ]
    over_all = mean_text(*whole[EXPONENT].iloc[0]) if len(whole) else "none"
    local = f"; of a value and its neighbours: {'; '.join(each)}" if each else ""
    return f"{name}: exponent of weight decay (1/weight decay is -1), over all values: {over_all}{local}."


def proportional(part: pd.DataFrame) -> tuple[float, float] | None:
    """The longest range of weight decays at which the interval of the local exponent holds -1 and not 0 (with few
    runs it holds everything); None: nowhere."""
    holds = (part["exponent_low"] <= -1) & (part["exponent_high"] >= -1) & (part["exponent_high"] < 0)
    values, best, begun = part["weight_decay"].tolist(), None, None
    for place, there in enumerate(holds):
        begun = (place if begun is None else begun) if there else None
        if begun is not None and (best is None or place - begun > best[1] - best[0]):
            best = (begun, place)
    return None if best is None else (values[best[0]], values[best[1]])


def _ends(name: str, part: pd.DataFrame) -> list[str]:
    """Where the law holds, and where generalization and fit end."""
    found = proportional(part)
    between = "nowhere" if found is None else " to ".join(number_text(value) for value in dict.fromkeys(found))
    lines = [f"{name}: the local exponent's interval holds -1, and not 0, at weight decay: {between}."]
    for word, count in (("generalize", "generalized"), ("fit", "fits")):
        most = part[part[count] * 2 >= part["runs"]]["weight_decay"]
        if most.empty:
            lines.append(f"{name}: at no weight decay do half of the runs {word}.")
            continue
        beyond = part[part["weight_decay"] > most.max()]
        if len(beyond):
            row = beyond.iloc[0]
            lines.append(
                f"{name}: {number_text(most.max())} is the largest weight decay at which half of the runs {word}; at "
                f"{number_text(row['weight_decay'])}: {fraction_text(int(row[count]), int(row['runs']))}."
            )
    return lines


def _collapse(found: pd.DataFrame) -> list[str]:
    """Median delays at equal lr x weight decay, of the smallest and the largest lr."""
    lrs = sorted(found["lr"].unique())
    if len(lrs) < 2:
        return []
    keyed = found.assign(
        product=[float(f"{lr * wd:.6g}") for lr, wd in zip(found["lr"], found["weight_decay"], strict=True)]
    )
    slow, fast = (keyed[keyed["lr"] == lr].set_index("product")["delay"] for lr in (lrs[0], lrs[-1]))
    both = pd.concat([slow, fast], axis=1, keys=["slow", "fast"]).dropna()
    both = both[np.isfinite(both).all(axis=1)]
    if both.empty:
        return [f"No lr x weight decay has a median delay at both lr {number_text(lrs[0])} and {number_text(lrs[-1])}."]
    each = [
        f"{number_text(float(at))}: {row.slow / row.fast:.2g}"
        for at, row in zip(both.index, both.itertuples(), strict=True)
    ]  # pyright: ignore
    return [
        f"At equal lr x weight decay, the median delay with lr {number_text(lrs[0])} over that with lr "
        f"{number_text(lrs[-1])} (1, if only the product mattered): {'; '.join(each)}."
    ]


def table(data: DecayData) -> pd.DataFrame:
    """One row a learning rate and weight decay, as in `DecayData.cells`."""
    return data.cells


def figure(data: DecayData) -> Figure:
    """Delay against weight decay, and against lr x weight decay; the local exponent; who fits and who generalizes."""
    found = data.cells.assign(product=data.cells["lr"] * data.cells["weight_decay"])
    with paper():
        picture, grid = panels(2, 2)
        for axes, x, label in ((grid[0, 0], "weight_decay", None), (grid[0, 1], "product", "lr × weight_decay")):
            draw_cells(axes, found.dropna(subset=["delay"]), x, ("delay", "delay_low", "delay_high"), "lr", label)
            plain_times(axes, "steps from fit to generalization")
        _guide(grid[0, 0], found)
        legend(grid[0, 0], "lr")
        _draw_exponents(grid[1, 0], found.dropna(subset=EXPONENT))
        draw_cells(grid[1, 1], found, "weight_decay", ("fraction", "low", "high"), "lr")
        grid[1, 1].set_ylim(-0.04, 1.04)
        grid[1, 1].set_ylabel("fraction generalized")
        note(
            picture,
            "Medians over seeds, and the interval of the sign test; triangles: over half of the runs did not "
            "generalize. Dotted: 1 / weight decay. Fractions: 95 % Wilson intervals.",
        )
    return picture


def _draw_exponents(axes: Axes, found: pd.DataFrame) -> None:
    if len(found):
        draw_cells(axes, found, "weight_decay", ("exponent", "exponent_low", "exponent_high"), "lr")
    axes.axhline(-1, color=GREY, linewidth=0.6, linestyle=":")
    axes.axhline(0, color=GREY, linewidth=0.4)
    axes.set_ylabel("local exponent of weight_decay")


def _guide(axes: Axes, found: pd.DataFrame) -> None:
    """1 / weight decay through the median delay in the middle of the slowest lr."""
    part = found[(found["lr"] == found["lr"].min()) & np.isfinite(found["delay"])]
    if len(part):
        middle, ends = part.iloc[len(part) // 2], found["weight_decay"].agg(["min", "max"])
        limits = axes.get_ylim()
        axes.plot(ends, middle["delay"] * middle["weight_decay"] / ends, ":", color=GREY, linewidth=0.8, zorder=0)
        axes.set_ylim(*limits)
