"""Noise of labels, weights, updates and neurons: how much there is, where it goes, and that (seed, step) decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models.network import forward, starting_params
from grokjax.spec.families import validate
from grokjax.spec.hypers import hyper_of
from grokjax.spec.identity import program_key, run_id
from grokjax.spec.run import RunSpec
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.resolve import resolve
from grokjax.tasks.all import choice, chosen_examples, table
from grokjax.train.noise import dropping, noise_key, normal_like, with_label_noise, with_weight_noise
from grokjax.train.step import loss_and_logits, start, step

STEP = jnp.int32(5)


def run_of(**noise: float) -> RunSpec:
    base: dict[str, Any] = {
        "task": {"p": 23, "train_fraction": 0.9},
        "model": {"name": "mlp", "widths": [16]},
        "optimizer": {"name": "sgd", "lr": 0.5, "weight_decay": 0.0, "lr_by_matrix": {"b.1": 3.0}},
    }
    return resolve(validate(base | {"noise": noise}), set())


def parts(spec: RunSpec) -> tuple[Any, Any, Any]:
    hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
    examples = table(spec.task)
    train, _ = chosen_examples(examples, choice(spec.task, examples))
    return hyper, start(spec, starting_params(jnp.uint32(0), spec), hyper), train


def test_labels_are_replaced_with_their_probability_by_any_class_anew_at_every_step():
    spec = run_of(labels=0.3)
    hyper, _, train = parts(spec)
    noisy = [np.asarray(with_label_noise(spec, train, hyper, jnp.int32(at)).targets) for at in (5, 5, 6)]
    changed = (noisy[0] != np.asarray(train.targets)).mean()
    assert changed == pytest.approx(0.3 * 22 / 23, abs=0.06)
    assert (noisy[0] == noisy[1]).all()
    assert not (noisy[0] == noisy[2]).all()
    assert set(np.unique(noisy[0])) <= set(range(23))


def test_a_gradient_is_taken_at_noisy_weights_and_moves_the_weights_without():
    spec = run_of(weights=0.1)
    hyper, state, train = parts(spec)
    state = state._replace(step=STEP)
    noisy = with_weight_noise(spec, state.params, hyper, STEP)
    spread = np.concatenate([np.ravel(noisy[name] - value) for name, value in state.params.items()])
    assert np.std(spread) == pytest.approx(0.1, rel=0.05)
    gradient = jax.grad(lambda params: loss_and_logits(spec, params, train, jnp.float32(1))[0])(noisy)
    after, _ = step(spec, state, hyper, train)
    for name, value in state.params.items():
        rate = 0.5 * (3 if name == "b.1" else 1)
        np.testing.assert_allclose(after.params[name], value - rate * gradient[name], rtol=1e-4, atol=1e-6)


def test_noise_of_updates_is_in_units_of_the_rate_and_of_a_matrix_s_factor():
    spec, quiet = run_of(update=0.2), run_of()
    hyper, state, train = parts(spec)
    state = state._replace(step=STEP)
    noisy, _ = step(spec, state, hyper, train)
    plain, _ = step(quiet, state, parts(quiet)[0], train)
    draws = normal_like(state.params, noise_key("update", hyper, STEP))
    for name in state.params:
        rate = 0.5 * (3 if name == "b.1" else 1)
        np.testing.assert_allclose(noisy.params[name] - plain.params[name], -rate * 0.2 * draws[name], atol=2e-6)


def test_noise_of_updates_has_the_rate_of_a_matrix_s_own_optimizer():
    base = {"task": {"p": 5}, "model": {"name": "mlp", "widths": [6]}}
    optimizer = {"name": "sgd", "lr": 0.5, "groups": {"W.0": {"name": "sgd", "lr": 0.01, "lr_by_matrix": {"W.0": 2.0}}}}
    noisy, quiet = (
        resolve(validate(base | {"optimizer": optimizer, "noise": noise}), set()) for noise in ({"update": 0.2}, {})
    )
    hyper, state, train = parts(noisy)
    moved, _ = step(noisy, state, hyper, train)
    plain, _ = step(quiet, state, parts(quiet)[0], train)
    draws = normal_like(state.params, noise_key("update", hyper, state.step))
    for name in state.params:
        rate = 0.02 if name == "W.0" else 0.5
        np.testing.assert_allclose(moved.params[name] - plain.params[name], -rate * 0.2 * draws[name], atol=2e-6)


@pytest.mark.parametrize("model", [{"name": "mlp", "widths": [64]}, {"d_model": 8, "heads": 2, "d_mlp": 16}], ids=str)
def test_dropout_keeps_the_mean_drops_in_training_only_and_none_of_it_is_nothing(model: dict[str, Any]):
    spec = resolve(validate({"task": {"p": 7}, "model": model, "noise": {"dropout": 0.25}}), set())
    hyper, state, train = parts(spec)
    drop = dropping(spec, hyper, STEP)
    assert drop is not None
    ones = drop(jnp.ones((200, 50)), 0)
    assert float((ones == 0).mean()) == pytest.approx(0.25, abs=0.02)
    assert float(ones.mean()) == pytest.approx(1, abs=0.03)
    assert not (ones == drop(jnp.ones((200, 50)), 1)).all()
    assert not (ones == dropping(spec, hyper, STEP + 1)(jnp.ones((200, 50)), 0)).all()  # pyright: ignore
    dropped, whole = (forward(spec, state.params, train.inputs, how) for how in (drop, None))
    assert not np.allclose(dropped, whole)
    none = dropping(spec, hyper | {"noise": {"dropout": jnp.float32(0)}}, STEP)
    np.testing.assert_allclose(forward(spec, state.params, train.inputs, none), whole, rtol=2e-4, atol=2e-5)


def test_noise_is_part_of_the_id_and_its_size_of_no_program():
    assert run_id(run_of()) == run_id(resolve(run_of(), set()))
    assert program_key(run_of(labels=0.1)) == program_key(run_of(labels=0.2))
    assert run_id(run_of(labels=0.1)) != run_id(run_of(labels=0.2))
    assert program_key(run_of(dropout=0.1)) != program_key(run_of())


def test_noise_that_cannot_be_is_refused_in_words():
    text = (
        "name: x\nbase: {task: {name: teacher_student}, model: {name: mlp}, loss: {name: mse}, noise: {labels: 0.1}}\n"
    )
    with pytest.raises(SweepError, match=r"noise.labels: .*the answers of teacher_student are vectors"):
        expand(parse_sweep(text, "x.yaml", Path()))
