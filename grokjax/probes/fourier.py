"""Waves on a cyclic group of n elements, and how much of something lies in each of their frequencies 1 .. n // 2."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Waves(NamedTuple):
    """Row k - 1: cos and sin of 2 pi k x / n over x = 0 .. n-1, of norm 1.

    With the constant these are an orthonormal basis. For even n the sine of the last frequency, n / 2, is 0 everywhere:
    its row is 0, and its cosine, +1 -1 +1 ..., is a frequency of one direction where the others have two.
    """

    cos: Float[Array, "k n"]
    sin: Float[Array, "k n"]


def waves(n: int, dtype: Any = jnp.float32) -> Waves:
    """The waves of a cyclic group of n elements."""
    angle = 2 * np.pi * (np.arange(1, n // 2 + 1)[:, None] * np.arange(n) % n) / n
    cos, sin = np.cos(angle), np.sin(angle)
    if n % 2 == 0:
        sin[-1] = 0
    cos, sin = (wave / np.maximum(np.linalg.norm(wave, axis=1, keepdims=True), 1e-9) for wave in (cos, sin))
    return Waves(jnp.asarray(cos, dtype), jnp.asarray(sin, dtype))


def power(x: Float[Array, "n m"], basis: Waves) -> Float[Array, "k m"]:
    """Squared length of each column's part in each frequency."""
    return jnp.square(basis.cos @ x) + jnp.square(basis.sin @ x)


def fourier_norms(x: Float[Array, "n m"], basis: Waves) -> Float[Array, " directions"]:
    """Norm over the columns of x's part in each direction, cosines and sines apart, without the constant: n - 1 of
    them (Nanda et al. 2023, of W_E over its inputs and of W_out W_U over its outputs)."""
    directions = jnp.concatenate(basis)[: x.shape[0] - 1]  # the row that it leaves out is the zero one of even n
    return jnp.linalg.norm(directions @ x, axis=1)


def gini(x: Float[Array, " n"]) -> Float[Array, ""]:
    """Gini coefficient sum_ij |x_i - x_j| / (2 n sum_i x_i) of numbers >= 0; 0: all equal, 1 - 1/n: all in one."""
    n, rank = x.shape[0], jnp.arange(1, x.shape[0] + 1)
    return share(((2 * rank - n - 1) * jnp.sort(x)).sum(), n * x.sum())


def participation(powers: Float[Array, "k m"]) -> Float[Array, ""]:
    """Inverse participation ratio sum_k P_k^2 / (sum_k P_k)^2 of each column's powers per frequency, mean over the
    columns: 1 where each is a single wave, 1 / k where all frequencies are equal. Gromov 2023 (arXiv 2301.02679) sums
    over all n complex coefficients, of which a wave has two, so that of a single wave is 1/2 there and 1 here."""
    return share(jnp.square(powers).sum(0), jnp.square(powers.sum(0))).mean()


def neuron_shares(neurons: Float[Array, "m pairs"], basis: Waves) -> Float[Array, "k m"]:
    """Share of each neuron's variance over all pairs (a, b) that lies in each frequency: in cos and sin of a, of b, and
    their four products (Nanda et al. 2023). Frequencies are disjoint; products of different ones are in none."""
    n = basis.cos.shape[1]
    x = (neurons - neurons.mean(1, keepdims=True)).reshape(-1, n, n)
    of_a, of_b = (power(x.sum(axis).T / n**0.5, basis) for axis in (2, 1))
    powers = of_a + of_b
    for over_b in basis:
        along_b = jnp.einsum("kb,mab->mak", over_b, x)
        for over_a in basis:
            powers += jnp.square(jnp.einsum("ka,mak->km", over_a, along_b))
    return share(powers, jnp.square(x).sum((1, 2)))


def share(part: Array, whole: Array) -> Array:
    """part / whole; 0 where the whole is 0, nan where it is."""
    return jnp.where(whole == 0, 0, part / jnp.where(whole == 0, 1, whole))
