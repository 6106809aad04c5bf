"""Modular arithmetic: all pairs (a, b) of operands, and the answer to each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from grokjax.spec.pair_tasks import Modular
from grokjax.spec.polynomials import parse_polynomial
from grokjax.tasks.examples import Table
from grokjax.tasks.pairs import Elements, pair_table


def table(task: Modular) -> Table:
    """All pairs (a, b) in row-major order; unordered ones with a <= b; for division those with b != 0."""
    p = task.p
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    if task.pairs == "unordered":
        a, b = a[a <= b], b[a <= b]
    if task.op == "divide":
        a, b = a[b != 0], b[b != 0]
    return pair_table(task, a, b, answers(task, a, b))


def answers(task: Modular, a: Elements, b: Elements) -> Int[np.ndarray, " n"]:
    p = task.p
    match task.op:
        case "add":
            return (a + b) % p
        case "subtract":
            return (a - b) % p
        case "multiply":
            return (a * b) % p
        case "divide":
            return a * _inverses(p)[b] % p
        case "quadratic":
            return (a * a + a * b + b * b) % p
        case "random":
            return np.random.Generator(np.random.PCG64(p)).integers(p, size=a.shape)
        case "divide_or_subtract":
            return np.where(b % 2 == 1, a * _inverses(p)[b], a - b) % p
        case "add_or_multiply":
            return np.where(a % 2 == 1, a * b, a + b) % p
        case "add_or_subtract":
            return np.where(a % 2 == 1, a - b, a + b) % p
    total = np.zeros_like(a)
    for (i, j), factor in parse_polynomial(task.op).items():
        total = (total + factor % p * (_power(a, i, p) * _power(b, j, p) % p)) % p
    return total


def _inverses(p: int) -> Elements:
    """Of 1 .. p - 1, p a prime; 0 stands at 0."""
    return np.array([0] + [pow(k, -1, p) for k in range(1, p)])


def _power(x: Elements, n: int, p: int) -> Elements:
    return np.array([pow(value, n, p) for value in range(p)])[x]
