"""A heat map: colored cells over two axes of labels, some of them hatched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from grokjax.figures.style import SEQUENTIAL, picture_width

MOST_TEXTS = 10  # cells in a column that carry their value
HEIGHT = 0.34  # inches
CELL = 0.3  # inches across, that a cell needs
LETTER = 0.05  # inches
BAR = 0.6  # inches, of a color bar
NO_VALUE = "#E4E4E4"
HATCH, LINES = "//////", "#9A9A9A"


def inches(rows: int) -> float:
    """How high a panel of so many rows is."""
    return max(1.0, HEIGHT * rows)


def side_by_side(panels: int, bars: int, x_values: Sequence[str], y_values: Sequence[str]) -> tuple[int, float]:
    """How many of the panels stand side by side, and inches across a cell. bars: color bars beside each other."""
    free = picture_width() - LETTER * max(map(len, y_values)) - 0.3
    across = (free - BAR * bars) / panels / len(x_values)
    if panels == 1 or across >= CELL:
        return panels, across
    return 1, (free - BAR) / len(x_values)


def draw_heat_map(
    axes: Axes, cells: pd.DataFrame, x_values: Sequence[str], y_values: Sequence[str], norm: LogNorm, across: float
) -> None:
    """Cells at their labels, which stand along the axes in the order given; texts where there is room for them.

    cells: one row a cell: x, y, shown (what is colored; nan: nothing), text, marked (hatched). across: inches of one.
    """
    least = norm.vmin or 0.0
    widest = max((len(line) for text in cells["text"] for line in text.split("\n")), default=0)
    texts = LETTER * widest <= across and len(y_values) <= MOST_TEXTS
    for cell in cells.to_dict("records"):
        column, row = x_values.index(cell["x"]), y_values.index(cell["y"])
        color = NO_VALUE if pd.isna(cell["shown"]) else SEQUENTIAL(norm(max(cell["shown"], least)))
        dark = sum(to_rgb(color)) < 1.5
        style: dict[str, Any] = {"facecolor": color, "edgecolor": "white", "linewidth": 0.6}
        box = None
        if cell["marked"]:
            style |= {"hatch": HATCH, "edgecolor": "white" if dark else LINES}
            box = {"facecolor": color, "edgecolor": "none", "pad": 1.0}
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
        if texts:
            ink = "white" if dark else "black"
            axes.text(column, row, cell["text"], ha="center", va="center", fontsize=6, color=ink, bbox=box)
    axes.set(xlim=(-0.5, len(x_values) - 0.5), ylim=(-0.5, len(y_values) - 0.5))
    names = [text.replace(" ", "\n") if LETTER * len(text) > across else text for text in x_values]
    longest = max(len(line) for name in names for line in name.split("\n"))
    axes.set_xticks(range(len(names)), names, rotation=90 if LETTER * longest > across else 0)
    axes.set_yticks(range(len(y_values)), y_values)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def explain_marked(picture: Figure, cells: pd.DataFrame, text: str) -> None:
    """Says below a picture what a hatched cell is, if there is one."""
    if cells["marked"].any():
        patch = Patch(facecolor=NO_VALUE, edgecolor=LINES, hatch=HATCH, label=text)
        picture.legend(handles=[patch], loc="outside lower center")
