"""Stored runs that a sweep starts from. How they are read is handed in: this room opens no results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from grokjax.spec.fields import BEFORE
from grokjax.spec.origin import Origin
from grokjax.spec.run import FromRun, RunSpec


@dataclass(frozen=True)
class Parent:
    """A stored run at a step, as far as a sweep that starts from it needs to know it."""

    results: str  # absolute
    run_id: str
    step: int
    spec: RunSpec  # resolved
    digest: str  # SHA-256 (hex) of its parameters and optimizer state at that step
    prior_steps: int  # that its optimizer had behind it at its own step 0 (0 unless it was started with `keep` itself)
    lineage: tuple[str, ...]  # RUN@STEP from the oldest ancestor to this one, this one included


@dataclass(frozen=True)
class Answer:
    """The parents that a request asks for, in the order of their children."""

    parents: tuple[Parent, ...]
    notes: tuple[str, ...] = ()  # what was left out, for instance runs without that event


class ParentError(ValueError):
    """A request that no stored run answers. The message is for the user; `key` is the one at fault."""

    def __init__(self, key: str, message: str):
        assert key in FromRun.model_fields
        super().__init__(message)
        self.key = key


class FindParents(Protocol):
    def __call__(self, wanted: FromRun) -> Answer:
        """The stored runs that are wanted; `wanted.results` is absolute. Raises ParentError."""
        ...


class Lookup:
    """Asks for each distinct request once."""

    def __init__(self, find: FindParents | None):
        self._find = find
        self._known: dict[str, Answer | ParentError] = {}

    def __call__(self, wanted: FromRun) -> Answer:
        """Raises ParentError, also where nothing was found."""
        key = repr(wanted)
        if key not in self._known:
            self._known[key] = self._ask(wanted)
        found = self._known[key]
        if isinstance(found, ParentError):
            raise found
        return found

    def _ask(self, wanted: FromRun) -> Answer | ParentError:
        if self._find is None:
            return ParentError("results", "a stored run cannot be looked up here")
        try:
            found = self._find(wanted)
        except ParentError as error:
            return error
        if not found.parents:
            # where runs were left out it was for the step
            key = "step" if found.notes else "run" if wanted.select is None else "select"
            return ParentError(key, "; ".join(["no run to start from", *found.notes]))
        return found


def origin_of(parent: Parent, wanted: FromRun) -> Origin:
    prior_steps = parent.prior_steps + parent.step if wanted.optimizer == "keep" else 0
    return Origin(parent.digest, prior_steps, parent.lineage)


def event_of(step: int | str) -> tuple[str, int] | None:
    """`before slingshot:2` -> ("slingshot", 2); None for a step that names no event."""
    found = re.fullmatch(BEFORE, step) if isinstance(step, str) else None
    return (found[1], int(found[2])) if found else None
