"""Minibatches of a fixed size, without replacement within an epoch, keyed by (seed, step) alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from grokjax.tasks.examples import Examples, some_of
from grokjax.tasks.keys import BATCHES, key_for


def batch_at(examples: Examples, seed: UInt32[Array, ""], step: Int[Array, ""], size: int | None) -> Examples:
    """The examples of one step. An epoch has n // size batches; what is left over waits for the next shuffle."""
    if size is None:
        return examples
    n = examples.targets.shape[0]
    per_epoch = n // size
    key = key_for(BATCHES, seed)
    bits = jax.random.bits(jax.random.fold_in(key, step // per_epoch), (n,), jnp.uint32)
    order = jnp.argsort(bits)  # stable, so ties (1 in 2^32 a pair) cannot differ between devices
    rows = jax.lax.dynamic_slice(order, ((step % per_epoch) * size,), (size,))
    return some_of(examples, rows)
