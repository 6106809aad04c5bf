"""Losses. What each one computes is in `grokjax/train/losses.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from grokjax.spec.fields import Positive
from grokjax.spec.roles import Hyper, Later
from grokjax.spec.section import Family, Problem

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

SPIKE_FLOOR = 1e-5  # a train loss below it is no slingshot's


class Loss(Family):
    """Facts of a loss: the precision that it comes out in, and what a guess costs."""

    of_softmax: ClassVar[bool] = False  # whether it reads the softmax of the logits
    of_signs: ClassVar[bool] = False  # whether it reads one output, whose sign is the answer
    of_vectors: ClassVar[bool] = False  # whether answers may be vectors
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
    def softmax_dtype(self) -> str | None:
        """The precision that its softmax is computed in; None: that of the parameters."""
        return None

    @property
    def spike_floor(self) -> float:
        """The train loss that a slingshot reaches at least."""
        return SPIKE_FLOOR

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        task = spec.task.with_loss(self)
        if task.d_target and not self.of_vectors:
            what = f"{self.name} is of classes, and the answers of {task.name} are vectors: use mse"
            yield Problem("loss.name", what, ("task.name",))
        elif self.of_signs and task.outputs != 1:
            what = f"{self.name} reads the sign of one output, and {task.name} has {task.outputs}"
            yield Problem("loss.name", what, ("task.answer", "task.name"))
        elif task.outputs == 1 and not (self.of_signs or self.of_vectors):
            what = f"{self.name} reads the logits of classes, and answer: sign has one output: use hinge or logistic"
            yield Problem("loss.name", what, ("task.answer",))

    @property
    def ends_slingshots(self) -> bool:
        """Whether it keeps the digits whose loss makes one-layer networks slingshot."""
        return False


class CrossEntropy(Loss):
    name: Literal["cross_entropy"] = "cross_entropy"
    precision: Literal["exact", "float32", "float64", "float16"] = "exact"
    """exact: float32 without cancellation; float32: `log_softmax`, which loses the tail; float64; float16: logits and
    softmax in half precision, their mean in float32."""
    center_gradient: Later[bool] = False
    """Subtract from each example's gradient to the logits its mean over classes, which is 0 but for rounding."""

    of_softmax: ClassVar[bool] = True
    unit: ClassVar[str] = "nats"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"cross entropy ({text_of('precision')})"

    def dtype(self, params: str) -> str:
        if self.precision == "float16":
            return "float32"
        return params if self.precision == "exact" else self.precision

    @property
    def softmax_dtype(self) -> str | None:
        return None if self.precision == "exact" else self.precision

    def of_guess(self, classes: int) -> float:
        return math.log(classes)

    def without_rounding(self) -> Self:
        return self.model_copy(update={"precision": "exact", "center_gradient": False})

    @property
    def ends_slingshots(self) -> bool:
        return self.precision == "exact"


class MSE(Loss):
    name: Literal["mse"] = "mse"
    """Squared distance to the one-hot label (to 1 or -1 where the answer is a sign), or to a vector."""
    reduction: Later[Literal["mean", "sum_classes"]] = "mean"
    """Over outputs: their mean, or their sum; over examples the mean."""

    of_vectors: ClassVar[bool] = True

    def of_guess(self, classes: int) -> float:
        if classes < 2:
            return 1.0
        return (1 - 1 / classes) / (classes if self.reduction == "mean" else 1)


class StableMax(Loss):
    """Cross-entropy of s(z) / sum s(z) with s(z) = z + 1 for z >= 0, else 1 / (1 - z) (Prieto et al. 2025)."""

    name: Literal["stablemax"] = "stablemax"
    precision: Literal["float32", "float64"] = "float64"
    """Of the loss; float64 as in the paper's figures."""

    unit: ClassVar[str] = "nats"

    def dtype(self, params: str) -> str:
        return self.precision

    def of_guess(self, classes: int) -> float:
        return math.log(classes)


class Hinge(Loss):
    """max(0, margin - y f), with y = 1 or -1 and f the network's one output."""

    name: Literal["hinge"] = "hinge"
    margin: Hyper[Positive] = 1.0
    """What y f must reach for a loss of 0."""

    of_signs: ClassVar[bool] = True

    def of_guess(self, classes: int) -> float:
        return self.margin

    @property
    def spike_floor(self) -> float:
        """It is exactly 0 between spikes, so one example a little within the margin would be one: a hundredth of a
        guess's loss."""
        return self.margin / 100


class Logistic(Loss):
    """log(1 + exp(-y f)), with y = 1 or -1 and f the network's one output."""

    name: Literal["logistic"] = "logistic"

    of_signs: ClassVar[bool] = True
    unit: ClassVar[str] = "nats"

    def of_guess(self, classes: int) -> float:
        return math.log(2)


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "mse": MSE,
    "stablemax": StableMax,
    "hinge": Hinge,
    "logistic": Logistic,
}
