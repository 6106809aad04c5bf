"""Modular arithmetic: one table of all examples, shared by every lane, and a split of it a run."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int

from grokjax.sweep.spec import Modular

Either = Array | np.ndarray  # on the device, or on its way there


class Table(NamedTuple):
    """Every example of a task. `tokens` are [a, b, =] with `=` as token p."""

    tokens: Int[Either, "n 3"]
    labels: Int[Either, " n"]


class Indices(NamedTuple):
    """Rows of the table that a run trains and tests on."""

    train: Int[Either, " n_train"]
    test: Int[Either, " n_test"]


def table(task: Modular) -> Table:
    """All pairs (a, b) in row-major order; for division those with b != 0."""
    p = task.p
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    if task.op == "divide":
        a, b = a[b != 0], b[b != 0]
    match task.op:
        case "add":
            labels = (a + b) % p
        case "subtract":
            labels = (a - b) % p
        case "multiply":
            labels = (a * b) % p
        case "divide":
            inverse = np.array([0] + [pow(k, -1, p) for k in range(1, p)])
            labels = (a * inverse[b]) % p
        case "quadratic":
            labels = (a * a + a * b + b * b) % p
        case "random":
            labels = np.random.Generator(np.random.PCG64(p)).integers(p, size=a.shape)
    tokens = np.stack([a, b, np.full_like(a, p)], axis=1)
    return Table(tokens.astype(np.int32), labels.astype(np.int32))


def split(task: Modular, n: int, n_train: int) -> Indices:
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
