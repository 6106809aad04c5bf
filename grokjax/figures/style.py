"""How every picture looks: sizes, colors, words, axes of steps, and how it is written."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from grokjax.analysis.cells import is_missing
from grokjax.results.files import write_view
from grokjax.spec.nulls import null_of

if TYPE_CHECKING:
    from grokjax.figures.null_place import NullPlace

WIDTH = 7.0  # inches: both columns of a paper
COLUMN = 3.3  # one of them
DPI = 200
# Okabe and Ito's colors, which color-blind readers tell apart, without the yellow that white paper swallows.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
SEQUENTIAL = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, 256)), "grokjax")
GREY = "#8C8C8C"
BLUE, ORANGE, GREEN = PALETTE[:3]
PALE = "#9CC3E0"  # blue, for what lies behind it
TICK_ROOM = 38  # characters along an axis half a page wide
# Sections of a key that a reader does not need: lr is the optimizer's.
PLAIN_SECTIONS = ("optimizer", "task", "model", "train")
# Matplotlib's settings while a picture is drawn or written, as a context or a decorator; restored afterwards.
paper = partial(matplotlib.rc_context, fname=Path(__file__).parent / "paper.mplstyle")


def write(figure: Figure, stem: Path) -> list[Path]:
    """Write STEM.png and STEM.svg (equal pictures give equal files)."""
    png, svg = _path(stem, "png"), _path(stem, "svg")
    with paper():
        write_view(png, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI))
        write_view(svg, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))
    return [png, svg]


def write_table(table: pd.DataFrame, stem: Path) -> Path:
    """Write the numbers behind a picture as STEM.csv; every number reads back as it was."""
    path = _path(stem, "csv")
    write_view(path, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))
    return path


def _path(stem: Path, ending: str) -> Path:
    stem = stem.with_suffix("") if stem.suffix in (".png", ".svg", ".csv") else stem
    return stem.with_name(f"{stem.name}.{ending}")


def short_key(key: str) -> str:
    """`optimizer.weight_decay` as weight_decay; keys that need their section keep it (`init.scale`)."""
    section, _, rest = key.partition(".")
    return rest if section in PLAIN_SECTIONS and rest not in ("", "name") else key


def value_text(value: Any, key: str = "", null_number: float | None = None) -> str:
    """An axis value in a legend: 1e-8, 0.3, 113, float32; of a path its last part; of null what it means at its key
    (`full batch`), else none.

    null_number: what null comes to in the runs that are told (the examples of a full batch): `full batch (288)`.
    """
    if is_missing(value):
        null = null_of(key)
        word = null.text if null else "none"
        return word if null_number is None else f"{word} ({number_text(null_number)})"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.number):
        return number_text(float(value))
    if isinstance(value, list | tuple):
        return "-".join(value_text(part) for part in value)
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)


def number_text(value: float) -> str:
    """Up to four digits, exponents without padding."""
    if value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    mantissa, exponent, power = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa


def steps_text(value: float) -> str:
    """A number of steps in few characters: 950, 2000, 12.5k, 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) >= 1e4:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def span_text(least: Any, most: Any) -> str:
    """`3–5`, or `3` where both are equal."""
    return str(least) if least == most else f"{least}–{most}"


def log_norm(values: ArrayLike) -> LogNorm:
    """A logarithmic scale of colors over the positive, finite values."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return LogNorm(1.0, 10.0)
    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)


def group_colors(numeric: bool, count: int) -> list[Any]:
    """One color a value: along a scale for numbers, else as different as can be."""
    if count == 1:
        return [PALETTE[0]]
    if numeric or count > len(PALETTE):
        return [SEQUENTIAL(index / (count - 1)) for index in range(count)]
    return list(PALETTE[:count])


def first_step(steps: ArrayLike) -> int:
    """The smallest step after 0, from where an axis of steps is logarithmic."""
    later = np.asarray(steps)
    later = later[later > 0]
    return int(later.min()) if len(later) else 1


def log_steps(axes: Axes, steps: ArrayLike) -> None:
    """A logarithmic axis of steps that has room for step 0: linear below the first step after it."""
    first, last = first_step(steps), int(np.max(steps))
    axes.set_xscale("symlog", linthresh=first, linscale=0.4, subs=range(2, 10))
    axes.set_xlim(0, max(last, first + 1))
    decades = [10.0**k for k in range(12) if first <= 10**k <= last]
    axes.set_xticks([0, *decades], ["0", *(f"$10^{{{round(math.log10(decade))}}}$" for decade in decades)])


def log_steps_label(steps: ArrayLike) -> str:
    first = first_step(steps)
    return f"step (log, linear below {first})" if first > 1 else "step (log)"


def plain_steps(axes: Axes, last: int) -> None:
    axes.set_xlim(0, max(last, 1))
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))


def value_ticks(axes: Axes, values: ArrayLike, null: NullPlace | None = None) -> None:
    """Names the values themselves on an x axis, where their names have room; else ticks of a scale. null: where null
    lies besides."""
    numbers = np.unique(np.asarray(values, float))
    named = {float(value): value_text(float(value)) for value in numbers}
    others = {null.x: null.tick} if null else {}
    is_log = axes.get_xscale() == "log"
    if not _have_room(named | others, is_log):
        named = _ends(numbers) if null else {}
    if named:
        ticks = named | others
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.xaxis.set_minor_locator(NullLocator())
    if null:
        null.mark(axes)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _ends(numbers: np.ndarray) -> dict[float, str]:
    """The least and the largest of many numbers."""
    return {float(value): value_text(float(value)) for value in (numbers[0], numbers[-1])}


def _have_room(ticks: dict[float, str], is_log: bool) -> bool:
    """Whether names of ticks do not touch on an axis half a page wide."""
    places = np.array(sorted(ticks))
    if len(places) < 2:
        return True
    widths = np.array([max(map(len, ticks[place].split("\n"))) for place in places])
    scaled = np.log10(places) if is_log else places
    rooms = TICK_ROOM * np.diff(scaled) / np.ptp(scaled)
    return bool(np.all(rooms > (widths[1:] + widths[:-1]) / 2 + 1))
