"""The points of an arm: its axes' values as layers, by grid or by draw."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from grokjax.sweep.arms import Arm
from grokjax.sweep.axes import Axis, draw
from grokjax.sweep.distributions import COUNTABLE
from grokjax.sweep.layers import Layer, Mistakes, Value
from grokjax.sweep.top import MAX_RUNS


def check_listed(arm: Arm, mistakes: Mistakes) -> bool:
    """A grid needs values that can be listed."""
    for axis in arm.axes:
        if axis.probabilities is not None:
            mistakes.at(axis.path, axis.keys[0], "probabilities weight the draws of method random; a grid has none")
    unlisted = [axis for axis in arm.axes if not axis.points]
    for axis in unlisted:
        assert axis.distribution
        kind = axis.distribution.kind
        can = "can only be drawn from" if kind.startswith("q_") else "is continuous"
        what = f"{kind} {can}: method grid needs values, or whole min and max; or write method: random"
        if kind in COUNTABLE:
            what = f"more than {MAX_RUNS:,} points: method grid needs fewer; or write method: random"
        mistakes.at(axis.path, axis.keys[0], what)
    return not unlisted


def layer_at(axis: Axis, values: tuple, places: tuple) -> Layer:
    columns = zip(axis.keys, values, places, axis.key_paths, strict=True)
    return {key: Value(value, place, key_path, True) for key, value, place, key_path in columns}


def one_by_one(axes: list[Axis], random: bool, seed: int) -> Iterator[Layer]:
    """Each listed value once, the other axes at their first; ranges at their ends."""
    first: Layer = {}
    for axis in axes:
        if axis.points:
            first |= layer_at(axis, axis.points[0], axis.places[0])
        elif random:
            first |= layer_at(axis, *draw(axis, seed, 0))
        else:
            assert axis.distribution
            first |= layer_at(axis, (axis.distribution.example,), (axis.path,))
    yield first
    for axis in axes:
        ends = axis.distribution is not None
        for at in (len(axis.points) - 1,) if ends and axis.points else range(1, len(axis.points)):
            yield first | layer_at(axis, axis.points[at], axis.places[at])


def draws(axes: list[Axis], seed: int, count: int) -> Iterator[tuple[tuple[int, ...], Layer]]:
    for index in range(count):
        layer: Layer = {}
        for axis in axes:
            layer |= layer_at(axis, *draw(axis, seed, index))
        yield (index,), layer


def product(axes: list[Axis]) -> Iterator[tuple[tuple[int, ...], Layer]]:
    """Each point of a grid: its index along every axis, and its values. The last axis moves fastest."""
    columns = [[layer_at(axis, *at) for at in zip(axis.points, axis.places, strict=True)] for axis in axes]
    for choice in itertools.product(*(range(len(column)) for column in columns)):
        layer: Layer = {}
        for column, at in zip(columns, choice, strict=True):
            layer |= column[at]
        yield choice, layer
