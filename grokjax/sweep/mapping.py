"""A sweep given as a mapping in Python: the same as the YAML that it is written as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from grokjax.sweep.load import Document, Mistake, SweepError, parse_sweep
from grokjax.sweep.nodes import Keys, shown_key

NAME = "sweep"  # what mistakes call it
WIDTH = 2**20  # no line is broken


def document_of(values: Mapping[str, Any]) -> Document:
    """Raises SweepError for values that YAML does not have."""
    data: dict[str, Any] = {}
    try:
        data = plain(values)
        wrong = [Mistake(NAME, 0, 0, shown_key(path), what) for path, what in _foreign(data, ())]
    except RecursionError:
        wrong = [Mistake(NAME, 0, 0, "", "a value contains itself")]
    if wrong:
        raise SweepError(wrong)
    return parse_sweep(as_yaml(data), NAME, Path())


def as_yaml(data: dict[str, Any]) -> str:
    """Keys in their order, without anchors."""
    yaml, text = YAML(), StringIO()
    yaml.width = WIDTH
    yaml.representer.ignore_aliases = lambda *_: True
    yaml.dump(data, text)
    return text.getvalue()


def plain(value: Any) -> Any:
    """Values given from Python as YAML would read them: numpy's arrays and scalars, tuples, ranges and paths."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


def _foreign(value: Any, path: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _foreign(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _foreign(item, (*path, index))
    elif not (value is None or isinstance(value, bool | int | float | str)):
        yield path, f"a {type(value).__name__} has no place in a sweep; give numbers, texts, lists or mappings"
