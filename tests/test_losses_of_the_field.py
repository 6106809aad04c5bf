"""Hinge, logistic, StableMax, half precision, squared errors and weights against plain NumPy, with gradients by hand,
and trained on tasks of vectors for 50 steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import grokjax
from grokjax.analysis.stored import examples_of, specs_of
from grokjax.spec.losses import MSE, CrossEntropy, Hinge, Logistic, Loss, StableMax
from grokjax.train.losses import mean_loss

RANDOM = np.random.Generator(np.random.PCG64(5))
Reference = Callable[
    [np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]  # z [v, m], labels -> terms [m], d terms/dz


def hinge(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = np.where(labels == 1, 1.0, -1.0)
    inside = y * z[0] < 1.5
    return np.where(inside, 1.5 - y * z[0], 0), np.where(inside, -y, 0)[None]


def logistic(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = np.where(labels == 1, 1.0, -1.0)
    return np.log1p(np.exp(-y * z[0])), (-y / (1 + np.exp(y * z[0])))[None]


def stablemax(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = np.where(z >= 0, z + 1, 1 / (1 - z))
    slope = np.where(z >= 0, 1, 1 / (1 - z) ** 2)
    right = np.eye(len(z))[labels].T
    return np.log(s.sum(0)) - np.log((s * right).sum(0)), slope / s.sum(0) - right * slope / s


def squares_of_sign(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    off = z - np.where(labels == 1, 1.0, -1.0)
    return (off**2)[0], 2 * off


def sum_of_squares(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    off = z - (labels.T if labels.ndim == 2 else np.eye(len(z))[labels].T)
    return (off**2).sum(0), 2 * off


def mean_of_squares(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    terms, slopes = sum_of_squares(z, labels)
    return terms / len(z), slopes / len(z)


CASES: list[tuple[Loss, Reference, int]] = [
    (Hinge(margin=1.5), hinge, 1),
    (Logistic(), logistic, 1),
    (StableMax(), stablemax, 5),
    (MSE(), squares_of_sign, 1),
    (MSE(), mean_of_squares, 5),
    (MSE(reduction="sum_classes"), sum_of_squares, 5),
]
BY_LOSS = pytest.mark.parametrize(("loss", "reference", "outputs"), CASES, ids=lambda value: getattr(value, "name", ""))


@BY_LOSS
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_and_its_gradient_are_those_by_hand(loss: Loss, reference: Reference, outputs: int, weighted: bool):
    z, labels = RANDOM.normal(size=(outputs, 9)) * 3, RANDOM.integers(max(outputs, 2), size=9)
    weights = RANDOM.uniform(0.1, 2, size=9) if weighted else np.ones(9)
    terms, slopes = reference(z, labels)
    share = weights / weights.sum()
    with jax.enable_x64(True):
        given = jnp.asarray(weights) if weighted else None
        found, gradient = jax.value_and_grad(lambda z: mean_loss(loss, z, jnp.asarray(labels), given))(jnp.asarray(z))
    assert float(found) == pytest.approx((terms * share).sum(), rel=1e-12)
    np.testing.assert_allclose(gradient, slopes * share, rtol=1e-10, atol=1e-14)


def test_squares_are_to_vectors_where_answers_are():
    z, wanted = RANDOM.normal(size=(3, 7)), RANDOM.normal(size=(7, 3))
    with jax.enable_x64(True):
        found = mean_loss(MSE(), jnp.asarray(z), jnp.asarray(wanted))
    assert float(found) == pytest.approx(((z.T - wanted) ** 2).mean(), rel=1e-12)


def test_half_precision_loses_what_half_precision_loses():
    logits = jnp.asarray([[0.0, 20.0], [-18.0, 0.0]], jnp.float32)
    labels = jnp.array([0, 0])
    half, exact = (mean_loss(CrossEntropy(precision=how), logits, labels) for how in ("float16", "exact"))
    assert half.dtype == jnp.float32
    assert float(half) == 0
    assert float(exact) > 0
    wrong = mean_loss(CrossEntropy(precision="float16"), logits, jnp.array([1, 1]))
    assert float(wrong) == pytest.approx(19, rel=1e-3)


def test_weights_of_positions_take_out_what_does_not_count():
    logits = jnp.asarray(RANDOM.normal(size=(4, 6)), jnp.float32)  # three examples of two positions
    targets, weights = jnp.array([[0, 1], [2, 3], [1, 0]]), jnp.array([[1.0, 0], [0, 0], [1, 1]])
    kept = jnp.array([0, 4, 5])
    expected = mean_loss(CrossEntropy(), logits[:, kept], targets.reshape(-1)[kept])
    assert float(mean_loss(CrossEntropy(), logits, targets, weights)) == pytest.approx(float(expected), rel=1e-6)


def test_a_hinge_has_a_floor_of_its_own_scale_for_slingshots():
    assert Hinge(margin=2.0).spike_floor == 0.02
    assert CrossEntropy().spike_floor == MSE().spike_floor == 1e-5


# --- trained --------------------------------------------------------------------------------------------------

PARITY = {"name": "parity", "bits": 6, "k": 2, "examples": 40, "test_examples": 10}
TEACHER = {"name": "teacher_student", "inputs": 4, "widths": [5], "targets": 3, "examples": 30, "test_examples": 10}
TRAINED = {
    "parity hinge": (PARITY, {"name": "hinge", "margin": 1.5}, hinge, 1),
    "parity logistic": (PARITY, {"name": "logistic"}, logistic, 1),
    "parity stablemax": (PARITY, {"name": "stablemax"}, stablemax, 2),
    "parity mse": (PARITY | {"answer": "sign"}, {"name": "mse"}, squares_of_sign, 1),
    "teacher mse": (TEACHER, {"name": "mse"}, mean_of_squares, 3),
    "teacher sum": (TEACHER, {"name": "mse", "reduction": "sum_classes"}, sum_of_squares, 3),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_network_on_vectors_follows_plain_numpy_for_50_steps(name: str, tmp_path: Path):
    task, loss, reference, outputs = TRAINED[name]
    d = task.get("bits", task.get("inputs"))
    weights = {"W.0": RANDOM.normal(size=(d, 7)) * 0.5, "b.0": RANDOM.normal(size=7) * 0.1,
               "W.1": RANDOM.normal(size=(7, outputs)) * 0.5, "b.1": np.zeros(outputs)}  # fmt: skip
    save_file(weights, tmp_path / "start.safetensors")
    base: dict[str, Any] = {
        "task": task,
        "loss": loss,
        "model": {"name": "mlp", "widths": [7], "activation": "tanh"},
        "init": {"from_file": "start.safetensors"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"steps": 50},
        "numerics": {"params": "float64"},
    }
    (tmp_path / "x.yaml").write_text(json.dumps({"name": "x", "base": base, "log": {"every": 5}}))
    results = grokjax.run(tmp_path / "x.yaml", out=tmp_path / "out")
    (run_id,) = results.run_ids
    train, _ = examples_of(specs_of(results)[run_id])
    expected = train_by_hand(weights, np.asarray(train.inputs, float), np.asarray(train.targets), reference)
    curve = results.curves("train/loss").set_index("step")["train/loss"]
    np.testing.assert_allclose(curve, expected[::5], rtol=1e-6)
    for key, value in results.params(run_id).items():
        np.testing.assert_allclose(value, weights[key], rtol=1e-9, atol=1e-12)


def train_by_hand(
    weights: dict[str, np.ndarray], x: np.ndarray, targets: np.ndarray, reference: Reference
) -> list[float]:
    """50 steps of gradient descent in place; the losses before each, and after the last."""
    targets = targets.astype(float) if targets.ndim == 2 else targets
    losses = []
    for _ in range(51):
        hidden = np.tanh(x @ weights["W.0"] + weights["b.0"])
        terms, slopes = reference((hidden @ weights["W.1"] + weights["b.1"]).T, targets)
        losses.append(float(terms.mean()))
        dz = slopes.T / len(x)
        back = dz @ weights["W.1"].T * (1 - hidden**2)
        if len(losses) <= 50:
            for name, gradient in (
                ("W.1", hidden.T @ dz),
                ("b.1", dz.sum(0)),
                ("W.0", x.T @ back),
                ("b.0", back.sum(0)),
            ):
                weights[name] = weights[name] - 0.1 * gradient
    return losses
