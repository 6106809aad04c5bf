"""Layers of a sweep file as flat dotted keys: reading them, laying them over each other, checking types.

A run's values come from layers, later ones winning: top-level base, the arm's base, axes, --set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from grokjax.sweep.keys import FROM_RUN, SELECT, families_of, key_problem, split_key
from grokjax.sweep.load import Document, Mistake, did_you_mean
from grokjax.sweep.nodes import Keys, describe, or_out
from grokjax.sweep.spec import BEFORE, EVENT_KINDS, FAMILIES, RunSpec

DEFAULTS = {name: field.default for name, field in RunSpec.model_fields.items()}  # frozen, so they can be shared
SECTIONS = tuple(name for name in RunSpec.model_fields if name != "seed")


@dataclass(frozen=True)
class Value:
    """One value of a layer, and where it and its key stand (paths in the file, or None for --set)."""

    value: Any
    path: Keys | None
    key_path: Keys | None
    from_axis: bool = False


Layer = dict[str, Value]


@dataclass
class Mistakes:
    """Collects mistakes, each once, at its place in the file."""

    document: Document
    found: set[Mistake] = field(default_factory=set)
    built: dict[tuple, Any] = field(default_factory=dict)  # sections that were found right, by their values

    def at(self, path: Keys | None, key: str, what: str) -> None:
        if path is None:
            self.found.add(Mistake("--set", 0, 0, key, what))
        else:
            self.found.add(Mistake(self.document.file, *self.document.place(path), key, what))


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
        table = len(parts) == 2 and parts[1].endswith("_by_matrix")
        if table and path is None and isinstance(value, dict):
            inner = {full: Value(value, here, here)}  # --set replaces the whole table
        elif full == SELECT:
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


def overlay(layers: list[Layer]) -> Layer:
    """Later layers win. Inherited keys that only another family has are dropped where a later layer names
    the family: an arm that says `optimizer.name: sgd` need not take back the base's `b2`. So are those of --set,
    which fix a key in the arms that have it."""
    merged: Layer = {}
    rank: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for key, value in _with_from_run(layer, merged).items():
            if key.endswith("_by_matrix"):  # a whole table replaces the entries below
                for entry in _below(key, merged):
                    del merged[entry]
            merged[key], rank[key] = value, index
    for section, families in FAMILIES.items():
        named = merged.get(f"{section}.name")
        family = next(iter(families)) if named is None else named.value
        if not isinstance(family, str) or family not in families:
            continue
        own = families[family].model_fields
        for key in [key for key in merged if key.startswith(section + ".")]:
            word = key.split(".")[1]
            elsewhere = any(word in family.model_fields for family in families.values())
            inherited = named is not None and rank[key] < rank[f"{section}.name"] and not merged[key].from_axis
            if word not in own and elsewhere and (inherited or merged[key].key_path is None):
                del merged[key]
    return merged


def _with_from_run(layer: Layer, merged: Layer) -> Layer:
    """The layer with a whole `init.from_run` (of an axis) taken apart. What it takes back goes from `merged`."""
    whole, own = layer.get(FROM_RUN), {key: layer[key] for key in _below(FROM_RUN, layer)}
    if whole is None and not own:
        return layer
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
        return rest | {key: item for key, item in own.items() if key_problem(key, None, False)}
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


def build(layer: Layer, mistakes: Mistakes) -> tuple[RunSpec, set[str]]:
    """The typed spec of a flat layer, and the sections with mistakes, which are left at their defaults.

    Mistakes are reported where their values stand.
    """
    grouped: dict[str, Layer] = {}
    for key, item in layer.items():
        grouped.setdefault(key.partition(".")[0], {})[key] = item
    values: dict[str, Any] = {}
    broken: set[str] = set()
    for section, items in grouped.items():
        stamp = (section, *((key, repr(item.value)) for key, item in items.items()))
        if stamp not in mistakes.built:
            made = _build_section(section, items, mistakes)
            if made is None:
                broken.add(section)
                continue
            mistakes.built[stamp] = made
        values[section] = mistakes.built[stamp]
    return RunSpec.model_construct(**(DEFAULTS | values)), broken


def _build_section(section: str, items: Layer, mistakes: Mistakes) -> Any:
    """One typed section (or the seed), or None with its mistakes reported."""
    family, good = None, True
    if section in FAMILIES:
        named = items.get(f"{section}.name")
        family = next(iter(FAMILIES[section])) if named is None else named.value
        if named is not None and (not isinstance(family, str) or family not in FAMILIES[section]):
            options = FAMILIES[section]
            what = f"must be one of {', '.join(options)}, got {describe(family)}{did_you_mean(family, options)}"
            mistakes.at(named.path, f"{section}.name", what)
            good, family = False, None  # keys of any family pass, values are read as the likeliest's
    nested: dict[str, Any] = {}
    for key, item in items.items():
        problem = key_problem(key, family, item.from_axis)
        if problem:
            bad, what = problem[0] or key, problem[1]
            mistakes.at(_upwards(item.key_path, key, bad), bad, what)
            good = False
            continue
        *above, last = split_key(key)
        node = nested
        for part in above:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):  # else a table that is no mapping, which is told below
            node[last] = dict(item.value) if isinstance(item.value, dict) else item.value
    if section in FAMILIES and isinstance(nested.get(section, {}), dict):
        likeliest = family or families_of(section, [key for key in items if key != f"{section}.name"])[0]
        nested.setdefault(section, {})["name"] = likeliest
    try:
        spec = RunSpec.model_validate(nested)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            _report(problem, items, mistakes)
        return None
    return getattr(spec, section) if good else None


def _upwards(path: Keys | None, key: str, bad: str) -> Keys | None:
    """Where the part `bad` of `key` stands, if it has a line of its own."""
    while path and isinstance(path[-1], str) and key.endswith(f".{path[-1]}"):
        key = key.removesuffix(f".{path[-1]}")
        if not (key == bad or key.startswith(f"{bad}.")):
            break
        path = path[:-1]
    return path


def _report(problem: Any, items: Layer, mistakes: Mistakes) -> None:
    parts = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    index = next((part for part in problem["loc"] if isinstance(part, int)), None)
    section = parts[0] if parts else ""
    if section in FAMILIES and len(parts) > 1 and parts[1] in FAMILIES[section]:
        parts.pop(1)  # pydantic puts the chosen family's name into the path
    if parts[:2] == ["engine", "lanes"] and problem["type"] != "literal_error":
        return  # pydantic reports each member of the union; the first says it all
    if parts[-1:] == ["[key]"]:
        parts.pop()
    parts = [part for part in parts if not part.startswith("literal[")]
    key = ".".join(parts)
    item, path = find(key, items), place_of(key, items)
    drawn = item is not None and item.from_axis and item.path == item.key_path and "int" in problem["type"]
    hint = "; int_uniform and q_uniform draw whole numbers" if drawn else ""
    if path is not None:
        for deeper in (*parts[-1:], index):
            if deeper is not None and (*path, deeper) in mistakes.document.places:
                path = (*path, deeper)
    mistakes.at(path, key, _explain(problem, key) + hint)


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
            return _upwards(layer[inside[0]].key_path, inside[0], prefix)
    item = find(key, layer)
    return item.path if item else ()


def _explain(problem: Any, key: str) -> str:
    kind, context, got = problem["type"], problem.get("ctx", {}), problem.get("input")
    if kind == "literal_error":
        options = [option.strip("'\"") for option in context["expected"].replace(" or ", ", ").split(", ")]
        if key == "engine.lanes":
            return f"must be auto or a whole number from 1 on, got {describe(got)}"
        return f"must be one of {', '.join(options)}, got {describe(got)}{did_you_mean(got, options)}"
    if kind == "form":
        return f"must be {context['what']}, got {describe(got)}{_form_hint(key, got)}"
    if kind == "missing":
        return "is missing: init.from_run needs results, a directory, and run or select"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for word, phrase in words.items():
        if word in context:
            return f"out of range: must be {phrase} {_number(context[word])}, got {describe(got)}"
    if kind == "finite_number":
        return f"must be finite, got {describe(got)}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries, got {context['actual_length']}"
    if kind == "too_short":
        return "must not be empty"
    expected = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    expected |= {"list": "a list", "dict": "a mapping", "model": "a mapping"}
    wanted = str(expected.get(kind.split("_")[0], problem["msg"]))
    return f"wrong type: expected {wanted}, got {describe(got)}{_unquote(wanted, got)}"


def _form_hint(key: str, got: Any) -> str:
    """What was probably meant by a value that must have a form of its own."""
    number = isinstance(got, (int, float)) and not isinstance(got, bool)
    if key == f"{FROM_RUN}.run" and number:
        return "; YAML reads such an id as a number: write it in quotes"
    if key == f"{FROM_RUN}.step" and isinstance(got, str):
        if got.isdecimal():
            return f"; write it without quotes: {got}"
        word, _, count = got.strip().removeprefix("before").strip().partition(":")
        event = f"before {word}:{count or 1}"
        return (
            f" (did you mean {event}?)" if re.fullmatch(BEFORE, event) else did_you_mean(word, ("final", *EVENT_KINDS))
        )
    if key == "log.snapshot_steps" and number:
        return f" (did you mean log:{got}?)"
    if key.startswith(f"{SELECT}.") and isinstance(got, dict):
        return f"; a column is written with dots, for instance {key.removeprefix(SELECT + '.')}.{next(iter(got), '')}"
    return ""


def _unquote(wanted: str, got: Any) -> str:
    """What to write instead of text that was meant as a number or a truth value."""
    if not isinstance(got, str):
        return ""
    if wanted == "true or false" and got.lower() in ("yes", "no", "on", "off", "true", "false"):
        return f"; write {'true' if got.lower() in ('yes', 'on', 'true') else 'false'}"
    if got.lower() in ("none", "nil", "~"):
        return "; write null"
    plain = got.strip().replace(",", ".")
    try:
        float(plain)
    except ValueError:
        return ""
    return f"; write it without quotes: {plain}" if "number" in wanted and len(plain) < 30 else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
