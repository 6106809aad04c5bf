"""How far a results directory is and what its runs did, as text for a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grokjax.analysis.median_text import reached
from grokjax.live import size
from grokjax.results.activity import (
    DIVERGED,
    ENDED,
    QUEUED,
    STOPPED,
    TRAINING,
    Activity,
    activity_of,
    going_on,
    states_of,
)
from grokjax.results.chunks import steps_of, while_it_trains
from grokjax.results.derived import stored_runs
from grokjax.results.layout import survey
from grokjax.spec.wording import count_text, span

if TYPE_CHECKING:
    import pandas as pd

    from grokjax.results.catalog import Entry
    from grokjax.results.read import Results

NEEDED = ["arm", "status", "outcome", "last_step", "fit_step", "generalization_step", "slingshots", "train.steps"]
MOST_FAILURES = 5  # that are told
DONE = (ENDED, DIVERGED)
COLUMNS = ("results", "ended", "to go", "generalized", "last write", "size")  # of a list; the last are left out first
UNITS = ((86400 * 2, 86400, "days"), (7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))  # from, seconds, name


def outcome_text(results: Results, now: float | None = None) -> str:
    """Who trains there, how far each arm is, and what its runs did. now: as time.time().

    Runs that train still count as not there yet, so that k of n grows, and a median is never that of the quick ones.
    """
    does, (run_steps, lane_steps), runs = while_it_trains(lambda: _look(results))
    runs = results.runs(NEEDED) if runs is None else runs
    states = states_of(runs, does.holder is not None)
    head = f"{results.manifest.name}: {count_text(len(runs), 'run')}"
    if lane_steps:
        head += f"; {run_steps:,} run-steps, lanes {run_steps / lane_steps:.0%} used"
    left = int((~np.isin(states, DONE)).sum())
    lines = [head, *_activity_lines(results, does, left, time.time() if now is None else now)]
    for arm, rows in runs.groupby("arm", sort=False).indices.items():
        lines += _arm_lines(str(arm), runs.iloc[rows], states[rows])
    return "\n".join(lines)


def _look(results: Results) -> tuple[Activity, tuple[int, int], pd.DataFrame | None]:
    """What goes on, the steps taken, and what is needed of `Results.runs()` where that is stored, of one look at all
    chunks."""
    seen = survey(results.path)
    stored = stored_runs(results.path, NEEDED, seen)
    return activity_of(results.path, seen), steps_of(results.path, seen), stored


def _activity_lines(results: Results, does: Activity, left: int, now: float) -> list[str]:
    """left: runs that have not ended."""
    written = "nothing written yet" if does.written is None else f"last write {ago(now - does.written)}"
    failed = [f"chunk {one.chunk} failed on {one.host}: {one.what}" for one in does.failures[:MOST_FAILURES]]
    if len(does.failures) > MOST_FAILURES:
        failed.append(f"and {len(does.failures) - MOST_FAILURES:,} chunks more failed")
    if does.holder:
        rate = f", {does.rate:,.0f} run-steps/s" if does.rate else ""
        return [f"trains now: {does.holder}{rate}, {written}", *failed]
    if not left:
        return [f"all have ended; {written}"]
    command = going_on(results.path, results.manifest)
    head = f"stopped with {count_text(left, 'run')} to go: nothing trains there, {written}; to go on:"
    return [head, f"  {command}", *failed]


def _arm_lines(arm: str, runs: pd.DataFrame, states: np.ndarray) -> list[str]:
    counts = Counter(states.tolist())
    parts = []
    ended = sum(counts[state] for state in DONE)
    if ended:
        outcomes = ", ".join(f"{count:,} {name}" for name, count in runs["outcome"].value_counts().items())
        parts.append(f"{ended:,} ended ({outcomes})")
    parts += [
        f"{counts[state]:,} {state} at {_steps(runs[states == state])}"
        for state in (TRAINING, STOPPED)
        if counts[state]
    ]
    if counts[QUEUED]:
        parts.append(f"{counts[QUEUED]:,} {QUEUED}")
    with_events, events = int((runs["slingshots"] > 0).sum()), int(runs["slingshots"].sum())
    line = f"arm {arm}: {', '.join(parts)}; {with_events:,} with slingshots ({events:,} in all)"
    begun = runs[states != QUEUED]
    if begun.empty:
        return [line]
    so_far = " so far" if ended < len(begun) else ""
    did = {"fit_step": f"fit{so_far}", "generalization_step": f"generalized{so_far}"}
    return [line, "  " + "; ".join(reached(begun[column]).text(what) for column, what in did.items())]


def _steps(runs: pd.DataFrame) -> str:
    """`step 100 to 300 of 4,000`, of runs that have begun."""
    at, planned = ([int(step) for step in runs[name].unique()] for name in ("last_step", "train.steps"))
    return f"step {span(at)} of {span(planned)}"


def ago(seconds: float) -> str:
    """`3 min ago`"""
    seconds = max(0.0, seconds)
    unit, name = next((unit, name) for least, unit, name in UNITS if seconds >= least)
    return f"{seconds / unit:.0f} {name} ago"


def catalog_text(entries: Sequence[Entry], now: float, width: int | None) -> str:
    """A table of results directories. width: of the terminal; None: as wide as it is."""
    rows = [_cells(entry, now) for entry in entries]
    count = len(COLUMNS)
    while True:
        widths = [max(map(len, column)) for column in zip(COLUMNS[:count], *(row[:count] for row in rows), strict=True)]
        if width is None or count == 2 or sum(widths) + 2 * (count - 1) <= width:
            break
        count -= 1
    lines = []
    for entry, row in zip([None, *entries], [COLUMNS, *rows], strict=True):
        if entry is not None and entry.broken:
            lines.append(f"{row[0]:<{widths[0]}}  broken: {entry.broken}")
        else:
            cells = zip(row[:count], widths, strict=True)
            lines.append("  ".join(cell.ljust(wide) for cell, wide in cells).rstrip())
    return "\n".join(lines)


def _cells(entry: Entry, now: float) -> tuple[str, ...]:
    if entry.broken:
        return (str(entry.path), "", "", "", "", "")
    is_known = entry.generalized is not None and entry.ended > 0
    generalized = f"{entry.generalized:,} of {entry.ended:,}" if is_known else ""
    going = f"{entry.runs - entry.ended:,} {entry.going}" if entry.going else ""
    ended = f"{entry.ended:,} of {entry.runs:,}"
    return (str(entry.path), ended, going, generalized, ago(now - entry.written), size(entry.bytes))
