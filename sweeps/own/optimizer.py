"""Adam that steps only where the gradient agrees (Liang et al. 2024). Rate, schedule and decay are as for all."""

from typing import ClassVar, Literal

import jax
import optax

from grokjax.spec import Decay, Hyper, Optimizer


class Cautious(Optimizer):
    name: Literal["cautious"] = "cautious"
    b1: Hyper[Decay] = 0.9
    """Of the first moment."""
    b2: Hyper[Decay] = 0.98
    """Of the second moment."""

    copies: ClassVar[int] = 2  # of the parameters: the moments


def cautious(optimizer, numbers):
    adam = optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"])

    def update(gradient, state, params=None):
        steps, state = adam.update(gradient, state)
        return jax.tree.map(lambda u, g: u * (u * g > 0), steps, gradient), state

    return optax.GradientTransformation(adam.init, update)


OPTIMIZERS = {"cautious": cautious}
