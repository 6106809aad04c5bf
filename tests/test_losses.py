"""Losses and their gradients on logits alone, against 50 decimal digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from grokjax.spec.losses import MSE, CrossEntropy
from grokjax.tasks.examples import is_right
from grokjax.train.losses import center_gradient, mean_loss

CLASSES = 114
LOSSES = {name: CrossEntropy(precision=name) for name in ("exact", "float32", "float64")} | {"mse": MSE()}
_COMPILED = {name: jax.jit(jax.value_and_grad(partial(mean_loss, loss))) for name, loss in LOSSES.items()}


def loss_and_gradient(name: str, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Of logits [n, v], an example a row, and so is the gradient; the losses take and give [v, n]."""
    value, gradient = _COMPILED[name](jnp.asarray(logits.T), jnp.asarray(labels, jnp.int32))
    return float(value), np.asarray(gradient, np.float64).T


def true_cross_entropy(logits: np.ndarray, label: int) -> tuple[float, np.ndarray]:
    """-log softmax at the label of one row of logits, and its gradient, to 50 digits."""
    with localcontext(prec=50):
        exps = [Decimal(float(z)).exp() for z in logits]
        total = sum(exps)
        shares = [exp / total for exp in exps]
        loss = -shares[label].ln()
        shares[label] -= 1
        return float(loss), np.array([float(share) for share in shares])


def with_loss(loss: float, seed: int, classes: int = CLASSES) -> tuple[np.ndarray, int]:
    """One row of float32 logits whose cross-entropy is about `loss`."""
    random = np.random.Generator(np.random.PCG64(seed))
    label = int(random.integers(classes))
    logits = random.normal(scale=2, size=classes)
    others = np.log(np.exp(np.delete(logits, label)).sum())
    # loss = log(1 + exp(others - z)), solved for z
    logits[label] = others - np.log(np.expm1(loss)) if loss < 30 else others - loss
    return (logits + random.normal()).astype(np.float32), label


@pytest.mark.parametrize("loss", [10.0**power for power in range(2, -13, -1)])
def test_exact_loss_keeps_its_digits_and_its_gradient_in_float32(loss: float):
    for seed in range(4):
        logits, label = with_loss(loss, seed)
        expected, slope = true_cross_entropy(logits, label)
        assert expected == pytest.approx(loss, rel=0.1)
        found, gradient = loss_and_gradient("exact", logits[None], np.array([label]))
        # float32 logits around 30 are 2e-6 apart, and so is the logarithm of what exp makes of their differences
        assert found == pytest.approx(expected, rel=2e-5)
        assert np.linalg.norm(gradient[0] - slope) <= 1e-4 * np.linalg.norm(slope)
        np.testing.assert_allclose(gradient[0], slope, rtol=1e-4, atol=1e-37)


def test_exact_loss_of_a_batch_keeps_the_smallest_gradient_beside_the_largest():
    rows = [with_loss(10.0**power, seed=20 + power) for power in range(-12, 2)]
    logits, labels = np.stack([row for row, _ in rows]), np.array([label for _, label in rows])
    found, gradient = loss_and_gradient("exact", logits, labels)
    losses, slopes = zip(*(true_cross_entropy(*row) for row in rows), strict=True)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)
    for row, slope in enumerate(slopes):
        off = np.linalg.norm(gradient[row] * len(rows) - slope)
        assert off <= 1e-4 * np.linalg.norm(slope), f"loss {losses[row]:.0e}"


@pytest.mark.parametrize("loss", [10.0**power for power in range(2, -13, -2)])
def test_exact_gradient_sums_to_zero_over_classes(loss: float):
    logits, label = with_loss(loss, seed=7)
    _, gradient = loss_and_gradient("exact", logits[None], np.array([label]))
    assert abs(gradient.sum()) <= 1e-5 * np.abs(gradient).sum()


def row_of_margin(margin: float) -> np.ndarray:
    """Two classes, the label's logit above the other by the margin."""
    return np.array([[0.0, margin]], np.float32)


def test_float32_loses_the_gradient_of_the_label_past_a_margin_of_17():
    """The treatment that slingshots: the other class still pushes, and nothing pushes back."""
    for margin in (18.0, 20.0, 30.0):
        loss, gradient = loss_and_gradient("float32", row_of_margin(margin), np.array([1]))
        assert loss == 0
        assert gradient[0, 1] == 0
        assert gradient[0, 0] == pytest.approx(np.exp(-margin), rel=1e-5)
    loss, gradient = loss_and_gradient("float32", row_of_margin(14.0), np.array([1]))
    assert loss > 0
    assert gradient[0, 1] < 0


@pytest.mark.parametrize("name", ["exact", "float64"])
def test_exact_and_float64_keep_it_at_those_margins(name: str):
    with jax.enable_x64(name == "float64"):
        for margin in (14.0, 18.0, 20.0, 30.0):
            # float64's own log_softmax has 2e-16 to lose, 2e-3 of exp(-30)
            loss, gradient = loss_and_gradient(name, row_of_margin(margin), np.array([1]))
            assert loss == pytest.approx(np.exp(-margin), rel=3e-3)
            assert gradient[0, 1] == pytest.approx(-np.exp(-margin), rel=3e-3)


