"""A results directory, opened with all that is found in it and made of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.planning import ask_for_devices

if TYPE_CHECKING:
    from grokjax.results.manifest import Manifest
    from grokjax.results.read import Results


def open_results(path: str | Path, manifest: Manifest | None = None) -> Results:
    """Open a results directory, finished or not; of one in a bucket (s3://BUCKET/NAME, gs://...) a copy is kept in this
    user's cache. Raises SweepError if it is none.

    manifest: what its plan.json says, where that was read already.
    """
    from grokjax.analysis.summary import DERIVATION
    from grokjax.results.copies import copy_to_read, place_of
    from grokjax.results.derived import cached
    from grokjax.results.read import Results, Views

    ask_for_devices()  # before what is computed of results starts JAX: a sweep may be trained after it
    views = Views(
        summary=_late("grokjax.analysis.cell_summary", "summarize"),
        dataset=_late("grokjax.analysis.dataset", "dataset"),
        html=_late("grokjax.figures.notebook", "html"),
    )
    return Results(place_of(path, copy_to_read), cached(DERIVATION), manifest, views)


def _late(module: str, name: str) -> Callable[..., Any]:
    """A function that is imported when it is called: most commands need none of these."""
    return lambda *arguments: getattr(import_module(module), name)(*arguments)
