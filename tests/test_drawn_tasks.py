"""Tasks that draw their examples: what they draw, and that a split's seed, or (seed, step), decides it alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models.network import forward
from grokjax.spec.drawn_tasks import Parity, TeacherStudent
from grokjax.spec.losses import CrossEntropy, Hinge
from grokjax.spec.models import Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.sequence_tasks import Addition, Repeats, SignalPairs, SkipTrigrams
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.task import Split
from grokjax.tasks.all import choice, fresh_examples, scores, table
from grokjax.tasks.examples import Examples, Own, is_right, mean_of
from grokjax.train.losses import mean_loss

TASKS: list[Any] = [
    Parity(bits=9, k=3, examples=40, test_examples=30),
    Addition(digits=3, examples=40, test_examples=30),
    Repeats(vocabulary=50, length=20, repeat=4, copies=3, examples=40, test_examples=30),
    SkipTrigrams(triggers=4, fillers=5, length=6, examples=40, test_examples=30),
    SignalPairs(exact=False, examples=40, test_examples=30),
    TeacherStudent(widths=[7], examples=40, test_examples=30),
]
BY_NAME = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def own_of(task: Any, seed: int = 0) -> Own:
    own = choice(task.model_copy(update={"split": Split(seed=seed)}), table(task))
    assert isinstance(own, Own)
    return own


def drawn(task: Any, n: int = 500) -> Examples:
    return own_of(task.model_copy(update={"examples": n})).train


@BY_NAME
def test_the_split_s_seed_decides_the_examples_and_train_and_test_differ(task: Any):
    one, again, other = own_of(task), own_of(task), own_of(task, seed=1)
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True))
    assert not (one.train.inputs == other.train.inputs).all()
    assert one.train.inputs.shape == (40, task.n_ctx or task.d_input)
    assert len(one.test.targets) == 30
    assert not (one.train.inputs[:30] == one.test.inputs).all()


@BY_NAME
def test_the_same_examples_are_drawn_at_every_precision(task: Any):
    narrow = own_of(task)
    with jax.enable_x64(True):
        wide = own_of(task)
    assert narrow.train.inputs.dtype == wide.train.inputs.dtype
    assert narrow.train.targets.dtype == wide.train.targets.dtype
    np.testing.assert_array_equal(narrow.train.inputs, wide.train.inputs)
    np.testing.assert_array_equal(narrow.test.targets, wide.test.targets)


@BY_NAME
def test_a_step_s_fresh_examples_follow_from_the_seed_and_the_step_in_any_lane(task: Any):
    rule = own_of(task).train.rule

    def at(seed: Any, step: Any) -> Examples:
        return fresh_examples(task, rule, seed, step, 8)

    seeds, steps = jnp.array([3, 5, 3], jnp.uint32), jnp.array([7, 7, 8])
    lanes = jax.jit(jax.vmap(at))(seeds, steps)
    alone = jax.jit(at)(jnp.uint32(5), jnp.int32(7))
    np.testing.assert_array_equal(lanes.inputs[1], alone.inputs)
    assert not (lanes.inputs[0] == lanes.inputs[1]).all()
    assert not (lanes.inputs[0] == lanes.inputs[2]).all()


def test_a_parity_is_the_product_of_the_bits_that_count():
    examples = drawn(Parity(bits=9, k=3))
    assert set(np.unique(examples.inputs)) == {-1.0, 1.0}
    product = examples.inputs[:, :3].prod(1)
    assert (examples.targets == (product > 0)).all()
    assert 0.4 < examples.targets.mean() < 0.6


def test_sums_are_those_of_whole_numbers_digit_by_digit():
    task = Addition(digits=4)
    examples = drawn(task)
    powers = 10 ** np.arange(3, -1, -1)
    x, y = examples.inputs[:, :4] @ powers, examples.inputs[:, 5:9] @ powers
    total = examples.targets @ (10 ** np.arange(4, -1, -1))
    assert (total == x + y).all()
    assert (examples.inputs[:, 4] == 10).all()
    assert (examples.inputs[:, 9] == 11).all()
    at_scored = examples.inputs[:, np.array(task.scored) + 1]  # each scored position predicts the token that follows
    assert (at_scored == examples.targets).all()


def test_a_sum_is_right_where_all_its_digits_are_and_each_digit_has_a_score():
    task = Addition(digits=1)
    examples = drawn(task, 4)
    outputs = np.eye(10)[examples.targets.ravel()].T
    outputs[:, 1] = np.roll(outputs[:, 1], 1)  # the last digit of the first sum
    found = {name: float(value) for name, value in scores(task, jnp.asarray(outputs), examples).items()}
    assert found == {"accuracy": 0.75, "accuracy/digit_0": 1.0, "accuracy/digit_1": 0.75}


def test_what_counts_of_a_repeated_subsequence_has_stood_before():
    task = Repeats(vocabulary=1000, length=30, repeat=5, copies=3)
    examples = drawn(task, 200)
    assert examples.weights is not None
    assert (examples.targets == examples.inputs[:, 1:]).all()
    assert (examples.weights.sum(1) == 2 * 4).all()  # all but the first token of the second and third copy
    for tokens, known in zip(examples.inputs.tolist(), examples.weights, strict=True):
        for position in np.flatnonzero(known):
            pair = tokens[position : position + 2]
            assert any(tokens[at : at + 2] == pair for at in range(position)), (tokens, position)
    assert task.scored == tuple(range(29))


def test_a_skip_trigram_s_class_is_its_one_trigger():
    examples = drawn(SkipTrigrams(triggers=4, fillers=5, length=6))
    is_trigger = examples.inputs < 4
    assert (is_trigger.sum(1) == 1).all()
    assert (examples.inputs[is_trigger] == examples.targets).all()
    assert (examples.inputs[:, -1] == 9).all()


@pytest.mark.parametrize("ordered", [False, True])
def test_signal_pairs_are_the_exact_expectation_of_their_samples(ordered: bool):
    task = SignalPairs(ordered=ordered)
    examples = table(task)
    assert examples.weights is not None
    assert len(examples.targets) == task.rows == (4704 if ordered else 280)
    assert examples.weights.sum() == pytest.approx(1)
    prior = np.bincount(examples.targets, weights=examples.weights)
    assert -(prior * np.log(prior)).sum() == pytest.approx(2.2527, abs=1e-4)
    sampled = drawn(task.model_copy(update={"exact": False}), 20_000)
    seen = np.bincount(sampled.targets, minlength=10) / 20_000
    np.testing.assert_allclose(seen, prior, atol=0.012)
    rows = {tuple(row if ordered else sorted(row)): at for at, row in enumerate(examples.inputs.tolist())}
    assert all(
        examples.targets[rows[tuple(row if ordered else sorted(row))]] == target
        for row, target in zip(sampled.inputs[:500].tolist(), sampled.targets[:500], strict=True)
    )


@pytest.mark.parametrize(("scale", "loss"), [(1, 1.2756), (2, 0.7229), (4, 0.2356), (8, 0.0282), (16, 0.0005)])
def test_the_hand_made_solution_of_signal_pairs_has_its_known_loss(scale: int, loss: float):
    """One head of four dimensions that attends evenly to both signals, with the EVOU of Greenspan and Wynroe's toy."""
    evou = np.array([[int(digit) for digit in row] for row in ["3222000000", "0200322000", "0020020320", "0002002023"]])
    model = Transformer(d_model=24, heads=1, d_head=4, d_mlp=0, positions="none")
    spec = RunSpec(task=SignalPairs(), model=model)
    params = {name: np.zeros(shape, np.float32) for name, shape in parameter_shapes(spec).items()}
    params["W_E"][np.arange(12), np.arange(12)] = 1
    params["W_Q.0"][0, 0, 0], params["W_K.0"][0, 1:5, 0] = 100, 1  # the token that reads looks for signals
    params["W_V.0"][0, 1:5] = np.eye(4)
    params["W_O.0"][0, :, 12:22] = evou
    params["W_U"][12:22] = np.eye(10) * scale
    examples = table(spec.task)
    logits = forward(spec, {name: jnp.asarray(value) for name, value in params.items()}, jnp.asarray(examples.inputs))
    found = mean_loss(CrossEntropy(), logits, jnp.asarray(examples.targets), jnp.asarray(examples.weights))
    assert float(found) == pytest.approx(loss, abs=6e-5)


