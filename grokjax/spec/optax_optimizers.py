"""Optimizers of optax, by optax's names of them, of their arguments, and with its defaults.

Three arguments have our names: learning_rate is `lr`, weight_decay_rate is `weight_decay`, and masks are
`weight_decay_by_matrix`. Precisions are those of the run (`numerics.params`). What each one computes is in
`grokjax/train/optax_optimizers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from grokjax.spec.fields import Count, Decay, Natural, NonNegative, Positive, Share
from grokjax.spec.optax_keys import B2, Coupled, Eps, Inside, MaybeMomentum, Momentum, Nesterov
from grokjax.spec.optax_moments import MOMENTS
from grokjax.spec.optimizers import ChosenDecay, Optimizer
from grokjax.spec.roles import Hyper, HyperCount, Null, Role
from grokjax.spec.section import Problem
from grokjax.spec.shapes import Shapes, parameter_count, sides_of

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


class Adafactor(ChosenDecay):
    """Second moments by row and column, steps by the size of the parameters (Shazeer and Stern 2018)."""

    name: Literal["adafactor"] = "adafactor"
    min_dim_size_to_factor: Count = 128
    """Of a parameter whose second largest side is shorter, every second moment is kept."""
    decay_rate: Hyper[Positive] = 0.8
    """The second moment's memory is 1 - t^-decay_rate at step t."""
    decay_offset: Annotated[Natural, Role("hyper", dtype="int32")] = 0
    """Steps that t begins later."""
    multiply_by_parameter_scale: bool = True
    """Whether the step is relative to the parameter's root mean square (at least 0.001)."""
    clipping_threshold: Annotated[Positive | None, Role("hyper"), Null("no clipping", most=True)] = 1.0
    """Largest root mean square of a parameter's step before the rate; null does not clip."""
    momentum: MaybeMomentum = None
    eps: Eps = 1e-30
    factored: bool = True
    """Whether second moments are by row and column."""

    takes_rate: ClassVar[bool] = True

    def own_numbers(self, shapes: Shapes) -> int:
        total = 0
        for shape in shapes.values():
            is_factored = self.factored and len(shape) > 1 and sorted(shape)[-2] >= self.min_dim_size_to_factor
            rows, columns = sorted(shape)[-2:] if is_factored else (1, 1)
            size = math.prod(shape)
            total += size // rows + size // columns if is_factored else size
            total += size if self.momentum is not None else 0
        return total


class Adagrad(ChosenDecay):
    """Duchi et al. 2011."""

    name: Literal["adagrad"] = "adagrad"
    initial_accumulator_value: Hyper[NonNegative] = 0.1
    """What the sum of squares starts from."""
    eps: Eps = 1e-7


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


class Fromage(ChosenDecay):
    """Steps by the norm of each parameter, which shrinks by 1 / sqrt(1 + lr^2) (Bernstein et al. 2020)."""

    name: Literal["fromage"] = "fromage"
    min_norm: Hyper[NonNegative] = 1e-6
    """Norms count as at least this."""

    copies: ClassVar[int] = 0
    takes_rate: ClassVar[bool] = True


class Galore(ChosenDecay):
    """Adam of gradients projected to a low rank (Zhao et al. 2024)."""

    name: Literal["galore"] = "galore"
    rank: Count = 128
    """Of the projection; at most the shorter side of a matrix."""
    update_proj_gap: HyperCount[Count] = 200
    """Steps between two projections."""
    scale: Hyper[NonNegative] = 1.0
    """A factor on the step."""

    def own_numbers(self, shapes: Shapes) -> int:
        total = 0
        for name, shape in shapes.items():
            sides = sides_of(name, len(shape))
            if sides is None:
                total += 2 * math.prod(shape)
                continue
            short, long = sorted(math.prod(shape[axis] for axis in axes) for axes in sides)
            total += min(self.rank, short) * (long + 2 * short)
        return total


class Lars(Coupled):
    """SGD by the norm of each parameter (You et al. 2017)."""

    name: Literal["lars"] = "lars"
    trust_coefficient: Hyper[NonNegative] = 0.001
    """A step's norm over that of its parameter, before the rate."""
    eps: Eps = 0.0
    momentum: Momentum = 0.9
    nesterov: Nesterov = False

    takes_rate: ClassVar[bool] = True


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


class SignSGD(ChosenDecay):
    """Steps by the sign of the gradient (Bernstein et al. 2018)."""

    name: Literal["sign_sgd"] = "sign_sgd"

    copies: ClassVar[int] = 0


class Signum(ChosenDecay):
    """Steps by the sign of the momentum (Bernstein et al. 2018)."""

    name: Literal["signum"] = "signum"
    beta: Hyper[Decay] = 0.9
    """Share of the momentum that is kept each step."""


class SM3(ChosenDecay):
    """Second moments by row and by column (Anil et al. 2019)."""

    name: Literal["sm3"] = "sm3"
    momentum: Momentum = 0.9

    def own_numbers(self, shapes: Shapes) -> int:
        return parameter_count(shapes) + sum(map(sum, shapes.values()))


_FAMILIES = (
    Adadelta, Adafactor, Adagrad, Cocob, Dog, Dowg, Fromage, Galore, Lars, Lion, Madgrad, NoisySGD,
    OptimisticGradientDescent, RMSProp, RProp, ScheduleFreeAdamW, ScheduleFreeSGD, SignSGD, Signum, SM3,
)  # fmt: skip
OF_OPTAX: dict[str, type[Optimizer]] = MOMENTS | {family.model_fields["name"].default: family for family in _FAMILIES}
