"""Rows of the mini-batches of many lanes, put in order now and then instead of at every step.

A segment's loop carries them. All lanes put theirs in order at once, at the segment's first step and then after as many
steps as an epoch has, wherever each of them is in its own epoch.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from grokjax.plan.cost import evaluates_train_set
from grokjax.spec.hypers import Hyper
from grokjax.spec.run import RunSpec
from grokjax.train.state import Examples, State
from grokjax.train.step import upcoming_rows

Ahead = Int[Array, "B rows"] | None  # None: the full batch, or fresh examples at every step


def nothing_ahead(spec: RunSpec, train: Examples) -> Ahead:
    """What a segment's loop carries before its first step. train: [B, n, ...]"""
    if not evaluates_train_set(spec):
        return None
    lanes, n = train.targets.shape[:2]
    size = spec.batch_size
    return jnp.zeros((lanes, n // size * size), jnp.int32)


def rows_due(
    spec: RunSpec, ahead: Ahead, i: Int[Array, ""], state: State, hyper: Hyper, train: Examples
) -> tuple[Ahead, Int[Array, "B size"] | None]:
    """(what the loop carries on, the rows of step `i` of this segment); None each, with the full batch.

    ahead: what the step before carried on. A lane whose run has ended is given rows that nothing is made of.
    """
    if ahead is None:
        return None, None
    total = ahead.shape[1]
    size = spec.batch_size
    batch = i % (total // size)

    def in_order(_: Array) -> Array:
        return jax.vmap(partial(upcoming_rows, spec))(state, hyper, train)

    rows: Array = jax.lax.cond(batch == 0, in_order, lambda rows: rows, ahead)
    return rows, jax.lax.dynamic_slice_in_dim(rows, batch * size, size, axis=1)
