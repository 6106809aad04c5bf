"""Transformers and MLPs on sequences of any length, and the choice of the fast path by what a task states."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.models import network, textbook
from grokjax.spec import Task
from grokjax.spec.models import MLP, Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.tasks import Modular
from grokjax.tasks.examples import is_right
from grokjax.train.losses import each_loss, mean_loss

RANDOM = np.random.Generator(np.random.PCG64(3))


class Words(Task):
    """Sequences of any tokens, scored at two positions."""

    name: Literal["words"] = "words"
    length: int = 5
    scores: tuple[int, ...] = (3, 4)

    n_ctx = property(lambda self: self.length)
    d_vocab = property(lambda self: 6)
    classes = property(lambda self: 6)
    scored = property(lambda self: self.scores)
    examples = property(lambda self: 40)


class Open(Modular):
    """Modular arithmetic that does not say that its last token is always the same."""

    ends_alike = False


def spec_of(task: Task, **model: Any) -> RunSpec:
    transformer = Transformer(**({"d_model": 8, "heads": 2, "d_mlp": 12} | model)).resolved()
    return RunSpec().model_copy(update={"task": task, "model": transformer})


def mlp_of(task: Task, **model: Any) -> RunSpec:
    return RunSpec().model_copy(update={"task": task, "model": MLP(**model)})


def weights(spec: RunSpec) -> dict[str, jax.Array]:
    return {name: jnp.asarray(RANDOM.normal(size=shape) * 0.5) for name, shape in parameter_shapes(spec).items()}


@pytest.mark.parametrize("model", [{}, {"layers": 3, "layernorm": "pre"}, {"d_mlp": 0, "layers": 2}], ids=str)
def test_logits_at_every_scored_position_and_their_gradient_are_the_textbook_s(model: dict[str, Any]):
    with jax.enable_x64(True):
        spec = spec_of(Words(), **model)
        assert not spec.model.is_three_tokens(spec.task)
        params, tokens = weights(spec), jnp.asarray(RANDOM.integers(6, size=(7, 5)))
        targets = jnp.asarray(RANDOM.integers(6, size=(7, 2)))

        def trained(params):
            return mean_loss(spec.loss, network.forward(spec, params, tokens), targets)

        def as_in_textbooks(params):
            logits = textbook.transformer(params, tokens, spec.model)[:, 3:]
            log_p = jax.nn.log_softmax(logits, axis=-1)
            return -jnp.take_along_axis(log_p, targets[..., None], axis=-1).mean()

        (loss, slopes), (expected, wanted) = (jax.value_and_grad(f)(params) for f in (trained, as_in_textbooks))
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)
    for name, slope in slopes.items():
        np.testing.assert_allclose(slope, wanted[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_task_that_does_not_state_a_constant_last_token_gets_the_general_forward_which_is_the_same_function():
    with jax.enable_x64(True):
        fast, general = spec_of(Modular(p=5), layers=2), spec_of(Open(p=5), layers=2)
        assert fast.model.is_three_tokens(fast.task)
        assert not general.model.is_three_tokens(general.task)
        params = weights(fast)
        tokens = jnp.asarray([[a, b, 5] for a in range(5) for b in range(5)])
        np.testing.assert_allclose(
            network.forward(fast, params, tokens), network.forward(general, params, tokens), rtol=1e-9, atol=1e-12
        )
        layers = [network.preactivations(spec, params, tokens)[1] for spec in (fast, general)]
        np.testing.assert_allclose(*layers, rtol=1e-9, atol=1e-12)


def test_the_general_forward_s_gradient_scatters_nothing():
    spec = spec_of(Words())
    params = {name: value.astype(jnp.float32) for name, value in weights(spec).items()}
    tokens = jnp.asarray(RANDOM.integers(6, size=(7, 5)))
    text = jax.jit(jax.grad(lambda params: network.forward(spec, params, tokens).sum())).lower(params).as_text()
    assert "scatter" not in text


def test_an_mlp_reads_as_many_operands_as_the_task_has():
    with jax.enable_x64(True):
        spec = mlp_of(Words(scores=(4,)), widths=[7])
        params = weights(spec)
        tokens = RANDOM.integers(6, size=(9, 5))
        inputs = np.eye(6)[tokens].reshape(9, -1)
        hidden = np.maximum(inputs @ np.asarray(params["W.0"]) + np.asarray(params["b.0"]), 0)
        expected = hidden @ np.asarray(params["W.1"]) + np.asarray(params["b.1"])
        np.testing.assert_allclose(network.forward(spec, params, jnp.asarray(tokens)).T, expected, rtol=1e-9)


def test_an_example_is_right_where_all_its_scored_positions_are():
    logits = jnp.asarray([[1.0, 0, 1, 0], [0, 1, 0, 1]])  # columns: example 0 at both positions, then example 1
    targets = jnp.asarray([[0, 1], [0, 0]])
    assert float(is_right(logits, targets).mean()) == 0.5


def test_the_loss_of_each_scored_position_is_that_of_its_column():
    spec = RunSpec()
    logits = jnp.asarray(RANDOM.normal(size=(4, 6)), jnp.float32)
    targets = jnp.asarray(RANDOM.integers(4, size=(3, 2)))
    each = each_loss(spec.loss, logits, targets)
    log_p = np.asarray(logits) - np.log(np.exp(np.asarray(logits)).sum(0))
    np.testing.assert_allclose(each, -log_p[np.asarray(targets).ravel(), np.arange(6)], rtol=1e-5)
