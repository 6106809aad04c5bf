"""Names of parameters (TransformerLens's), and what a name says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

Shapes = dict[str, tuple[int, ...]]
T = TypeVar("T")
OFF_PATH = ("W_Q", "W_K", "W_pos")  # these only move attention


def parameter_shapes(spec: RunSpec) -> Shapes:
    """Name -> shape, in the order of the path from the input to the logits."""
    return spec.model.shapes(spec.task)


def trained_shapes(spec: RunSpec) -> Shapes:
    """Of the parameters that the optimizer changes: all but the frozen ones."""
    frozen = spec.init.frozen
    return {
        name: shape for name, shape in parameter_shapes(spec).items() if not any(matches(key, name) for key in frozen)
    }


def parameter_count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def is_matrix(name: str) -> bool:
    """Weight matrices are named W...; biases and layer-norm vectors are not."""
    return name.startswith("W")


def is_bias(name: str) -> bool:
    return not is_matrix(name) and name.startswith("b")


def sides_of(name: str, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The axes that a matrix reads and those that it writes, heads taken together; None of a vector."""
    if not is_matrix(name):
        return None
    if axes == 3 and name.partition(".")[0] in ("W_Q", "W_K", "W_V"):
        return (1,), (0, 2)
    return tuple(range(axes - 1)), (axes - 1,)


def is_on_path(name: str) -> bool:
    """Whether a matrix is a factor of the logits: all are but OFF_PATH."""
    return is_matrix(name) and name.partition(".")[0] not in OFF_PATH


def last_layer(names: list[str]) -> str:
    """The matrix that makes the logits: W_U, or the last W.k of an MLP."""
    return [name for name in names if is_matrix(name)][-1]


def matches(key: str, name: str) -> bool:
    """Whether a `*_by_matrix` key means parameter `name`: `W_O` is every layer, `W_O.0` one."""
    return key == name or key == name.rpartition(".")[0]


def each_its_own(entries: Mapping[str, T], names: list[str]) -> dict[str, T]:
    """Parameter -> the entry that means it; that of its own name comes before that of every layer."""
    found = {name: entries.get(name, entries.get(name.rpartition(".")[0])) for name in names}
    return {name: entry for name, entry in found.items() if entry is not None}


def split_matrix(words: Sequence[str]) -> tuple[str, list[str]]:
    """A matrix's name at the beginning of a key's words, and what follows: of `W_O.0.lr`, `W_O.0` and [`lr`]."""
    length = 2 if len(words) > 1 and words[1].isdecimal() else 1
    return ".".join(words[:length]), list(words[length:])


def by_matrix(factors: dict[str, float], names: list[str]) -> dict[str, float]:
    """Factors other than 1, one a parameter; entries that mean the same parameter multiply."""
    if not factors:
        return {}
    full = dict.fromkeys(names, 1.0)
    for key, factor in factors.items():
        for name in names:
            if matches(key, name):
                full[name] *= factor
    return {name: factor for name, factor in full.items() if factor != 1.0}
