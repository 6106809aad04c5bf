"""`extends: other.yaml`: a sweep that is another one with some keys changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from grokjax.sweep.load import Document, Mistake, SweepError, read_sweep
from grokjax.sweep.nodes import describe


def with_extended(document: Document, before: tuple[Path, ...] = ()) -> Document:
    """The document with the files that it extends. Raises SweepError where one of them cannot be read.

    before: the files, as absolute paths, that lead to this one.
    """
    if "extends" not in document.data or document.other is not None:
        return document
    named = document.data["extends"]
    if not isinstance(named, str) or not named or "\0" in named:
        raise _wrong(document, f"must be the name of another sweep file, got {describe(named)}")
    path = document.folder / named
    chain = (*before, (document.folder / Path(document.file).name).resolve())
    if path.resolve() in chain:
        names = [file.name for file in (*chain, path.resolve())]
        raise _wrong(document, f"leads back to itself: {' -> '.join(names)}")
    try:
        other = with_extended(read_sweep(path), chain)
    except SweepError as error:
        first = error.mistakes[0]
        if first.line:  # something inside that file, told where it stands
            raise
        raise _wrong(document, f"{first.file}: {first.what}") from None
    return replace(document, other=other, mistakes=(*document.mistakes, *other.mistakes))


def _wrong(document: Document, what: str) -> SweepError:
    return SweepError([Mistake(*document.place(("extends",)), "extends", what)])


def whole_text(document: Document) -> str:
    """The text of a sweep that can be read by itself: the files that it extends are comments at its end."""
    parts = [document.text]
    while document.other is not None:
        lines = [f"#   {line}".rstrip() for line in document.other.text.splitlines()]
        parts.append("\n".join([f"\n# extends {document.data['extends']}, which says:", *lines, ""]))
        document = document.other
    return "".join(parts)
