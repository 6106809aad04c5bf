"""How many of several runs got somewhere, and at which step half of them had: k of n and a censored median."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from grokjax.analysis.censored import median_time


@dataclass(frozen=True)
class Reached:
    """count of `runs` got there. median: over all of them, a run that did not is later than any; inf: fewer than half
    did, nan: there are no runs."""

    count: int
    runs: int
    median: float

    def text(self, did: str, unit: str = "step") -> str:
        """`2 of 4 generalized, median step 880`. did: what those did that got there."""
        head = f"{self.count:,} of {self.runs:,} {did}"
        if not self.count:
            return head
        if math.isinf(self.median):
            return f"{head}, median {unit} not reached: fewer than half did"
        return f"{head}, median {unit} {self.median:,.0f}"


def reached(times: ArrayLike) -> Reached:
    """times: [n], the step at which each run got there; nan: it did not."""
    times = np.asarray(times, float)
    median = median_time(times)[0] if len(times) else math.nan
    return Reached(int(np.isfinite(times).sum()), len(times), median)
