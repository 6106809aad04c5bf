"""Products and sums of activations that are [features, examples].

With the examples last every matmul of a step, forward and backward, is one that XLA's CPU library runs near its peak
(contracting the first axis of both operands, as [examples, features] needs for weight gradients, costs 2 to 3 times as
much there), sums over features are vector additions of rows, and on accelerators nothing is lost.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.forms import is_for_gpu


def linear(W: Float[Array, "i o"], x: Float[Array, "i n"]) -> Float[Array, "o n"]:
    """W transposed times x, with each of the three products in its fastest layout."""
    return (x.T @ W).T if is_for_gpu() else _linear(W, x)


@jax.custom_vjp
def _linear(W: Float[Array, "i o"], x: Float[Array, "i n"]) -> Float[Array, "o n"]:
    return jax.lax.optimization_barrier(W.T) @ x  # the barrier keeps XLA from contracting W's first axis instead


def _linear_forward(W: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return _linear(W, x), (W, x)


def _linear_backward(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    W, x = kept
    # The longer side comes first in the product. Where little is gained XLA's CPU compiler can abort on it (jax 0.10).
    if W.shape[0] < W.shape[1] and x.shape[1] >= 64:
        dW = jax.lax.optimization_barrier(jnp.einsum("on,in->oi", dy, x)).T
    else:
        dW = jnp.einsum("in,on->io", x, dy)
    return dW, W @ dy


_linear.defvjp(_linear_forward, _linear_backward)


def total(x: Float[Array, "*batch f n"]) -> Float[Array, "*batch n"]:
    """Sum over features, by halves: the rounding error grows with log2(f), and rows are added as vectors."""
    return x.sum(-2) if is_for_gpu() else _total(x)


def spread(x: Float[Array, "*batch n"], features: int) -> Float[Array, "*batch f n"]:
    """The same for every feature: the transpose of `total`, and each is the other's gradient."""
    return _broadcast(x, features) if is_for_gpu() else _spread(x, features)


@jax.custom_vjp
def _total(x: Array) -> Array:
    features = x.shape[-2]
    while features > 1:
        half = features // 2
        paired = x[..., :half, :] + x[..., half : 2 * half, :]
        odd = x[..., 2 * half :, :]
        x = jnp.concatenate([paired, odd], axis=-2) if features % 2 else paired
        features = x.shape[-2]
    return x[..., 0, :]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(x: Array, features: int) -> Array:
    return _broadcast(x, features)


def _broadcast(x: Array, features: int) -> Array:
    return jnp.broadcast_to(x[..., None, :], (*x.shape[:-1], features, x.shape[-1]))


_total.defvjp(lambda x: (_total(x), x.shape[-2]), lambda features, dy: (_spread(dy, features),))
_spread.defvjp(lambda x, features: (_spread(x, features), None), lambda features, _, dy: (_total(dy),))


def one_hot(index: Any, size: int, dtype: Any) -> Float[Array, "size n"]:
    """Column j is 1 at index[j]. A look-up is a matmul with it, and so is its gradient, where that of a gather
    would be a scatter-add: slow, and on GPUs not deterministic."""
    return jax.nn.one_hot(index, size, axis=0, dtype=dtype)
