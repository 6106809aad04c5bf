"""Tasks of two operands against plain arithmetic: operations, groups, formats of sequences, splits."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.spec.groups import order_of
from grokjax.spec.pair_tasks import GroupTask, Modular, Templates
from grokjax.spec.polynomials import parse_polynomial, polynomial_text
from grokjax.spec.task import Split
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.tasks.all import choice, scores, table
from grokjax.tasks.examples import Indices, Own
from grokjax.tasks.groups import inverses, multiplication

TERM = st.builds(lambda factor, a, b: f"{factor}*x^{a}*y^{b}", st.integers(-9, 9), st.integers(0, 4), st.integers(0, 4))


@settings(max_examples=60, deadline=None)
@given(st.lists(TERM, min_size=1, max_size=4))
def test_a_polynomial_is_what_python_makes_of_it(terms: list[str]):
    text = " + ".join(terms)
    parsed = parse_polynomial(text)
    assert parse_polynomial(polynomial_text(parsed)) == parsed
    for x, y in ((2, 3), (-5, 7)):
        value = sum(factor * x**a * y**b for (a, b), factor in parsed.items())
        assert value == eval(text.replace("^", "**"), {}, {"x": x, "y": y})


@pytest.mark.parametrize(
    ("op", "answer"),
    [
        ("x^3 + x*y^2 + y", lambda x, y, p: (x**3 + x * y**2 + y) % p),
        ("x² + y²", lambda x, y, p: (x * x + y * y) % p),
        ("3*x - 2*y + 5", lambda x, y, p: (3 * x - 2 * y + 5) % p),
        ("divide_or_subtract", lambda x, y, p: x * pow(y, -1, p) % p if y % 2 else (x - y) % p),
        ("add_or_multiply", lambda x, y, p: x * y % p if x % 2 else (x + y) % p),
        ("add_or_subtract", lambda x, y, p: (x - y) % p if x % 2 else (x + y) % p),
    ],
)
def test_answers_are_those_of_whole_numbers(op: str, answer: Any):
    examples = table(Modular(op=op, p=13))
    assert len(examples.targets) == 169
    for (x, y, equals), target in zip(examples.inputs.tolist(), examples.targets.tolist(), strict=True):
        assert equals == 13
        assert target == answer(x, y, 13), (x, y)


def test_equal_operations_are_one_however_they_are_written():
    assert Modular(op="y + x").op == "add"
    assert Modular(op="x*y + y^2 + x^2").op == "quadratic"
    assert Modular(op="x*(x + y)").op == Modular(op="x^2 + y*x").op == "x^2 + x*y"


@pytest.mark.parametrize("op", ["x +", "x + z", "x**y", "__import__('os')", "x^99", "7", "x/y", "1.5*x", "x" * 2000])
def test_what_is_no_polynomial_is_refused_in_words(op: str):
    with pytest.raises(SweepError, match=r"task.op: must be one of add, .*a polynomial such as"):
        expand(parse_sweep(f'name: x\nbase: {{task: {{op: "{op}"}}}}\n', "x.yaml", Path()))


def test_unordered_pairs_are_those_with_x_up_to_y():
    examples = table(Modular(p=7, pairs="unordered"))
    assert [tuple(row[:2]) for row in examples.inputs] == [(x, y) for x in range(7) for y in range(x, 7)]
    assert Modular(p=7, pairs="unordered").examples == 28
    assert Modular(p=7, op="divide", pairs="unordered").examples == len(
        table(Modular(p=7, op="divide", pairs="unordered")).targets
    )


def test_sequences_of_two_tokens_and_of_openai():
    two = table(Modular(p=5, format="two_tokens"))
    assert two.inputs.shape == (25, 2)
    task = Modular(p=5, format="openai", scores="answer_and_end")
    examples = table(task)
    eos, equals, operator = 5, 6, 7
    assert examples.inputs[8].tolist() == [eos, 1, operator, 3, equals, 4]
    assert examples.targets[8].tolist() == [4, eos]
    assert task.scored == (4, 5)
    assert task.d_vocab == task.d_vocab_out == 239
    short = Modular(p=5, format="openai")
    assert table(short).inputs[8].tolist() == [eos, 1, operator, 3, equals]
    assert short.scored == (4,)
    assert all(short.operands[i] == (1, 3)[i] for i in (0, 1))


@pytest.mark.parametrize("group", ["C6", "D5", "S4", "A4", "C2xS3", "D3xC3"])
def test_a_group_obeys_the_laws_of_groups(group: str):
    products = multiplication(group)
    n = order_of(group)
    assert products.shape == (n, n)
    assert (products[0] == np.arange(n)).all()
    assert (products[:, 0] == np.arange(n)).all()
    assert all(sorted(row) == list(range(n)) for row in products.tolist())
    assert (products[products] == products[:, products]).all()  # (ab)c = a(bc)
    assert (products[np.arange(n), inverses(products)] == 0).all()


def test_groups_have_the_orders_and_the_structure_that_they_are_known_for():
    assert [order_of(name) for name in ("C113", "D59", "S5", "A5", "S6", "C7xC7")] == [113, 118, 120, 60, 720, 49]
    assert (multiplication("C7xC2") == multiplication("C7xC2").T).all()
    assert not (multiplication("D59") == multiplication("D59").T).all()
    orders = list(permutations(range(4)))
    products = multiplication("S4")
    for i, j in ((3, 7), (20, 5), (11, 23)):
        composed = tuple(orders[i][orders[j][at]] for at in range(4))
        assert orders[products[i, j]] == composed


@pytest.mark.parametrize("op", ["ab", "aba^-1", "aba"])
def test_words_in_a_group_are_products_from_the_left(op: str):
    products = multiplication("S3")
    back = inverses(products)
    examples = table(GroupTask(group="S3", op=op))
    for (a, b, _), target in zip(examples.inputs.tolist(), examples.targets.tolist(), strict=True):
        ab = products[a, b]
        assert target == {"ab": ab, "aba^-1": products[ab, back[a]], "aba": products[ab, a]}[op]


@pytest.mark.parametrize("group", ["Q8", "C0", "s5", "C5x", "S9", "C99999"])
def test_what_is_no_group_is_refused_in_words(group: str):
    with pytest.raises(SweepError, match=r"task.group: must be a group of 2 to 4096 elements"):
        expand(parse_sweep(f"name: x\nbase: {{task: {{name: group, group: {group}}}}}\n", "x.yaml", Path()))


def test_noisy_rows_are_few_and_the_same_for_every_run():
    clean, noisy = table(Modular(p=11)), table(Modular(p=11, noisy=10))
    changed = clean.targets != noisy.targets
    assert 5 <= changed.sum() <= 10  # a random row's answer can be the right one
    assert (table(Modular(p=11, noisy=10)).targets == noisy.targets).all()


def rows_of(task: Any) -> Indices:
    chosen = choice(task, table(task))
    assert isinstance(chosen, Indices)
    return chosen


def test_splits_by_count_by_rounding_and_as_openai_shuffles(tmp_path: Path):
    seed = Split(seed=3)
    assert len(rows_of(Modular(p=11, train_examples=45, split=seed)).train) == 45
    down, nearest = (
        Modular(p=11, train_fraction=0.5, split=Split(seed=3, rounding=how)) for how in ("down", "nearest")
    )
    assert (down.train_size, nearest.train_size) == (60, 60)
    assert Modular(p=11, train_fraction=0.48, split=Split(rounding="nearest")).train_size == 58
    assert Modular(p=11, train_fraction=0.48).train_size == 58
    assert Modular(p=11, train_fraction=0.476, split=Split(rounding="nearest")).train_size == 58
    assert Modular(p=11, train_fraction=0.476).train_size == 57
    order = np.arange(121)
    np.random.RandomState(0).shuffle(order)
    legacy = rows_of(Modular(p=11, train_fraction=0.5, split=Split(method="numpy_legacy", seed=0)))
    assert (legacy.train == order[:60]).all()
    assert (legacy.test == order[60:]).all()


def test_stored_indices_are_the_split_and_a_changed_file_is_refused(tmp_path: Path):
    file = tmp_path / "rows.npz"
    np.savez(file, train=np.array([4, 0, 9]), test=np.array([1, 2]))
    task = Modular(p=5, split=Split(rows=str(file), seed=0)).resolved()
    rows = rows_of(task)
    assert (rows.train.tolist(), rows.test.tolist()) == ([4, 0, 9], [1, 2])
    assert (task.train_size, task.test_size) == (3, 2)
    np.savez(file, train=np.array([4, 0, 8]))
    with pytest.raises(ValueError, match="has changed since the sweep was planned"):
        rows_of(task)
    assert len(rows_of(Modular(p=5, split=Split(rows=str(file), seed=0)).resolved()).test) == 22


def test_stored_indices_that_do_not_fit_are_told_at_their_key(tmp_path: Path):
    np.savez(tmp_path / "rows.npz", train=np.array([4, 30]))
    text = "name: x\nbase:\n  task: {p: 5, split: {rows: rows.npz}}\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SweepError, match=r"3:24: task.split.rows: .*rows are 0 to 24, and it has 4 to 30"):
        expand(parse_sweep(text, str(tmp_path / "x.yaml"), tmp_path))


def test_templates_are_a_run_s_own_and_the_nearest_is_its_answer():
    task = Templates(p=4, train_examples=6, d_template=5, split=Split(seed=1))
    own = choice(task, table(task))
    assert isinstance(own, Own)
    assert (len(own.train.targets), len(own.test.targets)) == (6, 4)
    assert (own.train.targets == own.train.inputs.sum(1) % 4).all()
    other = choice(Templates(p=4, train_examples=6, d_template=5, split=Split(seed=2)), table(task))
    assert isinstance(other, Own)
    assert not (other.train.rule == own.train.rule).all()
    outputs = own.test.rule[own.test.targets].T + 0.01
    outputs[:, 0] = own.test.rule[(own.test.targets[0] + 1) % 4]
    assert float(scores(task, jnp.asarray(outputs), own.test)["accuracy"]) == pytest.approx(0.75)
    assert len(choice(Templates(p=4, tests_on="all", split=Split(seed=1)), table(task)).test.targets) == 10
    assert Templates(p=4, wraps=False).classes == 7
