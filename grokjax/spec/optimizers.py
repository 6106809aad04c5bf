"""Optimizers. What each one computes is in `grokjax/train/optimizers.py`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import SerializeAsAny

from grokjax.spec.fields import ByMatrix, Decay, Natural, NonNegative, Positive
from grokjax.spec.filters import Filter
from grokjax.spec.roles import Hyper, Later, Null, Role
from grokjax.spec.schedules import Constant, Schedule
from grokjax.spec.section import Family, family_field


class Optimizer(Family):
    """What every optimizer has: a learning rate, its warm-up and schedule, weight decay, and factors by matrix.

    A family's function makes the step's direction out of the gradient; decay, rate and factors are applied to it alike
    for all. Facts: how much state it holds, and of which kind.
    """

    lr: Hyper[NonNegative] = 1e-3
    """Learning rate."""
    warmup_steps: Hyper[Natural] = 0
    """Learning rate times min(step / warmup_steps, 1): with a warm-up, step 0 changes nothing."""
    schedule: Annotated[SerializeAsAny[Schedule], *family_field("schedule"), Role(later=True)] = Constant()
    """Factor on the learning rate over the steps."""
    filters: Later[list[Annotated[SerializeAsAny[Filter], *family_field("filter")]]] = []
    """What is done to the gradient, in order, before the optimizer sees it."""
    clip_norm: Annotated[Positive | None, Role("hyper", program_name="clips"), Null("no clipping", most=True)] = None
    """Largest norm of the whole gradient; null does not clip."""
    lr_by_matrix: Hyper[ByMatrix] = {}
    """Factors on lr, by matrix; 0 freezes it (its weight decay too)."""
    weight_decay: Hyper[NonNegative] = 0.0
    """How fast the parameters shrink: see the optimizer."""
    weight_decay_by_matrix: Hyper[ByMatrix] = {}
    """Factors on weight_decay, by matrix."""

    copies: ClassVar[int] = 1  # of the parameters, that its state holds
    state: ClassVar[str] = ""  # runs go on with the state of another whose optimizer says the same here; "": its name
    has_second_moment: ClassVar[bool] = False

    @property
    def decays(self) -> str:
        """`decoupled`: W loses lr * weight_decay * W a step. `coupled`: weight_decay * W is added to the gradient."""
        return "decoupled"

    @property
    def state_copies(self) -> int:
        """Copies of the parameters that the state holds, filters included."""
        return self.copies + sum(one.copies for one in self.filters)

    @property
    def state_kind(self) -> tuple[str, ...]:
        """Equal where one's state can be taken over by the other."""
        return (self.state or self.name, *(one.name for one in self.filters))

    def idle(self) -> set[str]:
        return {"weight_decay_by_matrix"} if self.weight_decay == 0 else set()


class _Moments(Optimizer):
    b1: Hyper[Decay] = 0.9
    """Share of the first moment (the mean of the gradients) that is kept each step."""
    b2: Hyper[Decay] = 0.98
    """Share of the second moment (the mean of their squares) that is kept each step."""
    eps: Hyper[NonNegative] = 1e-8
    """Added to the root of the second moment, which divides the step."""
    warmup_steps: Hyper[Natural] = 10
    """Learning rate times min(step / warmup_steps, 1): with a warm-up, step 0 changes nothing."""

    copies: ClassVar[int] = 2
    state: ClassVar[str] = "moments"
    has_second_moment: ClassVar[bool] = True


class AdamW(_Moments):
    name: Literal["adamw"] = "adamw"
    lr: Hyper[NonNegative] = 1e-3
    """Learning rate."""
    weight_decay: Hyper[NonNegative] = 1.0
    """Decoupled: W loses lr * weight_decay * W a step."""


class Adam(_Moments):
    name: Literal["adam"] = "adam"
    lr: Hyper[NonNegative] = 1e-3
    """Learning rate."""
    weight_decay: Hyper[NonNegative] = 0.0
    """Coupled: weight_decay * W is added to the gradient."""

    @property
    def decays(self) -> str:
        return "coupled"


class SGD(Optimizer):
    name: Literal["sgd"] = "sgd"
    lr: Hyper[NonNegative] = 0.1
    """Learning rate."""
    momentum: Hyper[Decay] = 0.0
    """Share of the sum of the gradients that is kept each step; 0 is plain SGD."""
    nesterov: bool = False
    """Nesterov's momentum; without momentum it changes nothing."""
    weight_decay: Hyper[NonNegative] = 0.0
    """How fast the parameters shrink; `decay` says how."""
    decay: Literal["coupled", "decoupled"] = "coupled"
    """coupled: weight_decay * W is added to the gradient; decoupled: W loses lr * weight_decay * W a step."""

    @property
    def decays(self) -> str:
        return self.decay

    def idle(self) -> set[str]:
        without_momentum = {"nesterov"} if self.momentum == 0 else set()
        without_decay = {"decay"} if self.weight_decay == 0 else set()
        return super().idle() | without_momentum | without_decay


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
