"""At which steps a run's parameters and optimizer state are kept."""

from __future__ import annotations

from functools import cache

import numpy as np

from grokjax.spec.run import RunSpec


def snapshot_steps(spec: RunSpec) -> np.ndarray:
    """The steps, rising: multiples of log.snapshot_every and those of log.snapshot_steps, before the run's end.
    The end is always kept."""
    return _steps(spec.train.steps, spec.log.snapshot_every, spec.log.snapshot_steps)


@cache
def _steps(steps: int, every: int | None, spaced: str | None) -> np.ndarray:
    found = [np.arange(every, steps, every)] if every else []
    if spaced:
        count = int(spaced.removeprefix("log:"))
        found.append(np.rint(np.geomspace(1, steps, count)).astype(np.int64))
    kept = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return kept[kept < steps].astype(np.int64)
