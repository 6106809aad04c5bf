"""Minibatches of a fixed size, without replacement within an epoch, keyed by (seed, step) alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from grokjax.tasks.examples import Examples, some_of
from grokjax.tasks.keys import BATCHES, key_for


def batch_at(
    examples: Examples,
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    size: int | None,
    rows: Int[Array, " size"] | None = None,
) -> Examples:
    """The examples of one step. An epoch has n // size batches; what is left over waits for the next shuffle.

    rows: those of this step, where the caller has them from `rows_ahead`; else the epoch is put in order for this step.
    """
    if size is None:
        return examples
    if rows is None:
        n = examples.targets.shape[0]
        per_epoch = n // size
        rows = jax.lax.dynamic_slice(_order(n, seed, step // per_epoch), ((step % per_epoch) * size,), (size,))
    return some_of(examples, rows)


def rows_ahead(n: int, seed: UInt32[Array, ""], step: Int[Array, ""], size: int) -> Int[Array, " rows"]:
    """Rows of the n // size steps from `step` on, one batch after the other: two sorts for an epoch's worth of steps,
    wherever in an epoch that is, so lanes at different steps put theirs in order at the same time."""
    per_epoch = n // size
    # where one batch is an epoch, no further epoch is touched
    epochs = [step // per_epoch + later for later in range(min(per_epoch, 2))]
    rows = jnp.concatenate([_order(n, seed, epoch)[: per_epoch * size] for epoch in epochs])
    return jax.lax.dynamic_slice(rows, ((step % per_epoch) * size,), (per_epoch * size,))


def _order(n: int, seed: UInt32[Array, ""], epoch: Int[Array, ""]) -> Int[Array, " n"]:
    bits = jax.random.bits(jax.random.fold_in(key_for(BATCHES, seed), epoch), (n,), jnp.uint32)
    order = jnp.argsort(bits)  # stable, so ties (1 in 2^32 a pair) cannot differ between devices
    return order.astype(jnp.int32)  # under x64 too
