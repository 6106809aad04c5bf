"""Axes of a sweep in W&B's words: what one entry of `parameters` or `zip` means, as points or a distribution."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from grokjax.sweep.load import did_you_mean
from grokjax.sweep.nodes import Keys, describe, or_out, shown

Report = Callable[[Keys, str, str], None]  # (path in the file, key, what is wrong)
MAX_POINTS = 1_000_000  # of one listed axis; longer ranges can be drawn from

# distribution -> the keys it needs besides `distribution`
NEEDS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "int_uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "normal": ("mu", "sigma"),
}
OPTIONAL = {"q_uniform": {"q": 1}, "normal": {"mu": 0.0, "sigma": 1.0}}
# W&B's other words, and what to write instead where there is something
OTHERS: dict[str, str] = dict.fromkeys(
    ("log_uniform", "loguniform", "log-uniform", "log"),
    " (did you mean log_uniform_values? its min and max are values, not exponents)",
)
ENTRY_KEYS = ("value", "values", "distribution", "min", "max", "mu", "sigma", "q", "parameters")


@dataclass(frozen=True)
class Distribution:
    kind: str
    low: float = 0.0
    high: float = 0.0
    mu: float = 0.0
    sigma: float = 1.0
    q: float = 1.0


@dataclass(frozen=True)
class Axis:
    """One dimension of a sweep: several keys when they move together (zip), else one."""

    keys: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]  # [point][key]; empty for a continuous distribution
    places: tuple[tuple[Keys, ...], ...]  # where each value of `points` stands
    path: Keys
    distribution: Distribution | None = None
    reduced: bool = False  # what is left of a zip after other keys of it were fixed: need not have an effect

    @property
    def key_paths(self) -> tuple[Keys, ...]:
        """Where each key stands: that of a zip is in its group."""
        in_zip = len(self.path) > 1 and self.path[-2] == "zip"
        return tuple((*self.path, key) if in_zip else self.path for key in self.keys)


def read_parameters(node: Any, path: Keys, report: Report, prefix: str = "") -> list[Axis]:
    """The axes of a `parameters` mapping, W&B's nested form included. Mistakes go to `report`."""
    if not isinstance(node, dict):
        report(path, "parameters", f"expected a mapping of keys to axes, got {describe(node)}{or_out(node)}")
        return []
    axes: list[Axis] = []
    for key, entry in node.items():
        here, full = (*path, key), f"{prefix}{key}"
        if isinstance(entry, dict) and "parameters" in entry:
            for other in entry:
                if other != "parameters":
                    report((*here, other), full, f"{other} beside nested `parameters` has no meaning")
            axes += read_parameters(entry["parameters"], (*here, "parameters"), report, f"{full}.")
        else:
            axis = _read_entry(full, entry, here, report)
            axes += [axis] if axis else []
    return axes


def _read_entry(key: str, entry: Any, path: Keys, report: Report) -> Axis | None:
    if not isinstance(entry, dict):
        form = {list: f"{{values: {shown(entry)}}}", type(None): "{values: [...]}"}.get(
            type(entry), f"{{value: {shown(entry)}}}"
        )
        report(path, key, f"an axis is a mapping in W&B's words: write {form}, got {describe(entry)}")
        return None
    unknown = [word for word in entry if word not in ENTRY_KEYS]
    for word in unknown:
        nested = isinstance(entry[word], dict)
        hint = f"; nested axes stand below `parameters`, or are dotted: {key}.{word}" if nested else ""
        near = did_you_mean(word, ENTRY_KEYS)
        report((*path, word), key, f"unknown key {word}{hint or near or f'; an axis has {_some(ENTRY_KEYS)}'}")
    kind = entry.get("distribution", _implied(entry))
    if unknown:
        return None
    if not isinstance(kind, str) or kind not in NEEDS:
        if "distribution" not in entry:
            report(path, key, "an axis needs value, values, or min and max")
        else:
            hint = OTHERS.get(str(kind), did_you_mean(kind, NEEDS))
            report((*path, "distribution"), key, f"unknown distribution {shown(kind)}{hint}; one of {_some(NEEDS)}")
        return None
    given = {**OPTIONAL.get(kind, {}), **entry}
    missing = [word for word in NEEDS[kind] if word not in given]
    extra = [word for word in entry if word != "distribution" and word not in NEEDS[kind]]
    for word in missing:
        report(path, key, f"{kind} needs {word}")
    for word in extra:
        report((*path, word), key, f"{word} has no meaning for {kind}")
    if missing or extra:
        return None
    if kind == "constant":
        return Axis((key,), ((entry["value"],),), (((*path, "value"),),), path)
    if kind == "categorical":
        return _listed((key,), [entry["values"]], [(*path, "values")], path, report)
    return _ranged(key, kind, given, path, report)


def _some(words: Iterable[str]) -> str:
    return ", ".join(words)


def _implied(entry: dict) -> str | None:
    """The distribution that W&B takes when none is named."""
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "mu" in entry or "sigma" in entry:
        return "normal"
    if "min" not in entry and "max" not in entry:
        return None
    if "q" in entry:
        return "q_uniform"
    ends = [entry.get("min"), entry.get("max")]
    return "uniform" if any(isinstance(end, float) for end in ends) else "int_uniform"


