"""Optimizers of optax that are like Adam; see `optax_optimizers.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from grokjax.spec.fields import Count, NonNegative, Positive
from grokjax.spec.optax_keys import (
    B1,
    B2,
    B3,
    Betas,
    Eps,
    EpsRoot,
    Inside,
    Moments,
    Nesterov,
)
from grokjax.spec.optimizers import ChosenDecay, Optimizer
from grokjax.spec.roles import Hyper, HyperCount, Null, Role

if TYPE_CHECKING:
    pass


class Acprop(Moments):
    """AdaBelief whose second moment is a step behind (Zhuang et al. 2021)."""

    name: Literal["acprop"] = "acprop"
    eps: Eps = 1e-16
    eps_root: EpsRoot = 1e-16


class AdaBelief(Moments):
    """Steps by how near a gradient is to its running mean (Zhuang et al. 2020)."""

    name: Literal["adabelief"] = "adabelief"
    eps: Eps = 1e-16
    eps_root: EpsRoot = 1e-16
    nesterov: Nesterov = False


class Adamax(Moments):
    """Adam by the largest gradient (Kingma and Ba 2014)."""

    name: Literal["adamax"] = "adamax"


class AdamaxW(Moments):
    """Adamax with decoupled weight decay."""

    name: Literal["adamaxw"] = "adamaxw"
    weight_decay: Hyper[NonNegative] = 1e-4
    """How fast the parameters shrink; `decay` says how."""


class Ademamix(Moments):
    """Adam with a second, slow mean of the gradients (Pagliardini et al. 2024)."""

    name: Literal["ademamix"] = "ademamix"
    b3: B3 = 0.9999
    alpha: Hyper[NonNegative] = 5.0
    """How much the slow mean counts."""
    eps_root: EpsRoot = 0.0

    copies: ClassVar[int] = 3


class Adan(ChosenDecay):
    """Adaptive Nesterov momentum (Xie et al. 2022)."""

    name: Literal["adan"] = "adan"
    b1: B1 = 0.98
    b2: B2 = 0.92
    b3: B3 = 0.99
    eps: Eps = 1e-8
    eps_root: EpsRoot = 1e-8

    copies: ClassVar[int] = 4


class Adopt(Moments):
    """Adam that converges with any b2 (Taniguchi et al. 2024)."""

    name: Literal["adopt"] = "adopt"
    b2: B2 = 0.9999
    eps: Eps = 1e-6
    nesterov: Nesterov = False
    use_clipping: bool = True
    """Whether steps are clipped at t^(1/4)."""


class Amsgrad(Moments):
    """Adam by the largest second moment so far (Reddi et al. 2018)."""

    name: Literal["amsgrad"] = "amsgrad"
    eps_root: EpsRoot = 0.0
    bias_correction_mu: bool = True
    """Whether the first moment is corrected for its start at 0."""
    bias_correction_nu: bool = True
    """Whether the second moment is corrected for its start at 0."""

    copies: ClassVar[int] = 3


class Lamb(Betas, Inside):
    """Adam by the norm of each parameter; weight decay is a part of the step that is scaled (You et al. 2019)."""

    name: Literal["lamb"] = "lamb"
    eps: Eps = 1e-6
    eps_root: EpsRoot = 0.0
    weight_decay: Hyper[NonNegative] = 0.0
    """weight_decay * W is added to Adam's step, before that is scaled to the parameter's norm."""


class NAdam(Moments):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    name: Literal["nadam"] = "nadam"
    eps_root: EpsRoot = 0.0

    state: ClassVar[str] = "moments"


class NAdamW(Moments):
    """NAdam with decoupled weight decay."""

    name: Literal["nadamw"] = "nadamw"
    eps_root: EpsRoot = 0.0
    weight_decay: Hyper[NonNegative] = 1e-4
    """How fast the parameters shrink; `decay` says how."""

    state: ClassVar[str] = "moments"


class Novograd(Betas, Inside):
    """Second moments of whole parameters; weight decay is a part of the first moment (Ginsburg et al. 2019)."""

    name: Literal["novograd"] = "novograd"
    b2: B2 = 0.25
    eps: Eps = 1e-6
    eps_root: EpsRoot = 0.0
    weight_decay: Hyper[NonNegative] = 0.0
    """weight_decay * W is added to the normalized gradient, before the momentum."""


class OptimisticAdam(Moments):
    """Adam of a gradient that is extrapolated by the rate (Daskalakis et al. 2017)."""

    name: Literal["optimistic_adam"] = "optimistic_adam"
    optimism: Annotated[NonNegative | None, Role("hyper"), Null("the rate")] = None
    """How far the step is extrapolated; null is the rate."""
    eps_root: EpsRoot = 0.0
    nesterov: Nesterov = True

    copies: ClassVar[int] = 3
    takes_rate: ClassVar[bool] = True


class OptimisticAdamV2(Moments):
    """Adam whose steps are extrapolated (Daskalakis et al. 2017)."""

    name: Literal["optimistic_adam_v2"] = "optimistic_adam_v2"
    alpha: Hyper[NonNegative] = 1.0
    """Factor on the step."""
    beta: Hyper[NonNegative] = 1.0
    """How far it is extrapolated from the one before."""
    eps_root: EpsRoot = 0.0
    nesterov: Nesterov = True

    copies: ClassVar[int] = 3


class RAdam(Moments):
    """Adam whose first steps are rectified (Liu et al. 2020)."""

    name: Literal["radam"] = "radam"
    eps_root: EpsRoot = 0.0
    threshold: Hyper[NonNegative] = 5.0
    """From so long an average on, the second moment is used."""
    nesterov: Nesterov = False


class SimplifiedAdemamix(Moments):
    """Ademamix with one mean (Morwani et al. 2025)."""

    name: Literal["simplified_ademamix"] = "simplified_ademamix"
    b1: B1 = 0.99
    b2: B2 = 0.95
    alpha: Hyper[NonNegative] = 0.0
    """How much the gradient itself counts."""
    eps_root: EpsRoot = 0.0


class Sophia(Moments):
    """Steps by the diagonal of the Hessian, estimated by Hutchinson's probes from (seed, step) (Liu et al. 2023)."""

    name: Literal["sophia"] = "sophia"
    draws: ClassVar[bool] = True
    b1: B1 = 0.965
    b2: B2 = 0.99
    gamma: Hyper[NonNegative] = 0.01
    """Factor on the diagonal, which divides the step."""
    clip_threshold: Annotated[Positive | None, Role("hyper"), Null("no clipping", most=True)] = 1.0
    """Largest size of an entry of the step before the rate; null does not clip."""
    update_interval: HyperCount[Count] = 10
    """Steps between two estimates of the diagonal."""
    weight_decay: Hyper[NonNegative] = 1e-4
    """How fast the parameters shrink; `decay` says how."""

    steps: ClassVar[float] = 3.0
    passes: ClassVar[int] = 3  # what is kept is differentiated again


class Yogi(Moments):
    """Adam whose second moment moves by steps of its own size (Zaheer et al. 2018)."""

    name: Literal["yogi"] = "yogi"
    eps: Eps = 1e-3


_FAMILIES = (
    Acprop, AdaBelief, Adamax, AdamaxW, Ademamix, Adan, Adopt, Amsgrad, Lamb, NAdam, NAdamW, Novograd, OptimisticAdam,
    OptimisticAdamV2, RAdam, SimplifiedAdemamix, Sophia, Yogi,
)  # fmt: skip
MOMENTS: dict[str, type[Optimizer]] = {family.model_fields["name"].default: family for family in _FAMILIES}
