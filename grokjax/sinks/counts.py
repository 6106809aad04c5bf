"""What the runs of a sweep have done so far, how fast, and a few of their curves: rows for the live W&B run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grokjax.analysis.curve_batches import CURVES, TOTAL
from grokjax.analysis.events import thresholds_of
from grokjax.analysis.tally import KINDS, Tally
from grokjax.analysis.thinning import evenly_spaced
from grokjax.plan.plan import Bucket, Plan
from grokjax.results.read import Results
from grokjax.results.segment import Segment

ENDED = "ended"
SAMPLED = 5  # runs whose curves are shown
SAMPLED_ROWS = 8  # records of each between two rows
LiveRow = dict[str, float]


@dataclass
class Counts:
    """What the runs of a plan have done, from the segments of this process and from what was recorded before. Sets grow
    as runs do something, so that a row of a million runs looks at none.

    did: kind, or ENDED -> runs of the sweep.
    """

    plan: Plan
    tallies: dict[int, Tally] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    did: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in (*KINDS, ENDED)})
    sampled: dict[str, list[LiveRow]] = field(default_factory=dict)
    run_steps: int = 0
    lane_steps: int = 0
    last: tuple[float, int, int] = (0.0, 0, 0)  # time, run-steps and lane-steps at the newest row

    def __post_init__(self) -> None:
        runs = [run.run_id for run in self.plan.sweep.runs]
        self.ours = frozenset(runs)
        stride = max(1, len(runs) // SAMPLED)
        self.sampled = {run_id: [] for run_id in runs[::stride][:SAMPLED]}
        self.last = (time.monotonic(), 0, 0)

    def begin(self, before: Mapping[str, set[str]]) -> None:
        """Take in what runs had done when training went on: as `did` has it."""
        for kind, runs in before.items():
            self.did[kind] |= runs & self.ours

    def update(self, bucket: Bucket, segment: Segment) -> None:
        if bucket.index not in self.tallies:
            prior_steps = {run.run_id: run.origin.prior_steps for run in bucket.runs if run.origin}
            self.tallies[bucket.index] = Tally(thresholds_of(bucket.spec), prior_steps)
        self.tallies[bucket.index].update(segment)
        seen = self.tallies[bucket.index].seen()
        for run_id in self.ours.intersection(segment.run_ids):
            for kind in seen.get(run_id, ()):
                self.did[kind].add(run_id)
        self.did[ENDED] |= self.ours.intersection(end.run_id for end in segment.ends)
        self.run_steps += segment.run_steps
        self.lane_steps += segment.lane_steps
        rows = segment.rows
        for index, run_id in enumerate(segment.run_ids):
            if run_id in self.sampled:
                self.sampled[run_id] += sample(segment, (rows.run == index).nonzero()[0], run_id)

    def rows(self, now: float) -> list[LiveRow]:
        """A row for the sweep, and some for the sampled runs."""
        then, run_steps, lane_steps = self.last
        steps, lanes = self.run_steps - run_steps, self.lane_steps - lane_steps
        self.last = (now, self.run_steps, self.lane_steps)
        row = {f"runs/{kind}": len(runs) / len(self.ours) for kind, runs in self.did.items()}
        row |= {"speed/run_steps": float(self.run_steps)}
        if lanes:
            row |= {"speed/run_steps_per_second": steps / max(now - then, 1e-9), "speed/lanes_used": steps / lanes}
        sampled = [some for rows in self.sampled.values() for some in evenly_spaced(rows, SAMPLED_ROWS)]
        self.sampled = {run_id: [] for run_id in self.sampled}
        return [row, *sampled]


def sample(segment: Segment, at: Any, run_id: str) -> list[LiveRow]:
    """Records of one run, under names that end in its id."""
    rows, records = segment.rows, []
    for record in at.tolist():
        row = {
            f"sampled/{name}/{run_id}": float(rows.metrics[name][record])
            for name in (*CURVES, TOTAL)
            if name in rows.metrics and (name not in rows.recorded or rows.recorded[name][record])
        }
        records.append(row | {"sampled/step": float(rows.step[record])})
    return evenly_spaced(records, SAMPLED_ROWS)


def by_name(row: LiveRow, names: Mapping[str, str]) -> LiveRow:
    """A row with the names of sampled runs instead of their ids."""
    named = {}
    for key, value in row.items():
        metric, slash, run_id = key.rpartition("/")
        named[f"{metric}{slash}{names.get(run_id, run_id)}"] = value
    return named


def done_before(results: Results) -> dict[str, set[str]]:
    """kind -> runs that had done it when training went on."""
    if not results.metrics():
        return {}
    runs = results.runs()
    ids = runs["run_id"]
    had = {
        "fit": runs["fit_step"].notna(),
        "generalized": runs["generalization_step"].notna(),
        "slingshot": runs["slingshots"] > 0,
        "diverged": runs["status"] == "diverged",
        ENDED: runs["outcome"].notna(),
    }
    return {kind: set(ids[mask]) for kind, mask in had.items()}
