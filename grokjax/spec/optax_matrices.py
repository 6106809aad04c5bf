"""Optimizers of optax that step by the shape or the norm of each parameter; see `optax_optimizers.py`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Len

from grokjax.spec.fields import Count, Decay, Natural, NonNegative, Positive
from grokjax.spec.optax_keys import (
    B1,
    B2,
    Coupled,
    Eps,
    EpsRoot,
    Inside,
    MaybeMomentum,
    Momentum,
    Nesterov,
)
from grokjax.spec.optimizers import ChosenDecay, Optimizer
from grokjax.spec.roles import Hyper, HyperCount, Null, Role
from grokjax.spec.shapes import Shapes, is_matrix, parameter_count, sides_of

if TYPE_CHECKING:
    pass


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

    shaping: ClassVar[tuple[str, ...]] = ("min_dim_size_to_factor", "factored", "momentum")

    def own_numbers(self, shapes: Shapes) -> int:
        total = 0
        for shape in shapes.values():
            is_factored = self.factored and len(shape) > 1 and sorted(shape)[-2] >= self.min_dim_size_to_factor
            rows, columns = sorted(shape)[-2:] if is_factored else (1, 1)
            size = math.prod(shape)
            total += size // rows + size // columns if is_factored else size
            total += size if self.momentum is not None else 0
        return total


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

    shaping: ClassVar[tuple[str, ...]] = ("rank",)

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


class Muon(Inside):
    """Orthogonalized momentum of matrices, Adam of vectors (Jordan 2024).

    Heads are taken together: W_Q, W_K and W_V as [d_model, heads * d_head], W_O as [heads * d_head, d_model]. For
    Adam on W_E and W_U, write optimizer.groups.
    """

    name: Literal["muon"] = "muon"
    ns_coeffs: Annotated[list[float], Len(3, 3), Role("hyper")] = [3.4445, -4.775, 2.0315]
    """Coefficients of a Newton-Schulz step."""
    ns_steps: Count = 5
    """Newton-Schulz steps."""
    beta: Hyper[Decay] = 0.95
    """Share of the momentum that is kept each step."""
    eps: Eps = 1e-8
    nesterov: Nesterov = True
    adaptive: bool = False
    """Whether a step is scaled by its product with the momentum."""
    preconditioning: Literal["frobenius", "spectral", "aol", "schatten"] = "frobenius"
    """What a matrix is divided by before the Newton-Schulz steps."""
    adam_b1: B1 = 0.9
    adam_b2: B2 = 0.999
    adam_eps_root: EpsRoot = 0.0
    adam_weight_decay: Hyper[NonNegative] = 0.0
    """Weight decay of the vectors."""
    adam_learning_rate: Annotated[NonNegative | None, Role("hyper"), Null("lr")] = None
    """Learning rate of the vectors; null is lr. Warm-up and schedule hold for it too."""
    consistent_rms: Annotated[Positive | None, Role("hyper"), Null("by shape")] = None
    """Root mean square of a step is about this; null scales it by sqrt(max(1, columns / rows))."""

    weight_decay: Hyper[NonNegative] = 0.0
    """Of matrices: W loses lr * weight_decay * W a step."""

    takes_rate: ClassVar[bool] = True

    def own_numbers(self, shapes: Shapes) -> int:
        vectors = {name: shape for name, shape in shapes.items() if not is_matrix(name)}
        return parameter_count(shapes) + parameter_count(vectors)


class SM3(ChosenDecay):
    """Second moments by row and by column (Anil et al. 2019)."""

    name: Literal["sm3"] = "sm3"
    momentum: Momentum = 0.9

    def own_numbers(self, shapes: Shapes) -> int:
        return parameter_count(shapes) + sum(map(sum, shapes.values()))


_FAMILIES = (
    Adafactor, Fromage, Galore, Lars, Muon, SM3,
)  # fmt: skip
MATRICES: dict[str, type[Optimizer]] = {family.model_fields["name"].default: family for family in _FAMILIES}
