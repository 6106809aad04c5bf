"""Optimizers of optax, by optax's names of them, of their arguments, and with its defaults.

Three arguments have our names: learning_rate is `lr`, weight_decay_rate is `weight_decay`, and masks are
`weight_decay_by_matrix`. Precisions are those of the run (`numerics.params`). What each one computes is in
`grokjax/train/optax_optimizers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from grokjax.spec.fields import Count, Decay, NonNegative
from grokjax.spec.optax_adaptive import ADAPTIVE
from grokjax.spec.optax_keys import (
    B2,
    Betas,
    Coupled,
    Eps,
    MaybeMomentum,
    Momentum,
    Nesterov,
)
from grokjax.spec.optax_matrices import MATRICES
from grokjax.spec.optax_moments import MOMENTS
from grokjax.spec.optimizers import ChosenDecay, Optimizer
from grokjax.spec.roles import Hyper
from grokjax.spec.section import Problem
from grokjax.spec.shapes import Shapes, parameter_count

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


class Adadelta(Coupled):
    """Zeiler 2012."""

    name: Literal["adadelta"] = "adadelta"
    lr: Hyper[NonNegative] = 1.0
    """Learning rate."""
    rho: Hyper[Decay] = 0.9
    """Share of the squares that is kept each step."""
    eps: Eps = 1e-6

    copies: ClassVar[int] = 2


class Adagrad(ChosenDecay):
    """Duchi et al. 2011."""

    name: Literal["adagrad"] = "adagrad"
    initial_accumulator_value: Hyper[NonNegative] = 0.1
    """What the sum of squares starts from."""
    eps: Eps = 1e-7


class Lion(ChosenDecay):
    """Steps by the sign of a momentum (Chen et al. 2023)."""

    name: Literal["lion"] = "lion"
    b1: Hyper[Decay] = 0.9
    """Share of the momentum in the step's direction."""
    b2: Hyper[Decay] = 0.99
    """Share of the momentum that is kept each step."""
    weight_decay: Hyper[NonNegative] = 1e-3
    """How fast the parameters shrink; `decay` says how."""


class Madgrad(Coupled):
    """Dual averaging with cube roots (Defazio and Jelassi 2021)."""

    name: Literal["madgrad"] = "madgrad"
    momentum: Momentum = 0.9
    eps: Eps = 1e-6

    copies: ClassVar[int] = 3
    takes_rate: ClassVar[bool] = True


class NoisySGD(ChosenDecay):
    """SGD with noise that fades, drawn from (seed, step, matrix) (Neelakantan et al. 2015)."""

    name: Literal["noisy_sgd"] = "noisy_sgd"
    draws: ClassVar[bool] = True
    eta: Hyper[NonNegative] = 0.01
    """Variance of the noise on the first gradient."""
    gamma: Hyper[NonNegative] = 0.55
    """The variance is eta / t^gamma at step t."""

    copies: ClassVar[int] = 0


class OptimisticGradientDescent(ChosenDecay):
    """Gradients that are extrapolated (Mokhtari et al. 2019)."""

    name: Literal["optimistic_gradient_descent"] = "optimistic_gradient_descent"
    alpha: Hyper[NonNegative] = 1.0
    """Factor on the gradient."""
    beta: Hyper[NonNegative] = 1.0
    """How far it is extrapolated from the one before."""


class RMSProp(Optimizer):
    """Hinton's, with decoupled weight decay."""

    name: Literal["rmsprop"] = "rmsprop"
    decay: B2 = 0.9
    eps: Eps = 1e-8
    initial_scale: Hyper[NonNegative] = 0.0
    """What the second moment starts from."""
    eps_in_sqrt: bool = True
    """Whether eps is added before the root is taken."""
    centered: bool = False
    """Whether the square of the mean is subtracted from the second moment."""
    momentum: MaybeMomentum = None
    nesterov: Nesterov = False
    bias_correction: bool = False
    """Whether moments are corrected for their start at 0."""

    takes_rate: ClassVar[bool] = True
    shaping: ClassVar[tuple[str, ...]] = ("centered", "momentum", "bias_correction")

    def own_numbers(self, shapes: Shapes) -> int:
        return (1 + self.centered + (self.momentum is not None)) * parameter_count(shapes)

    def idle(self) -> set[str]:
        return super().idle() | ({"nesterov"} if self.momentum is None else set())


class RProp(ChosenDecay):
    """Step sizes by the signs of the gradients: for the full batch (Riedmiller and Braun 1993)."""

    name: Literal["rprop"] = "rprop"
    lr: Hyper[NonNegative] = 1e-3
    """The first step size. Warm-up and schedule are factors on the step."""
    eta_minus: Hyper[NonNegative] = 0.5
    """Factor on a step size where the sign has changed."""
    eta_plus: Hyper[NonNegative] = 1.2
    """Factor on a step size where the sign is the same."""
    min_step_size: Hyper[NonNegative] = 1e-6
    """Smallest step size."""
    max_step_size: Hyper[NonNegative] = 50.0
    """Largest step size."""

    copies: ClassVar[int] = 2
    takes_rate: ClassVar[bool] = True


class SAM(Betas):
    """Steps by the gradient a little uphill, taken on the same batch (Foret et al. 2020).

    optax's, in its opaque mode, with normalized ascent: a step is one update. Its weight decay is decoupled.
    """

    name: Literal["sam"] = "sam"
    optimizer: Literal["sgd", "adam"] = "sgd"
    """What makes the step out of that gradient: sgd has momentum, adam b1, b2 and eps."""
    rho: Hyper[NonNegative] = 0.05
    """How far uphill, in the norm of all its parameters."""
    sync_period: Annotated[Count, Field(ge=2)] = 2
    """Gradients of an update: all but the last go uphill."""
    momentum: Momentum = 0.0

    passes: ClassVar[int] = 2
    shaping: ClassVar[tuple[str, ...]] = ("optimizer",)

    @property
    def steps(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return float(self.sync_period)

    def own_numbers(self, shapes: Shapes) -> int:
        return (1 if self.optimizer == "sgd" else 2) * parameter_count(shapes)

    def idle(self) -> set[str]:
        return super().idle() | ({"b1", "b2", "eps"} if self.optimizer == "sgd" else {"momentum"})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        yield from super().problems(spec)
        if self.filters or spec.optimizer.clip_norm is not None:
            what = "sam takes another gradient, uphill, that no filter and no clipping sees: leave them out"
            yield Problem("optimizer.filters" if self.filters else "optimizer.clip_norm", what, ("optimizer.name",))


class SignSGD(ChosenDecay):
    """Steps by the sign of the gradient (Bernstein et al. 2018)."""

    name: Literal["sign_sgd"] = "sign_sgd"

    copies: ClassVar[int] = 0


class Signum(ChosenDecay):
    """Steps by the sign of the momentum (Bernstein et al. 2018)."""

    name: Literal["signum"] = "signum"
    beta: Hyper[Decay] = 0.9
    """Share of the momentum that is kept each step."""


_FAMILIES = (
    Adadelta, Adagrad, Lion, Madgrad, NoisySGD, OptimisticGradientDescent, RMSProp, RProp, SAM, SignSGD, Signum,
)  # fmt: skip
_OTHERS: dict[str, type[Optimizer]] = {family.model_fields["name"].default: family for family in _FAMILIES}
OF_OPTAX = MOMENTS | ADAPTIVE | MATRICES | _OTHERS