def test_a_teacher_s_answers_are_its_network_s():
    own = own_of(TeacherStudent(inputs=3, widths=[6, 4], targets=2, teacher_scale=2.0))
    x = own.test.inputs
    for layer, (W, b) in enumerate(own.train.rule):
        x = (np.tanh(x) if layer else x) @ W + b
        assert np.abs(W).max() <= 2 * len(W) ** -0.5
    np.testing.assert_allclose(x, own.test.targets, rtol=1e-4, atol=1e-6)


def test_the_accuracy_of_vectors_is_the_share_of_small_errors():
    task = TeacherStudent(targets=2, threshold=0.1)
    examples = drawn(task, 4)
    outputs = np.array(examples.targets).T + np.array([[0.1, 0.4, 0.4, 0.0], [0.1, 0.4, 0.0, 0.0]])
    assert float(scores(task, jnp.asarray(outputs), examples)["accuracy"]) == 0.75


def test_a_parity_has_one_output_where_its_loss_reads_signs():
    assert Parity().with_loss(Hinge()).outputs == 1
    assert Parity().with_loss(CrossEntropy()).outputs == 2
    signs = jnp.array([[0.5, -2.0, 3.0]])
    assert float(is_right(signs, jnp.array([1, 0, 0])).mean()) == pytest.approx(2 / 3)


def test_weights_are_those_of_a_mean_of_examples_or_of_positions():
    values, weights = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 0.0, 3.0])
    assert float(mean_of(values, weights)) == 2.5
    of_positions = jnp.arange(6.0)
    assert float(mean_of(of_positions, weights)) == pytest.approx((0 + 1 + 3 * 4 + 3 * 5) / 8)
    by_position = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    assert float(mean_of(of_positions, by_position)) == 2.5
    assert float(mean_of(values, by_position)) == 2.0
