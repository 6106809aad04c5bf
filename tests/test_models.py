"""Every option of a network against plain NumPy in float64: outputs, gradients, activations by name, and costs."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from grokjax.models import network, textbook
from grokjax.models.positions import sinusoids
from grokjax.probes.structure import gradient_symmetricity
from grokjax.spec.families import validate
from grokjax.spec.models import Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.resolve import resolve
from grokjax.tasks.all import table

P = 5


def spec_of(model: dict[str, Any], **sections: Any) -> RunSpec:
    # a - b is not b - a, so operands that are swapped show
    return resolve(validate({"task": {"p": P, "op": "subtract"}, "model": model} | sections), set())


def transformer(**model: Any) -> dict[str, Any]:
    return {"name": "transformer", "layers": 2, "d_model": 6, "heads": 2, "d_head": 3, "d_mlp": 7} | model


def mlp(**model: Any) -> dict[str, Any]:
    return {"name": "mlp", "widths": [7, 6], "d_model": 4} | model


def outputs_and_gradient(spec: RunSpec, params: reference.Params, form: str) -> tuple[np.ndarray, reference.Params]:
    """Of the sum of the logits' sines, as they are trained (`trained`) or by the textbook."""
    tokens = jnp.asarray(table(spec.task).inputs)

    def logits(params: Any) -> jax.Array:
        if form == "trained":
            return network.forward(spec, params, tokens).T
        return textbook.forward(params, tokens, spec.model)

    def scalar(params: Any) -> tuple[jax.Array, jax.Array]:
        found = logits(params)
        return jnp.sin(found).sum(), found

    with jax.enable_x64(True):
        held = {name: jnp.asarray(value) for name, value in params.items()}
        slopes, found = jax.grad(scalar, has_aux=True)(held)  # not compiled: many small networks are quicker so
        return np.asarray(found), {name: np.asarray(slope) for name, slope in slopes.items()}


FAST = [
    transformer(layers=layers, layernorm=layernorm, positions=positions, bias=bias, attention_mix=mix)
    for layers, layernorm, positions, bias, mix in itertools.product(
        (1, 2), ("none", "pre", "post", "stream"), ("learned", "sinusoidal", "none"), (True, False), (None, 0.3)
    )
]
SLOW = {at for at in range(len(FAST)) if (at // 12 + at // 4 + at // 2 + at) % 2}
GENERAL = [
    transformer(**options, layernorm=layernorm)
    for options in ({"mask": "none", "attention_mix": 0.3}, {"direct_path": False}, {"mask": "none", "bias": False})
    for layernorm in ("none", "pre")
] + [
    transformer(mask="none", layernorm="post", positions="none", d_mlp=0),
    transformer(direct_path=False, d_mlp=0, layers=1, positions="none"),
    transformer(layers=1, attention_bias=True, layernorm="stream"),
    transformer(layers=2, attention_bias=True, attention_mix=0.3, mask="none", direct_path=False),
    transformer(layers=3, layernorm="post", attention_bias=True, activation="leaky_relu", negative_slope=0.3, d_mlp=5),
]
MLPS = [
    mlp(input="embedded", tables=tables, combine=combine, bias=bias)
    for tables, combine, bias in itertools.product(("shared", "each"), ("concat", "sum"), (True, "last"))
] + [
    mlp(input="summed", bias=False, activation="square"),
    mlp(input="one_hot", bias="last", activation="leaky_relu", negative_slope=0.2),
]


# half of them have every pair of options
SOME = [pytest.param(model, marks=[pytest.mark.slow] * (at in SLOW)) for at, model in enumerate(FAST)]


@pytest.mark.parametrize("model", [*SOME, *GENERAL, *MLPS], ids=str)
def test_what_is_trained_the_textbook_and_plain_numpy_are_one_function_with_one_gradient(model: dict[str, Any]):
    spec = spec_of(model)
    if isinstance(spec.model, Transformer):
        assert spec.model.is_three_tokens(spec.task) == (spec.model.mask == "causal" and spec.model.direct_path)
    params = reference.weights_of(parameter_shapes(spec), seed=2)
    tokens = np.asarray(table(spec.task).inputs)
    wanted, backward = reference.network(params, tokens, reference.form_of(model))
    slopes = backward(np.cos(wanted))
    for form in ("trained", "textbook"):
        found, gradient = outputs_and_gradient(spec, params, form)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12, err_msg=form)
        assert gradient.keys() == slopes.keys()
        for name, slope in slopes.items():
            if not name.startswith("b_K"):  # the same is added to all scores of a query, which changes no softmax
                assert np.linalg.norm(slope) > 1e-3, f"{name}: the comparison means something"
            np.testing.assert_allclose(gradient[name], slope, rtol=1e-9, atol=1e-11, err_msg=f"{form}: {name}")


@pytest.mark.parametrize("model", [FAST[13], FAST[-1], *GENERAL[:3], *MLPS[1:5]], ids=str)
def test_gradients_of_the_reference_are_finite_differences(model: dict[str, Any]):
    spec, form, h = spec_of(model), reference.form_of(model), 1e-5
    params, tokens = reference.weights_of(parameter_shapes(spec), seed=2), np.asarray(table(spec.task).inputs)
    logits, backward = reference.network(params, tokens, form)
    draw = np.random.Generator(np.random.PCG64(0)).normal
    for name, slope in backward(np.cos(logits)).items():
        direction = draw(size=slope.shape)
        above, below = (
            np.sin(reference.network(params | {name: params[name] + side * direction}, tokens, form)[0]).sum()
            for side in (h, -h)
        )
        assert (slope * direction).sum() == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-7), name


