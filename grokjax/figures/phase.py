"""When runs fit and when they generalize, over two axes, as heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from grokjax.analysis.cells import ended_runs, is_number, ordered_values, plain_value, runs_of, varied_keys
from grokjax.analysis.censored import median_time
from grokjax.analysis.keys import short_key
from grokjax.figures.cells import draw_heat_map, explain_marked, inches, side_by_side
from grokjax.figures.groups import check_key, pooled_axes, value_texts, varied_arm
from grokjax.figures.style import (
    SEQUENTIAL,
    log_norm,
    number_text,
    paper,
    picture_width,
    span_text,
    steps_text,
    value_text,
)
from grokjax.results.read import Results

PANELS = {"fit": "fit_step", "generalization": "generalization_step"}
MOST_VALUES = 16  # of an axis of numbers; more are put into bins
BINS = 10


@dataclass(frozen=True)
class PhaseData:
    """Cells: one row a panel and pair of values: panel, x, y (labels), median, reached, runs, marked."""

    arm: str
    x: str
    y: str | None
    x_values: tuple[str, ...]
    y_values: tuple[str, ...]
    cells: pd.DataFrame
    pooled: tuple[str, ...]
    unended: int  # runs left out since they go on


def data(results: Results, x: str | None = None, y: str | None = None, arm: str | None = None) -> PhaseData:
    """Median step of fit and of generalization over two axes, as heat maps.

    Of the runs that ended. A run that never got there counts as later than any other. A cell is marked where fewer than
    half of its runs got there; it has no median then. Raises ValueError without axes or without ended runs.

    x: key across; default: the arm's first axis other than seeds
    y: key upwards; default: the second
    arm: which arm; default: the first that varies more than seeds
    Example: grokjax figure phase runs/phase --x init.scale
    """
    arm = varied_arm(results, arm)
    runs = runs_of(results.runs(), arm)
    x, y = _keys(results, runs, arm, x, y)
    x_of, x_values = axis_labels(runs[x], value_texts(results, runs, x))
    y_of, y_values = axis_labels(runs[y], value_texts(results, runs, y)) if y else ([""] * len(runs), [""])
    ended = ended_runs(runs.assign(_x=x_of, _y=y_of))
    if ended.empty:
        raise ValueError(f"nothing to draw: no run of arm {arm} in {results.path} has ended yet")
    rows = []
    for labels, cell in ended.groupby(["_x", "_y"], sort=False):
        for panel, column in PANELS.items():
            rows.append((panel, *labels, *_cell(cell[column].to_numpy(np.float64))))
    cells = pd.DataFrame(rows, columns=["panel", "x", "y", "median", "reached", "runs", "marked"])
    pooled = pooled_axes(results, runs, arm, x, y)
    return PhaseData(arm, x, y, tuple(x_values), tuple(y_values), cells, pooled, len(runs) - len(ended))


def _cell(steps: np.ndarray) -> tuple[float, int, int, bool]:
    """median, reached, runs, marked: whether fewer than half of the runs got there."""
    reached = int((~np.isnan(steps)).sum())
    median = median_time(steps)[0]
    marked = bool(np.isinf(median))
    return math.nan if marked else median, reached, len(steps), marked


def _keys(results: Results, runs: pd.DataFrame, arm: str, x: str | None, y: str | None) -> tuple[str, str | None]:
    """The two keys: as asked for, else axes of the arm; one that moves along with the other is not taken."""
    x, y = (key and check_key(results, key) for key in (x, y))
    if x is not None and x == y:
        raise ValueError(f"x and y are both {x}")
    varied = [key for key in varied_keys(results, arm) if key not in (x, y)]
    if x is None:
        if not varied:
            raise ValueError(f"arm {arm} varies nothing but seeds: name a key with x=, such as x='seed'")
        x = varied.pop(0)
    return x, y or next((key for key in varied if not together(runs, x, key)), None)


def together(runs: pd.DataFrame, x: str, y: str) -> bool:
    """Whether one value of y belongs to one of x, as in a zip."""
    pairs = {(plain_value(a), plain_value(b)) for a, b in zip(runs[x], runs[y], strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def axis_labels(column: pd.Series, texts: dict[Any, str] | None = None) -> tuple[list[str], list[str]]:
    """Each run's label on an axis, and all labels in order. Many numbers are put into bins, null is its own.

    column: the values, named by their key. texts: their texts in order (see `value_texts`), where those of `value_text`
    do not do.
    """
    if texts is None:
        texts = {value: value_text(value, str(column.name)) for value in ordered_values(column)}
    numbers = [float(value) for value in texts if is_number(value)]
    plain = [plain_value(value) for value in column]
    if len(numbers) <= MOST_VALUES or any(not is_number(value) for value in texts if value is not None):
        return [texts[value] for value in plain], list(dict.fromkeys(texts.values()))
    log = numbers[0] > 0 and numbers[-1] > 20 * numbers[0]
    space = np.geomspace if log else np.linspace
    edges = space(numbers[0], numbers[-1], BINS + 1)
    labels = [f"{number_text(float(f'{a:.2g}'))}–{number_text(float(f'{b:.2g}'))}" for a, b in pairwise(edges)]
    known = np.array([value for value in plain if value is not None], float)
    bins = iter(np.clip(np.searchsorted(edges, known, side="right") - 1, 0, BINS - 1))
    of_runs = [texts[None] if value is None else labels[next(bins)] for value in plain]
    order = [texts[None] if value is None else "" for value in texts]  # null is first or last of them
    return of_runs, [*filter(None, order[:1]), *labels, *filter(None, order[-1:])]


def table(data: PhaseData) -> pd.DataFrame:
    """One row a panel (fit, generalization) and cell: arm, the two keys' values (as labels), median step (none where
    fewer than half of the runs got there), reached, runs, marked."""
    cells = data.cells.rename(columns={"x": data.x, "y": data.y or "y", "panel": "event"})
    return cells.assign(arm=data.arm)[["arm", *cells.columns]].drop(columns=[] if data.y else ["y"])


@paper()
def figure(data: PhaseData) -> Figure:
    """Fit at the left, generalization at the right, on one color scale."""
    columns, across = side_by_side(len(PANELS), 1, data.x_values, data.y_values)
    rows = len(PANELS) // columns
    height = rows * (inches(len(data.y_values)) + 0.55) + 0.9
    picture = Figure(figsize=(picture_width(), height), layout="constrained")
    panels = picture.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    shown = data.cells["median"].clip(lower=1.0)  # step 0 counts as 1
    norm = log_norm(shown)
    cells = data.cells.assign(shown=shown, text=[_text(cell) for cell in data.cells.to_dict("records")])
    for axes, panel in zip(panels, PANELS, strict=True):
        draw_heat_map(axes, cells[cells["panel"] == panel], data.x_values, data.y_values, norm, across)
        axes.set_title(f"step of {panel}")
        axes.set_xlabel(short_key(data.x))
    for axes in panels[::columns]:
        axes.set_ylabel(short_key(data.y) if data.y else "")
    ticks, texts = LogLocator(10, (1, 2, 5)), FuncFormatter(lambda value, _: steps_text(value))
    mappable = ScalarMappable(norm, SEQUENTIAL)
    bar = picture.colorbar(mappable, ax=list(panels), label="step", ticks=ticks, format=texts, pad=0.02, aspect=15)
    bar.minorticks_off()
    picture.suptitle(_title(data), fontsize=7.5)
    explain_marked(picture, cells, "fewer than half of the runs got there (how many / runs)")
    return picture


def _text(cell: Mapping[Any, Any]) -> str:
    share = f"{cell['reached']}/{cell['runs']}"
    if cell["marked"]:
        return share
    return steps_text(cell["median"]) + (f"\n{share}" if cell["reached"] < cell["runs"] else "")


def _title(data: PhaseData) -> str:
    most, least = data.cells["runs"].max(), data.cells["runs"].min()
    text = "" if data.arm == "main" else f"arm {data.arm}: "
    text += f"median over {span_text(least, most)} run{'' if most == 1 else 's'} a cell"
    if data.pooled:
        text += f" ({', '.join(map(short_key, data.pooled))})"
    if data.unended:
        text += f"; {data.unended} runs have not ended"
    return text
