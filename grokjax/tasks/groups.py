"""Finite groups: their multiplication tables, and all pairs of elements."""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import numpy as np
from jaxtyping import Int

from grokjax.spec.groups import factors_of
from grokjax.spec.pair_tasks import GroupTask
from grokjax.tasks.examples import Table
from grokjax.tasks.pairs import pair_table

Products = Int[np.ndarray, "n n"]


def table(task: GroupTask) -> Table:
    """All pairs of elements in row-major order."""
    products = multiplication(task.group)
    n = len(products)
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    last = {"ab": b, "aba^-1": products[b, inverses(products)[a]], "aba": products[b, a]}[task.op]
    return pair_table(task, a, b, products[a, last])


@lru_cache(maxsize=8)
def multiplication(group: str) -> Products:
    """[i, j] is the number of the product of elements i and j; element 0 is the identity. In a product of groups the
    last factor's elements are counted fastest."""
    products = np.zeros((1, 1), int)
    for kind, number in factors_of(group):
        factor = {"C": _cyclic, "D": _dihedral, "S": _symmetric, "A": _alternating}[kind](number)
        n, m = len(products), len(factor)
        products = (products[:, None, :, None] * m + factor[None, :, None, :]).reshape(n * m, n * m)
    return products


def inverses(products: Products) -> Int[np.ndarray, " n"]:
    return (products == 0).argmax(1)


def _cyclic(n: int) -> Products:
    return np.add.outer(np.arange(n), np.arange(n)) % n


def _dihedral(n: int) -> Products:
    """Elements 0 .. n - 1 are the rotations r^i, n .. 2n - 1 the reflections r^i s, with s r = r^-1 s."""
    turn, flip = np.arange(2 * n) % n, np.arange(2 * n) // n
    turned = turn[:, None] + np.where(flip[:, None] == 1, -1, 1) * turn[None, :]
    return turned % n + n * (flip[:, None] ^ flip[None, :])


def _symmetric(n: int) -> Products:
    return _of_permutations(list(permutations(range(n))))


def _alternating(n: int) -> Products:
    return _of_permutations([order for order in permutations(range(n)) if _is_even(order)])


def _of_permutations(orders: list[tuple[int, ...]]) -> Products:
    """Products by composition: (ab)(i) = a(b(i)); elements in lexicographic order."""
    array = np.array(orders)
    digits = len(array[0]) ** np.arange(len(array[0]))
    numbers = array @ digits
    place = np.empty(numbers.max() + 1, int)
    place[numbers] = np.arange(len(array))
    return np.stack([place[a[array] @ digits] for a in array])


def _is_even(order: tuple[int, ...]) -> bool:
    swaps = sum(order[i] > order[j] for i in range(len(order)) for j in range(i + 1, len(order)))
    return swaps % 2 == 0
