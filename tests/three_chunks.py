"""Workers of a results directory for tests: a sweep of three chunks, and what a worker is asked before each segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bits import BASE

SWEEP: dict[str, Any] = {  # three chunks of four runs
    "base": BASE,
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 20},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 11}},
}
Stop = Callable[[], bool]


def never() -> bool:
    return False


def after(segments: int, then: Callable[[], Any]) -> Stop:
    """What is asked before each segment, and does something else after so many: as if the process had been frozen."""
    left = [segments]

    def stop() -> bool:
        left[0] -= 1
        if left[0] == -1:
            then()
        return False

    return stop
