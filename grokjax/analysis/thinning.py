"""Few records of a run: log-spaced ones, those around its events, its first and its last; and few points of a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Real

T = TypeVar("T")
AROUND = 3  # records kept on either side of an event
MOST_SHARED = 110  # log-spaced steps that all runs keep records at


def kept_records(
    step: Int[np.ndarray, " n"], evaluated: Bool[np.ndarray, " n"], rows: int, events: Sequence[int] = ()
) -> Int[np.ndarray, " kept"]:
    """Indices of at most `rows` records (no fewer than 4), log-spaced, and of those around events.

    evaluated: where test metrics were recorded. Those records are rarer, so up to half of the rows are of them.
    """
    if len(step) <= rows:
        return np.arange(len(step))
    test = np.flatnonzero(evaluated)
    test = test[log_spaced(step[test], rows // 2)] if len(test) < len(step) else test[:0]
    ends = [0, len(step) - 1]
    any_of_them = log_spaced(step, rows - len(test) - len(ends))
    return np.unique(np.concatenate([ends, any_of_them, test, around(step, events)])).astype(np.int64)


def shared_records(
    step: Int[np.ndarray, " n"], evaluated: Bool[np.ndarray, " n"], last: int, points: int, events: Sequence[int] = ()
) -> tuple[Int[np.ndarray, " kept"], Bool[np.ndarray, " kept"]]:
    """Indices of the records nearest to `points` log-spaced steps up to `last`, and of those around events; and which
    of them are near steps that all runs share, so that runs can be averaged over these.

    last: the most steps of any run.
    """
    shared = nearest_of_both(step, evaluated, log_steps(last, min(points, MOST_SHARED)))
    finer = nearest_of_both(step, evaluated, log_steps(last, points))
    indices = np.unique(np.concatenate([shared, finer, around(step, events)])).astype(np.int64)
    return indices, np.isin(indices, shared)


def nearest_of_both(
    step: Int[np.ndarray, " n"], evaluated: Bool[np.ndarray, " n"], targets: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " chosen"]:
    """Indices of the records nearest to the wanted steps, of all and of the evaluated ones; and the first and last."""
    test = np.flatnonzero(evaluated)
    chosen = [nearest(step, targets), test[nearest(step[test], targets)], [0, len(step) - 1]]
    return np.unique(np.concatenate(chosen)).astype(np.int64)


def log_steps(last: int, count: int) -> Int[np.ndarray, " steps"]:
    """Step 0 and up to `count` log-spaced steps to the last."""
    spaced = np.rint(np.geomspace(1, max(last, 1), count)).astype(np.int64)
    return np.unique(np.concatenate([[0], spaced]))


def log_spaced(step: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " chosen"]:
    """Indices of at most `count` records, each the nearest to a log-spaced step: as many of these as it takes, since
    many of the early ones share a record."""
    if not len(step) or count < 1:
        return np.zeros(0, np.int64)
    if len(step) <= count:
        return np.arange(len(step))
    few, many = count, 64 * count
    best = _nearest_log_spaced(step, few)
    while few + 1 < many:
        middle = (few + many) // 2
        chosen = _nearest_log_spaced(step, middle)
        if len(chosen) <= count:
            few, best = middle, chosen
        else:
            many = middle
    return best


def _nearest_log_spaced(step: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " chosen"]:
    return nearest(step, np.geomspace(max(int(step[0]), 1), max(int(step[-1]), 1), count))


def nearest(step: Real[np.ndarray, " n"], targets: np.ndarray) -> Int[np.ndarray, " chosen"]:
    """Indices of the records nearest to the wanted steps."""
    if not len(step):
        return np.zeros(0, np.int64)
    right = np.clip(np.searchsorted(step, targets), 0, len(step) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(targets - step[left] <= step[right] - targets, left, right))


def around(step: Int[np.ndarray, " n"], events: Sequence[int]) -> Int[np.ndarray, " near"]:
    """Indices of the records at events and next to them."""
    if not len(step) or not len(events):
        return np.zeros(0, np.int64)
    at = np.searchsorted(step, np.asarray(events, np.int64))
    near = (at[:, None] + np.arange(-AROUND, AROUND + 1)).ravel()
    return np.unique(near[(near >= 0) & (near < len(step))])


def largest_since(
    values: Float[np.ndarray, " n"], recorded: Bool[np.ndarray, " n"], indices: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, " kept"]:
    """At each kept record the largest value since the one kept before: a maximum loses no spike when it is thinned.

    -inf where nothing was recorded since.
    """
    if not len(indices):
        return np.zeros(0, values.dtype)
    known = np.where(recorded, values, -np.inf)[: indices[-1] + 1]
    return np.maximum.reduceat(known, np.concatenate([[0], indices[:-1] + 1])).astype(values.dtype)


def envelope(
    x: Float[np.ndarray, " n"], low: Float[np.ndarray, " n"], high: Float[np.ndarray, " n"], most: int
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """x, low, high of a band; of more than `most` points the outer bounds of as many bins, even on a log axis."""
    if len(x) <= most:
        return x, low, high
    log_x = np.log1p(x)
    edges = np.linspace(log_x[0], log_x[-1], most)
    begin = np.unique(np.searchsorted(log_x, edges, side="right") - 1)
    return x[begin], np.fmin.reduceat(low, begin), np.fmax.reduceat(high, begin)


def evenly_spaced(rows: list[T], most: int) -> list[T]:
    """At most so many rows, the newest among them."""
    stride = -(-len(rows) // most) or 1
    return rows[::-1][::stride][::-1]
