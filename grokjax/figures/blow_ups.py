"""Pictures of blow-ups (`grokjax.analysis.blow_up`): how often each matrix went first, and the steps up to one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from grokjax.analysis.blow_up import BEFORE, GROWN
from grokjax.figures.questions.panels import LEGEND, legend, plain_log
from grokjax.figures.style import GREY, PALETTE

TICKS = (0.2, 0.5, 1, 2, 5, 10, 100, 1000, 1e4, 1e5, 1e6)
Colors = dict[str, str]
COLORS = (*PALETTE, "#5D3A9B")  # as many as a layer has matrices


def matrix_colors(blown: pd.DataFrame, example: pd.DataFrame) -> Colors:
    """Matrices, those that went first most often first, and their colors."""
    names = dict.fromkeys([*blown["matrix"].value_counts().index, *example["matrix"]])
    return {str(name): COLORS[place % len(COLORS)] for place, name in enumerate(names)}


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names of rows from the top, at 0, 1, ..."""
    axes.set_yticks(range(len(names)), names, fontsize=LEGEND - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def draw_first(axes: Axes, groups: Sequence[tuple[str, pd.DataFrame]], colors: Colors) -> None:
    """A bar a group of runs that blew up: how often each matrix (column `matrix`; none: not seen) went first."""
    seen = [(name, own["matrix"].dropna()) for name, own in groups if own["matrix"].notna().any()]
    if not seen:
        axes.text(0.5, 0.5, "no blow-up was seen", ha="center", transform=axes.transAxes, color=GREY)
        axes.set_axis_off()
        return
    there = [matrix for matrix in colors if any((own == matrix).any() for _, own in seen)]
    for place, (_, own) in enumerate(seen):
        counts = own.value_counts().reindex(there).fillna(0)
        left = counts.cumsum() - counts
        axes.barh([place] * len(counts), counts, left=left, color=[colors[matrix] for matrix in there], height=0.6)
    name_rows(axes, [name for name, _ in seen])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("blow-ups, by the matrix first")
    handles = [
        Line2D([], [], color=colors[one], linewidth=4, solid_capstyle="butt", label=_short(one)) for one in there
    ]
    legend(axes, columns=3, handles=handles)


def draw_example(axes: Axes, example: pd.DataFrame, colors: Colors) -> None:
    """Growth of every matrix (columns step, matrix, growth) in the steps up to a blow-up."""
    if example.empty:
        axes.set_axis_off()
        return
    own = dict(iter(example.groupby("matrix", sort=False)))
    for place, matrix in enumerate(name for name in colors if name in own):
        style = "-" if place < len(COLORS) else ":"  # a color that comes again
        growth = own[matrix]
        axes.plot(growth["step"], growth["growth"], style, color=colors[matrix], label=_short(matrix))
    axes.axhline(GROWN, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    plain_log(axes, TICKS)
    axes.set_xlabel("step")
    axes.set_ylabel(f"norm / norm {BEFORE} steps before")
    legend(axes, columns=3)


def _short(matrix: str) -> str:
    return matrix.removesuffix(".0")
