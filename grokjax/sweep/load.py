"""A sweep file to plain Python values, keeping where each one stood, and mistakes with their places."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError

from grokjax.sweep.nodes import Keys, TooLarge, describe, read_node
from grokjax.sweep.spelling import did_you_mean

MAX_BYTES = 4_000_000


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing wrong, and where: prints as `file:line:col: key: what is wrong`."""

    file: str
    line: int
    col: int
    key: str
    what: str

    def __str__(self) -> str:
        """Of a place in a file one line, whatever breaks the lines of a key or a value that it quotes."""
        if not self.line:
            return f"{self.file}: {self.key}: {self.what}" if self.key else f"{self.file}: {self.what}"
        place = f"{self.file}:{self.line}:{self.col}"
        text = f"{place}: {self.key}: {self.what}" if self.key else f"{place}: {self.what}"
        return " ".join(text.splitlines())


class SweepError(ValueError):
    """Every mistake of a sweep file (or of --set) at once, in `mistakes`."""

    def __init__(self, mistakes: Iterable[Mistake]):
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True)
class Document:
    """A parsed file: plain values, the 1-based line and column of every path in it, what is wrong so far.

    other: the file that it extends. A path that begins with `extends` goes on there.
    """

    file: str
    folder: Path
    text: str
    data: dict[str, Any]
    places: dict[Keys, tuple[int, int]]
    mistakes: tuple[Mistake, ...] = ()
    other: Document | None = None

    def of(self, path: Keys) -> tuple[Document, Keys]:
        """The file that a path leads into, and the path there."""
        if self.other and path[:1] == ("extends",) and len(path) > 1:
            return self.other.of(path[1:])
        return self, path

    def has(self, path: Keys) -> bool:
        document, inside = self.of(path)
        return inside in document.places

    def place(self, path: Keys) -> tuple[str, int, int]:
        """Where `path` stands, or the nearest thing above it: file, line and column."""
        document, inside = self.of(path)
        while inside and inside not in document.places:
            inside = inside[:-1]
        return document.file, *document.places.get(inside, (1, 1))

    def levels(self) -> list[tuple[Keys, dict[str, Any]]]:
        """The mappings that are laid over each other, this file's the last, and the path that leads to each."""
        below = self.other.levels() if self.other else []
        return [*((("extends", *path), data) for path, data in below), ((), self.data)]

    def nearest(self, key: str) -> tuple[Any, Keys] | None:
        """The value of a key at the top level, of the nearest file that has it, and where that stands."""
        found = [(data[key], (*path, key)) for path, data in self.levels() if key in data]
        return found[-1] if found else None


