"""The families beside the papers: the task of Grokfast's code, and the network and task of Kumar et al."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models.network import forward, starting_params
from grokjax.spec.section import implementation
from grokjax.sweep.expand import load_sweep
from grokjax.tasks.all import TASKS
from grokjax.tasks.keys import seed_key

PAPERS = Path(__file__).parents[1] / "sweeps/papers"


def spec_of(name: str, **values: Any) -> Any:
    return load_sweep(PAPERS / f"{name}.yaml", values).runs[0].spec


def test_each_file_of_families_has_under_60_lines():
    for file in PAPERS.glob("*.py"):
        assert len(file.read_text().splitlines()) < 60, file.name


def test_grokfast_s_task_is_every_product_with_a_second_factor_other_than_0():
    task = spec_of("grokfast").task
    table = implementation(TASKS, task).table(task)
    x, times, y, equals = np.asarray(table.inputs).T
    assert set(zip(x.tolist(), y.tolist(), strict=True)) == {(a, b) for a in range(31) for b in range(1, 31)}
    assert len(x) == task.examples == 930
    assert (set(times), set(equals), task.d_vocab) == ({32}, {31}, 33)
    np.testing.assert_array_equal(table.targets, x * y % 31)


@pytest.mark.parametrize(("alpha", "eps"), [(0.25, 0.25), (4.0, 2.0)])
def test_kumar_s_network_is_centred_and_has_quadratic_features(alpha: float, eps: float):
    spec = spec_of("kumar", **{"model.alpha": alpha, "model.eps": eps, "task.inputs": 5, "model.width": 7})
    params = starting_params(jnp.uint32(3), spec)
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(11, 5)), jnp.float32)
    np.testing.assert_array_equal(forward(spec, params, inputs), np.zeros((1, 11)))
    moved = params | {"W.0": params["W.0"] + jnp.asarray(rng.normal(size=(5, 7)), jnp.float32)}

    def f(W: Any) -> Any:
        h = np.asarray(inputs, np.float64) @ np.asarray(W, np.float64)
        return alpha * (h + eps * h**2 / 2).mean(1)

    expected = f(moved["W.0"]) - f(params["W.start"])
    np.testing.assert_allclose(forward(spec, moved, inputs)[0], expected, rtol=1e-5, atol=1e-5)


def test_kumar_s_answers_are_the_square_of_one_projection():
    task = spec_of("kumar").task
    functions = implementation(TASKS, task)
    b = functions.rule(task, seed_key(np.uint32(1)))
    examples = functions.draw(task, b, jax.random.key(2), 400)
    x = np.asarray(examples.inputs, np.float64)
    np.testing.assert_allclose(examples.targets[:, 0], (x @ np.asarray(b, np.float64)) ** 2, rtol=1e-4, atol=1e-5)
    assert x.var() * task.inputs == pytest.approx(1, abs=0.05)
