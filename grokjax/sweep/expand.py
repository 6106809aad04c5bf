"""A sweep file to its runs: arms, axes, --set, and every mistake at once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from grokjax.sweep import check, identity
from grokjax.sweep.axes import Axis, draw, read_parameters, read_zip
from grokjax.sweep.layers import Layer, Mistakes, Value, build, flatten, overlay, split_key
from grokjax.sweep.load import Document, Mistake, SweepError, did_you_mean, read_sweep, read_value
from grokjax.sweep.nodes import Keys, describe
from grokjax.sweep.spec import RunSpec

TOP = (
    "name",
    "base",
    "log",
    "events",
    "engine",
    "method",
    "run_cap",
    "random_seed",
    "parameters",
    "zip",
    "arms",
)
ARM = ("base", "parameters", "zip")
MAX_RUNS = 1_000_000


@dataclass(frozen=True)
class Run:
    run_id: str
    spec: RunSpec
    arms: tuple[str, ...]  # the first is the arm


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep in a fixed order, each once."""

    name: str
    text: str
    overrides: dict[str, Any]
    runs: tuple[Run, ...]
    axes: dict[str, tuple[str, ...]]  # arm -> the keys it varies
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Arm:
    name: str
    layers: list[Layer]
    axes: list[Axis]


