"""Every axis must change some run: one that never does is a mistake, most often a wrong key."""

from __future__ import annotations

from collections.abc import Callable

from grokjax.sweep.arms import Arm
from grokjax.sweep.axes import Axis, draw
from grokjax.sweep.keys import FROM_RUN
from grokjax.sweep.layers import Layer, Mistakes, Value
from grokjax.sweep.nodes import describe, shown

TRIES = 8  # draws that an axis of a random sweep is tried on, and other values tried on each


def check_grid(arm: Arm, points: list[tuple[tuple[int, ...], str]], mistakes: Mistakes) -> None:
    """points: the index along every axis, and the run that came of it (of `select` several, as one text)."""
    if len({run for _, run in points}) == len(points):
        return
    for index, axis in enumerate(arm.axes):
        if axis.reduced:
            continue
        runs: dict[int, list[str]] = {}
        for choice, run in points:
            runs.setdefault(choice[index], []).append(run)
        alike: dict[tuple[str, ...], int] = {}
        twins = [(alike.setdefault(tuple(column), at), at) for at, column in runs.items()]
        twins = [(first, at) for first, at in twins if first != at]
        if not twins:
            continue
        names = ", ".join(axis.keys)
        if len(alike) == 1 and len({repr(point) for point in axis.points}) > 1:
            mistakes.at(axis.path, names, _without_effect(axis, arm))
        else:
            for first, at in twins[:5]:
                mistakes.at(axis.places[at][0], names, _twice(axis, first, at))


def _without_effect(axis: Axis, arm: Arm) -> str:
    room = axis.keys[0].split(".")[0]
    what = f"an axis without effect: all {len(axis.points) or 'its'} values give the same runs"
    if room in ("log", "events", "engine"):
        return f"{what}: {room} does not change a run; give one value in `{room}`"
    if arm.name != "main":
        what = f"{what} in arm {arm.name}"
    if axis.keys == ("seed",) and _has_parents(arm):
        what += "; a run that starts from another has that run's weights and split: leave seed out"
    return what


def _has_parents(arm: Arm) -> bool:
    layers = [*arm.before, arm.fixed, *(dict.fromkeys(axis.keys) for axis in arm.axes)]
    return any(key.startswith(FROM_RUN) for layer in layers for key in layer)


def _twice(axis: Axis, first: int, second: int) -> str:
    one, other = (axis.points[at] if len(axis.keys) > 1 else axis.points[at][0] for at in (first, second))
    if one == other:
        return f"the value {describe(list(one) if isinstance(one, tuple) else one)} stands twice"
    texts = [shown(list(value) if isinstance(value, tuple) else value) for value in (one, other)]
    return f"the values {texts[0]} and {texts[1]} give the same runs"


def check_draws(arm: Arm, seed: int, make: Callable[[Layer], str], mistakes: Mistakes) -> None:
    """The same for a random sweep: tries other values of each axis on its first draws.

    make: the run that comes of a layer, as in `check_grid`.
    """

    def layer(axis: Axis, at: int, listed: bool = False) -> Layer:
        values, places = draw(axis, seed, at)
        if listed and axis.points:
            values, places = axis.points[at % len(axis.points)], axis.places[at % len(axis.points)]
        columns = zip(axis.keys, values, places, axis.key_paths, strict=True)
        return {key: Value(value, place, path, True) for key, value, place, path in columns}

    for axis in arm.axes:
        one_value = axis.distribution is not None and axis.distribution.is_one_value
        if axis.reduced or len(axis.points) == 1 or one_value:
            continue
        for at in range(TRIES):
            others: Layer = {}
            for other in arm.axes:
                others |= layer(other, at)
            made = [make(others | layer(axis, at + turn, listed=True)) for turn in range(TRIES)]
            if mistakes.found or len(set(made)) > 1:
                break
        else:
            mistakes.at(axis.path, ", ".join(axis.keys), _without_effect(axis, arm))
