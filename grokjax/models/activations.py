"""Activations by the names that a sweep uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grokjax.spec.models import Model

ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "tanh": jnp.tanh,
    "square": jnp.square,
    "identity": lambda x: x,
    "leaky_relu": lambda x, negative_slope: jnp.where(x > 0, x, negative_slope * x),
}


def activate(model: Model, x: Array) -> Array:
    """What a model's neurons make of their pre-activations."""
    return ACTIVATIONS[model.nonlinearity](x, **model.activation_numbers)
