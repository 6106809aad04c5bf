"""Optimizers of optax that find their rate, or need no schedule; see `optax_optimizers.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from grokjax.spec.fields import Decay, NonNegative, Positive, Share
from grokjax.spec.optax_keys import (
    B2,
    BetaPair,
    Coupled,
    Eps,
    FirstEstimate,
    Inside,
)
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.roles import Hyper, Null, Role
from grokjax.spec.section import Problem

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


class Cocob(Coupled):
    """Coin betting: needs no rate (Orabona and Tommasi 2017)."""

    name: Literal["cocob"] = "cocob"
    lr: Hyper[NonNegative] = 1.0
    """A factor on the gradient."""
    alpha: Hyper[NonNegative] = 100.0
    """Holds the first steps back."""
    eps: Eps = 1e-8

    copies: ClassVar[int] = 5
    takes_rate: ClassVar[bool] = True


class DAdaptAdamW(Inside):
    """AdamW that finds its rate (Defazio and Mishchenko 2023)."""

    name: Literal["dadapt_adamw"] = "dadapt_adamw"
    lr: Hyper[NonNegative] = 1.0
    """A factor on the rate that is found."""
    betas: BetaPair = [0.9, 0.999]
    eps: Eps = 1e-8
    estim_lr0: FirstEstimate = 1e-6
    weight_decay: Hyper[NonNegative] = 0.0
    """W loses the rate that is found * weight_decay * W a step."""

    copies: ClassVar[int] = 3
    takes_rate: ClassVar[bool] = True


class Dog(Coupled):
    """Distance over gradients: needs no rate (Ivgi et al. 2023)."""

    name: Literal["dog"] = "dog"
    lr: Hyper[NonNegative] = 1.0
    """A factor on the rate that is found."""
    init_step: Literal["heuristic", "distance", "learning_rate"] = "heuristic"
    """What init_step_value is of: heuristic, of 1 + the norm of the parameters; distance; or the first rate itself."""
    init_step_value: Hyper[Positive] = 1e-6
    """How far the first step goes."""
    eps: Eps = 1e-8


class Dowg(Coupled):
    """Distance over weighted gradients: needs no rate (Khaled et al. 2023)."""

    name: Literal["dowg"] = "dowg"
    lr: Hyper[NonNegative] = 1.0
    """A factor on the rate that is found."""
    init_estim_sq_dist: Annotated[Positive | None, Role("hyper"), Null("eps")] = None
    """The first estimate of the squared distance to go; null is eps."""
    eps: Eps = 1e-4


class Prodigy(Inside):
    """Adam that finds its rate (Mishchenko and Defazio 2023)."""

    name: Literal["prodigy"] = "prodigy"
    lr: Hyper[NonNegative] = 1.0
    """A factor on the rate that is found."""
    betas: BetaPair = [0.9, 0.999]
    beta3: Annotated[Decay | None, Role("hyper"), Null("sqrt(b2)")] = None
    """Share of the sums behind the estimate that is kept each step; null is the root of the second of betas."""
    eps: Eps = 1e-8
    estim_lr0: FirstEstimate = 1e-6
    estim_lr_coef: Hyper[Positive] = 1.0
    """A factor on the estimate."""
    weight_decay: Hyper[NonNegative] = 0.0
    """W loses the rate that is found * weight_decay * W a step."""
    safeguard_warmup: bool = False
    """Whether the rate counts for the estimate's divisor: true for a long warm-up."""

    copies: ClassVar[int] = 4
    takes_rate: ClassVar[bool] = True


class _ScheduleFree(Inside):
    b1: Hyper[Share] = 0.9
    """Share of the average in the parameters that gradients are of."""
    weight_lr_power: Hyper[NonNegative] = 2.0
    """A step counts in the average by its largest rate so far to this power."""

    takes_rate: ClassVar[bool] = True

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        yield from super().problems(spec)
        if spec.constraint.holds_norm:
            what = f"{self.name} averages parameters that no constraint sees: leave one of the two out"
            yield Problem("constraint.name", what, ("optimizer.name",))


class ScheduleFreeAdamW(_ScheduleFree):
    """AdamW whose average is what is tested (Defazio et al. 2024)."""

    name: Literal["schedule_free_adamw"] = "schedule_free_adamw"
    lr: Hyper[NonNegative] = 2.5e-3
    """Learning rate."""
    b2: B2 = 0.999
    eps: Eps = 1e-8
    weight_decay: Hyper[NonNegative] = 0.0
    """W loses lr * weight_decay * W a step, W being where the gradient is taken."""

    copies: ClassVar[int] = 2


class ScheduleFreeSGD(_ScheduleFree):
    """SGD whose average is what is tested (Defazio et al. 2024)."""

    name: Literal["schedule_free_sgd"] = "schedule_free_sgd"
    lr: Hyper[NonNegative] = 1.0
    """Learning rate."""
    weight_decay: Hyper[NonNegative] = 0.0
    """W loses lr * weight_decay * W a step, W being where the gradient is taken."""


_FAMILIES = (
    Cocob, DAdaptAdamW, Dog, Dowg, Prodigy, ScheduleFreeAdamW, ScheduleFreeSGD,
)  # fmt: skip
ADAPTIVE: dict[str, type[Optimizer]] = {family.model_fields["name"].default: family for family in _FAMILIES}