def read_sweep(path: str | Path) -> Document:
    """Read and parse a sweep file. Raises SweepError for a missing, unreadable, empty or broken file."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        near = path.parent.glob("*.y*ml") if path.parent.is_dir() else []
        hint = did_you_mean(path.name, [other.name for other in near])
        raise SweepError([Mistake(str(path), 0, 0, "", f"no such file{hint}")]) from None
    except IsADirectoryError:
        raise SweepError([Mistake(str(path), 0, 0, "", "is a directory, not a sweep file")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SweepError([Mistake(str(path), 0, 0, "", f"cannot be read: {reason}")]) from None
    if len(raw) > MAX_BYTES:
        what = f"is too large for a sweep file (over {MAX_BYTES:,} bytes)"
        raise SweepError([Mistake(str(path), 0, 0, "", what)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, col = _line_and_column(raw[: error.start].decode("utf-8", "replace"))
        what = f"is not UTF-8 text: byte 0x{raw[error.start]:02x}; save the file as UTF-8"
        raise SweepError([Mistake(str(path), line, col, "", what)]) from None
    return parse_sweep(text, str(path), path.parent)


def parse_sweep(text: str, file: str, folder: Path) -> Document:
    """Parse YAML 1.2. Raises SweepError where it is no YAML, or not one mapping; lesser mistakes are kept."""

    def stop(line: int, col: int, what: str) -> SweepError:
        return SweepError([Mistake(file, line, col, "", what)])

    found: list[Mistake] = []
    try:
        root = _compose(text)
        data, places = read_node(root, lambda *mistake: found.append(Mistake(file, *mistake))) if root else (None, {})
    except MarkedYAMLError as error:
        raise SweepError(_yaml_mistakes(error, text, file)) from None
    except ReaderError as error:
        line, col = _line_and_column(text[: error.position])
        raise stop(line, col, f"a character that YAML does not allow: {text[error.position]!r}") from None
    except TooLarge as error:
        line, col, key = error.args
        what = "too large or too deeply nested (an alias that contains itself, or aliases of aliases?)"
        raise SweepError([Mistake(file, line, col, key, what)]) from None
    except RecursionError:
        raise stop(1, 1, "not valid YAML: too deeply nested") from None
    except (YAMLError, ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
        # ruamel.yaml answers some broken input with whatever its own code ran into
        what = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise stop(1, 1, f"not valid YAML: {what}") from None
    if root is None or data is None:
        raise stop(1, 1, "the file is empty; a sweep needs at least `parameters`")
    if not isinstance(data, dict):
        line, col = root.start_mark.line + 1, root.start_mark.column + 1
        what = "a sweep is a mapping of keys to values at the top level (`parameters: ...`)"
        raise stop(line, col, f"{what}, got {describe(data)}")
    return Document(file, folder, text, data, places, tuple(found))


def read_value(text: str) -> Any:
    """One value of --set, read as in a file. Raises ValueError that says what is wrong."""
    mistakes: list[str] = []
    try:
        root = _compose(text)
        value, _ = read_node(root, lambda *mistake: mistakes.append(mistake[-1])) if root else (None, {})
    except MarkedYAMLError as error:
        raise ValueError(f"not valid YAML: {error.problem or error.context}: {text!r}") from None
    except Exception as error:
        raise ValueError(f"not valid YAML: {text[:60]!r}") from error
    if mistakes:
        raise ValueError(mistakes[0])
    return value


def _compose(text: str) -> Node | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReusedAnchorWarning)  # legal: the later anchor counts
        return YAML(typ="safe", pure=True).compose(text)


# what ruamel.yaml says -> what to do about it
HINTS = {
    "'\\t'": "a tab; separate with spaces",
    "mapping values are not allowed": "a second `key: value` on one line, or a wrong indentation; "
    "quote text that holds ': '",
    "could not find expected ':'": "a key without its `: ` (colon and space)",
    "but found '<block mapping start>'": "the indentation does not line up with the lines above",
    "but found '<block sequence start>'": "the indentation does not line up with the lines above",
    "but found '<block end>'": "the indentation does not line up with the lines above",
    "expected <block end>": "the indentation does not line up with the lines above, or a bracket or quote too many",
    "expected ',' or": "a bracket that is not closed, or a comma that is missing",
    "while scanning a quoted scalar": "a quote that is not closed",
    "cannot start any token": "quote text that begins with this character",
    "expected a single document": "a second document (`---`): a sweep is one",
    "undefined alias": "an alias (*) needs its anchor (&) above it",
}


def _yaml_mistakes(error: MarkedYAMLError, text: str, file: str) -> list[Mistake]:
    mark = error.problem_mark or error.context_mark
    line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    tabs = [
        (row, match.end())
        for row, source in enumerate(re.split(r"\r\n|\r|\n", text), 1)
        if (match := re.match(r" *\t", source)) and source.strip()
    ]
    if any(row == line for row, _ in tabs):
        what = "a tab in the indentation: YAML is indented with spaces"
        return [Mistake(file, row, at, "", what) for row, at in tabs]
    problem = (error.problem or error.context or str(error)).splitlines()[0]
    whole = f"{error.context or ''} {problem}"
    hint = next((f": {hint}" for words, hint in HINTS.items() if words in whole), "")
    if "not closed" in hint and error.context_mark:
        hint += f"; it was opened on line {error.context_mark.line + 1}"
    return [Mistake(file, line, col, "", f"not valid YAML ({problem}){hint}")]


def _line_and_column(before: str) -> tuple[int, int]:
    lines = re.split(r"\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1