def test_sinusoids_are_those_of_the_released_code_number_by_number():
    for width in (6, 7):
        np.testing.assert_allclose(sinusoids(5, width), reference.sinusoids(5, width), rtol=1e-12)
    np.testing.assert_allclose(sinusoids(2, 4)[1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)])


def test_without_mix_and_with_all_of_it_attention_is_softmax_and_at_none_every_weight_is_1():
    params = reference.weights_of(parameter_shapes(spec_of(transformer())), seed=2)
    tokens = table(spec_of(transformer()).task).inputs

    def patterns(**model: Any) -> np.ndarray:
        found: dict[str, Any] = {}
        spec = spec_of(transformer(**model))
        network.recorded_forward(spec, params, tokens, found.__setitem__)
        return np.asarray(found["blocks.0.attn.hook_pattern"])

    np.testing.assert_allclose(patterns(attention_mix=1.0), patterns(), rtol=1e-6)
    np.testing.assert_array_equal(patterns(attention_mix=0.0)[0, 0], np.tril(np.ones((3, 3))))
    np.testing.assert_array_equal(patterns(attention_mix=0.0, mask="none")[0, 0], np.ones((3, 3)))


# What probes read of an MLP's tables


@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_operands_with_tables_of_their_own_are_as_symmetric_as_with_one_where_these_are_equal(combine: str):
    shared, each = (spec_of(mlp(input="embedded", combine=combine, tables=tables)) for tables in ("shared", "each"))
    held = {name: jnp.asarray(value) for name, value in _float32(shared).items()}
    both = {name: value for name, value in held.items() if name != "W_E"} | {"W_E.0": held["W_E"], "W_E.1": held["W_E"]}
    one, other = (
        float(gradient_symmetricity(params, spec.model, P)) for spec, params in ((shared, held), (each, both))
    )
    assert one == pytest.approx(other, rel=1e-6)
    assert (one == pytest.approx(1, abs=1e-6)) == (combine == "sum"), "added operands have one gradient"


def test_what_first_reads_the_operands_is_the_table_times_the_first_matrix():
    wanted = {
        ("shared", "concat"): lambda w, a, b: [a @ w[:4], a @ w[4:]],
        ("each", "concat"): lambda w, a, b: [a @ w[:4], b @ w[4:]],
        ("shared", "sum"): lambda w, a, b: [a @ w],
        ("each", "sum"): lambda w, a, b: [a @ w, b @ w],
    }
    for (tables, combine), columns in wanted.items():
        spec = spec_of(mlp(input="embedded", tables=tables, combine=combine))
        params = _float32(spec)
        of_a, of_b = (params.get(name, params.get("W_E")) for name in ("W_E.0", "W_E.1"))
        found = network.input_weights(spec, {name: jnp.asarray(value) for name, value in params.items()})
        np.testing.assert_allclose(found, np.hstack(columns(params["W.0"], of_a, of_b)), rtol=1e-5, atol=1e-6)
    added = spec_of(mlp(input="summed"))
    params = _float32(added)
    np.testing.assert_array_equal(network.input_weights(added, {"W.0": jnp.asarray(params["W.0"])}), params["W.0"])


def _float32(spec: RunSpec) -> reference.Params:
    return {name: np.float32(value) for name, value in reference.weights_of(parameter_shapes(spec), seed=2).items()}
