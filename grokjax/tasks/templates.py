"""Sums named by random vectors: the network gives a vector, and the sum whose vector is nearest is its answer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from grokjax.spec.pair_tasks import Templates
from grokjax.tasks.examples import Examples, Own, Scores, Table, at_rows, split


def own(task: Templates) -> Own:
    """Pairs i <= j, split by seed, and this run's templates [classes, d_template]."""
    i, j = np.triu_indices(task.p)
    sums = (i + j) % task.p if task.wraps else i + j
    table = Table(np.stack([i, j], axis=1).astype(np.int32), sums.astype(np.int32))
    rows = split(task, len(sums), task.train_size)
    tested = np.arange(len(sums), dtype=np.int32) if task.tests_on == "all" else rows.test
    random = np.random.Generator(np.random.PCG64([task.split.seed or 0, 1]))
    templates = random.standard_normal((task.classes, task.d_template)).astype(np.float32)
    train, test = (at_rows(table, chosen)._replace(rule=templates) for chosen in (rows.train, tested))
    return Own(train, test)


def wanted(task: Templates, examples: Examples) -> Float[Array, "n d"]:
    """The template of each sum."""
    return jax.nn.one_hot(examples.targets, task.classes, dtype=examples.rule.dtype) @ examples.rule


def scores(task: Templates, outputs: Float[Array, "d m"], examples: Examples) -> Scores:
    """Whether the nearest template is the right sum's."""
    squared = jnp.square(examples.rule).sum(1)[:, None] - 2 * examples.rule @ outputs  # less |outputs|^2, equal for all
    return {"accuracy": squared.argmin(0) == examples.targets}
