"""Few records of a run: log-spaced ones, all around its events, its first and its last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

AROUND = 3  # records kept on either side of an event's


def kept_records(
    step: Int[np.ndarray, " n"], evaluated: Bool[np.ndarray, " n"], rows: int, events: Sequence[int] = ()
) -> Int[np.ndarray, " kept"]:
    """Indices of at most `rows` records (no fewer than 4), log-spaced, and of those around events.

    evaluated: where test metrics were recorded. Those records are rarer, so up to half of the rows are of them.
    """
    everything = np.arange(len(step))
    if len(step) <= rows:
        return everything
    test = np.flatnonzero(evaluated)
    test = test[log_spaced(step[test], rows // 2)] if len(test) < len(step) else test[:0]
    ends = [0, len(step) - 1]
    any_of_them = log_spaced(step, rows - len(test) - len(ends))
    return np.unique(np.concatenate([ends, any_of_them, test, around(step, events)])).astype(np.int64)


def log_spaced(step: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " chosen"]:
    """Indices of at most `count` records, each the nearest to a log-spaced step: as many of these as it takes, since
    many of the early ones share a record."""
    if not len(step) or count < 1:
        return np.zeros(0, np.int64)
    if len(step) <= count:
        return np.arange(len(step))
    few, many = count, 64 * count
    best = nearest(step, few)
    while few + 1 < many:
        middle = (few + many) // 2
        chosen = nearest(step, middle)
        few, many, best = (middle, many, chosen) if len(chosen) <= count else (few, middle, best)
    return best


def nearest(step: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " chosen"]:
    """Indices of the records nearest to so many log-spaced steps."""
    wanted = np.geomspace(max(int(step[0]), 1), max(int(step[-1]), 1), count)
    right = np.clip(np.searchsorted(step, wanted), 0, len(step) - 1)
    left = np.maximum(right - 1, 0)
    return np.unique(np.where(wanted - step[left] <= step[right] - wanted, left, right))


def around(step: Int[np.ndarray, " n"], events: Sequence[int]) -> Int[np.ndarray, " near"]:
    """Indices of the records at events and next to them."""
    if not len(step) or not len(events):
        return np.zeros(0, np.int64)
    at = np.searchsorted(step, np.asarray(events, np.int64))
    near = (at[:, None] + np.arange(-AROUND, AROUND + 1)).ravel()
    return np.unique(near[(near >= 0) & (near < len(step))])


def largest_since(
    values: Float[np.ndarray, " n"], recorded: Bool[np.ndarray, " n"], kept: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, " kept"]:
    """At each kept record the largest value since the one kept before: a maximum loses no spike when it is thinned."""
    if not len(kept):
        return np.zeros(0, values.dtype)
    there = np.where(recorded, values, -np.inf)[: kept[-1] + 1]
    return np.maximum.reduceat(there, np.concatenate([[0], kept[:-1] + 1])).astype(values.dtype)
