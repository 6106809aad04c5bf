"""From a segment's stacked arrays [rows, lanes] to rows: which count, and what a run's end adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grokjax.engine.lanes import Close, Records, first_in
from grokjax.plan.plan import Bucket
from grokjax.results.segment import End, Rows


@dataclass(frozen=True)
class LaneStatus:
    """Where each lane is after a segment."""

    run: np.ndarray  # [B] of the chunk; -1: none
    step: np.ndarray  # [B]
    finite: np.ndarray  # [B]
    closing: np.ndarray  # [B] whether its run ended in this segment


def segment_rows(
    records: Records, status: LaneStatus, clock: int, every: int, bucket: Bucket, carried: np.ndarray
) -> Rows:
    """The records that count of a segment that began at `clock`.

    `carried` [runs] is the train/loss_max of computed rows that are no records, which the next record's takes over; it
    is updated in place.
    """
    log, schedule = bucket.spec.log, bucket.schedule
    step, counts = np.asarray(records.step), np.asarray(records.counts) & (status.run >= 0)
    train, test = ({name: np.asarray(of[name]) for name in of} for of in (records.train, records.test))
    # with a record computed at every step, there are some that are none: between those at log.every, past dense_first
    is_record = counts & ((every > 1) | (step < log.dense_first) | (step % log.every == 0))
    loss_max, pending = train["train/loss_max"].copy(), carried[status.run]
    if (is_record != counts).any() or (pending > -np.inf).any():
        for row in range(len(step)):
            loss_max[row] = np.maximum(pending, loss_max[row])
            pending = np.where(is_record[row], -np.inf, np.where(counts[row], loss_max[row], pending))
    carried[status.run[status.run >= 0]] = pending[status.run >= 0]
    lane, row = np.nonzero(is_record.T)
    metrics = {name: values[row, lane] for name, values in train.items()}
    metrics["train/loss_max"] = loss_max[row, lane]
    steps = step[row, lane]
    evaluation = (first_in(clock, every) + row) * every // schedule.round - first_in(clock, schedule.round)
    metrics |= {name: values[evaluation, lane] for name, values in test.items()}
    due: np.ndarray = steps % log.evaluation_steps == 0
    return Rows(status.run[lane].astype(np.int32), steps, metrics, dict.fromkeys(test, due))


def with_close(rows: Rows, close: Close, status: LaneStatus, carried: np.ndarray) -> Rows:
    """The rows, and one at the end of each run that ended in them; its update_norm is null.

    A run that diverged at a step that has a record has it already: only what is evaluated is added there.
    """
    lane = np.nonzero(status.closing)[0]
    run, step = status.run[lane].astype(np.int32), status.step[lane]
    last = {name: np.asarray(values)[lane] for name, values in (close.train | close.test).items()}
    last["train/loss_max"] = np.maximum(last["train/loss_max"], carried[run])
    row_of = {key: row for row, key in enumerate(zip(rows.run.tolist(), rows.step.tolist(), strict=True))}
    row = np.array([row_of.get(key, -1) for key in zip(run.tolist(), step.tolist(), strict=True)], int)
    is_new, is_old, count = row < 0, np.nonzero(row >= 0)[0], len(rows.run)
    metrics, recorded = {}, {}
    for name, values in rows.metrics.items():
        ends = last.get(name, np.zeros(len(lane), np.float32))
        mask = rows.recorded.get(name, np.ones(count, bool)).copy()
        filled = values.copy()
        lacks = is_old[~mask[row[is_old]]] if name in last else is_old[:0]
        filled[row[lacks]], mask[row[lacks]] = ends[lacks], True
        metrics[name] = np.concatenate([filled, ends[is_new]])
        mask = np.concatenate([mask, np.full(is_new.sum(), name in last)])
        if not mask.all():
            recorded[name] = mask
    return Rows(np.concatenate([rows.run, run[is_new]]), np.concatenate([rows.step, step[is_new]]), metrics, recorded)


def run_ends(close: Close, run_ids: Sequence[str], status: LaneStatus) -> tuple[End, ...]:
    """How each run that ended did, in order of lane."""
    ends = []
    for lane in np.nonzero(status.closing)[0]:
        matrix = None if status.finite[lane] else first_to_go(close, int(lane))
        ends.append(End(run_ids[int(status.run[lane])], int(status.step[lane]), not status.finite[lane], matrix))
    return tuple(ends)


def first_to_go(close: Close, lane: int) -> str:
    """The matrix whose gradient, or else whose update, is the first that is not finite. Where several go in
    the same step, the one that had grown most against its initial norm."""
    for flags in (close.bad_gradient, close.bad_proposal):
        bad = [name for name, flag in flags.items() if flag[lane]]
        if bad:
            return max(bad, key=lambda name: close.growth[name][lane])
    return max(close.growth, key=lambda name: close.growth[name][lane])  # the loss alone overflowed
