"""Schedules of the learning rate. What each one computes is in `grokjax/train/schedules.py`."""

from __future__ import annotations

from typing import Literal

from grokjax.spec.fields import NonNegative
from grokjax.spec.roles import Hyper
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


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "cosine": Cosine, "linear": Linear}
