"""A hidden layer that is never written to memory: what reads it, its neurons, and what they write, as one function.

Its gradient computes the neurons again, tile by tile. It is XLA's form of the same (`linear`, the activation, `linear`)
but for rounding. Where no kernel is for (a CPU) it is XLA's form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.features import linear
from grokjax.models.fused import mosaic, tile, triton


class Form(NamedTuple):
    """forward: (activation, x, W_in, b_in, W_out) -> y; backward: (activation, with_dx, x, W_in, b_in, W_out, dy) ->
    gradients. b_in is [m, 1]."""

    forward: Callable[..., Array]
    backward: Callable[..., tile.Gradients]


def _xla_forward(activation: str, x: Array, W_in: Array, b_in: Array, W_out: Array) -> Array:
    return linear(W_out, tile.ACTIVATIONS[activation].value(linear(W_in, x) + b_in))


def _xla_backward(
    activation: str, with_dx: bool, x: Array, W_in: Array, b_in: Array, W_out: Array, dy: Array
) -> tile.Gradients:
    dx, *of_weights = jax.vjp(partial(_xla_forward, activation), x, W_in, b_in, W_out)[1](dy)
    return tile.Gradients(dx if with_dx else None, *of_weights)


FORMS = {
    "cuda": Form(triton.forward, triton.backward),
    "rocm": Form(triton.forward, triton.backward),
    "tpu": Form(mosaic.forward, mosaic.backward),
    "default": Form(_xla_forward, _xla_backward),
}


def neurons(
    activation: str,
    with_dx: bool,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Float[Array, " m"] | None,
    W_out: Float[Array, "m o"],
) -> Float[Array, "o n"]:
    """W_out' act(W_in' x + b_in). with_dx: whether a gradient with respect to x is asked for; if not, it is 0."""
    return _neurons(activation, with_dx, x, W_in, b_in, W_out)  # pyright: ignore[reportReturnType]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _neurons(activation: str, with_dx: bool, x: Array, W_in: Array, b_in: Array | None, W_out: Array) -> Array:
    forms = {platform: partial(form.forward, activation) for platform, form in FORMS.items()}
    return jax.lax.platform_dependent(x, W_in, _column(b_in, W_in), W_out, **forms)


Kept = tuple[Array, Array, Array | None, Array]


def _forward(
    activation: str, with_dx: bool, x: Array, W_in: Array, b_in: Array | None, W_out: Array
) -> tuple[Array, Kept]:
    return neurons(activation, with_dx, x, W_in, b_in, W_out), (x, W_in, b_in, W_out)


def _backward(activation: str, with_dx: bool, kept: Kept, dy: Array) -> Kept:
    x, W_in, b_in, W_out = kept
    forms = {platform: partial(form.backward, activation, with_dx) for platform, form in FORMS.items()}
    found = jax.lax.platform_dependent(x, W_in, _column(b_in, W_in), W_out, dy, **forms)
    dx = jnp.zeros_like(x) if found.x is None else found.x
    return dx, found.W_in, None if b_in is None else found.b_in[:, 0], found.W_out


def _column(b_in: Float[Array, " m"] | None, W_in: Float[Array, "i m"]) -> Float[Array, "m 1"]:
    return jnp.zeros((W_in.shape[1], 1), W_in.dtype) if b_in is None else b_in[:, None]


_neurons.defvjp(_forward, _backward)
