"""Keys that several optimizers of optax have."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import Field

from grokjax.spec.fields import Decay, NonNegative, Positive
from grokjax.spec.optimizers import ChosenDecay, Optimizer
from grokjax.spec.roles import Null, Role

B1 = Annotated[Decay, Role("hyper"), Field(description="Share of the first moment that is kept each step.")]
B2 = Annotated[Decay, Role("hyper"), Field(description="Share of the second moment that is kept each step.")]
B3 = Annotated[Decay, Role("hyper"), Field(description="Share of the third moving average that is kept each step.")]
Eps = Annotated[NonNegative, Role("hyper"), Field(description="Added to what divides the step.")]
EpsRoot = Annotated[
    NonNegative, Role("hyper"), Field(description="Added to the second moment, before its root is taken.")
]
Nesterov = Annotated[bool, Field(description="Nesterov's momentum.")]
Momentum = Annotated[Decay, Role("hyper"), Field(description="Share of the momentum that is kept each step.")]
MaybeMomentum = Annotated[Decay | None, Role("hyper"), Null("no momentum"), Field(description="null has no momentum.")]
BetaPair = Annotated[
    list[Decay],
    Len(2, 2),
    Role("hyper"),
    Field(description="Shares of the first and of the second moment that are kept each step: [b1, b2]."),
]
FirstEstimate = Annotated[Positive, Role("hyper"), Field(description="The first estimate of the distance to go.")]


class Coupled(ChosenDecay):
    decay: Literal["coupled", "decoupled"] = "coupled"
    """coupled: weight_decay * W is added to the gradient; decoupled: W loses lr * weight_decay * W a step."""


class Inside(Optimizer):
    """Of optimizers that have weight decay within their step."""

    @property
    def decays(self) -> str:
        return "inside"


class Betas(Optimizer):
    b1: B1 = 0.9
    b2: B2 = 0.999
    eps: Eps = 1e-8

    copies: ClassVar[int] = 2


class Moments(Betas, ChosenDecay):
    """With decay as one chooses."""