def test_all_forms_agree_where_nothing_cancels():
    rows = [with_loss(loss, seed) for seed, loss in enumerate([0.05, 0.3, 1.0, 4.0, 12.0])]
    logits, labels = np.stack([row for row, _ in rows]), np.array([label for _, label in rows])
    losses, slopes = zip(*(true_cross_entropy(*row) for row in rows), strict=True)
    for name, tolerance in {"exact": 1e-5, "float32": 1e-5, "float64": 1e-7}.items():
        with jax.enable_x64(name == "float64"):
            found, gradient = loss_and_gradient(name, logits, labels)
        assert found == pytest.approx(np.mean(losses), rel=tolerance)
        np.testing.assert_allclose(gradient, np.stack(slopes) / len(rows), rtol=1e-3, atol=tolerance)


def test_float64_is_computed_in_float64_from_float32_logits():
    logits, label = with_loss(1e-6, seed=3)
    expected, _ = true_cross_entropy(logits, label)
    with jax.enable_x64(True):
        found, _ = loss_and_gradient("float64", logits[None], np.array([label]))
    assert found == pytest.approx(expected, rel=1e-8)


def test_exact_in_float64_keeps_a_loss_of_1e_minus_40():
    logits = np.array([[0.0, 92.0]])
    with jax.enable_x64(True):
        found, gradient = loss_and_gradient("exact", logits, np.array([1]))
    assert found == pytest.approx(np.exp(-92.0), rel=1e-12)
    np.testing.assert_allclose(gradient[0], [np.exp(-92.0), -np.exp(-92.0)], rtol=1e-12)


def test_mse_is_the_mean_over_examples_and_classes():
    """`torch.nn.MSELoss` against one-hot labels."""
    logits = np.array([[1.0, 0.0, 2.0], [0.5, 0.5, -1.0]], np.float32)
    found, gradient = loss_and_gradient("mse", logits, np.array([2, 0]))
    assert found == pytest.approx((1 + 0 + 1 + 0.25 + 0.25 + 1) / 6)
    np.testing.assert_allclose(gradient, np.array([[2, 0, 2], [-1, 1, -2]]) / 6, rtol=1e-6)


def test_accuracy_is_the_share_of_largest_logits_at_the_label():
    logits = jnp.array([[1.0, 0.0, 2.0], [0.5, 0.4, -1.0], [0.0, 3.0, 9.0], [7.0, 3.0, 1.0]])
    found = is_right(logits.T, jnp.array([2, 0, 1, 0])).mean()
    assert float(found) == 0.75
    assert found.dtype == jnp.float32


def rows(largest: float):
    logits = hnp.arrays(np.float32, (3, 5), elements=st.floats(-largest, largest, width=32))
    labels = hnp.arrays(np.int32, (3,), elements=st.integers(0, 4))
    return st.tuples(logits, labels)


@settings(deadline=None, derandomize=True)
@given(rows(2.0**13))
def test_exact_is_finite_and_never_negative_at_extreme_logits(drawn):
    found, gradient = loss_and_gradient("exact", *drawn)
    assert np.isfinite(found)
    assert found >= 0
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).sum(-1).max() <= 2 / 3 + 1e-6  # |p - one_hot| is at most 2, a mean over 3


@settings(deadline=None, derandomize=True)
@given(rows(2.0**13))
def test_exact_is_the_margin_where_the_label_is_far_below(drawn):
    logits, labels = drawn
    below = logits.max(-1) - logits[np.arange(3), labels]
    found, _ = loss_and_gradient("exact", logits, labels)
    # log(1 + others) is between 0 and log(5)
    assert found >= below.mean(dtype=np.float64) * (1 - 1e-6)
    assert found <= below.mean(dtype=np.float64) * (1 + 1e-6) + np.log(5) + 1e-6


@settings(deadline=None, derandomize=True)
@given(rows(30.0), st.integers(-512, 512))
def test_exact_does_not_change_when_all_logits_shift(drawn, shift: int):
    logits, labels = drawn
    coarse = np.round(logits * 1024) / np.float32(1024)  # so that adding a whole number rounds nothing
    before, slope = loss_and_gradient("exact", coarse, labels)
    after, shifted = loss_and_gradient("exact", coarse + np.float32(shift), labels)
    assert after == before
    np.testing.assert_array_equal(shifted, slope)


@settings(deadline=None, derandomize=True)
@given(rows(30.0))
def test_exact_is_the_true_cross_entropy(drawn):
    logits, labels = drawn
    true = [true_cross_entropy(*row) for row in zip(logits, labels, strict=True)]
    found, gradient = loss_and_gradient("exact", logits, labels)
    assert found == pytest.approx(np.mean([loss for loss, _ in true]), rel=2e-5)
    for row, (_, slope) in enumerate(true):
        assert np.linalg.norm(gradient[row] * 3 - slope) <= 1e-4 * np.linalg.norm(slope)


def test_a_centered_gradient_sums_to_zero_where_float32_loses_the_label():
    row = np.array([[0.0, 20.0, 1.0]], np.float32)

    def loss(logits):
        return mean_loss(LOSSES["float32"], center_gradient(logits), jnp.array([1]))

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(row.T))
    plain_value, plain = loss_and_gradient("float32", row, np.array([1]))
    assert value == plain_value
    assert plain[0, 1] == 0
    assert np.asarray(gradient)[:, 0] == pytest.approx(plain[0] - plain[0].mean(), rel=1e-6)
    assert abs(float(gradient.sum())) < 1e-15 < plain.sum()
