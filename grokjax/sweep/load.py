"""YAML text to plain Python values, keeping where each one stood."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

Keys = tuple[str | int, ...]
MAX_NODES = 200_000  # aliases can multiply: a small file must not become a large tree


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing wrong, and where: prints as `file:line:col: key: what is wrong`."""

    file: str
    line: int
    col: int
    key: str
    what: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        return f"{place}: {self.key}: {self.what}" if self.key else f"{place}: {self.what}"


class SweepError(ValueError):
    """Every mistake of a sweep file (or of --set) at once, in `mistakes`."""

    def __init__(self, mistakes: Iterable[Mistake]):
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True)
class Document:
    """A parsed file: plain values, and the 1-based line and column of every path in it."""

    file: str
    folder: Path
    text: str
    data: dict[str, Any]
    places: dict[Keys, tuple[int, int]]

    def place(self, path: Keys) -> tuple[int, int]:
        """Where `path` stands, or the nearest thing above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def did_you_mean(word: Any, options: Iterable[str]) -> str:
    """' (did you mean x?)' if an option is close, else ''."""
    close = difflib.get_close_matches(str(word), list(options), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def read_sweep(path: str | Path) -> Document:
    """Read and parse a sweep file. Raises SweepError for a missing, unreadable, empty or broken file."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        near = path.parent.glob("*.yaml") if path.parent.is_dir() else []
        hint = did_you_mean(path.name, (other.name for other in near))
        raise SweepError([Mistake(str(path), 0, 0, "", f"no such file{hint}")]) from None
    except IsADirectoryError:
        raise SweepError([Mistake(str(path), 0, 0, "", "is a directory, not a sweep file")]) from None
    except UnicodeDecodeError:
        raise SweepError([Mistake(str(path), 0, 0, "", "is not UTF-8 text")]) from None
    except OSError as error:
        raise SweepError([Mistake(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    return parse_sweep(text, str(path), path.parent)


def parse_sweep(text: str, file: str, folder: Path) -> Document:
    """Parse YAML 1.2. Raises SweepError at the first place where it is no YAML, or not one mapping."""
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SweepError([Mistake(file, line, col, *_yaml_mistake(error, text, line))]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        what = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise SweepError([Mistake(file, 1, 1, "", f"not valid YAML: {what}")]) from None
    if tree is None:
        raise SweepError([Mistake(file, 1, 1, "", "the file is empty; a sweep needs at least `parameters`")])
    if not isinstance(tree, CommentedMap):
        raise SweepError([Mistake(file, 1, 1, "", "a sweep is a mapping of keys to values at the top level")])
    places: dict[Keys, tuple[int, int]] = {}
    mistakes: list[Mistake] = []
    data = _plain(tree, (), places, mistakes, file)
    if mistakes:
        raise SweepError(mistakes)
    return Document(file, folder, text, data, places)


def _yaml_mistake(error: MarkedYAMLError, text: str, line: int) -> tuple[str, str]:
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else ""
    problem = (error.problem or str(error)).splitlines()[0]
    if "\t" in source and ("\\t" in problem or not source.split("\t")[0].strip()):
        return "", "a tab in the indentation: YAML is indented with spaces"
    if problem.startswith("found duplicate key"):
        key = problem.split('"')[1] if '"' in problem else ""
        return key, "duplicate key: it stands twice in the same mapping"
    return "", f"not valid YAML: {problem}"


def _plain(node: Any, path: Keys, places: dict, mistakes: list[Mistake], file: str) -> Any:
    """Round-trip nodes to dict, list and scalars; ruamel's own scalar classes do not leave this module."""
    if len(places) > MAX_NODES or len(path) > 40:
        raise SweepError([Mistake(file, 1, 1, "", "too large or too deeply nested (a self-reference?)")])
    if isinstance(node, CommentedMap):
        plain = {}
        for key, value in node.items():
            row, col = node.lc.key(key) if key in (node.lc.data or {}) else (node.lc.line, node.lc.col)
            if not isinstance(key, str):
                what = f"a key must be text, got {key!r} ({type(key).__name__})"
                mistakes.append(Mistake(file, row + 1, col + 1, dotted(path), what))
                continue
            places[(*path, str(key))] = (row + 1, col + 1)
            plain[str(key)] = _plain(value, (*path, str(key)), places, mistakes, file)
        return plain
    if isinstance(node, CommentedSeq):
        items = []
        for index, value in enumerate(node):
            row, col = node.lc.item(index)
            places[(*path, index)] = (row + 1, col + 1)
            items.append(_plain(value, (*path, index), places, mistakes, file))
        return items
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def dotted(path: Keys) -> str:
    """('a', 'b', 2) -> 'a.b[2]'"""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
