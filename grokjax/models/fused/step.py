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
    """forward: (activation, adds, x, W_in, b_in, W_out, b_out) -> y; backward: (activation, adds, with_dx, x, W_in,
    b_in, W_out, dy) -> gradients. Biases are columns."""

    forward: Callable[..., Array]
    backward: Callable[..., tile.Gradients]


def _xla_forward(activation: str, adds: bool, x: Array, W_in: Array, b_in: Array, W_out: Array, b_out: Array) -> Array:
    y = linear(W_out, tile.ACTIVATIONS[activation].value(linear(W_in, x) + b_in)) + b_out
    return y + x if adds else y


def _xla_backward(
    activation: str, adds: bool, with_dx: bool, x: Array, W_in: Array, b_in: Array, W_out: Array, dy: Array
) -> tile.Gradients:
    given = x, W_in, b_in, W_out, jnp.zeros((W_out.shape[1], 1), W_out.dtype)  # whatever the last is
    dx, *of_weights = jax.vjp(partial(_xla_forward, activation, adds), *given)[1](dy)
    return tile.Gradients(dx if with_dx else None, *of_weights)


FORMS = {
    "cuda": Form(triton.forward, triton.backward),
    "rocm": Form(triton.forward, triton.backward),
    "tpu": Form(mosaic.forward, mosaic.backward),
    "default": Form(_xla_forward, _xla_backward),
}
Bias = Float[Array, " _"] | None


def neurons(
    activation: str,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Bias,
    W_out: Float[Array, "m o"],
    b_out: Bias,
    adds: bool = False,
    with_dx: bool = True,
) -> Float[Array, "o n"]:
    """W_out' act(W_in' x + b_in) + b_out, and x too where it `adds` to what it reads. with_dx: whether a gradient with
    respect to x is asked for; if not, it is 0."""
    return _neurons(activation, adds, with_dx, x, W_in, b_in, W_out, b_out)  # pyright: ignore[reportReturnType]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _neurons(
    activation: str, adds: bool, with_dx: bool, x: Array, W_in: Array, b_in: Bias, W_out: Array, b_out: Bias
) -> Array:
    forms = {platform: partial(form.forward, activation, adds) for platform, form in FORMS.items()}
    biases = _column(b_in, W_in), _column(b_out, W_out)
    return jax.lax.platform_dependent(x, W_in, biases[0], W_out, biases[1], **forms)


Kept = tuple[Array, Array, Bias, Array, Bias]


def _forward(
    activation: str, adds: bool, with_dx: bool, x: Array, W_in: Array, b_in: Bias, W_out: Array, b_out: Bias
) -> tuple[Array, Kept]:
    given = x, W_in, b_in, W_out, b_out
    return _neurons(activation, adds, with_dx, *given), given  # pyright: ignore[reportReturnType]


def _backward(activation: str, adds: bool, with_dx: bool, kept: Kept, dy: Array) -> Kept:
    x, W_in, b_in, W_out, b_out = kept
    forms = {platform: partial(form.backward, activation, adds, with_dx) for platform, form in FORMS.items()}
    found = jax.lax.platform_dependent(x, W_in, _column(b_in, W_in), W_out, dy, **forms)
    dx = jnp.zeros_like(x) if found.x is None else found.x
    db_in = None if b_in is None else found.b_in[:, 0]
    db_out = None if b_out is None else found.b_out[:, 0]
    return dx, found.W_in, db_in, found.W_out, db_out


def _column(bias: Bias, weights: Float[Array, "_ m"]) -> Float[Array, "m 1"]:
    return jnp.zeros((weights.shape[1], 1), weights.dtype) if bias is None else bias[:, None]


_neurons.defvjp(_forward, _backward)
