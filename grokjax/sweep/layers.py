"""Layers of a sweep file as flat dotted keys: reading them, laying them over each other, checking types.

A run's values come from layers, later ones winning: top-level base, the arm's base, axes, --set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from grokjax.sweep.axes import describe
from grokjax.sweep.load import Document, Keys, Mistake, did_you_mean
from grokjax.sweep.spec import FAMILIES, RunSpec, Section

SECTIONS = tuple(name for name in RunSpec.model_fields if name != "seed")


@dataclass(frozen=True)
class Value:
    """One value of a layer, and where it stands (a path in the file, or None for --set)."""

    value: Any
    path: Keys | None
    from_axis: bool = False


Layer = dict[str, Value]


@dataclass
class Mistakes:
    """Collects mistakes, each once, at its place in the file."""

    document: Document
    found: set[Mistake] = field(default_factory=set)

    def at(self, path: Keys | None, key: str, what: str) -> None:
        if path is None:
            self.found.add(Mistake("--set", 0, 0, key, what))
        else:
            self.found.add(Mistake(self.document.file, *self.document.place(path), key, what))


def split_key(key: str) -> list[str]:
    """'init.scale_by_matrix.W_O.0' -> ['init', 'scale_by_matrix', 'W_O.0']: names of matrices keep their dots."""
    parts = key.split(".")
    for index, part in enumerate(parts):
        if part.endswith("_by_matrix") and index + 1 < len(parts):
            return [*parts[: index + 1], ".".join(parts[index + 1 :])]
    return parts


def flatten(node: Any, path: Keys, mistakes: Mistakes, prefix: str = "") -> Layer:
    """A nested `base` mapping as a flat layer. Keys may also be dotted already."""
    layer: Layer = {}
    if not isinstance(node, dict):
        mistakes.at(path, prefix or "base", f"expected a mapping, got {describe(node)}")
        return layer
    for key, value in node.items():
        full = f"{prefix}.{key}" if prefix else key
        parts = split_key(full)
        is_section = (
            full in SECTIONS or full == "task.split" or (len(parts) == 2 and key.endswith("_by_matrix"))
        )
        inner = (
            flatten(value, (*path, key), mistakes, full) if is_section or isinstance(value, dict) else None
        )
        for name, item in ({full: Value(value, (*path, key))} if inner is None else inner).items():
            if name in layer:
                mistakes.at(item.path, name, "duplicate key: it stands twice, dotted and nested")
            layer[name] = item
    return layer


def overlay(layers: list[Layer]) -> Layer:
    """Later layers win. Inherited keys that only another family has are dropped where a later layer names
    the family: an arm that says `optimizer.name: sgd` need not take back the base's `b2`."""
    merged: Layer = {}
    rank: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for key, value in layer.items():
            merged[key], rank[key] = value, index
    for section, families in FAMILIES.items():
        named = merged.get(f"{section}.name")
        if named is None or not isinstance(named.value, str) or named.value not in families:
            continue
        own = families[named.value].model_fields
        for key in [key for key in merged if key.startswith(section + ".")]:
            word = key.split(".")[1]
            elsewhere = any(word in family.model_fields for family in families.values())
            inherited = rank[key] < rank[f"{section}.name"] and not merged[key].from_axis
            if word not in own and elsewhere and inherited:
                del merged[key]
    return merged


def build(layer: Layer, mistakes: Mistakes) -> RunSpec | None:
    """The typed spec of a flat layer, or None with every mistake reported where its value stands."""
    nested: dict[str, Any] = {}
    for key, item in layer.items():
        *sections, last = split_key(key)
        node = nested
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                mistakes.at(item.path, key, f"{section} is a single value, it has no key {last}")
                return None
        node[last] = item.value
    good = True
    for section, families in FAMILIES.items():
        node = nested.get(section)
        if not isinstance(node, dict):
            continue
        name = node.setdefault("name", next(iter(families)))
        if not isinstance(name, str) or name not in families:
            what = f"must be one of {', '.join(families)}, got {describe(name)}{did_you_mean(name, families)}"
            mistakes.at(layer[f"{section}.name"].path, f"{section}.name", what)
            node["name"] = next(iter(get_close_matches(str(name), families, n=1)), next(iter(families)))
            good = False  # go on with the likeliest family, to find the other mistakes too
    try:
        spec = RunSpec.model_validate(nested)
        return spec if good else None
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if good or problem["type"] != "extra_forbidden":
                _report(problem, layer, nested, mistakes)
        return None


