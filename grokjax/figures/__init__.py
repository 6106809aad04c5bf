"""Pictures of a results directory: the data and the drawing of each, one module a picture.

make("curves", results, "figures/curves", by="optimizer.weight_decay")  # curves.png, curves.svg and curves.csv
figure = draw("curves", results, by="optimizer.weight_decay")  # to go on with in Matplotlib

Every module has `data(results, **options)`, `table(data)` (the numbers drawn, one row a point), `figure(data)`, and
`draw`, which is figure(data(...)).
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.sweep.load import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokjax.results.read import Results

KINDS = (
    "curves",
    "norms",
    "slingshots",
    "phase",
    "anatomy",
    "times",
    "optimizers",
    "progress",
    "landscape",
    "reduced_loss",
    "efficiency",
    "neurons",
    "learning_coefficient",
    "kernel",
)
_MODULES = {kind: f"grokjax.figures.{kind}" for kind in KINDS}


def make(kind: str, results: Results, stem: str | Path, **options: Any) -> list[Path]:
    """Draw a picture, write STEM.png, STEM.svg and, with the numbers drawn, STEM.csv; return their paths.

    Options and errors are those of `draw`.
    """
    from grokjax.figures.style import write, write_table

    module = _module(kind, options)
    data = module.data(results, **options)
    table = module.table(data)
    return [*write(module.figure(data), Path(stem)), write_table(table, Path(stem))]


def draw(kind: str, results: Results, **options: Any) -> Figure:
    """The picture of a kind; its module's `draw` tells its options.

    curves, norms: by (key that colors), arm; norms also equal. slingshots: runs, arm. phase: x, y (keys), arm.
    anatomy: run, event, before, after, replay. times: x, by, arm, measure. optimizers: by, x, arm. progress: by, arm.
    landscape: by, arm, step. reduced_loss: by or y, arm. efficiency: by, x, arm, step. neurons: by, arm, step.
    learning_coefficient: by, arm, chains, draws. kernel: by, arm, examples. Raises ValueError for an unknown kind,
    option, key, arm or run, and where there is nothing to draw yet.
    """
    return _module(kind, options).draw(results, **options)


def _module(kind: str, options: dict[str, Any]) -> Any:
    """The module of a kind. Raises ValueError if there is none, or if it does not take such options."""
    if kind not in _MODULES:
        raise ValueError(f"no figure {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    module = import_module(_MODULES[kind])
    known = list(inspect.signature(module.draw).parameters)[1:]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"the figure {kind} takes no {name!r}{hint}; it takes {', '.join(known)}")
    return module


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write STEM.png and STEM.svg, and return their paths."""
    from grokjax.figures.style import write

    return write(figure, Path(stem))
