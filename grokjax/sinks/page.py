"""What one W&B run holds, before W&B sees it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from grokjax.analysis.curve_batches import Curves

History = list[tuple[int, dict[str, float]]]  # (step, metric -> value), by step


@dataclass(frozen=True)
class Head:
    """All but the history of one W&B run. notes: what W&B shows as such."""

    wandb_id: str
    name: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: dict[str, Any]
    run_ids: tuple[str, ...]  # of the results that it is made of
    notes: str = ""

    @property
    def digest(self) -> str:
        """Tells whether a run that was written says something else by now."""
        text = json.dumps([self.tags, self.config, self.summary], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def history(curves: Curves) -> History:
    """A row a record of a run, with the metrics that it recorded there."""
    rows = []
    for row, step in enumerate(curves.step.tolist()):
        recorded = [name for name, known in curves.recorded.items() if known[row]]
        rows.append((step, {name: float(curves.values[name][row]) for name in recorded}))
    return rows


def wandb_id(name: str, sweep: str) -> str:
    """Stable across syncs; two sweeps of one project that share a run have it each."""
    return f"{name}-{short_hash(sweep)}"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
