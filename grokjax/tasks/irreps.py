"""Irreducible characters of a finite group, and the part of a function on it that each has."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from grokjax.tasks.groups import inverses, multiplication


class Irreps(NamedTuple):
    """Real ones: a character and its conjugate stand together. The trivial one comes first, then by degree."""

    names: tuple[str, ...]  # d and the degree, counted: d4_0, d4_1
    projections: Float[np.ndarray, "irreps n n"]  # onto the functions of each


@lru_cache(maxsize=8)
def irreps_of(group: str) -> Irreps:
    """Projections P = d/|G| sum_g chi(g^-1) L_g, of the left regular representation (Serre 1977, 2.6)."""
    products = multiplication(group)
    n, back = len(products), inverses(products)
    of_class = classes_of(products)
    characters = _characters(products, of_class)
    quotient = products[:, back]  # [i, j] is i j^-1
    made: list[tuple[int, Float[np.ndarray, "n n"]]] = []
    done: set[int] = set()
    for index, character in enumerate(characters):
        if index in done:
            continue
        degree = round(float(character[0].real))
        partner = int(np.argmin(np.abs(characters - character.conj()).sum(1)))
        both = character if partner == index else character + characters[partner]
        done |= {index, partner}
        made.append((degree, degree / n * both.real[of_class[quotient]]))
    made.sort(key=lambda each: (each[0], -float(each[1].sum())))
    counts: dict[int, int] = {}
    names = []
    for degree, _ in made:
        counts[degree] = counts.get(degree, -1) + 1
        names.append(f"d{degree}_{counts[degree]}")
    return Irreps(tuple(names), np.stack([projection for _, projection in made]))


def classes_of(products: Int[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """The number of each element's conjugacy class; that of the identity is 0."""
    n, back = len(products), inverses(products)
    least = products[products, back[:, None]].min(0)  # [g, x] is g x g^-1
    return np.unique(least, return_inverse=True)[1].reshape(n)


def _characters(products: Int[np.ndarray, "n n"], of_class: Int[np.ndarray, " n"]) -> Complex[np.ndarray, "r r"]:
    """Rows are irreducible characters, columns classes. The class sums commute, and their common eigenvectors are the
    characters (Burnside); a random combination of them has no equal eigenvalues."""
    n, r = len(products), int(of_class.max()) + 1
    sizes = np.bincount(of_class)
    counts = np.zeros((r, r, r))  # [i, k, j]: products of class i with an element of class j that are one of class k
    first = np.array([int(np.flatnonzero(of_class == j)[0]) for j in range(r)])
    for j in range(r):
        np.add.at(counts, (of_class, of_class[products[:, first[j]]], np.full(n, j)), 1.0)
    random = np.random.Generator(np.random.PCG64(0)).standard_normal(r)
    mixed = np.tensordot(random / sizes, counts, axes=1)  # acts on functions of classes from the left
    _, vectors = np.linalg.eig(mixed.T.astype(complex))
    rows = vectors.T / vectors.T[:, :1]  # chi(class) / chi(1), up to what follows
    degrees = np.sqrt(n / (sizes * np.abs(rows) ** 2).sum(1))
    return rows * degrees[:, None]
