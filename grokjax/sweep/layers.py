"""Layers of a sweep file as flat dotted keys: reading them, laying them over each other, checking types.

A run's values come from layers, later ones winning: top-level base, the arm's base, axes, --set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grokjax.spec.families import FAMILIES
from grokjax.spec.memo import Memo
from grokjax.spec.section import Families, Family
from grokjax.sweep.keys import (
    BY_MATRIX,
    DISTRIBUTION,
    FROM_RUN,
    RUN_KEYS,
    SELECT,
    family_paths,
    is_table,
    key_problem,
    split_key,
)
from grokjax.sweep.load import Document, Mistake
from grokjax.sweep.nodes import Keys, describe, or_out

SECTIONS = tuple(name for name in RUN_KEYS if name != "seed")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a layer, and where it and its key stand (paths in the file, or None for --set)."""

    value: Any
    path: Keys | None
    key_path: Keys | None
    from_axis: bool = False


Layer = dict[str, Value]
MOST_KNOWN = 50_000
NOTHING = Value(None, None, None)


def by_section(layer: Layer) -> dict[str, Layer]:
    """Section -> its keys of a layer."""
    found: dict[str, Layer] = {}
    for key, item in layer.items():
        found.setdefault(key.partition(".")[0], {})[key] = item
    return found


class Known(dict[tuple, Any]):
    """What was made before. It forgets all where it would become as much as the runs of a sweep of drawn values."""

    def __setitem__(self, stamp: tuple, made: Any) -> None:
        if len(self) >= MOST_KNOWN:
            self.clear()
        super().__setitem__(stamp, made)


@dataclass
class Mistakes:
    """Collects mistakes, each once, at its place in the file; and notes, of what is no mistake and should be known."""

    document: Document
    found: set[Mistake] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)
    families: Families = field(default_factory=lambda: FAMILIES)
    built: Known = field(default_factory=lambda: Known())  # sections, by their values
    right: Known = field(default_factory=lambda: Known())  # what was checked and found right, by its sections
    keys: Known = field(default_factory=lambda: Known())  # what is wrong with a key, by it and the families around it
    memo: Memo = field(default_factory=Memo)

    def at(self, path: Keys | None, key: str, what: str) -> None:
        if path is None:
            self.found.add(Mistake("--set", 0, 0, key, what))
        else:
            self.found.add(Mistake(*self.document.place(path), key, what))

    def note(self, text: str) -> None:
        self.notes[text] = None


def flatten(node: Any, path: Keys | None, mistakes: Mistakes, prefix: str = "") -> Layer:
    """A nested `base` mapping as a flat layer. Keys may also be dotted already. path: None for --set."""
    layer: Layer = {}
    if not isinstance(node, dict):
        mistakes.at(path, prefix or "base", f"expected a mapping, got {describe(node)}{or_out(node)}")
        return layer
    for key, value in node.items():
        full = f"{prefix}.{key}" if prefix else key
        here = None if path is None else (*path, key)
        parts = split_key(full)
        table = len(parts) > 1 and is_table(parts[-1])
        if table and path is None and isinstance(value, dict):
            inner = {full: Value(value, here, here)}  # --set replaces the whole table
        elif full == SELECT or (len(parts) == 3 and full.startswith(f"{DISTRIBUTION}.")):
            inner = {full: Value(value, here, here)}
        elif full in SECTIONS or full == "task.split" or table or (isinstance(value, dict) and value):
            inner = flatten(value, here, mistakes, full)
        else:
            inner = {full: Value(value, here, here)}
        for name, item in inner.items():
            if name in layer:
                mistakes.at(item.path, name, "duplicate key: it stands twice, dotted and nested")
            layer[name] = item
    if FROM_RUN in layer and _below(FROM_RUN, layer):
        mistakes.at(layer[FROM_RUN].path, FROM_RUN, "duplicate key: it stands twice, as a whole and by its keys")
    return layer


def _below(key: str, layer: Layer) -> list[str]:
    return [other for other in layer if other.startswith(f"{key}.")]


def overlay(layers: list[Layer], families: Families) -> Layer:
    """Later layers win. Inherited keys that only another family has are dropped where a later layer names
    the family: an arm that says `optimizer.name: sgd` need not take back the base's `b2`. So are those of --set,
    which fix a key in the arms that have it."""
    merged: Layer = {}
    rank: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for key, value in _with_from_run(layer, merged, families).items():
            for entry in _replaced_by(key, merged):
                del merged[entry]
            merged[key], rank[key] = value, index
    for path, kind in family_paths(merged).items():
        named = merged.get(f"{path}.name")
        name = next(iter(families[kind])) if named is None else named.value
        if isinstance(name, str) and name in families[kind]:
            named_in = -1 if named is None else rank[f"{path}.name"]
            for key in _replaceable(merged, rank, path, named_in):
                if _is_of_another(key.removeprefix(f"{path}."), families[kind], name):
                    del merged[key]
    return merged


