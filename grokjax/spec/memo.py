"""What is computed of a section once: many runs of a sweep share their sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from grokjax.spec.section import Section

S = TypeVar("S", bound=Section)
T = TypeVar("T")


class Memo:
    """Results of functions of a section, kept by the section itself, not by its values."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Section, Any]] = {}

    def of(self, function: Callable[..., T], section: Section, *more: Any) -> T:
        """function(section, *more); what it returns is handed out again, and so to be read only."""
        key = (function, id(section), *more)
        if key not in self._kept:
            self._kept[key] = section, function(section, *more)  # the section is held, so that its id stays its own
        return self._kept[key][1]
