"""Addition, digit by digit: x, +, y, =, and the sum with its carry, as Nanda et al. write it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.spec.sequence_tasks import Addition
from grokjax.tasks.examples import Examples, Scores, is_right

PLUS, EQUALS = 10, 11


def draw(task: Addition, rule: Any, key: Array, n: int) -> Examples:
    """Digits of both numbers drawn alike, the highest first; targets are the digits of the sum, the carry first."""
    x, y = jax.random.randint(key, (2, n, task.digits), 0, 10, jnp.int32)
    total, carry = [], jnp.zeros(n, jnp.int32)
    for place in reversed(range(task.digits)):
        value = x[:, place] + y[:, place] + carry
        total.append(value % 10)
        carry = value // 10
    answer = jnp.stack([carry, *reversed(total)], axis=1)
    signs = jnp.full((n, 2), jnp.array([PLUS, EQUALS]))
    tokens = jnp.concatenate([x, signs[:, :1], y, signs[:, 1:], answer], axis=1)
    return Examples(tokens.astype(jnp.int32), answer.astype(jnp.int32))


def scores(task: Addition, outputs: Float[Array, "v m"], examples: Examples) -> Scores:
    """Accuracy of the whole sum, and of each of its digits, the highest (digit_0, the carry) first."""
    right = (outputs.argmax(0).reshape(examples.targets.shape) == examples.targets).T
    digits = {f"accuracy/digit_{place}": of_digit for place, of_digit in enumerate(right)}
    return {"accuracy": is_right(outputs, jnp.asarray(examples.targets))} | digits
