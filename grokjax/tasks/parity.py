"""Sparse parity: the product of the first k of n bits, each 1 or -1."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grokjax.spec.drawn_tasks import Parity
from grokjax.tasks.examples import Examples


def draw(task: Parity, rule: Any, key: Array, n: int) -> Examples:
    """Bits drawn alike; class 1 is a product of 1, class 0 one of -1."""
    bits = jax.random.bits(key, (n, task.bits), jnp.uint32) % 2 == 1
    negatives = (~bits[:, : task.k]).sum(1)
    return Examples(jnp.where(bits, 1.0, -1.0).astype(jnp.float32), (negatives % 2 == 0).astype(jnp.int32))
