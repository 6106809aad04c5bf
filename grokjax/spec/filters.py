"""Filters of the gradient, before the optimizer sees it. What each one computes is in `grokjax/train/filters.py`."""

from __future__ import annotations

from typing import ClassVar, Literal

from grokjax.spec.fields import Count, Decay, NonNegative
from grokjax.spec.roles import Hyper
from grokjax.spec.section import Family


class Filter(Family):
    copies: ClassVar[int] = 0  # of the parameters, that its state holds

    @property
    def state_copies(self) -> int:
        """Copies of the parameters that the state holds, where a field decides how many."""
        return self.copies

    @property
    def state_kind(self) -> str:
        """Equal where one's state can be taken over by the other."""
        return str(self.name)


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


class GrokfastMA(Filter):
    """Adds to the gradient a multiple of the mean of the last ones, once there are enough (Lee et al. 2024)."""

    name: Literal["grokfast_ma"] = "grokfast_ma"
    window: Count = 100
    """Gradients that the mean is over, this one included. All are kept: a run has so many copies of its parameters."""
    lamb: Hyper[NonNegative] = 5.0
    """How much of the mean is added."""

    @property
    def state_copies(self) -> int:
        return self.window

    @property
    def state_kind(self) -> str:
        return f"{self.name} {self.window}"


FILTERS: dict[str, type[Filter]] = {"orthograd": OrthoGrad, "grokfast_ema": GrokfastEMA, "grokfast_ma": GrokfastMA}
