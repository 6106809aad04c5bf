"""The parts of a sweep file as arms: the layers that all runs of an arm share, and the axes it varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from grokjax.spec.run import FromRun
from grokjax.sweep.axes import Axis, read_parameters, read_zip
from grokjax.sweep.keys import BY_MATRIX, DISTRIBUTION, FROM_RUN, TOP, is_table, split_key, suggest
from grokjax.sweep.layers import NOTHING, Layer, Mistakes, by_section, flatten
from grokjax.sweep.load import Mistake
from grokjax.sweep.nodes import Keys, describe, or_out
from grokjax.sweep.settings import Settings
from grokjax.sweep.spelling import did_you_mean
from grokjax.sweep.top import NAME, is_name

ARM = ("base", "parameters", "zip")
EVERY_ARM = ("log", "events", "engine")  # sections that stand at the top level


@dataclass(frozen=True)
class Arm:
    name: str
    before: list[Layer]  # what the axes win over: top-level base, the arm's base
    fixed: Layer  # --set, which wins over the axes
    axes: list[Axis]

    @cached_property
    def by_section(self) -> dict[str, tuple[list[Layer], Layer]]:
        """What of `before` and `fixed` is of each section, and of those that only the axes have: nothing."""
        axes: Layer = {key: NOTHING for axis in self.axes for key in axis.keys}
        layers = [by_section(layer) for layer in (*self.before, self.fixed)]
        names = dict.fromkeys(name for layer in (*layers, by_section(axes)) for name in layer)
        parts = {name: [layer.get(name, {}) for layer in layers] for name in names}
        return {name: (own[:-1], own[-1]) for name, own in parts.items()}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """As its runs have it: they are of this arm."""
        return (self.name,)


def read_arms(settings: Settings, mistakes: Mistakes) -> list[Arm]:
    """Every arm's layers and axes; one arm `main` where the file names none. A file that is extended comes first, and
    what it says is replaced by equal keys."""
    tops: list[Layer] = []
    top_axes: list[Axis] = []
    named: dict[str, tuple[Keys, Any]] = {}
    for path, data in mistakes.document.levels():
        tops.append(_read_top(data, path, mistakes))
        own = _read_axes(data, path, mistakes)
        top_axes = _without(top_axes, _replaced(tops[-1], own)) + own
        named |= _named_arms(data, path, mistakes)
    arms = []
    for name, (path, arm) in (named or {"main": ((), {})}).items():
        base, own = (_read_base(arm, path, mistakes), _read_axes(arm, path, mistakes)) if named else ({}, [])
        axes = _without(top_axes, _replaced(base, own)) + own
        arms.append(Arm(name, [*tops, base], settings.fixed, _with_settings(axes, settings)))
    return arms


def _read_top(data: dict, path: Keys, mistakes: Mistakes) -> Layer:
    """The values that a file gives every arm."""
    top = _read_base(data, path, mistakes)
    for section in EVERY_ARM:
        if section in data:
            for key, value in flatten(data[section], (*path, section), mistakes, section).items():
                if key in top:
                    mistakes.at(value.path, key, "duplicate key: it stands in base too")
                top[key] = value
    return top


def _named_arms(data: dict, path: Keys, mistakes: Mistakes) -> dict[str, tuple[Keys, dict]]:
    """Name -> where an arm of a file stands, and its mapping."""
    given = data.get("arms", {})
    if not isinstance(given, dict):
        where = (*path, "arms")
        mistakes.at(where, "arms", f"expected a mapping of names to arms, got {describe(given)}{or_out(given)}")
        return {}
    found: dict[str, tuple[Keys, dict]] = {}
    for name, arm in given.items():
        here = (*path, "arms", name)
        if not is_name(name):
            mistakes.at(here, name, f"the name of an arm {NAME}, got {describe(name)}")
        arm = {} if arm is None else arm
        if not isinstance(arm, dict):
            mistakes.at(here, name, f"an arm is a mapping of {', '.join(ARM)}, got {describe(arm)}")
            continue
        for key in arm:
            if key not in ARM:
                known = " (it stands at the top level only)" if key in TOP else ""
                near = known or suggest(key, mistakes.families, prefix="base.", others=ARM)
                mistakes.at((*here, key), key, f"unknown key{near}; an arm has {', '.join(ARM)}")
        found[name] = here, arm
    return found


def choose(arms: list[Arm], wanted: Sequence[str], mistakes: Mistakes) -> list[Arm]:
    """The arms that were asked for; all of them where none was."""
    names = [arm.name for arm in arms]
    for name in dict.fromkeys(wanted):
        if name not in names:
            what = f"no such arm{did_you_mean(name, names)}; there are {', '.join(names)}"
            mistakes.found.add(Mistake("--arm", 0, 0, str(name), what))
    return [arm for arm in arms if arm.name in wanted] if wanted else arms


def _with_settings(axes: list[Axis], settings: Settings) -> list[Axis]:
    """The axes less what is set, with those that are set: where an axis stood, or at the end."""
    placed = {axis.keys: axis for axis in settings.axes}
    gone = _replaced(settings.fixed, settings.axes)
    kept: list[Axis] = []
    for axis in axes:
        kept += [placed.pop(axis.keys)] if axis.keys in placed else _without([axis], gone)
    return [*kept, *placed.values()]


def _read_base(node: dict, path: Keys, mistakes: Mistakes) -> Layer:
    return flatten(node["base"], (*path, "base"), mistakes) if "base" in node else {}


def _read_axes(node: dict, path: Keys, mistakes: Mistakes) -> list[Axis]:
    axes: list[Axis] = []
    if "parameters" in node:
        axes += read_parameters(node["parameters"], (*path, "parameters"), mistakes.at)
    if "zip" in node:
        axes += read_zip(node["zip"], (*path, "zip"), mistakes.at)
    seen: set[str] = set()
    for axis in axes:
        for key, key_path in zip(axis.keys, axis.key_paths, strict=True):
            if key in seen:
                mistakes.at(key_path, key, "swept twice: it stands in two axes")
        inside = _inside_of(axis)
        for key in sorted(inside & seen):
            mistakes.at(axis.path, key, f"swept twice: by itself and in an axis of {FROM_RUN}")
        seen |= {*axis.keys, *inside}
    return axes


def _inside_of(axis: Axis) -> set[str]:
    """Keys that the mappings of an axis over the whole `init.from_run` hold."""
    values = [point[axis.keys.index(FROM_RUN)] for point in axis.points] if FROM_RUN in axis.keys else []
    return {f"{FROM_RUN}.{word}" for value in values if isinstance(value, dict) for word in value}


def _replaced(layer: Layer, axes: list[Axis]) -> set[str]:
    """Keys of axes that an arm's (or --set's) own values and axes stand for."""
    keys = set(layer).union(*(axis.keys for axis in axes), *map(_inside_of, axes))
    if FROM_RUN in layer:
        keys |= {f"{FROM_RUN}.{word}" for word in FromRun.model_fields}
    pair = {f"{FROM_RUN}.run", f"{FROM_RUN}.select"}  # one stands for the other
    return keys | pair if keys & pair else keys


def _without(axes: list[Axis], keys: set[str]) -> list[Axis]:
    """The axes less the keys that something later fixes or replaces (a table of matrices with all its entries)."""
    keys = keys | {".".join(split_key(key)[:3]) for key in keys if key.startswith(f"{DISTRIBUTION}.")}
    of_matrices = (
        key for key in keys if is_table(key.rpartition(".")[2]) or key.startswith(DISTRIBUTION) or key in BY_MATRIX
    )
    tables = tuple(f"{key}." for key in of_matrices)
    kept = []
    for axis in axes:
        columns = [i for i, key in enumerate(axis.keys) if key not in keys and not key.startswith(tables)]
        if len(columns) == len(axis.keys) and not _inside_of(axis) & keys:
            kept.append(axis)
        elif columns:
            # what is left may repeat: the rows of a zip differed in the keys that went
            rows = {}
            for point, place in zip(reversed(axis.points), reversed(axis.places), strict=True):
                values = tuple(_less(axis.keys[i], point[i], keys) for i in columns)
                rows[repr(values)] = values, tuple(place[i] for i in columns)
            points, places = zip(*reversed(rows.values()), strict=True)
            keys_left = tuple(axis.keys[i] for i in columns)
            kept.append(replace(axis, keys=keys_left, points=points, places=places, reduced=True))
    return kept


def _less(axis_key: str, value: Any, keys: set[str]) -> Any:
    """A value of an axis; of a whole `init.from_run` without the keys that are gone."""
    if axis_key != FROM_RUN or not isinstance(value, dict):
        return value
    return {word: item for word, item in value.items() if f"{FROM_RUN}.{word}" not in keys}
