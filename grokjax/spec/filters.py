"""Filters of the gradient, before the optimizer sees it. What each one computes is in `grokjax/train/filters.py`."""

from __future__ import annotations

from typing import ClassVar, Literal

from grokjax.spec.fields import Decay, NonNegative
from grokjax.spec.roles import Hyper
from grokjax.spec.section import Family


class Filter(Family):
    copies: ClassVar[int] = 0  # of the parameters, that its state holds


class OrthoGrad(Filter):
    """Takes out of each parameter's gradient what only changes the parameter's length (Prieto et al. 2025)."""

    name: Literal["orthograd"] = "orthograd"


class GrokfastEMA(Filter):
    """Adds to the gradient a multiple of its running mean (Lee et al. 2024)."""

    name: Literal["grokfast_ema"] = "grokfast_ema"
    alpha: Hyper[Decay] = 0.98
    """Share of the running mean that is kept each step."""
    lamb: Hyper[NonNegative] = 2.0
    """How much of the running mean is added."""

    copies: ClassVar[int] = 1


FILTERS: dict[str, type[Filter]] = {"orthograd": OrthoGrad, "grokfast_ema": GrokfastEMA}
