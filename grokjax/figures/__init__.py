"""Pictures of a results directory: the data and the drawing of each, one module a picture.

make("curves", results, "figures/curves", by="optimizer.weight_decay")  # curves.png, curves.svg and curves.csv
make("curves", results, "figures/curves.pdf", width="column", where="seed < 3")  # curves.pdf and curves.csv
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

from grokjax.sweep.spelling import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from grokjax.results.read import Results

KINDS = {
    "curves": "Any metrics over steps, epochs or examples, by a hyperparameter. Needs records.",
    "norms": "The norm of every matrix over steps. Needs records.",
    "slingshots": "Runs with slingshots, and some without. Needs records.",
    "phase": "When runs fit and generalize, over two axes. Needs a swept axis and ended runs.",
    "anatomy": "One slingshot, step by step, trained again. Needs a slingshot and snapshots; without these, records.",
    "times": "Step of generalization along an axis, with a power law. Needs an axis of numbers.",
    "optimizers": "Optimizers compared, each at its best. Needs an axis of numbers and ended runs.",
    "progress": "Progress measures of stored networks over training. Needs snapshots of modular tasks.",
    "landscape": "Loss against weight norm around stored networks. Needs runs that ended.",
    "reduced_loss": "Final loss against the norm that runs were held at. Needs constraint.name fixed_norm.",
    "efficiency": "Logits per norm of circuits that memorize or not. Needs a swept axis and snapshots.",
    "neurons": "How nearly neurons compute squares. Needs snapshots and a layer of neurons.",
    "learning_coefficient": "Local learning coefficient over training, by Langevin chains. Needs snapshots.",
    "kernel": "Tangent kernel over training: alignment with the labels, and change. Needs snapshots.",
}
# Kinds that go back to networks, for which the plan of one directory is needed.
OF_NETWORKS = ("anatomy", "progress", "landscape", "efficiency", "neurons", "learning_coefficient", "kernel")
SHARED = ("width", "where")  # options of every kind


def make(
    kind: str,
    results: Results,
    path: str | Path,
    width: float | str | None = None,
    where: str | None = None,
    **options: Any,
) -> list[Path]:
    """Draw a picture, write it and, with the numbers drawn, a CSV beside it; return their paths.

    path: with the ending .png, .svg or .pdf the picture is written as that; without, as PATH.png and PATH.svg.
    Other arguments and errors are those of `draw`; also ValueError for the ending of another kind of picture.
    """
    from grokjax.figures.style import formats_of, write, write_table

    formats_of(Path(path))  # before anything is computed
    figure, table = _drawn(kind, results, width, where, options)
    return [*write(figure, Path(path)), write_table(table, Path(path))]


def draw(
    kind: str, results: Results, width: float | str | None = None, where: str | None = None, **options: Any
) -> Figure:
    """The picture of a kind; `grokjax figure KIND --help` tells its options, which are those of its module's `data`.

    results: of a directory, or of several (`grokjax.results.joined.join`). width: inches, `column` or `page`; default
    as each kind is. where: the runs that count, such as `optimizer.weight_decay == 1 and seed < 3` (see
    `grokjax.analysis.where`).

    Raises ValueError for an unknown kind, option, key, arm, run or width, for a kind that cannot join directories, and
    where there is nothing to draw yet.
    """
    return _drawn(kind, results, width, where, options)[0]


def _drawn(
    kind: str, results: Results, width: float | str | None, where: str | None, options: dict[str, Any]
) -> tuple[Figure, pd.DataFrame]:
    """The picture, and the numbers in it."""
    from grokjax.analysis.where import chosen_runs
    from grokjax.figures.finish import finish
    from grokjax.figures.style import add_note, drawn_at, width_of
    from grokjax.results.joined import Joined

    check_options(kind, options)
    module = figure_module(kind)
    if isinstance(results, Joined) and kind in OF_NETWORKS:
        raise ValueError(f"the figure {kind} goes back to stored networks, so it is of one results directory at a time")
    if where is not None:
        results = chosen_runs(results, where)
    with drawn_at(None if width is None else width_of(width)):
        data = module.data(results, **options)
        table, figure = module.table(data), module.figure(data)
    if where is not None:
        add_note(figure, f"runs with {where}")
    finish(figure)
    return figure, table


def check_options(kind: str, options: Iterable[str]) -> None:
    """Raises ValueError for an option that a kind does not take."""
    known = [*list(inspect.signature(figure_module(kind).data).parameters)[1:], *SHARED]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"the figure {kind} takes no {name!r}{hint}; it takes {', '.join(known)}")


def figure_module(kind: str) -> Any:
    """The module of a kind. Raises ValueError if there is none."""
    if kind not in KINDS:
        raise ValueError(f"no figure {kind!r}{did_you_mean(kind, KINDS)}; there are {', '.join(KINDS)}")
    return import_module(f"grokjax.figures.{kind}")


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Write a picture in the format of the path's ending, or else as PATH.png and PATH.svg; return what was written."""
    from grokjax.figures.style import write

    return write(figure, Path(path))