def _listed(keys: tuple[str, ...], columns: list[Any], paths: list[Keys], path: Keys, report: Report) -> Axis | None:
    """An axis of listed values, one column a key; all columns must be lists of one length."""
    good = True
    for key, column, place in zip(keys, columns, paths, strict=True):
        if not isinstance(column, list):
            report(place, key, f"values must be a list, got {describe(column)}")
            good = False
        elif not column:
            report(place, key, "an empty axis: it has no values, so the sweep would have no runs")
            good = False
    if not good:
        return None
    lengths = {key: len(column) for key, column in zip(keys, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        report(path, "zip", f"axes that move together need equal lengths: {counts}")
        return None
    points = tuple(zip(*columns, strict=True))
    places = tuple(tuple((*place, index) for place in paths) for index in range(len(points)))
    return Axis(keys, points, places, path)


def _ranged(key: str, kind: str, given: dict, path: Keys, report: Report) -> Axis | None:
    numbers = {word: given[word] for word in NEEDS[kind]}
    good = True
    for word, value in numbers.items():
        problem = _number_problem(value, whole=kind == "int_uniform")
        if problem:
            report((*path, word), key, f"{word} must be {problem}, got {describe(value)}")
            good = False
        elif kind == "int_uniform":
            numbers[word] = int(value)
    problem = _range_problem(kind, numbers) if good else None
    if problem:
        word, what = problem
        report((*path, word) if word in given else path, key, what)
    if problem or not good:
        return None
    low, high, q = numbers.get("min", 0), numbers.get("max", 0), numbers.get("q", 1)
    values: list[Any] = []
    if kind in ("int_uniform", "q_uniform") and (high - low) / q < MAX_POINTS:
        whole = kind == "int_uniform"
        values = list(range(low, high + 1)) if whole else _multiples(low, high, q)
    points = tuple((value,) for value in values)
    mu, sigma = numbers.get("mu", 0.0), numbers.get("sigma", 1.0)
    return Axis((key,), points, ((path,),) * len(points), path, Distribution(kind, low, high, mu, sigma, q))


def _number_problem(value: Any, whole: bool) -> str | None:
    kind = "a whole number" if whole else "a finite number"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e15 <= value <= 1e15:
        return f"{kind} between -1e15 and 1e15" if isinstance(value, (int, float)) and abs(value) > 1e15 else kind
    return kind if whole and value != int(value) else None


def _range_problem(kind: str, numbers: dict[str, Any]) -> tuple[str, str] | None:
    """The word of the entry that is wrong, and how."""
    low, high = numbers.get("min", 0), numbers.get("max", 0)
    if low > high:
        return "min", f"an empty axis: min {shown(low)} is above max {shown(high)}"
    if kind == "log_uniform_values" and low <= 0:
        return "min", f"log_uniform_values needs min above 0, got {shown(low)}"
    if kind == "normal" and numbers["sigma"] < 0:
        return "sigma", f"sigma must not be negative, got {shown(numbers['sigma'])}"
    if kind == "q_uniform" and numbers["q"] <= 0:
        return "q", f"q must be above 0, got {shown(numbers['q'])}"
    return None


def _multiples(low: float, high: float, q: float) -> list[float]:
    return [_quantized(low + i * q) for i in range(int((high - low) / q + 1e-9) + 1)]


def read_zip(node: Any, path: Keys, report: Report) -> list[Axis]:
    """The axes of a `zip` list: each group is a mapping of keys to lists (or {values: list})."""
    if not isinstance(node, list):
        report(path, "zip", f"expected a list of groups, got {describe(node)}{or_out(node)}")
        return []
    axes: list[Axis] = []
    for index, group in enumerate(node):
        here = (*path, index)
        if not isinstance(group, dict) or not group:
            report(here, "zip", f"a group maps keys to lists of values, got {describe(group)}")
            continue
        columns, places = [], []
        for key, column in group.items():
            wrapped = isinstance(column, dict) and set(column) == {"values"}
            columns.append(column["values"] if wrapped else column)
            places.append((*here, key, "values") if wrapped else (*here, key))
        axis = _listed(tuple(group), columns, places, here, report)
        axes += [axis] if axis else []
    return axes


def draw(axis: Axis, random_seed: int, index: int) -> tuple[tuple[Any, ...], tuple[Keys, ...]]:
    """Values of draw `index`, and where they stand: keyed by seed and name, so an axis added changes no other."""
    rng = np.random.Generator(np.random.PCG64([random_seed, zlib.crc32("|".join(axis.keys).encode()), index]))
    d = axis.distribution
    if d is not None and d.kind == "int_uniform":
        return (int(rng.integers(int(d.low), int(d.high) + 1)),), (axis.path,)
    if d is None:
        point = int(rng.integers(len(axis.points)))
        return axis.points[point], axis.places[point]
    if d.kind == "q_uniform":  # W&B: round(X / q) * q, so the two ends are half as likely
        steps = round(float(rng.uniform(d.low, d.high)) / d.q)
        return (_quantized(steps * d.q),), (axis.path,)
    if d.kind == "normal":
        value = float(rng.normal(d.mu, d.sigma))
    elif d.kind == "log_uniform_values":
        value = min(max(math.exp(rng.uniform(math.log(d.low), math.log(d.high))), d.low), d.high)
    else:
        value = float(rng.uniform(d.low, d.high))
    return (value,), (axis.path,)


def _quantized(value: float) -> float:
    """A multiple of q without the last digits that binary multiplication adds; an integer stays one."""
    return value if isinstance(value, int) else float(f"{value:.12g}")
