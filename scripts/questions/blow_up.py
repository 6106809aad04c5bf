"""Where a training blows up, and which of its matrices grows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

BLOWN = 10.0  # times the train loss at the start
GROWN = 2.0  # times a matrix's norm before the blow-up
BEFORE = 20  # steps before the blow-up, from where growth is counted
APART = 2  # steps between records there, beyond which the order of matrices is not seen
LOSS, LOSS_MAX = "train/loss", "train/loss_max"


class BlowUp(NamedTuple):
    step: int
    matrix: str | None  # that went first; None: records are too far apart to tell
    alone: bool  # no other passed GROWN in the same record
    since_start: str | None  # that went first where growth is counted from the start of training


def blow_up(curve: pd.DataFrame, matrices: Sequence[str], diverged: bool) -> BlowUp | None:
    """A run blows up at the first record whose train loss passes BLOWN times that at the start, or where it becomes
    non-finite (it diverges); None: it does neither.

    The matrix that goes first is the first whose norm passes GROWN times its own BEFORE steps earlier (or at the start,
    where that is later), in the records up to the blow-up; of several in one record the one that has grown most there,
    and where none passes, the one that has grown most. Not its own at the start of training: a matrix that starts
    small doubles in any training. curve: the run's records in order, with step, LOSS, LOSS_MAX and a column of norms a
    matrix.
    """
    loss = curve[LOSS_MAX].fillna(curve[LOSS]).to_numpy(np.float64)
    high = np.flatnonzero(~(loss <= BLOWN * curve[LOSS].iloc[0]))
    if not len(high) and not diverged:
        return None
    at = int(high[0]) if len(high) else len(curve) - 1
    steps = curve["step"].to_numpy()[: at + 1]
    if at == 0 or steps[at] - steps[at - 1] > APART:
        return BlowUp(int(steps[at]), None, False, None)
    norms = curve[list(matrices)].to_numpy(np.float64)[: at + 1]
    begin = max(int(np.searchsorted(steps, steps[at] - BEFORE, side="right")) - 1, 0)
    first, alone = _first(norms[begin:])
    return BlowUp(int(steps[at]), matrices[first], alone, matrices[_first(norms)[0]])


def _first(norms: np.ndarray) -> tuple[int, bool]:
    """The column that first passes GROWN times its first value, and whether no other does in that row."""
    growth = np.nan_to_num(norms / norms[0], nan=np.inf, posinf=np.inf)
    passed = growth > GROWN
    row = int(np.argmax(passed.any(axis=1))) if passed.any() else -1
    return int(np.argmax(growth[row])), bool(passed[row].sum() == 1)
