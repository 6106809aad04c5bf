"""What a transformer adds to the embedding of a token for its place in the sequence."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from grokjax.models.params import Params
from grokjax.spec.transformer import Transformer


def sinusoids(length: int, width: int) -> Float[np.ndarray, "L d"]:
    """sin(t / 10000^(i / d)) in even columns i, cos(t / 10000^((i - 1) / d)) in odd ones, at place t (Vaswani et al.
    2017, as the code of Power et al. 2022 has it)."""
    column = np.arange(width)
    angle = np.arange(length)[:, None] / 10000.0 ** ((column - column % 2) / width)
    return np.where(column % 2, np.cos(angle), np.sin(angle))


def position_vectors(params: Params | dict[str, Any], model: Transformer, length: int) -> Float[Array, "L d"] | None:
    """A row a place; None where nothing is added."""
    if model.positions == "learned":
        return params["W_pos"]
    if model.positions == "sinusoidal":
        return jnp.asarray(sinusoids(length, model.d_model), params["W_E"].dtype)
    return None
