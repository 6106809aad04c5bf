"""What is computed of a section once: many runs of a sweep share their sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from grokjax.spec.section import Section

S = TypeVar("S", bound=Section)
T = TypeVar("T")


class Memo:
    """Results of functions of sections, kept by the sections themselves, not by their values."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def of(self, function: Callable[..., T], section: Section, *more: Any) -> T:
        """function(section, *more); what it returns is handed out again, and so to be read only."""
        key = (function, id(section), *(id(item) if isinstance(item, Section) else item for item in more))
        kept = self._kept.get(key)
        if kept is None:  # sections are held, so that their ids stay their own
            kept = self._kept[key] = (function(section, *more), section, more)
        return kept[0]
