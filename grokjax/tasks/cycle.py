"""The cyclic group behind a modular task: in which order its operands lie on a circle, and all pairs of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from grokjax.spec.tasks import Modular, Task, is_prime
from grokjax.tasks.pairs import pair_tokens


@dataclass(frozen=True)
class Cycle:
    """n operands as the elements of a cyclic group; pairs and classes below are counted in the group's order.

    sign: the answer to the pair (i, j) is element i + j (1) or i - j (-1); 0: the answer follows no such law.
    """

    task: Modular
    elements: Int[np.ndarray, " n"]  # the operand at each place of the circle
    sign: int

    @property
    def n(self) -> int:
        return len(self.elements)

    @cached_property
    def tokens(self) -> Int[np.ndarray, "pairs L"]:
        """All n^2 pairs as sequences, row-major in the group's order."""
        a, b = (grid.ravel() for grid in np.meshgrid(self.elements, self.elements, indexing="ij"))
        return pair_tokens(self.task, a, b)

    @cached_property
    def places(self) -> Int[np.ndarray, " p"]:
        """Where each operand lies on the circle; -1: it is not on it (0 under multiplication)."""
        places = np.full(self.task.p, -1, np.int32)
        places[self.elements] = np.arange(self.n)
        return places

    @property
    def results(self) -> Int[np.ndarray, " pairs"]:
        """Class of each pair's answer."""
        i, j = np.divmod(np.arange(self.n**2), self.n)
        return ((i + self.sign * j) % self.n).astype(np.int32)

    @property
    def by_result(self) -> Int[np.ndarray, "n n"]:
        """Row r: the pairs whose answer is r."""
        return self._lines(self.sign)

    @property
    def by_distance(self) -> Int[np.ndarray, "n n"]:
        """Row d: the pairs i - j = d, the lines across those of equal answer (of i - j: i + j = d)."""
        return self._lines(-self.sign)

    def _lines(self, sign: int) -> Int[np.ndarray, "n n"]:
        row, i = np.divmod(np.arange(self.n**2), self.n)
        return (i * self.n + sign * (row - i) % self.n).reshape(self.n, self.n).astype(np.int32)


def cycle_of(task: Task) -> Cycle:
    """add, subtract: 0, 1, ..., p-1. multiply, divide with p prime: the powers of the smallest primitive root, as their
    logarithms are added; 0 is left out. quadratic, random, and multiply with p no prime follow the law of no cyclic
    group: 0, 1, ..., p-1 with sign 0."""
    if not isinstance(task, Modular):
        raise ValueError(f"task {task.name} is no modular arithmetic: it has no cyclic group, and no Fourier modes")
    if not task.follows_cycle:
        raise ValueError(f"Fourier modes are not measured of sequences of format {task.format}")
    p, op = task.p, task.op
    if op in ("add", "subtract"):
        return Cycle(task, np.arange(p), 1 if op == "add" else -1)
    if op in ("multiply", "divide") and is_prime(p) and p > 2:
        return Cycle(task, _powers(p), 1 if op == "multiply" else -1)
    return Cycle(task, np.arange(p), 0)


def _powers(p: int) -> Int[np.ndarray, " n"]:
    """1, g, g^2, ... of the smallest g whose powers are all of 1..p-1."""
    for g in range(1, p):
        powers = [1]
        while (following := powers[-1] * g % p) != 1:
            powers.append(following)
        if len(powers) == p - 1:
            return np.array(powers)
    raise AssertionError("every prime has a primitive root")