def load_sweep(path: str | Path, overrides: dict[str, Any] | None = None) -> Sweep:
    """Read, expand and check a sweep file. Raises SweepError with every mistake."""
    return expand(read_sweep(path), overrides)


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["train.steps=2000"]` to values, each read as YAML. Raises SweepError."""
    overrides, mistakes = {}, []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        try:
            value = YAML(typ="safe", pure=True).load(text)
        except YAMLError:
            mistakes.append(Mistake("--set", 0, 0, key, f"not valid YAML: {text!r}"))
            continue
        if not equals or not key:
            mistakes.append(Mistake("--set", 0, 0, pair, "write key=value, for instance train.steps=2000"))
        elif key in overrides:
            mistakes.append(Mistake("--set", 0, 0, key, "given twice"))
        overrides[key] = value
    if mistakes:
        raise SweepError(mistakes)
    return overrides


def expand(document: Document, overrides: dict[str, Any] | None = None) -> Sweep:
    """The runs of a parsed sweep. Raises SweepError with every mistake."""
    overrides = dict(overrides or {})
    mistakes = Mistakes(document)
    data, method = document.data, document.data.get("method", "grid")
    name = _check_top(data, mistakes)
    arms = _read_arms(data, overrides, mistakes)
    runs: dict[str, Run] = {}
    notes: dict[str, None] = {}
    for arm in arms:
        build(
            overlay([layer for index, layer in enumerate(arm.layers) if index != 2]), mistakes
        )  # base by itself
        points: list[tuple[tuple[int, ...], str]] = []
        for choice, values in _points(arm, method, data, mistakes):
            made = _make_run(arm, values, mistakes, notes)
            if made:
                known = runs.get(made.run_id)
                arms_of = tuple(dict.fromkeys([*(known.arms if known else ()), arm.name]))
                runs[made.run_id] = replace(known or made, arms=arms_of)
                points.append((choice, made.run_id))
        if method == "grid" and not mistakes.found:
            _check_effects(arm, points, mistakes)
    if not runs and not mistakes.found:
        mistakes.at((), "parameters", "the sweep has no runs")
    if mistakes.found:
        raise SweepError(mistakes.found)
    axes = {arm.name: tuple(key for axis in arm.axes for key in axis.keys) for arm in arms}
    return Sweep(name, document.text, overrides, tuple(runs.values()), axes, tuple(notes))


def _check_top(data: dict, mistakes: Mistakes) -> str:
    for key in data:
        if key not in TOP:
            mistakes.at(
                (key,), key, f"unknown key{did_you_mean(key, TOP)}; the top level has {', '.join(TOP)}"
            )
    name = data.get("name", Path(mistakes.document.file).stem)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        what = "a name is letters, digits, '-', '_' and '.' (it becomes a folder), starting with a letter or digit"
        mistakes.at(("name",), "name", f"{what}, got {describe(name)}")
        name = "sweep"
    method = data.get("method", "grid")
    if method not in ("grid", "random"):
        what = f"must be grid or random, got {describe(method)}{did_you_mean(method, ('grid', 'random'))}"
        mistakes.at(("method",), "method", what)
    for key, least in (("run_cap", 1), ("random_seed", 0)):
        value = data.get(key)
        if key in data and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            mistakes.at((key,), key, f"must be a whole number from {least} on, got {describe(value)}")
        elif key in data and method == "grid":
            mistakes.at((key,), key, "has no effect with method grid")
    if method == "random" and "run_cap" not in data:
        mistakes.at(("method",), "run_cap", "method random needs run_cap, the number of draws in each arm")
    return name


def _read_arms(data: dict, overrides: dict[str, Any], mistakes: Mistakes) -> list[_Arm]:
    """Each arm's layers [top base, arm base, axes (filled in a run), --set] and its axes."""
    top: Layer = flatten(data["base"], ("base",), mistakes) if "base" in data else {}
    for section in ("log", "events", "engine"):
        if section in data:
            for key, value in flatten(data[section], (section,), mistakes, section).items():
                if key in top:
                    mistakes.at(value.path, key, "duplicate key: it stands in base too")
                top[key] = value
    fixed: Layer = {key: Value(value, None) for key, value in overrides.items()}
    top_axes = _read_axes(data, (), mistakes)
    given = data.get("arms") or {"main": {}}
    if not isinstance(given, dict):
        mistakes.at(("arms",), "arms", f"expected a mapping of names to arms, got {describe(given)}")
        return []
    arms = []
    for name, arm in given.items():
        path = ("arms", name)
        arm = {} if arm is None else arm
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            mistakes.at(path, name, "an arm's name is letters, digits, '-', '_' and '.'")
        if not isinstance(arm, dict):
            mistakes.at(path, name, f"an arm is a mapping of {', '.join(ARM)}, got {describe(arm)}")
            continue
        for key in arm:
            if key not in ARM:
                mistakes.at(
                    (*path, key), key, f"unknown key{did_you_mean(key, ARM)}; an arm has {', '.join(ARM)}"
                )
        base = flatten(arm["base"], (*path, "base"), mistakes) if "base" in arm else {}
        own = _read_axes(arm, path, mistakes)
        replaced = {key for axis in own for key in axis.keys} | set(base)
        axes = _without(_without(top_axes, replaced) + own, set(overrides))
        arms.append(_Arm(name, [top, base, {}, fixed], axes))
    return arms


def _read_axes(node: dict, path: Keys, mistakes: Mistakes) -> list[Axis]:
    axes: list[Axis] = []
    if "parameters" in node:
        axes += read_parameters(node["parameters"], (*path, "parameters"), mistakes.at)
    if "zip" in node:
        axes += read_zip(node["zip"], (*path, "zip"), mistakes.at)
    seen: set[str] = set()
    for axis in axes:
        for key in axis.keys:
            if key in seen:
                mistakes.at(axis.path, key, "swept twice: it stands in two axes")
            seen.add(key)
    return axes


def _without(axes: list[Axis], keys: set[str]) -> list[Axis]:
    """The axes less the keys that something later fixes or replaces."""
    kept = []
    for axis in axes:
        columns = [index for index, key in enumerate(axis.keys) if key not in keys]
        if columns:
            kept.append(
                replace(
                    axis,
                    keys=tuple(axis.keys[i] for i in columns),
                    points=tuple(tuple(point[i] for i in columns) for point in axis.points),
                    places=tuple(tuple(place[i] for i in columns) for place in axis.places),
                )
            )
    return kept


def _points(
    arm: _Arm, method: str, data: dict, mistakes: Mistakes
) -> Iterator[tuple[tuple[int, ...], Layer]]:
    """Each point of the arm: its index along every axis, and the values as a layer."""
    if method == "random":
        cap, seed = data.get("run_cap"), data.get("random_seed", 0)
        for index in range(min(cap, MAX_RUNS) if isinstance(cap, int) and isinstance(seed, int) else 0):
            layer: Layer = {}
            for axis in arm.axes:
                values, places = draw(axis, seed, index)
                layer |= {k: Value(v, p, True) for k, v, p in zip(axis.keys, values, places, strict=True)}
            yield (index,), layer
        return
    for axis in arm.axes:
        if not axis.points:
            kind = axis.distribution.kind if axis.distribution else ""
            mistakes.at(
                axis.path, axis.keys[0], f"{kind} is continuous: method grid needs values; use method: random"
            )
            return
    total = 1
    for axis in arm.axes:
        total *= len(axis.points)
    if total > MAX_RUNS:
        mistakes.at((), "parameters", f"{total:,} runs in arm {arm.name}; at most {MAX_RUNS:,} in one sweep")
        return
    for choice in itertools.product(*(range(len(axis.points)) for axis in arm.axes)):
        layer = {}
        for axis, at in zip(arm.axes, choice, strict=True):
            for key, value, place in zip(axis.keys, axis.points[at], axis.places[at], strict=True):
                layer[key] = Value(value, place, True)
        yield choice, layer


def _make_run(arm: _Arm, values: Layer, mistakes: Mistakes, notes: dict[str, None]) -> Run | None:
    base, own, _, fixed = arm.layers
    layer = overlay([base, own, values, fixed])
    layer = {key: _located(item, key, mistakes) for key, item in layer.items()}
    spec = build(layer, mistakes)
    if spec is None:
        return None
    before = len(mistakes.found)

    def report(key: str, what: str) -> None:
        item = layer.get(key)
        if item is None:  # a default took part: point at what was given of the same section
            section = split_key(key)[0]
            item = next((value for name, value in layer.items() if split_key(name)[0] == section), None)
        mistakes.at(item.path if item else (), key, what)

    check.check(spec, report)
    if len(mistakes.found) > before or mistakes.found:
        return None
    notes.update(dict.fromkeys(f"{arm.name}: {note}" for note in check.warnings(spec, set(layer))))
    spec = check.resolve(spec, set(layer))
    return Run(identity.run_id(spec), spec, (arm.name,))


def _located(item: Value, key: str, mistakes: Mistakes) -> Value:
    """Paths in a sweep are relative to its folder (those of --set to the working directory)."""
    if key != "init.from_file" or not isinstance(item.value, str):
        return item
    folder = Path() if item.path is None else mistakes.document.folder
    return replace(item, value=str((folder / item.value).resolve()))


def _check_effects(arm: _Arm, points: list[tuple[tuple[int, ...], str]], mistakes: Mistakes) -> None:
    """Every axis must change some run: one that never does is a mistake, most often a wrong key."""
    if len({run for _, run in points}) == len(points):
        return
    for index, axis in enumerate(arm.axes):
        names = ", ".join(axis.keys)
        repeated = [point for at, point in enumerate(axis.points) if point in axis.points[:at]]
        if repeated:
            shown = describe(repeated[0][0] if len(axis.keys) == 1 else repeated[0])
            mistakes.at(axis.path, names, f"the value {shown} stands twice")
            continue
        groups: dict[tuple, set[str]] = {}
        for choice, run in points:
            groups.setdefault(choice[:index] + choice[index + 1 :], set()).add(run)
        if len(axis.points) > 1 and all(len(group) == 1 for group in groups.values()):
            what = f"an axis without effect: all {len(axis.points)} values give the same runs"
            mistakes.at(axis.path, names, what)