def _report(problem: Any, layer: Layer, nested: dict, mistakes: Mistakes) -> None:
    parts = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    index = next((part for part in problem["loc"] if isinstance(part, int)), None)
    section = parts[0] if parts else ""
    if section in FAMILIES and len(parts) > 1 and parts[1] in FAMILIES[section]:
        parts.pop(1)  # pydantic puts the chosen family's name into the path
    if parts[:2] == ["engine", "lanes"] and problem["type"] != "literal_error":
        return  # pydantic reports each member of the union; the first says it all
    parts = [part for part in parts if not part.startswith("literal[")]
    key = ".".join(parts)
    item = layer.get(key) or next(
        (value for name, value in layer.items() if name.startswith(key + ".")), None
    )
    path = item.path if item else ()
    if item and path is not None and index is not None and (*path, index) in mistakes.document.places:
        path = (*path, index)
    mistakes.at(path, key, _explain(problem, key, nested, item))


def _explain(problem: Any, key: str, nested: dict, item: Value | None) -> str:
    kind, context, got = problem["type"], problem.get("ctx", {}), problem.get("input")
    if kind == "extra_forbidden":
        return _unknown(key, nested, item)
    if kind == "literal_error":
        options = [option.strip("'\"") for option in context["expected"].replace(" or ", ", ").split(", ")]
        if key == "engine.lanes":
            return f"must be auto or a whole number from 1 on, got {describe(got)}"
        return f"must be one of {', '.join(options)}, got {describe(got)}{did_you_mean(got, options)}"
    if kind == "none_required":
        return "only null so far: starting from a stored run is not available yet"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for word, phrase in words.items():
        if word in context:
            return f"out of range: must be {phrase} {context[word]}, got {describe(got)}"
    if kind == "finite_number":
        return f"must be finite, got {describe(got)}"
    if kind == "too_short":
        return "must not be empty"
    expected = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    expected |= {"list": "a list", "dict": "a mapping", "model": "a mapping"}
    wanted = expected.get(kind.split("_")[0], problem["msg"])
    return f"wrong type: expected {wanted}, got {describe(got)}"


def _unknown(key: str, nested: dict, item: Value | None) -> str:
    *above, word = split_key(key)
    fields = _fields_at(above, nested)
    if item and item.from_axis and above and above[0] in FAMILIES:
        families = FAMILIES[above[0]]
        if any(word in family.model_fields for family in families.values()):
            name = nested[above[0]]["name"]
            return f"an axis without effect: {above[0]} {name} has no key {word}; move it into the arms that use it"
    if len(above) == 1 and above[0] in FAMILIES:
        return f"unknown key: {above[0]} {nested[above[0]]['name']} has no {word}{did_you_mean(word, fields)}"
    if not above and word == "base":
        return "unknown key: keys are written without `base.`, for instance optimizer.lr"
    if not above and word not in fields:
        dotted = [f"{section}.{word}" for section in SECTIONS if word in _fields_at([section], nested)]
        return (
            f"unknown key (did you mean {dotted[0]}?)"
            if dotted
            else f"unknown key{did_you_mean(word, fields)}"
        )
    return f"unknown key{did_you_mean(word, fields)}"


def _fields_at(above: list[str], nested: dict) -> list[str]:
    """The keys that exist below `above`, in the family that is named there."""
    model: type[Section] = RunSpec
    for part in above:
        if part in FAMILIES and model is RunSpec:
            first, *_ = FAMILIES[part]
            model = FAMILIES[part][nested.get(part, {}).get("name", first)]
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            return []
        model = annotation
    return list(model.model_fields)
