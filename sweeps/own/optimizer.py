"""An optimizer of optax: Lion (Chen et al. 2023). Learning rate, warm-up, schedule and decay are as for all others."""

from typing import ClassVar, Literal

import optax

from grokjax.spec import Decay, Hyper, Optimizer


class Lion(Optimizer):
    name: Literal["lion"] = "lion"
    b1: Hyper[Decay] = 0.9
    """Of the step's direction."""
    b2: Hyper[Decay] = 0.99
    """Of the momentum."""

    copies: ClassVar[int] = 1  # of the parameters: the momentum


def lion(optimizer, numbers):
    return optax.scale_by_lion(b1=numbers["b1"], b2=numbers["b2"])


OPTIMIZERS = {"lion": lion}
