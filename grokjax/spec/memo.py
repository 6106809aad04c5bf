"""What is computed of a section once: many runs of a sweep share their sections."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from grokjax.spec.section import Section

S = TypeVar("S", bound=Section)
T = TypeVar("T")
MOST = 300_000  # results kept: where each run has sections of its own (drawn values) all would be as much as the runs


@contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """While many objects are made that all stay: else Python looks at every one of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Memo:
    """Results of functions of sections, kept by the sections themselves, not by their values."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def of(self, function: Callable[..., T], section: Section, *more: Any) -> T:
        """function(section, *more); what it returns is handed out again, and so to be read only."""
        key = (function, id(section), *map(_stamp, more)) if more else (function, id(section))
        kept = self._kept.get(key)
        if kept is None:  # sections are held, so that their ids stay their own
            if len(self._kept) >= MOST:
                self._kept.clear()
            kept = self._kept[key] = (function(section, *more), section, more)
        return kept[0]


def _stamp(item: Any) -> Any:
    return id(item) if isinstance(item, Section) else item
