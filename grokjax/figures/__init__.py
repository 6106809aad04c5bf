"""Pictures of a results directory: the data and the drawing of each, one module a picture.

make("curves", results, "figures/curves", by="optimizer.weight_decay")  # curves.png, curves.svg and curves.csv
figure = draw("curves", results, by="optimizer.weight_decay")  # to go on with in Matplotlib

Every module has `data(results, **options)`, whose docstring tells the options, `table(data)` (the numbers drawn, one
row a point) and `figure(data)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.sweep.load import did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from grokjax.results.read import Results

KINDS = {
    "curves": "Loss and accuracy over steps, by a hyperparameter. Needs records.",
    "norms": "The norm of every matrix over steps. Needs records.",
    "slingshots": "Runs with slingshots, and some without. Needs records.",
    "phase": "When runs fit and generalize, over two axes. Needs a swept axis and ended runs.",
    "anatomy": "One slingshot, step by step, trained again. Needs a slingshot and snapshots; without these, records.",
    "times": "Step of generalization along an axis, with a power law. Needs an axis of numbers.",
    "optimizers": "Optimizers compared, each at its best. Needs an axis of numbers and ended runs.",
    "progress": "Progress measures of stored networks over training. Needs snapshots.",
    "landscape": "Loss against weight norm around stored networks. Needs runs that ended.",
    "reduced_loss": "Final loss against the norm that runs were held at. Needs constraint.name fixed_norm.",
    "efficiency": "Logits per norm of circuits that memorize or not. Needs a swept axis and snapshots.",
    "neurons": "How nearly neurons compute squares. Needs snapshots.",
    "learning_coefficient": "Local learning coefficient over training, by Langevin chains. Needs snapshots.",
    "kernel": "Tangent kernel over training: alignment with the labels, and change. Needs snapshots.",
}


def make(kind: str, results: Results, stem: str | Path, **options: Any) -> list[Path]:
    """Draw a picture, write STEM.png, STEM.svg and, with the numbers drawn, STEM.csv; return their paths.

    Options and errors are those of `draw`.
    """
    from grokjax.figures.style import write, write_table

    module = figure_module(kind)
    check_options(kind, options)
    data = module.data(results, **options)
    table = module.table(data)
    return [*write(module.figure(data), Path(stem)), write_table(table, Path(stem))]


def draw(kind: str, results: Results, **options: Any) -> Figure:
    """The picture of a kind; `grokjax figure KIND --help` tells its options, which are those of its module's `data`.

    Raises ValueError for an unknown kind, option, key, arm or run, and where there is nothing to draw yet.
    """
    check_options(kind, options)
    module = figure_module(kind)
    return module.figure(module.data(results, **options))


def check_options(kind: str, options: Iterable[str]) -> None:
    """Raises ValueError for an option that a kind does not take."""
    known = list(inspect.signature(figure_module(kind).data).parameters)[1:]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"the figure {kind} takes no {name!r}{hint}; it takes {', '.join(known)}")


def figure_module(kind: str) -> Any:
    """The module of a kind. Raises ValueError if there is none."""
    if kind not in KINDS:
        raise ValueError(f"no figure {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    return import_module(f"grokjax.figures.{kind}")


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write STEM.png and STEM.svg, and return their paths."""
    from grokjax.figures.style import write

    return write(figure, Path(stem))
