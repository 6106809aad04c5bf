"""How every picture looks: sizes, colors, words, axes of steps, and how it is written."""

from __future__ import annotations

import math
import mimetypes
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from grokjax.analysis.cells import is_missing
from grokjax.results.files import write_view
from grokjax.spec.nulls import null_of

if TYPE_CHECKING:
    from grokjax.figures.null_place import NullPlace

WIDTH = 7.0  # inches: both columns of a paper
COLUMN = 3.3  # one of them
WIDTHS = {"page": WIDTH, "column": COLUMN}
LEAST_WIDTH, MOST_WIDTH = 2.5, 40.0
NOTE_LETTERS = 20  # of a small line, an inch
PANEL_WIDTH = 1.35  # inches that a panel needs
FORMATS = ("png", "svg", "pdf")
_width: ContextVar[float | None] = ContextVar("width", default=None)
DPI = 200
# Okabe and Ito's hues, which color-blind readers tell apart, darkened to a contrast of 3:1 or more on white paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#C2609B", "#A97400", "#4A97C9", "#000000", "#8C8C8C")
SEQUENTIAL = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, 256)), "grokjax")  # of cells
SCALE = ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.0, 0.63, 256)), "grokjax lines")  # 3:1 or more too
GREY = "#8C8C8C"
BLUE, ORANGE, GREEN = PALETTE[:3]
MOST_DECADES = 6  # that are named on an axis
FEWEST_TICKS = 3  # with a name, on a logarithmic axis
TICK_ROOM = 38  # characters along an axis half a page wide
# Sections of a key that a reader does not need: lr is the optimizer's.
# Matplotlib's settings while a picture is drawn or written, as a context or a decorator; restored afterwards.
paper = partial(matplotlib.rc_context, fname=Path(__file__).parent / "paper.mplstyle")


@contextmanager
def drawn_at(width: float | None) -> Iterator[None]:
    """Pictures drawn within are so wide, in inches; None: as wide as each is by itself."""
    token = _width.set(width)
    try:
        yield
    finally:
        _width.reset(token)


def picture_width(usual: float = WIDTH) -> float:
    """Inches of the picture that is drawn now."""
    return _width.get() or usual


def width_of(text: str | float) -> float:
    """Inches of a width: a number, `column` or `page`. Raises ValueError for what is none."""
    try:
        inches = float(WIDTHS.get(str(text), text))
    except ValueError:
        inches = math.nan
    if not LEAST_WIDTH <= inches <= MOST_WIDTH:
        words = f"a width is {', '.join(WIDTHS)} or inches from {LEAST_WIDTH:g} to {MOST_WIDTH:g}"
        raise ValueError(f"{words}, not {text!r}")
    return inches


def most_columns(width: float) -> int:
    """How many panels stand side by side."""
    return max(1, int(width / PANEL_WIDTH))


def add_note(figure: Figure, text: str) -> None:
    """A line below a picture, under what it says there already."""
    width, height = figure.get_size_inches()
    label = figure.get_supxlabel()
    lines = textwrap.wrap(text, int(width * NOTE_LETTERS))
    figure.set_size_inches(width, height + 0.13 * len(lines))
    said = next((each for each in figure.texts if label and each.get_text() == label), None)
    if said is None:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5)
    else:
        said.set_text("\n".join([label, *lines]))


def formats_of(path: Path) -> tuple[str, ...]:
    """The formats that a picture is written in: that of its ending, or PNG and SVG where it has none (or that of the
    table, .csv). Raises ValueError for the ending of another kind of file."""
    ending = path.suffix[1:].lower()
    if ending in FORMATS:
        return (ending,)
    if ending != "csv" and _is_file_type(ending):
        raise ValueError(f"{path}: pictures are written as {', '.join(FORMATS)}, not as {ending}")
    return ("png", "svg")


def _is_file_type(ending: str) -> bool:
    """Whether an ending is known to be one: the rest of a name such as `lr.0.1` is not."""
    known = mimetypes.MimeTypes().guess_type(f"name.{ending}", strict=False)[0]
    return known is not None or ending in FigureCanvasBase.get_supported_filetypes()


