"""Modular arithmetic against brute force, and the splits as documented."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Modular, Split
from grokjax.tasks.all import table
from grokjax.tasks.examples import Indices, split

PRIMES = [2, 3, 5, 7, 11, 13]


def spec_of(seed: int = 0, method: str = "numpy", **task) -> RunSpec:
    """A run whose split has its seed, as a resolved one has."""
    return RunSpec(task=Modular(split=Split(method=method, seed=seed), **task))


def rows_of(spec: RunSpec) -> Indices:
    return split(spec.task, spec.task.examples, spec.task.train_size)


def examples(op: str, p: int) -> list[tuple[int, int, int, int]]:
    """(a, b, =, label), in the table's order."""
    found = table(Modular(op=op, p=p))
    assert found.inputs.dtype == found.targets.dtype == np.int32
    return [(*map(int, row), int(label)) for row, label in zip(found.inputs, found.targets, strict=True)]


@pytest.mark.parametrize("p", [2, 3, 4, 7, 12])
@pytest.mark.parametrize(
    ("op", "result"),
    [
        ("add", lambda a, b: a + b),
        ("subtract", lambda a, b: a - b),
        ("multiply", lambda a, b: a * b),
        ("quadratic", lambda a, b: a**2 + a * b + b**2),
    ],
)
def test_every_pair_stands_once_in_row_major_order_with_its_result(op: str, result, p: int):
    assert examples(op, p) == [(a, b, p, result(a, b) % p) for a in range(p) for b in range(p)]


@pytest.mark.parametrize("p", PRIMES)
def test_division_undoes_multiplication_and_leaves_out_zero_divisors(p: int):
    found = examples("divide", p)
    assert [(a, b) for a, b, _, _ in found] == [(a, b) for a in range(p) for b in range(1, p)]
    assert all(label * b % p == a and equals == p for a, b, equals, label in found)
    assert spec_of(op="divide", p=p).task.examples == len(found)


def test_a_random_table_is_one_table_a_p():
    first, again = examples("random", 11), examples("random", 11)
    labels = np.array([label for *_, label in first])
    assert first == again
    assert [(a, b) for a, b, *_ in first] == [(a, b) for a in range(11) for b in range(11)]
    assert set(labels) == set(range(11))
    sums = [(a + b) % 11 for a, b, *_ in first]
    assert (labels == sums).mean() < 0.3
    smaller = np.array([label for *_, label in examples("random", 7)])
    assert (labels[:49] != smaller).any()


def test_the_python_split_is_a_shuffle_of_row_major_pairs():
    found = rows_of(spec_of(seed=5, method="python", p=7, train_fraction=0.3))
    rows = list(range(49))
    random.Random(5).shuffle(rows)
    assert found.train.tolist() == rows[:14]  # int(0.3 * 49)
    assert found.test.tolist() == rows[14:]


def test_the_numpy_split_is_a_permutation_by_pcg64():
    found = rows_of(spec_of(seed=5, p=7, train_fraction=0.3))
    rows = np.random.Generator(np.random.PCG64(5)).permutation(49)
    assert found.train.tolist() == rows[:14].tolist()
    assert found.test.tolist() == rows[14:].tolist()


def test_a_division_splits_its_own_smaller_table():
    found = rows_of(spec_of(seed=1, method="python", op="divide", p=5, train_fraction=0.5))
    rows = list(range(20))
    random.Random(1).shuffle(rows)
    assert found.train.tolist() == rows[:10]


anything = st.fixed_dictionaries(
    {
        "p": st.sampled_from(PRIMES),
        "op": st.sampled_from(["add", "divide", "random"]),
        "method": st.sampled_from(["numpy", "python"]),
        "seed": st.integers(0, 2**31 - 1),
    }
)
fractions = st.floats(0.001, 0.999)


@settings(deadline=None, derandomize=True)
@given(anything, fractions)
def test_train_and_test_are_disjoint_and_together_everything(drawn, fraction: float):
    spec = spec_of(**drawn, train_fraction=fraction)
    found = rows_of(spec)
    assert len(found.train) == int(fraction * spec.task.examples)
    assert sorted([*found.train.tolist(), *found.test.tolist()]) == list(range(spec.task.examples))


@settings(deadline=None, derandomize=True)
@given(anything, fractions, fractions)
def test_a_smaller_fraction_is_a_subset_at_the_same_seed(drawn, one: float, other: float):
    small, large = sorted([one, other])
    inner = rows_of(spec_of(**drawn, train_fraction=small))
    outer = rows_of(spec_of(**drawn, train_fraction=large))
    assert set(inner.train.tolist()) <= set(outer.train.tolist())
    assert set(outer.test.tolist()) <= set(inner.test.tolist())


@pytest.mark.parametrize("method", ["numpy", "python"])
def test_another_seed_is_another_split(method: str):
    splits = {tuple(rows_of(spec_of(seed, method, p=7)).train.tolist()) for seed in range(20)}
    assert len(splits) == 20
