"""Filters of the gradient and schedules of the learning rate, against plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.spec.families import validate
from grokjax.spec.filters import FILTERS
from grokjax.spec.hypers import hyper_of
from grokjax.spec.schedules import SCHEDULES
from grokjax.train.filters import gradient_filter
from grokjax.train.optimizers import optimizer
from grokjax.train.rates import learning_rate
from grokjax.train.schedules import factor

RANDOM = np.random.Generator(np.random.PCG64(5))
PARAMS = {"W": RANDOM.normal(size=(4, 3)), "b": RANDOM.normal(size=3)}
GRADS = [{name: RANDOM.normal(size=value.shape) for name, value in PARAMS.items()} for _ in range(4)]


def filtered(values: dict, numbers: dict) -> list[dict[str, np.ndarray]]:
    """What a filter makes of GRADS, one after the other, in float64."""
    with jax.enable_x64(True):
        made = gradient_filter(FILTERS[values["name"]](**values), numbers)
        params = {name: jnp.asarray(value) for name, value in PARAMS.items()}
        state, out = made.init(params), []
        for grads in GRADS:
            updates, state = made.update({name: jnp.asarray(g) for name, g in grads.items()}, state, params)
            out.append({name: np.asarray(value) for name, value in updates.items()})
    return out


def test_orthograd_leaves_nothing_along_a_parameter_and_keeps_the_gradient_s_length():
    for grads, out in zip(GRADS, filtered({"name": "orthograd"}, {}), strict=True):
        for name, w in PARAMS.items():
            g = grads[name]
            tangent = g - (w * g).sum() / (w * w).sum() * w
            expected = tangent * np.linalg.norm(g) / np.linalg.norm(tangent)
            np.testing.assert_allclose(out[name], expected, rtol=1e-12)
            assert abs((out[name] * w).sum()) < 1e-12 * np.linalg.norm(g) * np.linalg.norm(w)


def test_grokfast_adds_a_running_mean_that_starts_at_the_first_gradient():
    alpha, lamb = 0.9, 2.0
    mean = {name: g.copy() for name, g in GRADS[0].items()}
    out = filtered({"name": "grokfast_ema"}, {"alpha": alpha, "lamb": lamb})
    for at, grads in enumerate(GRADS):
        if at:
            mean = {name: alpha * mean[name] + (1 - alpha) * grads[name] for name in mean}
        for name in PARAMS:
            np.testing.assert_allclose(out[at][name], grads[name] + lamb * mean[name], rtol=1e-12)


def test_filters_come_before_the_moments_and_after_clipping():
    """SGD without momentum steps along what the filter gives: the clipped gradient, less its part along W."""
    values = {"name": "sgd", "lr": 1.0, "clip_norm": 0.5, "filters": [{"name": "orthograd"}]}
    spec = validate({"optimizer": values, "model": {"name": "mlp", "widths": [3]}, "task": {"p": 5}})
    hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
    names = list(hyper["optimizer"]["lr_by_matrix"])
    params = {name: jnp.asarray(RANDOM.normal(size=(2, 2)), jnp.float32) for name in names}
    grads = {name: jnp.asarray(RANDOM.normal(size=(2, 2)), jnp.float32) for name in names}
    made = optimizer(spec.optimizer, hyper, jnp.int32(0))
    updates, _ = made.update(grads, made.init(params), params)
    total = np.sqrt(sum(float(jnp.square(g).sum()) for g in grads.values()))
    for name in names:
        g, w = np.asarray(grads[name], np.float64) * 0.5 / total, np.asarray(params[name], np.float64)
        tangent = g - (w * g).sum() / (w * w).sum() * w
        expected = -tangent * np.linalg.norm(g) / np.linalg.norm(tangent)
        np.testing.assert_allclose(updates[name], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("constant", lambda part, final: 1.0),
        ("cosine", lambda part, final: final + (1 - final) * (1 + np.cos(np.pi * part)) / 2),
        ("linear", lambda part, final: 1 + (final - 1) * part),
    ],
)
def test_a_schedule_goes_from_one_to_its_end_and_stays_there(name: str, shape):
    numbers = {"final": jnp.float32(0.1)}
    for step in (0, 25, 50, 100, 140):
        found = factor(SCHEDULES[name](), numbers, jnp.int32(step), jnp.int32(100))
        assert float(found) == pytest.approx(shape(min(step / 100, 1), 0.1), abs=1e-6)


def test_a_fork_that_keeps_its_optimizer_goes_on_in_the_schedule():
    spec = validate({"optimizer": {"schedule": {"name": "linear"}, "warmup_steps": 0}, "train": {"steps": 60}})
    hyper = jax.tree.map(jnp.asarray, hyper_of(spec, prior_steps=40))
    rate = learning_rate(spec.optimizer, hyper, jnp.int32(70))
    assert float(rate) == pytest.approx(1e-3 * 0.3, rel=1e-5)  # 70 of 100 steps are behind
