"""Pictures of a results directory: the data and the drawing of each, one module a picture.

figure = draw("curves", results, by="optimizer.weight_decay")
save(figure, "figures/curves")  # curves.png and curves.svg
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.sweep.load import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokjax.results.read import Results

KINDS = ("curves", "norms", "slingshots", "phase")
_MODULES = {kind: f"grokjax.figures.{kind}" for kind in KINDS}


def draw(kind: str, results: Results, **options: Any) -> Figure:
    """The picture of a kind; its module's `draw` tells its options.

    curves, norms: by (key that colors), arm. slingshots: runs, arm. phase: x, y (keys), arm.
    Raises ValueError for an unknown kind, option, key, arm or run, and where there is nothing to draw yet.
    """
    if kind not in _MODULES:
        raise ValueError(f"no figure {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    function: Callable[..., Figure] = import_module(_MODULES[kind]).draw
    known = list(inspect.signature(function).parameters)[1:]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"the figure {kind} takes no {name!r}{hint}; it takes {', '.join(known)}")
    return function(results, **options)


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write STEM.png and STEM.svg, and return their paths."""
    from grokjax.figures.style import write

    return write(figure, Path(stem))
