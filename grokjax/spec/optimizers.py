"""Optimizers: what all have, and our own three. What each one computes is in `grokjax/train/optimizers.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from grokjax.spec.fields import ByMatrix, Decay, Natural, NonNegative, Positive
from grokjax.spec.filters import Filter
from grokjax.spec.roles import Hyper, Later, Null, Role, role_of
from grokjax.spec.schedules import Constant, Schedule
from grokjax.spec.section import Family, Problem, family_field
from grokjax.spec.shapes import Shapes, matches, parameter_count

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


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
    decay_to: Later[Literal["zero", "init"]] = "zero"
    """What weight decay pulls the parameters to: zero, or where the run started (of which its state holds a copy)."""
    groups: Later[dict[str, Annotated[SerializeAsAny[Optimizer], *family_field("optimizer")]]] = {}
    """Another optimizer for some matrices, with its own rate, schedule, filters and decay: `{W_E: {name: adamw}}`."""

    copies: ClassVar[int] = 1  # of the parameters, that its state holds
    draws: ClassVar[bool] = False  # whether its steps have random numbers, from the run's seed and the step
    state: ClassVar[str] = ""  # runs go on with the state of another whose optimizer says the same here; "": its name
    shaping: ClassVar[tuple[str, ...]] = ()  # fields that decide what its state consists of
    has_second_moment: ClassVar[bool] = False
    takes_rate: ClassVar[bool] = False  # whether its function uses the rate, and makes the whole step
    steps: ClassVar[float] = 1.0  # work of a step, in steps of SGD
    passes: ClassVar[int] = 1  # how often over it keeps what a gradient needs

    @property
    def decays(self) -> str:
        """`decoupled`: W loses lr * weight_decay * W a step. `coupled`: weight_decay * W is added to the gradient.
        `inside`: its function decays."""
        return "decoupled"

    @classmethod
    def own_keys(cls) -> list[str]:
        """Its keys that not every optimizer has."""
        return [name for name in cls.model_fields if name not in Optimizer.model_fields]

    def own_numbers(self, shapes: Shapes) -> int:
        """Numbers that its own state holds for parameters of these shapes, about."""
        return self.copies * parameter_count(shapes)

    @property
    def state_kind(self) -> tuple[str, ...]:
        """Equal where one's state can be taken over by the other."""
        pulled = ("decay_to init",) if self.decay_to == "init" else ()
        grouped = [f"{key}: {kind}" for key, group in sorted(self.groups.items()) for kind in group.state_kind]
        own = [f"{name} {self._presence(name)}" for name in self.shaping]
        return (self.state or self.name, *own, *(one.state_kind for one in self.filters), *pulled, *grouped)

    def _presence(self, name: str) -> Any:
        """The value of a field, or of a number whether there is one."""
        value = getattr(self, name)
        return value if role_of(type(self).model_fields[name]).kind == "static" else value is not None

    @property
    def parts(self) -> tuple[Optimizer, ...]:
        """The optimizers that it consists of: itself, and those of its groups."""
        return (self, *self.groups.values())

    def group_of(self, name: str) -> str | None:
        """The group that a parameter is in."""
        return next((key for key in self.groups if matches(key, name)), None)

    def state_numbers(self, shapes: Shapes) -> int:
        """Numbers that the states hold: of filters, of where decay pulls to, and of groups too."""
        total = 0
        for key, part in zip((None, *self.groups), self.parts, strict=True):
            inside = {name: shape for name, shape in shapes.items() if self.group_of(name) == key}
            copies = sum(one.state_copies for one in part.filters) + (part.decay_to == "init")
            total += part.own_numbers(inside) + copies * parameter_count(inside)
        return total

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        for key, group in self.groups.items():
            path = f"optimizer.groups.{key}"
            yield from group.problems(spec)
            if group.groups:
                yield Problem(f"{path}.groups", "a group has no groups of its own", (path,))
            if group.clip_norm is not None:
                what = "the whole gradient is clipped at once: write optimizer.clip_norm, and none in a group"
                yield Problem(f"{path}.clip_norm", what, (path,))

    def idle(self) -> set[str]:
        return {"weight_decay_by_matrix", "decay_to"} if self.weight_decay == 0 else set()


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


class ChosenDecay(Optimizer):
    """Of optimizers whose name does not say how they decay."""

    decay: Literal["coupled", "decoupled"] = "decoupled"
    """coupled: weight_decay * W is added to the gradient; decoupled: W loses lr * weight_decay * W a step."""

    @classmethod
    def own_keys(cls) -> list[str]:
        return [name for name in super().own_keys() if name != "decay"]

    @property
    def decays(self) -> str:
        return self.decay

    def idle(self) -> set[str]:
        return super().idle() | ({"decay"} if self.weight_decay == 0 else set())


class SGD(ChosenDecay):
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

    def idle(self) -> set[str]:
        return super().idle() | ({"nesterov"} if self.momentum == 0 else set())


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