def _replaced_by(key: str, layer: Layer) -> list[str]:
    """Keys that go where `key` is given: entries of a whole table, and the other distributions of a matrix."""
    if is_table(key.rpartition(".")[2]) or key in BY_MATRIX:
        return _below(key, layer)
    if key.startswith(f"{DISTRIBUTION}."):
        matrix = ".".join(split_key(key)[:3])
        return [other for other in (matrix, *_below(matrix, layer)) if other in layer and other != key]
    return []


def _replaceable(layer: Layer, rank: dict[str, int], path: str, named_in: int) -> list[str]:
    """Keys below a family's path that it may drop: of layers before the one that names it, or of --set."""
    prefix = f"{path}."
    keys = []
    for key, item in layer.items():
        inherited = rank[key] < named_in and not item.from_axis
        if (inherited or item.key_path is None) and key.startswith(prefix):
            keys.append(key)
    return keys


def _is_of_another(key: str, options: Mapping[str, type[Family]], name: str) -> bool:
    """Whether only other families of the kind have a key."""
    word = key.partition(".")[0]
    elsewhere = any(word in family.model_fields for family in options.values())
    return word not in options[name].model_fields and elsewhere


def _with_from_run(layer: Layer, merged: Layer, families: Families) -> Layer:
    """The layer with a whole `init.from_run` (of an axis) taken apart. What it takes back goes from `merged`."""
    if not any(key.startswith(FROM_RUN) for key in layer):
        return layer
    whole, own = layer.get(FROM_RUN), {key: layer[key] for key in _below(FROM_RUN, layer)}
    rest = {key: item for key, item in layer.items() if key != FROM_RUN and key not in own}
    below = _below(FROM_RUN, merged)
    if whole is not None and not isinstance(whole.value, dict):  # null; what else it may be is told in `build`
        for key in below:
            del merged[key]
        return rest | {FROM_RUN: whole}
    if whole is not None:
        own = {f"{FROM_RUN}.{word}": _inside(whole, word) for word in whole.value} | own
        if not own and not below:
            return rest | {FROM_RUN: whole}
    given = {key.removeprefix(f"{FROM_RUN}.") for key, item in own.items() if item.value is not None}
    of_set = whole is None and all(item.key_path is None for item in own.values())
    if of_set and not below and not ("results" in given and given & {"run", "select"}):
        # --set fixes a key in the runs that start from another, and makes no other run one
        return rest | {key: item for key, item in own.items() if key_problem(key, {}, False, families)}
    if FROM_RUN in merged and merged[FROM_RUN].value in (None, {}):
        del merged[FROM_RUN]
    for one, other in (("run", "select"), ("select", "run")):
        if one in given and other not in given:
            merged.pop(f"{FROM_RUN}.{other}", None)
    return rest | own


def _inside(whole: Value, word: str) -> Value:
    """The value of `word` in a whole `init.from_run` of an axis."""
    path = None if whole.path is None else (*whole.path, word)
    return Value(whole.value[word], path, path, whole.from_axis)


def upwards(path: Keys | None, key: str, bad: str) -> Keys | None:
    """Where the part `bad` of `key` stands, if it has a line of its own."""
    while path and isinstance(path[-1], str) and key.endswith(f".{path[-1]}"):
        key = key.removesuffix(f".{path[-1]}")
        if not (key == bad or key.startswith(f"{bad}.")):
            break
        path = path[:-1]
    return path


def find(key: str, layer: Layer) -> Value | None:
    """The value of `key`, or of the nearest key above it, or of the first one in its section."""
    parts = split_key(key)
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in layer:
            return layer[prefix]
    return next((value for name, value in layer.items() if split_key(name)[0] == parts[0]), None)


def place_of(key: str, layer: Layer) -> Keys | None:
    """Where to say what is wrong with `key`: at its value, else at the nearest key above it; None is --set."""
    parts = split_key(key)
    for length in range(len(parts), 1, -1):
        prefix = ".".join(parts[:length])
        if prefix in layer:
            break
        if inside := _below(prefix, layer):
            return upwards(layer[inside[0]].key_path, inside[0], prefix)
    item = find(key, layer)
    return item.path if item else ()
