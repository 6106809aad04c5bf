"""Run ids as they are shown and typed: in full, or by their first characters."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from grokjax.sweep.spelling import did_you_mean

SHORTEST = 4  # characters
MOST_SHOWN = 6


def whole_run_id(given: str, run_ids: Collection[str], where: Path) -> str:
    """The run that is meant. Raises ValueError, with those that could be, where it is none or not one only."""
    if given in run_ids:
        return given
    meant = [run_id for run_id in run_ids if given and run_id.startswith(given)]
    if len(meant) == 1 and len(given) >= SHORTEST:
        return meant[0]
    if not meant:
        raise ValueError(f"no run {given!r} in {where}{did_you_mean(given, list(run_ids))}")
    more = f" and {len(meant) - MOST_SHOWN} more" if len(meant) > MOST_SHOWN else ""
    shown = f"{', '.join(meant[:MOST_SHOWN])}{more}"
    if len(given) < SHORTEST:
        raise ValueError(
            f"run {given!r} in {where} is too short, write {SHORTEST} characters or more; there is {shown}"
        )
    raise ValueError(f"run {given!r} in {where} could be {shown}; write more of it")
