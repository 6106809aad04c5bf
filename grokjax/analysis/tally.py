"""Counts of what runs have done so far, kept up to date from the rows of each segment while they train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from grokjax.analysis.events import SLINGSHOT_WINDOW, Thresholds, first_holding, slingshot_hits
from grokjax.analysis.summary import find_all
from grokjax.results.read import Results
from grokjax.results.segment import Rows, Segment

FIT, GENERALIZED, SLINGSHOT, DIVERGED = KINDS = ("fit", "generalized", "slingshot", "diverged")
KIND_OF = {"fit": FIT, "generalization": GENERALIZED, "slingshot": SLINGSHOT, "divergence": DIVERGED}  # of an event
TAIL = 5  # records before a segment that a slingshot's median may need


class Tally:
    """Fit, generalized, slingshot and diverged runs of one bucket. Remembers only the newest records a run.

    prior_steps: steps that the optimizers of forked runs had behind them at step 0.
    """

    def __init__(self, thresholds: Thresholds, prior_steps: Mapping[str, int] | None = None):
        self.thresholds = thresholds
        self._prior_steps = prior_steps or {}
        self._seen: dict[str, set[str]] = {}
        self._counts: Counter[str] = Counter()
        self._tail: dict[str, np.ndarray] = {}  # run -> [3, records]: step, loss, loss_max
        self._held: dict[tuple[str, str], np.ndarray] = {}  # (run, kind) -> the newest accuracies

    def counts(self) -> Counter[str]:
        """Kind -> how many runs have done it. No run is looked at: it is asked for at each segment."""
        return Counter(self._counts)

    def seen(self) -> Mapping[str, set[str]]:
        """run -> what it has done."""
        return self._seen

    def begin(self, did: Mapping[str, set[str]]) -> None:
        """did: run -> what it did before, of runs that go on."""
        for run_id, kinds in did.items():
            for kind in kinds:
                self._note(run_id, kind)

    def _note(self, run_id: str, kind: str) -> None:
        seen = self._seen.setdefault(run_id, set())
        self._counts[kind] += kind not in seen
        seen.add(kind)

    def _forget(self, run_id: str) -> None:
        """The newest records of a run that has ended."""
        self._tail.pop(run_id, None)
        for kind in (FIT, GENERALIZED):
            self._held.pop((run_id, kind), None)

    def update(self, segment: Segment) -> None:
        """Take in a segment's rows."""
        rows = segment.rows
        for run in np.unique(rows.run):
            at = np.nonzero(rows.run == run)[0]
            run_id = segment.run_ids[run]
            self._accuracy(run_id, *self.thresholds.fit_by(rows.metrics), FIT, rows, at)
            self._accuracy(run_id, "test/accuracy", self.thresholds.generalization, GENERALIZED, rows, at)
            self._slingshots(run_id, rows, at)
        for end in segment.ends:
            if end.diverged:
                self._note(end.run_id, DIVERGED)
            self._forget(end.run_id)

    def _accuracy(
        self,
        run_id: str,
        metric: str,
        threshold: float,
        kind: str,
        rows: Rows,
        at: np.ndarray,
    ) -> None:
        if kind in self._seen.get(run_id, ()):
            return
        at = at[rows.recorded[metric][at]] if metric in rows.recorded else at
        above = rows.metrics[metric][at] >= np.float32(threshold)
        above = np.concatenate([self._held.get((run_id, kind), np.zeros(0, bool)), above])
        if first_holding(above, self.thresholds.hold) is not None:
            self._note(run_id, kind)
        self._held[(run_id, kind)] = above[max(0, len(above) - self.thresholds.hold + 1) :]

    def _slingshots(self, run_id: str, rows: Rows, at: np.ndarray) -> None:
        if SLINGSHOT in self._seen.get(run_id, ()):
            return
        new = np.stack([rows.step[at], rows.metrics["train/loss"][at], rows.metrics["train/loss_max"][at]])
        tail = self._tail.get(run_id, np.zeros((3, 0)))
        both = np.concatenate([tail, new], axis=1)
        prior_steps, floor = self._prior_steps.get(run_id, 0), self.thresholds.slingshot_floor
        hits = slingshot_hits(both[0].astype(np.int64), both[1], both[2], prior_steps, floor)
        if (hits >= tail.shape[1]).any():  # the tail's own records were judged before, with all of theirs
            self._note(run_id, SLINGSHOT)
        recent = both[0] >= both[0, -1] - SLINGSHOT_WINDOW
        recent[-TAIL:] = True
        self._tail[run_id] = both[:, recent]


def did_before(results: Results, run_ids: Sequence[str]) -> dict[str, set[str]]:
    """run -> what it has done, as its stored records tell."""
    planned = results.planned()
    events_of = find_all(results, planned[planned["run_id"].isin(run_ids)].reset_index(drop=True))
    return {
        run_id: {KIND_OF[event.kind] for event in events if event.kind in KIND_OF}
        for run_id, events in events_of.items()
    }
