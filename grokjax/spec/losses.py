"""Losses. What each one computes is in `grokjax/train/losses.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal, Self

from grokjax.spec.roles import Later
from grokjax.spec.section import Family


class Loss(Family):
    """Facts of a loss: the precision that it comes out in, and what a guess costs."""

    of_softmax: ClassVar[bool] = False  # whether it reads the softmax of the logits
    unit: ClassVar[str] = ""

    def dtype(self, params: str) -> str:
        """The precision of the loss where parameters have that of `params`."""
        return params

    def of_guess(self, classes: int) -> float:
        """The loss of a network that says the same of every example, and is as right as it can be so."""
        raise NotImplementedError

    def without_rounding(self) -> Self:
        """The same loss as exactly as it is to be had, for measurements."""
        return self

    @property
    def ends_slingshots(self) -> bool:
        """Whether it keeps the digits whose loss makes one-layer networks slingshot."""
        return False


class CrossEntropy(Loss):
    name: Literal["cross_entropy"] = "cross_entropy"
    precision: Literal["exact", "float32", "float64"] = "exact"
    """exact: float32 without cancellation; float32: `log_softmax`, which loses the tail; float64."""
    center_gradient: Later[bool] = False
    """Subtract from each example's gradient to the logits its mean over classes, which is 0 but for rounding."""

    of_softmax: ClassVar[bool] = True
    unit: ClassVar[str] = "nats"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"cross entropy ({text_of('precision')})"

    def dtype(self, params: str) -> str:
        return params if self.precision == "exact" else self.precision

    def of_guess(self, classes: int) -> float:
        return math.log(classes)

    def without_rounding(self) -> Self:
        return self.model_copy(update={"precision": "exact", "center_gradient": False})

    @property
    def ends_slingshots(self) -> bool:
        return self.precision == "exact"


class MSE(Loss):
    name: Literal["mse"] = "mse"
    """Squared distance to the one-hot label, mean over examples and classes."""

    def of_guess(self, classes: int) -> float:
        return (1 - 1 / classes) / classes


LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "mse": MSE}