def write(figure: Figure, path: Path) -> list[Path]:
    """Write a picture in the format of its ending, or else as PATH.png and PATH.svg (equal pictures give equal
    files)."""
    paths = []
    with paper(), settled(figure):
        for ending in formats_of(path):
            paths.append(_path(path, ending))
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
            save = partial(figure.savefig, format=ending, dpi=DPI, metadata=undated)
            write_view(paths[-1], save)
    return paths


@contextmanager
def settled(figure: Figure) -> Iterator[None]:
    """Inside, panels stay where they are laid out, at rounded places: the layout's last digits are not the same each
    time, and names within an SVG follow from them."""
    engine, dpi = figure.get_layout_engine(), figure.dpi
    if engine is None:
        yield
        return
    figure.set_dpi(DPI)
    engine.execute(figure)
    figure.set_dpi(dpi)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(side, 6) for side in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write the numbers behind a picture as CSV beside it; every number reads back as it was."""
    path = _path(path, "csv")
    write_view(path, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))
    return path


def _path(path: Path, ending: str) -> Path:
    stem = path.with_suffix("") if path.suffix[1:].lower() in (*FORMATS, "csv") else path
    return stem.with_name(f"{stem.name}.{ending}")


def value_text(value: Any, key: str = "", null_number: float | None = None) -> str:
    """An axis value in a legend: 1e-8, 0.3, 113, float32; of a path its last part; of null what it means at its key
    (`full batch`), else none.

    null_number: what null comes to in the runs that are told (the examples of a full batch): `full batch (288)`.
    """
    if is_missing(value):
        null = null_of(key)
        word = null.text if null else "none"
        return word if null_number is None else f"{word} ({number_text(float(null_number))})"
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
    if count < 2:
        return [PALETTE[0]]
    if numeric or count > len(PALETTE):
        return [SCALE(index / (count - 1)) for index in range(count)]
    return list(PALETTE[:count])


def first_after(places: ArrayLike) -> float:
    """The smallest step (or epoch, ...) after 0, from where an axis of them is logarithmic."""
    later = np.asarray(places, float)
    later = later[later > 0]
    return float(later.min()) if len(later) else 1.0


def log_axis(axes: Axes, places: ArrayLike) -> None:
    """A logarithmic axis of steps (or epochs, ...) that has room for 0: linear below the first after it."""
    first, last = first_after(places), float(np.max(places))
    last = max(last, 2 * first)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4, subs=range(2, 10))
    axes.set_xlim(0, last)
    powers = range(math.ceil(math.log10(first) - 1e-9), math.floor(math.log10(last) + 1e-9) + 1)
    every = math.ceil(len(powers) / MOST_DECADES)
    named = [power for power in powers if power % every == 0]
    axes.set_xticks([0, *(10.0**power for power in named)], ["0", *(f"$10^{{{power}}}$" for power in named)])


def log_label(places: ArrayLike, word: str = "step") -> str:
    """What lies across a logarithmic axis."""
    first = first_after(places)
    return f"{word} (log)" if first == 1 else f"{word} (log, linear below {number_text(first)})"


def plain_axis(axes: Axes, places: ArrayLike) -> None:
    """A linear axis of steps (or epochs, ...) from 0 on."""
    last = float(np.max(places))
    axes.set_xlim(0, last if last > 0 else 1)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))


def log_upwards(axes: Axes) -> None:
    """Ticks of a logarithmic axis upwards, as it reaches now: powers of ten, and of few decades plain numbers."""
    low, high = sorted(axes.get_ylim())
    for parts in ((1.0,), (1.0, 2.0, 5.0), tuple(map(float, range(1, 10)))):
        locator = LogLocator(subs=parts)
        within = [value for value in locator.tick_values(low, high) if low <= value <= high]
        if len(within) >= FEWEST_TICKS:
            break
    else:
        locator = MaxNLocator(4)
    axes.yaxis.set_major_locator(locator)
    if high < 10**FEWEST_TICKS * low:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(float(f"{value:.3g}"))))
    axes.yaxis.set_minor_formatter(NullFormatter())


def from_zero(axes: Axes) -> None:
    """An axis upwards from 0, with room below it for a line that lies there."""
    high = axes.get_ylim()[1]
    axes.set_ylim(-0.03 * high, high)


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
