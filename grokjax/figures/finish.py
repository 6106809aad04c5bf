"""What is mended once a picture is whole: names of ticks that touch, and titles and labels wider than their place."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from grokjax.figures.style import DPI, paper

LINE = 0.125  # inches, of a title's line
BESIDE = 1.12  # of a panel's width, that its title may take: the gap to the next is free
PAD = 0.06  # inches, below a head
GAP = 4.0  # pixels between names of ticks
ROUNDS = 3  # the layout moves when texts change


@paper()
def finish(figure: Figure) -> None:
    """Wraps texts that are wider than their place, and leaves out names of ticks that touch others."""
    dpi = figure.dpi
    figure.set_dpi(DPI)  # as it is written: widths of letters are rounded to pixels
    try:
        _finish(figure)
    finally:
        figure.set_dpi(dpi)


def _finish(figure: Figure) -> None:
    figure.align_ylabels()
    lay_out(figure)
    added = wrap_texts(figure)
    if added:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + LINE * added)
        lay_out(figure)
    fit_heads(figure)
    for _ in range(ROUNDS):
        lay_out(figure)
        touched = [thin_ticks(axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        if not any(touched):
            return


def lay_out(figure: Figure) -> None:
    """Puts everything in its place."""
    engine = figure.get_layout_engine()
    if engine is None:
        figure.draw_without_rendering()
    else:
        engine.execute(figure)


def fit_heads(figure: Figure) -> None:
    """Gives the heads of blocks, which are texts and no axes, the height that they need; panels keep theirs."""
    heads = [axes for axes in figure.axes if not axes.axison and _contents(axes)]
    if not heads:
        return
    grid = heads[0].get_subplotspec().get_gridspec()  # pyright: ignore[reportOptionalMemberAccess]
    inches = heads[0].get_window_extent().height / figure.dpi
    ratios: list[float] = list(grid.get_height_ratios())  # pyright: ignore[reportArgumentType]
    unit = inches / ratios[_row(heads[0])]
    rows = [ratio * unit for ratio in ratios]
    before = sum(rows)
    for axes in heads:
        boxes = [artist.get_tightbbox() for artist in _contents(axes)]
        rows[_row(axes)] = (max(box.y1 for box in boxes) - min(box.y0 for box in boxes)) / figure.dpi + PAD
    grid.set_height_ratios(rows)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + sum(rows) - before)


def _row(axes: Axes) -> int:
    return axes.get_subplotspec().rowspan.start  # pyright: ignore[reportOptionalMemberAccess]


def _contents(axes: Axes) -> list[Any]:
    """The texts, legend and color bar of a head."""
    return [*axes.texts, *axes.child_axes, *filter(None, [axes.get_legend()])]


def wrap_texts(figure: Figure) -> int:
    """Wraps them; returns how many lines this adds to the height of the picture."""
    added = 0
    for text, room in _of_figure(figure):
        added += wrap(text, room, _width)
    rows: dict[Any, int] = {}
    for axes in figure.axes:
        box = axes.get_window_extent()
        middle = (box.x0 + box.x1) / 2
        room = min(BESIDE * box.width, 1.98 * min(middle, figure.bbox.width - middle))
        lines = max(wrap(text, room, _width) for text in _titles(axes))
        lines += wrap(axes.xaxis.label, room, _width)
        wrap(axes.yaxis.label, max(box.height, 1.0), _height)
        row = round(box.y0)
        rows[row] = max(rows.get(row, 0), lines)
    return added + sum(rows.values())


def wrap(text: Text, room: float, length: Callable[[Bbox], float]) -> int:
    """Breaks a text's lines so that it is no longer than `room` pixels; returns how many lines that adds."""
    words = text.get_text()
    long = length(text.get_window_extent())
    if not words or long <= room:
        return 0
    lines = words.split("\n")
    letters = int(max(map(len, lines)) * room / long)
    while True:
        wrapped = [
            part for line in lines for part in textwrap.wrap(line, max(letters, 1), break_long_words=False) or [""]
        ]
        text.set_text("\n".join(wrapped))
        if letters <= 1 or length(text.get_window_extent()) <= room:
            return len(wrapped) - len(lines)
        letters -= 1


def _width(box: Bbox) -> float:
    return box.width


def _height(box: Bbox) -> float:
    return box.height


def _titles(axes: Axes) -> list[Text]:
    """Left, center and right. Matplotlib gives their texts only."""
    return [axes.title, axes._left_title, axes._right_title]  # pyright: ignore[reportAttributeAccessIssue]


def _of_figure(figure: Figure) -> Iterator[tuple[Text, float]]:
    """The texts of the picture itself, and the pixels that each has across."""
    for text in figure.texts:
        x = text.get_position()[0]
        share = {"left": 1 - x, "right": x}.get(text.get_horizontalalignment(), 2 * min(x, 1 - x))
        if text.get_rotation() == 0:
            yield text, 0.985 * share * figure.bbox.width


def thin_ticks(axis: Axis) -> bool:
    """Leaves out names of major ticks that touch another, the first and the last kept; whether there were any."""
    low, high = sorted(axis.get_view_interval())
    edge = 1e-9 * (high - low)
    shown = []
    for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False):
        if low - edge <= place <= high + edge and label.get_visible() and label.get_text():
            shown.append((place, label))
    kept = apart([label.get_window_extent() for _, label in shown])
    if len(kept) == len(shown):
        return False
    axis.set_ticks([shown[index][0] for index in kept], labels=[shown[index][1].get_text() for index in kept])
    return True


def apart(boxes: list[Bbox]) -> list[int]:
    """Which of some boxes in a row to keep so that none touch: the last, the first, and what has room between."""
    if len(boxes) < 2:
        return list(range(len(boxes)))
    last = boxes[-1]
    kept: list[int] = []
    for index, box in enumerate(boxes[:-1]):
        before = kept and touch(boxes[kept[-1]], box)
        if not before and not touch(box, last):
            kept.append(index)
    return [*kept, len(boxes) - 1]


def touch(one: Bbox, other: Bbox) -> bool:
    """Whether two boxes have less than the gap between them."""
    return bool(one.padded(GAP / 2).overlaps(other.padded(GAP / 2)))
