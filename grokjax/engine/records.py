"""From a segment's stacked arrays [lanes, records] to rows: which count, and what a run's end adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grokjax.engine.lanes import Close, Records
from grokjax.results.segment import End, Rows
from grokjax.sweep.plan import Schedule
from grokjax.sweep.spec import Log


def segment_rows(records: Records, schedule: Schedule, log: Log, carried: np.ndarray, lanes: int) -> Rows:
    """The records that count. `carried` [lanes] is the train/loss_max of computed rows that are no records,
    which the next record's takes over; it is updated in place."""
    step, counts = np.asarray(records.step)[:lanes], np.asarray(records.counts)[:lanes]
    # only a dense segment has rows that are no records: between those at `every`, past dense_first
    kept = counts & ((schedule.every > 1) | (step < log.dense_first) | (step % log.every == 0))
    loss_max = np.array(records.train["train/loss_max"])[:lanes]
    for row in range(loss_max.shape[1]) if (kept != counts).any() or (carried > -np.inf).any() else ():
        largest = np.maximum(carried, loss_max[:, row])
        loss_max[:, row] = largest
        carried[:] = np.where(kept[:, row], -np.inf, np.where(counts[:, row], largest, carried))
    lane, row = np.nonzero(kept)
    metrics = {name: np.asarray(values)[lane, row] for name, values in records.train.items()}
    metrics["train/loss_max"] = loss_max[lane, row]
    evaluation, offset = np.divmod(row, schedule.records)
    metrics |= {name: np.asarray(values)[lane, evaluation] for name, values in records.test.items()}
    # a segment shorter than log.eval_every also evaluates where none is due
    due: np.ndarray = (offset == 0) & (step[lane, row] % log.evaluation_steps == 0)
    return Rows(lane.astype(np.int32), step[lane, row], metrics, dict.fromkeys(records.test, due))


def with_close(rows: Rows, close: Close, ended: np.ndarray, step: np.ndarray, carried: np.ndarray) -> Rows:
    """The rows, and one at the end of each run in `ended` [lanes]; its update_norm is null."""
    lane = np.nonzero(ended)[0].astype(np.int32)
    last = {name: np.asarray(values)[lane] for name, values in (close.train | close.test).items()}
    last["train/loss_max"] = np.maximum(last["train/loss_max"], carried[lane])
    old, new = len(rows.lane), len(lane)
    metrics, recorded = {}, {}
    for name, values in rows.metrics.items():
        metrics[name] = np.concatenate([values, last.get(name, np.zeros(new, np.float32))])
        before = rows.recorded.get(name, np.ones(old, bool))
        mask = np.concatenate([before, np.full(new, name in last)])
        if not mask.all():
            recorded[name] = mask
    return Rows(np.concatenate([rows.lane, lane]), np.concatenate([rows.step, step[lane]]), metrics, recorded)


def run_ends(
    close: Close,
    run_ids: Sequence[str],
    closing: np.ndarray,
    step: np.ndarray,
    finite: np.ndarray,
    growth: dict[str, np.ndarray],
) -> tuple[End, ...]:
    """How each run in `closing` [lanes] ended. growth: name -> [lanes], norm over initial norm."""
    ends = []
    for lane in np.nonzero(closing)[0]:
        matrix = None if finite[lane] else first_to_go(close, int(lane), growth)
        ends.append(End(run_ids[int(lane)], int(step[lane]), not finite[lane], matrix))
    return tuple(ends)


def first_to_go(close: Close, lane: int, growth: dict[str, np.ndarray]) -> str:
    """The matrix whose gradient, or else whose update, is the first that is not finite. Where several go in
    the same step, the one that had grown most against its initial norm."""
    for flags in (close.bad_gradient, close.bad_proposal):
        bad = [name for name, flag in flags.items() if np.asarray(flag)[lane]]
        if bad:
            return max(bad, key=lambda name: growth[name][lane])
    return max(growth, key=lambda name: growth[name][lane])  # the loss alone overflowed
