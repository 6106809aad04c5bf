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

SAMPLED = 5  # runs whose curves are shown
SAMPLED_ROWS = 8  # records of each between two rows
LiveRow = dict[str, float]


@dataclass
class Counts:
    """What the runs of a plan have done, from the segments of this process and from what was recorded before."""

    plan: Plan
    before: dict[str, set[str]] = field(default_factory=dict)  # kind -> runs
    tallies: dict[int, Tally] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    sampled: dict[str, list[LiveRow]] = field(default_factory=dict)
    run_steps: int = 0
    lane_steps: int = 0
    last: tuple[float, int, int] = (0.0, 0, 0)  # time, run-steps and lane-steps at the newest row

    def __post_init__(self) -> None:
        runs = [run.run_id for run in self.plan.sweep.runs]
        stride = max(1, len(runs) // SAMPLED)
        self.sampled = {run_id: [] for run_id in runs[::stride][:SAMPLED]}
        self.last = (time.monotonic(), 0, 0)

    def update(self, bucket: Bucket, segment: Segment) -> None:
        if bucket.index not in self.tallies:
            prior_steps = {run.run_id: run.origin.prior_steps for run in bucket.runs if run.origin}
            self.tallies[bucket.index] = Tally(thresholds_of(bucket.spec), prior_steps)
        self.tallies[bucket.index].update(segment)
        self.ended |= {end.run_id for end in segment.ends}
        self.run_steps += segment.run_steps
        self.lane_steps += segment.lane_steps
        rows = segment.rows
        for index, run_id in enumerate(segment.run_ids):
            if run_id in self.sampled:
                self.sampled[run_id] += sample(segment, (rows.run == index).nonzero()[0], run_id)

    def rows(self, now: float) -> list[LiveRow]:
        """A row for the sweep, and some for the sampled runs."""
        did: dict[str, set[str]] = {kind: set(self.before.get(kind, ())) for kind in KINDS}
        for tally in self.tallies.values():
            for run_id, kinds in tally.seen().items():
                for kind in kinds:
                    did[kind].add(run_id)
        ours = {run.run_id for run in self.plan.sweep.runs}
        then, run_steps, lane_steps = self.last
        steps, lanes = self.run_steps - run_steps, self.lane_steps - lane_steps
        self.last = (now, self.run_steps, self.lane_steps)
        row = {f"runs/{kind}": len(some & ours) / len(ours) for kind, some in did.items()}
        row["runs/ended"] = len((self.ended | self.before.get("ended", set())) & ours) / len(ours)
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
        "ended": runs["outcome"].notna(),
    }
    return {kind: set(ids[mask]) for kind, mask in had.items()}
