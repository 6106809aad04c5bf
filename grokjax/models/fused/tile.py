"""What a kernel computes of one tile: some neurons, some examples. Everything else of it is about memory.

A tile is x [i, n], W_in [i, m], b_in [m, 1], W_out [m, o] and dy [o, n], float32, and stays on the chip. A row or
column that is not there is 0 in all of them and adds nothing. Products are as precise as the
`jax.default_matmul_precision` that the kernel is traced under.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Products = Float[Array, "_ _"]


class Activation(NamedTuple):
    """value at 0 is 0; slope is finite everywhere."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


class Gradients(NamedTuple):
    """Of what a tile of examples and neurons adds to the loss. x: None where nobody asks for it."""

    x: Float[Array, "i n"] | None
    W_in: Float[Array, "i m"]
    b_in: Float[Array, "m 1"]
    W_out: Float[Array, "m o"]
    b_out: Float[Array, "o 1"]


def _erf(x: Array) -> Array:
    """To 2e-7 (the rational approximation of Eigen and XLA): kernels have no function of their own for it."""
    x = jnp.clip(x, -4, 4)
    square = x * x
    over, under = jnp.full_like(x, ERF_OVER[0]), jnp.full_like(x, ERF_UNDER[0])
    for number in ERF_OVER[1:]:
        over = over * square + number
    for number in ERF_UNDER[1:]:
        under = under * square + number
    return x * over / under


ERF_OVER = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
ERF_UNDER = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
)  # fmt: skip


def _normal_below(x: Array) -> Array:
    return 0.5 * (1 + _erf(x * 2**-0.5))


def _normal_density(x: Array) -> Array:
    return jnp.exp(-0.5 * x * x) * (0.5 / jnp.pi) ** 0.5


ACTIVATIONS = {
    "relu": Activation(lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, jnp.ones_like(x), 0)),
    "gelu": Activation(lambda x: x * _normal_below(x), lambda x: _normal_below(x) + x * _normal_density(x)),
    "tanh": Activation(jnp.tanh, lambda x: 1 - jnp.square(jnp.tanh(x))),
    "square": Activation(jnp.square, lambda x: 2 * x),
    "identity": Activation(lambda x: x, jnp.ones_like),
}


def outputs(activation: str, x: Products, W_in: Products, b_in: Products, W_out: Products) -> Float[Array, "o n"]:
    """What these neurons add to the outputs."""
    hidden = ACTIVATIONS[activation].value(_product(W_in, x, 0, 0) + b_in)
    return _product(W_out, hidden, 0, 0)


def gradients(
    activation: str, x: Products, W_in: Products, b_in: Products, W_out: Products, dy: Products, with_dx: bool
) -> Gradients:
    """dy: gradient of the outputs. The neurons are computed again."""
    neurons = ACTIVATIONS[activation]
    before = _product(W_in, x, 0, 0) + b_in
    d_before = _product(W_out, dy, 1, 0) * neurons.slope(before)
    return Gradients(
        x=_product(W_in, d_before, 1, 0) if with_dx else None,
        W_in=_product(x, d_before, 1, 1),
        b_in=jnp.sum(d_before, axis=1, keepdims=True),
        W_out=_product(neurons.value(before), dy, 1, 1),
        b_out=jnp.sum(dy, axis=1, keepdims=True),
    )


def _product(left: Products, right: Products, over_left: int, over_right: int) -> Products:
    """Summed over an axis of each."""
    return jax.lax.dot_general(left, right, (((over_left,), (over_right,)), ((), ())))


def flops(with_dx: bool | None, x: Float[Array, "i n"], W_out: Float[Array, "m o"]) -> int:
    """Of one lane's matmuls, without padding: what a kernel says of itself in a compiled program.

    with_dx: of a backward pass; None: forward.
    """
    (i, n), (m, o) = x.shape, W_out.shape
    products = i + o if with_dx is None else (3 * i if with_dx else 2 * i) + 2 * o
    return 2 * m * n * products
