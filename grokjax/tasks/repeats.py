"""A subsequence that stands several times among random tokens, so that its later copies can be known from earlier."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.spec.sequence_tasks import Repeats
from grokjax.tasks.examples import Examples, Scores


def draw(task: Repeats, rule: Any, key: Array, n: int) -> Examples:
    """Copies lie at random, without overlap. Each position predicts the token that follows; those count that can be
    known: all but the first of each copy but the first."""
    of_tokens, of_copy, of_places = jax.random.split(key, 3)
    tokens = jax.random.randint(of_tokens, (n, task.length), 0, task.vocabulary, jnp.int32)
    repeated = jax.random.randint(of_copy, (n, task.repeat), 0, task.vocabulary, jnp.int32)
    offset = jnp.arange(task.length) - _starts(task, of_places, n)[..., None]  # [n, copies, length]
    inside = (offset >= 0) & (offset < task.repeat)
    copied = jnp.take_along_axis(repeated, jnp.where(inside, offset, 0).sum(1), axis=1)
    tokens = jnp.where(inside.any(1), copied, tokens).astype(jnp.int32)
    known = (inside & (offset >= 1))[:, 1:].any(1)
    return Examples(tokens, tokens[:, 1:], known[:, 1:].astype(jnp.float32))


def _starts(task: Repeats, key: Array, n: int) -> Int[Array, "n copies"]:
    """Where the copies begin: every way to lay them is as likely."""
    slots = task.length - task.copies * (task.repeat - 1)  # a copy is one slot, and so is every other token
    order = jnp.argsort(jax.random.bits(key, (n, slots), jnp.uint32), axis=1)
    return jnp.sort(order[:, : task.copies], axis=1) + jnp.arange(task.copies) * (task.repeat - 1)


def scores(task: Repeats, outputs: Float[Array, "v m"], examples: Examples) -> Scores:
    """Of each position that can be known."""
    return {"accuracy": outputs.argmax(0) == examples.targets.reshape(-1)}
