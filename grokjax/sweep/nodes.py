"""YAML's nodes to dict, list and scalars (plain types only, duplicates and tags refused), and back to words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Keys = tuple[str | int, ...]
Places = dict[Keys, tuple[int, int]]
Report = Callable[[int, int, str, str], Any]  # (line, column, key, what is wrong)
MAX_NODES = 200_000  # aliases can multiply: a small file must not become a large tree
MAX_DEPTH = 40
TAG = "tag:yaml.org,2002:"
HUGE = 10**300  # Python's own integers have no end, and cannot be printed from some length on
SCALARS = ("int", "float", "bool", "null")  # those that are no text


class TooLarge(ValueError):
    """More nodes, or deeper ones, than a sweep can need; its arguments are line, column and key."""


def read_node(root: Node, report: Report) -> tuple[Any, Places]:
    """The value of a node, and the 1-based line and column of every path in it."""
    reader = _Reader(report)
    return reader.value(root, ()), reader.places


class _Reader:
    def __init__(self, report: Report):
        self.report = report
        self.places: Places = {}
        self.nodes = 0
        yaml = YAML(typ="safe", pure=True)
        self.construct, self.resolver = yaml.constructor, yaml.resolver

    def value(self, node: Node, path: Keys) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise TooLarge(*_place(node), shown_key(path[:2]))
        tag = str(node.tag)
        if tag.removeprefix(TAG) not in (*SCALARS, "str", "timestamp", "merge", "map", "seq") and tag != "!":
            self._at(node, path, f"a tag ({shorten_tag(tag)}) has no meaning here; write the plain value")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.places[(*path, index)] = _place(item)
                items.append(self.value(item, (*path, index)))
            return items
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Keys) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if str(key_node.tag) == TAG + "merge":
                merged += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in plain:
                first = self.places[(*path, key)][0]
                what = f"duplicate key: it stands twice in the same mapping (first on line {first})"
                self._at(key_node, (*path, key), what)
                self.value(value_node, (*path, key, "duplicate"))  # its own mistakes are told too
                continue
            self.places[(*path, key)] = _place(key_node)
            plain[key] = self.value(value_node, (*path, key))
        for other in merged:
            if not isinstance(other, MappingNode):
                self._at(other, path, "`<<` merges a mapping, for instance `<<: *anchor`")
                continue
            for key_node, value_node in other.value:
                key = self._key(key_node, path)
                if key is not None and key not in plain:
                    self.places[(*path, key)] = _place(key_node)
                    plain[key] = self.value(value_node, (*path, key))
        return plain

    def _key(self, node: Node, path: Keys) -> str | None:
        if isinstance(node, ScalarNode) and str(node.tag) in (TAG + "str", TAG + "timestamp", "!"):
            return str(node.value)
        shown = repr(node.value) if isinstance(node, ScalarNode) else "a list or mapping"
        quote = f"; write '{node.value}' in quotes" if isinstance(node, ScalarNode) and node.value else ""
        kind = str(node.tag).removeprefix(TAG)
        self._at(node, path, f"a key must be text, got {shown[:60]} ({kind}){quote}")
        return None

    def _scalar(self, node: Node, path: Keys) -> Any:
        kind = str(node.tag).removeprefix(TAG)
        if kind not in (*SCALARS, "str", "timestamp"):  # the tag is refused: what would it be without?
            kind = str(self.resolver.resolve(ScalarNode, node.value, (True, False))).removeprefix(TAG)
        if kind not in SCALARS:
            return str(node.value)  # a date, too, is only text here
        try:
            value = getattr(self.construct, f"construct_yaml_{kind}")(node)
            if isinstance(value, int) and abs(value) > HUGE:
                return math.inf if value > 0 else -math.inf
            return value
        except (ValueError, KeyError, IndexError, OverflowError):
            return str(node.value)

    def _at(self, node: Node, path: Keys, what: str) -> None:
        self.report(*_place(node), shown_key(path), what)


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def shorten_tag(tag: str) -> str:
    return f"!!{tag.removeprefix(TAG)}" if tag.startswith(TAG) else tag


def shown_key(path: Keys) -> str:
    """The key that a path means, as a run's keys are written: ('base', 'train', 'steps') -> 'train.steps'."""
    words = list(path)
    if words[:1] == ["arms"] and len(words) > 3:
        words = words[2:]
    if words[:1] in (["base"], ["parameters"]) and len(words) > 1:
        words = words[1:]
    if words[:1] == ["zip"] and len(words) > 2:
        words = words[2:]
    text = ""
    for word in words:
        if word != "parameters" or len(words) == 1:
            text += f"[{word}]" if isinstance(word, int) else f".{word}" if text else word
    return text


def describe(value: Any) -> str:
    """A value as YAML writes it, with its kind where that is the point: `'abc' (text)`."""
    kinds = {bool: "a boolean", str: "text", list: "a list", dict: "a mapping"}
    kind = kinds.get(type(value))
    if kind is None and not (value is None or isinstance(value, (int, float))):
        kind = type(value).__name__
    text = shown(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"{text} ({kind})" if kind else text


def or_out(value: Any) -> str:
    """What to do about a key that stands there with nothing below it."""
    return "; leave the key out, or write something below it" if value is None else ""


def shown(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, list):
        more = ", ..." if len(value) > 8 else ""
        return f"[{', '.join(shown(item) for item in value[:8])}{more}]"
    if isinstance(value, dict):
        more = ", ..." if len(value) > 8 else ""
        pairs = (f"{key}: {shown(item)}" for key, item in list(value.items())[:8])
        return f"{{{', '.join(pairs)}{more}}}"
    return repr(value)
