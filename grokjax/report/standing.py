"""How far a sweep is, and what each of its runs came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from grokjax.analysis.cells import is_missing
from grokjax.analysis.events import MEANINGS, OUTCOMES
from grokjax.analysis.median_text import reached
from grokjax.report.colors import legible
from grokjax.results.activity import QUEUED, STOPPED, TRAINING, activity, states_of
from grokjax.results.read import Results
from grokjax.spec.wording import count_text

COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C", "#D55E00")  # of OUTCOMES, in its order
GOING = {  # of runs that have not ended
    TRAINING: ("still training", "a process trains it now", "#0072B2"),
    STOPPED: ("stopped before its end", "has records, and no process trains it now", "#5F6368"),
    QUEUED: ("not begun", "has no record yet", "#B0B4B8"),
}


def labels() -> list[dict[str, Any]]:
    """All that a run can have come to, the furthest first, then what it can be at: name, text, meaning, colors."""
    rows = [(name, text, MEANINGS[name], color) for (name, text), color in zip(OUTCOMES.items(), COLORS, strict=True)]
    rows += [(name, *rest) for name, rest in GOING.items()]
    return [
        {"name": name, "text": text, "meaning": meaning, "colors": legible(color), "going": name in GOING}
        for name, text, meaning, color in rows
    ]


def came_to(results: Results, runs: pd.DataFrame) -> list[str]:
    """Of every row of `Results.runs()`: its outcome, or where it stands while it has none."""
    outcomes = list(runs["outcome"])
    if not any(map(is_missing, outcomes)):
        return outcomes
    states = states_of(runs, activity(results.path).holder is not None)
    return [str(state) if is_missing(outcome) else outcome for state, outcome in zip(states, outcomes, strict=True)]


def sweep_state(states: Sequence[str], written: float | None) -> str:
    """`12 of 24 runs have ended; 4 stopped, 8 queued`. states: see `came_to`; written: last record, as time.time()."""
    counts = Counter(states)
    going = [f"{counts[name]:,} {name}" for name in GOING if counts[name]]
    ended = len(states) - sum(counts[name] for name in GOING)
    if going:
        text = f"{ended:,} of {count_text(len(states), 'run')} ended; {', '.join(going)}"
    else:
        text = f"All {count_text(len(states), 'run')} ended" if len(states) > 1 else "The run ended"
    return text if written is None else f"{text}; last record written {date_text(datetime.fromtimestamp(written, UTC))}"


def last_write(results: Results) -> float | None:
    """When a record was last written, as time.time()."""
    return activity(results.path).written


def date_text(date: datetime) -> str:
    """`2026-11-26 12:30 UTC`"""
    return date.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def happened(runs: pd.DataFrame, states: Sequence[str], arm: str = "") -> str:
    """How many runs did what, with medians in which a run that did not get there counts as later than any.

    runs: rows of `Results.runs()`. states: see `came_to`. arm: where the runs are those of one of several.
    """
    counts = Counter(states)
    texts = {row["name"]: row["text"] for row in labels()}
    did = "; ".join(f"{counts[name]:,} {text}" for name, text in texts.items() if counts[name])
    sentences = [f"{f'{arm}: of' if arm else 'Of'} {count_text(len(runs), 'run')}, {did}."]
    begun = runs[[state != QUEUED for state in states]]
    if len(begun):
        sentences.append(_medians(begun, " so far" if any(counts[name] for name in GOING) else ""))
    spikes, who = int(begun["slingshots"].sum()), int((begun["slingshots"] > 0).sum())
    sentences.append(f"{who:,} had slingshots, {spikes:,} in all." if spikes else "No slingshot was found.")
    return " ".join(filter(None, sentences))


def _medians(begun: pd.DataFrame, so_far: str) -> str:
    fit, generalized = (reached(begun[name]) for name in ("fit_step", "generalization_step"))
    parts = [fit.text(f"fit{so_far}"), generalized.text(f"generalized{so_far}")]
    has_fit = begun[begun["fit_step"].notna()]
    delay = reached(has_fit["delay"])
    if delay.count and delay.median != float("inf"):
        parts.append(f"median delay of those that fit {delay.median:,.0f} steps")
    return f"{'; '.join(parts)}."
