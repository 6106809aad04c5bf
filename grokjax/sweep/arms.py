"""The parts of a sweep file as arms: the layers that all runs of an arm share, and the axes it varies."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grokjax.spec.run import FromRun
from grokjax.sweep.axes import Axis, read_parameters, read_zip
from grokjax.sweep.keys import FROM_RUN, TOP, suggest
from grokjax.sweep.layers import Layer, Mistakes, flatten
from grokjax.sweep.load import did_you_mean
from grokjax.sweep.nodes import Keys, describe, or_out

ARM = ("base", "parameters", "zip")
MAX_RUNS = 1_000_000
# keys of W&B's sweep files that mean nothing here
FAMILIAR = tuple(word for word in TOP if word != "uses")  # nobody who writes `seeds` means `uses`
WANDB_ONLY = ("program", "metric", "early_terminate", "project", "entity", "command", "description", "controller")
NAME = "must be letters, digits, '-', '_' and '.' (at most 100), starting with a letter or digit"


@dataclass(frozen=True)
class Arm:
    name: str
    before: list[Layer]  # what the axes win over: top-level base, the arm's base
    fixed: Layer  # --set, which wins over the axes
    axes: list[Axis]


def check_top(data: dict, mistakes: Mistakes) -> str:
    """Report what is wrong with the top level's own keys; the sweep's name."""
    for key in data:
        if key in WANDB_ONLY:
            mistakes.at((key,), key, f"unknown key: W&B's {key} has no meaning here; leave it out")
        elif key not in TOP:
            near = suggest(key, mistakes.families, exact=True, prefix="base.") or did_you_mean(key, FAMILIAR)
            near = near or suggest(key, mistakes.families, prefix="base.")
            mistakes.at((key,), key, f"unknown key{near}; the top level has {', '.join(TOP)}")
    _check_method(data, mistakes)
    given = "name" in data
    name = data["name"] if given else re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(mistakes.document.file).stem)
    name = name if given else name.strip("-._")[:100] or "sweep"
    if not isinstance(name, str) or not _is_name(name):
        mistakes.at(("name",), "name", f"{NAME}: it becomes a folder; got {describe(name)}")
        return "sweep"
    return name


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) is not None


def _check_method(data: dict, mistakes: Mistakes) -> None:
    method = data.get("method", "grid")
    if method not in ("grid", "random"):
        what = f"must be grid or random, got {describe(method)}{did_you_mean(method, ('grid', 'random'))}"
        mistakes.at(("method",), "method", what)
    for key, least, most in (("run_cap", 1, MAX_RUNS), ("random_seed", 0, 2**63 - 1)):
        value = data.get(key)
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        if key in data and not good:
            what = f"must be a whole number from {least} to {most:,}, got {describe(value)}"
            mistakes.at((key,), key, what)
        elif key in data and method == "grid":
            mistakes.at((key,), key, "has no effect with method grid; leave it out, or write method: random")
    sweeping = [node for node in (data, *_mappings(data.get("arms"))) if node.get("parameters") or node.get("zip")]
    if method == "random" and not sweeping:
        mistakes.at(("method",), "method", "random draws from `parameters` or `zip`, and there is nothing below them")
    if method == "random" and "run_cap" not in data:
        mistakes.at(("method",), "run_cap", "method random needs run_cap, the number of draws in each arm")


def _mappings(node: Any) -> list[dict]:
    return [item for item in node.values() if isinstance(item, dict)] if isinstance(node, dict) else []


def read_arms(data: dict, overrides: dict[Any, Any], mistakes: Mistakes) -> list[Arm]:
    """Every arm's layers and axes; one arm `main` where the file names none."""
    top = _read_base(data, (), mistakes)
    for section in ("log", "events", "engine"):
        if section in data:
            for key, value in flatten(data[section], (section,), mistakes, section).items():
                if key in top:
                    mistakes.at(value.path, key, "duplicate key: it stands in base too")
                top[key] = value
    fixed = _read_overrides(overrides, mistakes)
    top_axes = _read_axes(data, (), mistakes)
    given = data.get("arms", {})
    if not isinstance(given, dict):
        mistakes.at(("arms",), "arms", f"expected a mapping of names to arms, got {describe(given)}{or_out(given)}")
        given = {}
    arms = []
    for name, arm in (given or {"main": {}}).items():
        path = ("arms", name)
        if given and not _is_name(name):
            mistakes.at(path, name, f"the name of an arm {NAME}, got {describe(name)}")
        arm = {} if arm is None else arm
        if not isinstance(arm, dict):
            mistakes.at(path, name, f"an arm is a mapping of {', '.join(ARM)}, got {describe(arm)}")
            continue
        for key in arm:
            if key not in ARM:
                near = suggest(key, mistakes.families, exact=True, prefix="base.") or did_you_mean(key, ARM)
                near = (
                    " (it stands at the top level only)"
                    if key in TOP
                    else near or suggest(key, mistakes.families, prefix="base.")
                )
                mistakes.at((*path, key), key, f"unknown key{near}; an arm has {', '.join(ARM)}")
        base = _read_base(arm, path, mistakes)
        own = _read_axes(arm, path, mistakes)
        axes = _without(_without(top_axes, _replaced(base, own)) + own, _replaced(fixed, []))
        arms.append(Arm(name, [top, base], fixed, axes))
    return arms


def _read_overrides(overrides: dict[Any, Any], mistakes: Mistakes) -> Layer:
    of_file = ("name", *TOP[5:])
    of_run = {str(key): value for key, value in overrides.items() if key not in of_file}
    for key in of_file:
        if key in overrides:
            mistakes.at(None, key, "is no key of a run: change it in the file")
    return flatten(of_run, None, mistakes)


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
    tables = tuple(f"{key}." for key in keys if key.endswith("_by_matrix"))
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
