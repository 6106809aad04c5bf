"""What is set from outside a sweep file, by --set or `set`: which keys it means, and which of its values are axes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from grokjax.spec.fields import OneWord
from grokjax.sweep.axes import MAX_POINTS, Axis
from grokjax.sweep.keys import RUN_KEYS, TOP, kind_at, last_words, run_keys, split_key, without_matrix
from grokjax.sweep.layers import Layer, Mistakes, flatten
from grokjax.sweep.load import Mistake, SweepError, read_value
from grokjax.sweep.mapping import plain
from grokjax.sweep.nodes import shown

OF_FILE = tuple(word for word in TOP if word not in ("base", *RUN_KEYS))
RANGE = re.compile(r"([+-]?\d+)\s*\.\.\s*([+-]?\d+)")
SHOWN = 6  # values of an axis that are told


@dataclass(frozen=True)
class Settings:
    """Values that win over a sweep file, by their full keys."""

    given: dict[str, Any]  # as they were written
    fixed: Layer
    axes: list[Axis]


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["train.steps=2000"]` to values, each read as YAML. Raises SweepError."""
    overrides: dict[str, Any] = {}
    mistakes = []
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            mistakes.append(Mistake("--set", 0, 0, pair, "write key=value, for instance train.steps=2000"))
            continue
        try:
            value = read_value(text)
        except ValueError as error:
            mistakes.append(Mistake("--set", 0, 0, key, str(error)))
            continue
        if key in overrides:
            mistakes.append(Mistake("--set", 0, 0, key, "given twice; give it once"))
        overrides[key] = value
    if mistakes:
        raise SweepError(mistakes)
    return overrides


def read_settings(overrides: dict[Any, Any], mistakes: Mistakes) -> Settings:
    """The settings by full keys; what is wrong with them is reported."""
    fields = run_keys(mistakes.families)
    given: dict[str, Any] = {}
    for word, value in overrides.items():
        if word in OF_FILE:
            mistakes.at(None, word, "is no key of a run: change it in the file")
            continue
        key = _full_key(str(word), mistakes)
        if key in given:
            mistakes.at(None, key, "given twice; give it once")
        given[key] = plain(value)
    axes, fixed = [], {}
    for key, value in given.items():
        if _is_several(value, _fields_of(key, fields)):
            axis = _axis(key, value, mistakes)
            axes += [axis] if axis else []
        else:
            fixed[key] = value
    return Settings(given, flatten(fixed, None, mistakes), axes)


def _full_key(word: str, mistakes: Mistakes) -> str:
    """The key that a word means: its last part is enough where only one key ends so."""
    head = split_key(word)[0]
    if head in RUN_KEYS:
        return word
    table, dot, matrix = word.partition("_by_matrix.")
    table = f"{table}_by_matrix" if dot else word
    keys = [key for key in last_words(mistakes.families).get(table.rpartition(".")[2], []) if key.endswith(f".{table}")]
    of_every_run = [key for key in keys if not _of_some_families(key, mistakes)]
    keys = of_every_run if len(of_every_run) == 1 else keys
    if len(keys) > 1:
        mistakes.at(None, word, f"may be any of {', '.join(keys)}: write the whole key")
    if len(keys) != 1:
        return word  # told as an unknown key
    mistakes.note(f"--set {word} is {keys[0]}{dot and '.'}{matrix}")
    return f"{keys[0]}{dot and '.'}{matrix}"


def _fields_of(key: str, fields: dict[str, list[FieldInfo]]) -> list[Any]:
    """The types that a key has, one for each family that has it."""
    key = without_matrix(key)
    if key in fields:
        return [
            OneWord if any(isinstance(mark, OneWord) for mark in field.metadata) else field.annotation
            for field in fields[key]
        ]
    parts = split_key(key)
    if len(parts) == 4:  # the number of a matrix's distribution
        return [float]
    table = ".".join(parts[:-1])  # a matrix of a table
    return [get_args(field.annotation)[1] for field in fields.get(table, []) if get_origin(field.annotation) is dict]


def _is_several(value: Any, types: list[Any]) -> bool:
    """Whether a value stands for several: a list, or text with commas or `..`, where the key takes no such thing."""
    several = ("," in value or ".." in value) if isinstance(value, str) else isinstance(value, list)
    return several and bool(types) and not any(_takes_commas(each) for each in types)


def _takes_commas(annotation: Any) -> bool:
    """Whether a type has room for a comma: free text, a list, a mapping or a section; not numbers and names."""
    if annotation in (int, float, bool, type(None), OneWord) or get_origin(annotation) is Literal:
        return False
    if get_origin(annotation) in (list, dict, tuple):
        return True
    if hasattr(annotation, "__metadata__"):
        return _takes_commas(get_args(annotation)[0])
    options = get_args(annotation)
    return any(_takes_commas(option) for option in options) if options else True


def _axis(key: str, value: str | list[Any], mistakes: Mistakes) -> Axis | None:
    """The axis of several values; None where they are wrong, which is reported."""
    values: list[Any] = []
    for item in value.split(",") if isinstance(value, str) else value:
        try:
            values += _values_of(item.strip()) if isinstance(item, str) and isinstance(value, str) else [item]
        except ValueError as error:
            mistakes.at(None, key, str(error))
            return None
    if not values:
        mistakes.at(None, key, "an empty list: it has no values, so the sweep would have no runs")
        return None
    more = ", ..." if len(values) > SHOWN else ""
    mistakes.note(f"--set makes {key} an axis of {len(values)}: {', '.join(map(shown, values[:SHOWN]))}{more}")
    points = tuple((item,) for item in values)
    return Axis((key,), points, ((None,),) * len(points), None, reduced=_of_some_families(key, mistakes))


def _values_of(item: str) -> list[Any]:
    """One part between commas: a value, or all whole numbers of a range. Raises ValueError."""
    if not item:
        raise ValueError("a value is missing between commas: write 0,1,2 or 0..2")
    if ".." not in item:
        return [read_value(item)]
    found = RANGE.fullmatch(item)
    if found is None:
        raise ValueError(f"{item!r} is no range: one is of whole numbers, as 0..7; write other values out: 0.1,0.3")
    low, high = int(found[1]), int(found[2])
    if low > high:
        raise ValueError(f"an empty range: {low} is above {high}")
    if high - low >= MAX_POINTS:
        raise ValueError(f"a range of more than {MAX_POINTS:,} values")
    return list(range(low, high + 1))


def _of_some_families(key: str, mistakes: Mistakes) -> bool:
    """Whether only some families of a kind have a key: then it is an axis of the arms that use them."""
    parts = split_key(key)
    for length in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:length])
        if kind := kind_at(path):
            families = mistakes.families[kind].values()
            return not all(parts[length] in family.model_fields for family in families)
    return False
