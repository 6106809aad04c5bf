"""Two signals among two noise tokens, read off at the last: 0 reads, then come the signals, then the noise."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from grokjax.spec.sequence_tasks import SignalPairs
from grokjax.tasks.examples import Examples, Table


def table(task: SignalPairs) -> Table:
    """Every sequence, with its probability. Without an order those with the same tokens are one, of twice the
    probability for each two that differ."""
    signals = range(1, task.signals + 1)
    noises = range(task.signals + 1, task.signals + task.noises + 1)
    rows, weights = [], []
    if task.ordered:
        places = list(combinations(range(4), 2))
        for at, pair, noise in product(places, product(signals, repeat=2), product(noises, repeat=2)):
            others = [place for place in range(4) if place not in at]
            row = [0] * 5
            for place, token in zip([*at, *others], [*pair, *noise], strict=True):
                row[place] = token
            rows.append(row)
            weights.append(1.0)
    else:
        both = product(combinations_with_replacement(signals, 2), combinations_with_replacement(noises, 2))
        for pair, noise in both:
            rows.append([*pair, *noise, 0])
            weights.append((1.0 if pair[0] == pair[1] else 2.0) * (1.0 if noise[0] == noise[1] else 2.0))
    tokens, chances = np.array(rows, np.int32), np.array(weights)
    classes = np.array([_class_of(task, *sorted(t for t in row if 1 <= t <= task.signals)) for row in rows], np.int32)
    return Table(tokens, classes, (chances / chances.sum()).astype(np.float32))


def _class_of(task: SignalPairs, low: Any, high: Any) -> Any:
    """Number of the pair in 11, 12, ..., 1n, 22, ..., nn."""
    return (low - 1) * task.signals - (low - 1) * (low - 2) // 2 + high - low


def draw(task: SignalPairs, rule: Any, key: Array, n: int) -> Examples:
    """Both signals and both noise tokens drawn alike, and their order too, where there is one."""
    of_signals, of_noises, of_order = jax.random.split(key, 3)
    first = task.signals + 1
    signals = jax.random.randint(of_signals, (n, 2), 1, first, jnp.int32)
    noises = jax.random.randint(of_noises, (n, 2), first, first + task.noises, jnp.int32)
    four = jnp.concatenate([signals, noises], axis=1)
    if task.ordered:
        four = jax.random.permutation(of_order, four, axis=1, independent=True)
    tokens = jnp.concatenate([four, jnp.zeros((n, 1), four.dtype)], axis=1)
    return Examples(tokens.astype(jnp.int32), _class_of(task, signals.min(1), signals.max(1)).astype(jnp.int32))
