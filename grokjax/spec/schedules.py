"""Schedules of the learning rate. What each one computes is in `grokjax/train/schedules.py`."""

from __future__ import annotations

from typing import Literal

from grokjax.spec.fields import Count, NonNegative, Positive
from grokjax.spec.roles import Hyper, HyperCount
from grokjax.spec.section import Family


class Schedule(Family):
    """A factor on the learning rate, by the step; warm-up comes on top of it."""


class Constant(Schedule):
    name: Literal["constant"] = "constant"


class Cosine(Schedule):
    name: Literal["cosine"] = "cosine"
    final: Hyper[NonNegative] = 0.0
    """The factor at the run's last step, reached along half a cosine from 1."""


class Linear(Schedule):
    name: Literal["linear"] = "linear"
    final: Hyper[NonNegative] = 0.0
    """The factor at the run's last step, reached along a line from 1."""


class Steps(Schedule):
    name: Literal["steps"] = "steps"
    every: HyperCount[Count] = 5_000
    """Steps after which the rate is multiplied by `factor`, again and again."""
    factor: Hyper[NonNegative] = 0.2
    """What the rate is multiplied by at every such step."""


class Exponential(Schedule):
    name: Literal["exponential"] = "exponential"
    every: HyperCount[Count] = 1_000
    """Steps over which the rate falls, smoothly, to `rate` of what it was."""
    rate: Hyper[Positive] = 0.5
    """The factor at step t is rate^(t / every)."""


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "linear": Linear,
    "steps": Steps,
    "exponential": Exponential,
}
