"""Modular arithmetic: all pairs (a, b) of operands, and the answer to each."""

from __future__ import annotations

import numpy as np

from grokjax.spec.tasks import Modular
from grokjax.tasks.examples import Table


def table(task: Modular) -> Table:
    """All pairs (a, b) in row-major order, as tokens [a, b, =] with `=` as token p; for division those with b != 0."""
    p = task.p
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    if task.op == "divide":
        a, b = a[b != 0], b[b != 0]
    match task.op:
        case "add":
            answers = (a + b) % p
        case "subtract":
            answers = (a - b) % p
        case "multiply":
            answers = (a * b) % p
        case "divide":
            inverse = np.array([0] + [pow(k, -1, p) for k in range(1, p)])
            answers = (a * inverse[b]) % p
        case "quadratic":
            answers = (a * a + a * b + b * b) % p
        case "random":
            answers = np.random.Generator(np.random.PCG64(p)).integers(p, size=a.shape)
    tokens = np.stack([a, b, np.full_like(a, p)], axis=1)
    return Table(tokens.astype(np.int32), answers.astype(np.int32))
