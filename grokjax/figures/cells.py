"""A grid of colored cells over two axes of labels, some of them hatched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle

MOST_TEXTS = 10  # cells in a row or column that carry their value
HEIGHT = 0.34  # inches
NO_VALUE = "#E4E4E4"
HATCH, LINES = "//////", "#9A9A9A"


class Cell(NamedTuple):
    x: str
    y: str
    color: Any  # Matplotlib's
    text: str
    hatched: bool


def inches(rows: int) -> float:
    """How high a panel of so many rows is."""
    return max(1.0, HEIGHT * rows)


def draw_cells(axes: Axes, cells: Sequence[Cell], x_values: Sequence[str], y_values: Sequence[str]) -> None:
    """Cells at their labels, which stand along the axes in the order given; texts where there is room for them."""
    column = {label: place for place, label in enumerate(x_values)}
    row = {label: place for place, label in enumerate(y_values)}
    texts = len(column) <= MOST_TEXTS and len(row) <= MOST_TEXTS
    for cell in cells:
        at = column[cell.x], row[cell.y]
        dark = sum(to_rgb(cell.color)) < 1.5
        hatch, edge = (HATCH, "white" if dark else LINES) if cell.hatched else (None, "white")
        corner = (at[0] - 0.5, at[1] - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=cell.color, linewidth=0.6, hatch=hatch, edgecolor=edge))
        if texts:
            box = {"facecolor": cell.color, "edgecolor": "none", "pad": 1.0} if cell.hatched else None
            color = "white" if dark else "black"
            axes.text(*at, cell.text, ha="center", va="center", fontsize=6, color=color, bbox=box)
    axes.set_xlim(-0.5, len(column) - 0.5)
    axes.set_ylim(-0.5, len(row) - 0.5)
    axes.set_xticks(range(len(column)), list(column))
    axes.set_yticks(range(len(row)), list(row))
    if sum(map(len, column)) > 45:
        axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def hatched_patch(label: str) -> Patch:
    """What a hatched cell is, for a legend."""
    return Patch(facecolor=NO_VALUE, edgecolor=LINES, hatch=HATCH, label=label)
