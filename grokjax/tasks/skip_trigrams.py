"""Skip trigrams: one trigger among fillers, and a last token that asks which it was."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grokjax.spec.sequence_tasks import SkipTrigrams
from grokjax.tasks.examples import Examples


def draw(task: SkipTrigrams, rule: Any, key: Array, n: int) -> Examples:
    """Tokens: triggers first, then fillers, then the one that asks; the trigger stands anywhere before that."""
    of_fillers, of_trigger, of_place = jax.random.split(key, 3)
    first, last = task.triggers, task.triggers + task.fillers
    tokens = jax.random.randint(of_fillers, (n, task.length), first, last, jnp.int32)
    trigger = jax.random.randint(of_trigger, (n,), 0, task.triggers, jnp.int32)
    place = jax.random.randint(of_place, (n,), 0, task.length - 1, jnp.int32)
    at = jnp.arange(task.length)
    tokens = jnp.where(at == place[:, None], trigger[:, None], tokens)
    return Examples(tokens.at[:, -1].set(last).astype(jnp.int32), trigger.astype(jnp.int32))
