"""Axes of a sweep in W&B's words: what one entry of `parameters` or `zip` means, as points or a distribution."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grokjax.sweep.distributions import KINDS, Distribution, listed, number_problem, range_problem
from grokjax.sweep.nodes import Keys, describe, or_out, shown
from grokjax.sweep.synonyms import distribution_hint, entry_hint

Report = Callable[[Keys, str, str], None]  # (path in the file, key, what is wrong)
MAX_POINTS = 1_000_000  # of one listed axis; longer ranges can be drawn from

# distribution -> the words of its entry, with their defaults; None: needed
WORDS: dict[str, Mapping[str, Any]] = {
    "constant": {"value": None},
    "categorical": {"values": None, "probabilities": ()},
    **{kind: KINDS[kind].numbers for kind in KINDS},
}
SAME = {"categorical_w_probabilities": "categorical"}  # W&B's schema has another name for it
ENTRY_KEYS = (
    "value", "values", "distribution", "min", "max", "mu", "sigma", "q", "a", "b", "probabilities", "parameters",
)  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """One dimension of a sweep: several keys when they move together (zip), else one."""

    keys: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]  # [point][key]; empty for a continuous distribution
    places: tuple[tuple[Keys | None, ...], ...]  # where each value of `points` stands
    path: Keys | None  # None: of --set
    distribution: Distribution | None = None
    probabilities: tuple[float, ...] | None = None  # of its points, in a random sweep; None: all alike
    reduced: bool = False  # it need not have an effect: what is left of a zip, or of --set and not for every family

    @property
    def of_setting(self) -> bool:
        return self.path is None

    @property
    def key_paths(self) -> tuple[Keys | None, ...]:
        """Where each key stands: that of a zip is in its group."""
        path = self.path
        if path is None or len(path) < 2 or path[-2] != "zip":
            return (path,) * len(self.keys)
        return tuple((*path, key) for key in self.keys)


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
        near = entry_hint(word, ENTRY_KEYS)
        report((*path, word), key, f"unknown key {word}{hint or near or f'; an axis has {_some(ENTRY_KEYS)}'}")
    kind = entry.get("distribution", _implied(entry))
    kind = SAME.get(kind, kind) if isinstance(kind, str) else kind
    if unknown:
        return None
    if not isinstance(kind, str) or kind not in WORDS:
        if "distribution" not in entry:
            report(path, key, "an axis needs value, values, or min and max")
        else:
            hint = distribution_hint(kind, WORDS)
            report((*path, "distribution"), key, f"unknown distribution {shown(kind)}{hint}; one of {_some(WORDS)}")
        return None
    missing = [word for word, default in WORDS[kind].items() if default is None and word not in entry]
    extra = [word for word in entry if word != "distribution" and word not in WORDS[kind]]
    for word in missing:
        report(path, key, f"{kind} needs {word}")
    for word in extra:
        report((*path, word), key, f"{word} has no meaning for {kind}")
    if missing or extra:
        return None
    if kind == "constant":
        return Axis((key,), ((entry["value"],),), (((*path, "value"),),), path)
    if kind == "categorical":
        axis = _listed((key,), [entry["values"]], [(*path, "values")], path, report)
        return _weighted(axis, entry["probabilities"], report) if axis and "probabilities" in entry else axis
    return _ranged(key, kind, entry, path, report)


def _weighted(axis: Axis, given: Any, report: Report) -> Axis | None:
    """The axis with the probabilities of its values."""
    assert axis.path is not None
    key, place = axis.keys[0], (*axis.path, "probabilities")
    if not isinstance(given, list) or not all(_is_share(number) for number in given):
        report(place, key, f"probabilities must be a list of numbers from 0 to 1, got {describe(given)}")
    elif len(given) != len(axis.points):
        report(place, key, f"each value needs a probability: {len(axis.points)} values, {len(given)} probabilities")
    elif not math.isclose(math.fsum(given), 1.0, rel_tol=1e-6):
        report(place, key, f"probabilities must sum to 1; the sum is {math.fsum(given):.6g}")
    else:
        return replace(axis, probabilities=tuple(float(number) for number in given))
    return None


def _is_share(number: Any) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number <= 1


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


def _ranged(key: str, kind: str, entry: dict, path: Keys, report: Report) -> Axis | None:
    numbers: dict[str, Any] = {word: entry.get(word, default) for word, default in KINDS[kind].numbers.items()}
    good = True
    for word, value in numbers.items():
        problem = number_problem(word, value, kind)
        if problem:
            report((*path, word), key, f"{word} must be {problem}, got {describe(value)}")
            good = False
        elif kind == "int_uniform":
            numbers[word] = int(value)
    problem = range_problem(kind, numbers) if good else None
    if problem:
        word, what = problem
        report((*path, word) if word in entry else path, key, what)
    if problem or not good:
        return None
    distribution = Distribution(kind, numbers)
    points = tuple((value,) for value in listed(distribution, MAX_POINTS))
    return Axis((key,), points, ((path,),) * len(points), path, distribution)


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


def draw(axis: Axis, random_seed: int, index: int) -> tuple[tuple[Any, ...], tuple[Keys | None, ...]]:
    """Values of draw `index`, and where they stand: keyed by seed and name, so an axis added changes no other."""
    rng = np.random.Generator(np.random.PCG64([random_seed, zlib.crc32("|".join(axis.keys).encode()), index]))
    if axis.distribution is not None:
        return (axis.distribution.draw(rng),), (axis.path,)
    if axis.probabilities is None:
        point = int(rng.integers(len(axis.points)))
    else:
        weights = np.array(axis.probabilities)
        point = int(rng.choice(len(axis.points), p=weights / weights.sum()))
    return axis.points[point], axis.places[point]
