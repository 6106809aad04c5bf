"""What a run is shown: one table of all examples, shared by every lane, a split of it a run, and how answers score."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from grokjax.spec.tasks import Task

Either = Array | np.ndarray  # on the device, or on its way there


class Table(NamedTuple):
    """Every example of a task. Inputs are tokens [n, L], or vectors [n, d] of floats; targets are classes, one for each
    position that is scored (a single one without an axis of its own)."""

    inputs: Num[Either, "n L"]
    targets: Num[Either, n * scored]


class Indices(NamedTuple):
    """Rows of the table that a run trains and tests on."""

    train: Int[Either, " n_train"]
    test: Int[Either, " n_test"]


Scores = dict[str, Float[Array, ""]]


class TaskFunctions(NamedTuple):
    """What a task computes: its table, and the scores of logits [v, n * scored] against targets [n, *scored]."""

    table: Callable[..., Table]
    scores: Callable[[Float[Array, "v m"], Num[Array, n * scored]], Scores] = lambda logits, targets: {
        "accuracy": accuracy(logits, targets)
    }


def accuracy(logits: Float[Array, "v m"], targets: Int[Array, n * scored]) -> Float[Array, ""]:
    """Share of examples whose largest logit is the target's, at every position that is scored."""
    is_right = logits.argmax(0) == targets.reshape(-1)
    if targets.ndim > 1:
        is_right = is_right.reshape(targets.shape).all(1)
    return is_right.mean(dtype=jnp.float32)


def split(task: Task, n: int, n_train: int) -> Indices:
    """Train and test rows of a table of n examples; a smaller fraction is a subset at the same seed."""
    seed = task.split.seed
    assert seed is not None, "a resolved spec has its split seed"
    if task.split.method == "python":
        order = list(range(n))
        random.Random(seed).shuffle(order)
    else:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(n)
    rows = np.asarray(order, np.int32)
    return Indices(rows[:n_train], rows[n_train:])
