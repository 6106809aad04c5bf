"""Stochastic gradient Langevin dynamics around a point: chains of losses, of any loss of any parameters.

Lau, Furman, Wang, Murfet and Wei 2023 (arXiv 2308.12108): samples of exp(-n beta L(w) - gamma/2 |w - w*|^2) by

    w' = w - (eps / 2) (n beta grad L_batch(w) + gamma (w - w*)) + N(0, eps)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Loss = Callable[[Any, Array], Float[Array, ""]]  # of parameters, on the batch that a key draws


class Langevin(NamedTuple):
    """step_size: eps. nbeta: inverse temperature times number of examples. gamma: strength of the pull to the start."""

    step_size: float
    nbeta: float
    gamma: float
    steps: int


def chain(loss: Loss, center: Any, key: Array, how: Langevin) -> Float[Array, " steps"]:
    """The batch losses at w_0 = center, w_1, ..., each on a batch drawn after w was: so unbiased for the full loss."""

    def step(params: Any, key: Array) -> tuple[Any, Float[Array, ""]]:
        of_batch, of_noise = jax.random.split(key)
        value, grads = jax.value_and_grad(loss)(params, of_batch)

        def moved(w: Array, grad: Array, start: Array, noise: Array) -> Array:
            return w - how.step_size / 2 * (how.nbeta * grad + how.gamma * (w - start)) + noise

        return jax.tree.map(moved, params, grads, center, noise_like(params, of_noise, how.step_size)), value

    return jax.lax.scan(step, center, jax.random.split(key, how.steps))[1]


def noise_like(params: Any, key: Array, variance: float) -> Any:
    """Independent normal values of mean 0 for every parameter, in its precision."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        variance**0.5 * jax.random.normal(leaf_key, leaf.shape, leaf.dtype)
        for leaf_key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def batch_rows(key: Array, n: int, size: int) -> Int[Array, " size"]:
    """So many different ones of n examples, every set equally likely (but for ties of 32 bits)."""
    if size >= n:
        return jnp.arange(n)
    return jax.lax.top_k(jax.random.bits(key, (n,), jnp.uint32), size)[1]
