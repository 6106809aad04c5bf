"""The networks as trained against the textbook's: same function, same gradient, fewer FLOPs, no scatter.

Also the products and sums they are made of, against NumPy. `test_numerics` holds whole training runs, compiled as
they are shipped, against plain NumPy; here many small programs are compiled, quickly.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quickly import QUICK

from grokjax.models import features, network, textbook
from grokjax.models.features import linear, spread, total
from grokjax.models.forms import traced_for
from grokjax.spec.families import validate
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.resolve import resolve
from grokjax.tasks.all import table
from grokjax.train.losses import exact

Params = dict[str, Any]


# --- networks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network with weights, and n examples in random order."""

    model: dict[str, Any]
    p: int = 7
    n: int = 20

    @property
    def spec(self) -> RunSpec:
        # a - b is not b - a, so operands that are swapped show
        return resolve(validate({"task": {"p": self.p, "op": "subtract"}, "model": self.model}), set())

    def weights(self) -> dict[str, np.ndarray]:
        """Matrices of variance 1 / fan-in, which leaves attention soft; every value is one of float32."""
        draw = np.random.Generator(np.random.PCG64(0)).normal
        weights = {}
        for name, shape in parameter_shapes(self.spec).items():
            if name in ("W_E", "W_pos"):
                value = draw(scale=0.5, size=shape)
            elif len(shape) > 1:
                fan_in = shape[0] * shape[1] if name.startswith("W_O") else shape[-2]
                value = draw(scale=fan_in**-0.5, size=shape)
            else:
                value = draw(loc=1.0 if name.startswith("ln") and "_w" in name else 0.0, scale=0.3, size=shape)
            weights[name] = value.astype(np.float32)
        return weights

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        tokens, labels, _ = table(self.spec.task)
        rows = np.random.Generator(np.random.PCG64(1)).permutation(len(labels))[: self.n]
        return np.asarray(tokens)[rows], np.asarray(labels)[rows]

    def loss(self, form: str) -> Callable[[Params], jax.Array]:
        """Mean cross-entropy of the parameters."""
        tokens, labels = self.examples()
        spec = self.spec

        def trained(params: Params) -> jax.Array:
            return exact(network.forward(spec, params, jnp.asarray(tokens)), jnp.asarray(labels)).mean()

        def for_gpus(params: Params) -> jax.Array:
            with traced_for("gpu"):
                return trained(params)

        def as_in_textbooks(params: Params) -> jax.Array:
            logits = textbook.forward(params, jnp.asarray(tokens), spec.model)
            # the label's log-probability by a mask: a look-up's gradient would be a scatter
            return -(jax.nn.log_softmax(logits, axis=-1) * np.eye(logits.shape[-1])[labels]).sum(-1).mean()

        return {"trained": trained, "for GPUs": for_gpus, "textbook": as_in_textbooks}[form]

    def loss_and_gradient(self, form: str, dtype: str) -> tuple[float, dict[str, np.ndarray]]:
        with jax.enable_x64(dtype == "float64"):
            params = {name: jnp.asarray(value, dtype) for name, value in self.weights().items()}
            value, gradient = jax.jit(jax.value_and_grad(self.loss(form)), compiler_options=QUICK)(params)
            assert {value.dtype, *(slope.dtype for slope in gradient.values())} == {np.dtype(dtype)}
            return float(value), {name: np.asarray(slope, np.float64) for name, slope in gradient.items()}


def transformer(layers: int, layernorm: str = "none", d_mlp: int = 16, activation: str = "relu") -> dict[str, Any]:
    """Heads that are together narrower than the stream, as wide, and wider."""
    heads = {1: {"heads": 2, "d_head": 3}, 2: {"heads": 2}, 3: {"heads": 3, "d_head": 5}}[layers]
    rest = {"d_mlp": d_mlp, "layernorm": layernorm, "activation": activation}
    return {"name": "transformer", "layers": layers, "d_model": 8} | heads | rest


def mlp(source: str, bias: bool, widths: tuple[int, ...], activation: str = "relu") -> dict[str, Any]:
    table_width = {"d_model": 5} if source == "embedded" else {}
    rest = {"widths": list(widths), "bias": bias, "input": source, "activation": activation}
    return {"name": "mlp"} | table_width | rest


_activations = itertools.cycle(["relu", "gelu", "tanh", "square", "identity"])
CASES = {
    f"transformer, {layers} layers, layernorm {layernorm}, {activation}": Case(
        transformer(layers, layernorm, activation=activation)
    )
    for layers, layernorm in itertools.product((1, 2, 3), ("none", "pre"))
    for activation in [next(_activations)]
}
CASES |= {
    f"transformer, {layers} layers, layernorm {layernorm}, attention only": Case(
        transformer(layers, layernorm, d_mlp=0)
    )
    for layers, layernorm in itertools.product((1, 2, 3), ("none", "pre"))
}
CASES |= {
    f"mlp, {source}, {'' if bias else 'no '}bias, {len(widths)} hidden, {activation}": Case(
        mlp(source, bias, widths, activation)
    )
    for source, bias, widths in itertools.product(("one_hot", "embedded"), (True, False), ((9,), (9, 6)))
    for activation in [next(_activations)]
}
# numbers of examples that take part in broadcasts, or are as many as there are tokens
CASES |= {
    "transformer, one example": Case(transformer(2), n=1),
    "transformer, as many examples as tokens": Case(transformer(2, d_mlp=0), n=8),
    "mlp, one example": Case(mlp("embedded", True, (9,)), n=1),
    "mlp, as many examples as classes": Case(mlp("one_hot", True, (9,), "tanh"), n=7),
}

CASES |= {
    f"transformer, one layer, {name}": Case(transformer(1) | of_model)
    for name, of_model in {
        "no positions": {"positions": "none"},
        "sinusoidal positions": {"positions": "sinusoidal"},
        "attention mixed with ones": {"attention_mix": 0.3},
        "no biases": {"bias": False},
    }.items()
}

SLOW = {  # two layers hold the same
    "transformer, 3 layers, layernorm none, identity",
    "transformer, 3 layers, layernorm none, attention only",
    "transformer, 3 layers, layernorm pre, attention only",
}


FORMS = [(name, form) for name in CASES for form in ("trained", "for GPUs")]


@pytest.mark.parametrize(
    ("name", "form"), [pytest.param(*each, marks=pytest.mark.slow if each[0] in SLOW else ()) for each in FORMS]
)
def test_the_trained_form_is_the_textbook_s_function_with_its_gradient(name: str, form: str):
    case = CASES[name]
    loss, gradient = case.loss_and_gradient("textbook", "float64")
    _check_that_everything_is_read(gradient, case)
    # in float32 too against the float64 textbook, with the same weights: its own rounding excuses nothing
    for dtype, tolerance in {"float32": 1e-5, "float64": 1e-12}.items():
        found, slopes = case.loss_and_gradient(form, dtype)
        assert found == pytest.approx(loss, rel=tolerance)
        assert slopes.keys() == gradient.keys()
        for parameter, slope in gradient.items():
            off = np.linalg.norm(slopes[parameter] - slope) / np.linalg.norm(slope)
            assert off <= tolerance, f"{parameter} in {dtype}: off by {off:.1e}"


def _check_that_everything_is_read(gradient: dict[str, np.ndarray], case: Case):
    """No gradient is zero, nor that of any token, position or head: the comparison means something."""
    parted = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W.0")
    for name, slope in gradient.items():
        assert np.linalg.norm(slope) > 1e-3, name
        if name.startswith(parted) and case.n == Case.n:
            parts = np.linalg.norm(slope.reshape(len(slope), -1), axis=1)
            assert (parts > 1e-4).all(), f"{name}: {parts}"


def test_the_cases_cover_every_activation_in_both_networks():
    read = {(model["name"], model["activation"]) for model in (case.model for case in CASES.values())}
    assert read == set(itertools.product(("transformer", "mlp"), ("relu", "gelu", "tanh", "square", "identity")))


@pytest.mark.parametrize(
    "model",
    [transformer(1, "pre", d_mlp=0), transformer(1, activation="tanh"), mlp("embedded", True, (9,), "tanh")],
    ids=["transformer with layer norm", "transformer", "mlp"],
)
@pytest.mark.parametrize("form", ["trained", "for GPUs"])
def test_second_derivatives_of_the_trained_form_are_the_textbook_s(model: dict[str, Any], form: str):
    """The Hessian times a direction; the textbook's by forward mode, which custom gradients do not have."""
    case = Case(model)
    with jax.enable_x64(True):
        params = {name: jnp.asarray(value, "float64") for name, value in case.weights().items()}
        draw = np.random.Generator(np.random.PCG64(2)).normal
        direction = {name: jnp.asarray(draw(size=value.shape)) for name, value in params.items()}
        found = _quick(functools.partial(hessian_times, case.loss(form)))(params, direction)
        expected = _quick(lambda *at: jax.jvp(jax.grad(case.loss("textbook")), *((each,) for each in at))[1])(
            params, direction
        )
    for name, slope in expected.items():
        assert np.linalg.norm(slope) > 1e-3, name
        assert np.linalg.norm(found[name] - slope) <= 1e-12 * np.linalg.norm(slope), name


def hessian_times(function: Callable[[Any], jax.Array], at: Any, direction: Any) -> Any:
    """Reverse over reverse."""

    def slope(at: Any) -> jax.Array:
        products = jax.tree.map(jnp.vdot, jax.grad(function)(at), direction)
        return jax.tree.reduce(jnp.add, products)

    return jax.grad(slope)(at)


def _quick(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function, compiler_options=QUICK)


# --- what is computed -----------------------------------------------------------------------------------------


def _lanes(case: Case, form: str) -> jax.stages.Lowered:
    """Loss and gradient of three networks at once."""
    params = {name: jnp.stack([value] * 3) for name, value in case.weights().items()}
    return _quick(jax.vmap(jax.value_and_grad(case.loss(form)))).lower(params)


def _look_ups(program: str) -> set[str]:
    """Operations by index in a program's text, but for what Python's functions are called in it."""
    return set(re.findall(r"\b(gather|scatter)", program))


@pytest.mark.parametrize(
    "model",
    [transformer(1, "pre"), transformer(1), transformer(2), mlp("one_hot", True, (9,)), mlp("embedded", True, (9,))],
    ids=["transformer with layer norm", "transformer", "transformer of two layers", "one-hot mlp", "embedded mlp"],
)
@pytest.mark.parametrize("form", ["trained", "for GPUs"])
def test_the_trained_form_s_gradient_has_no_scatter(model: dict[str, Any], form: str):
    lowered = _lanes(Case(model), form)
    assert "scatter" not in _look_ups(lowered.as_text()) | _look_ups(lowered.compile().as_text())


def test_the_trained_form_on_a_cpu_has_no_look_up_by_index():
    lowered = _lanes(Case(transformer(1)), "trained")
    assert _look_ups(lowered.as_text()) == _look_ups(lowered.compile().as_text()) == set()


@pytest.mark.parametrize("model", [transformer(1), mlp("embedded", True, (9,))], ids=["transformer", "embedded mlp"])
def test_the_textbook_s_gradient_has_one(model: dict[str, Any]):
    """So that the test above can fail: of its look-up of W_E."""
    lowered = _lanes(Case(model), "textbook")
    assert _look_ups(lowered.as_text()) == _look_ups(lowered.compile().as_text()) == {"gather", "scatter"}


# 0.31 and 0.53 when this was written
@pytest.mark.parametrize(("layers", "share"), [(1, 0.4), (2, 0.65)])
def test_the_trained_form_has_fewer_flops_than_the_textbook(layers: int, share: float):
    """And what it computes is right at this size too."""
    model = {"name": "transformer", "layers": layers, "d_model": 32, "heads": 4, "d_mlp": 128}
    case = Case(model, p=31, n=288)
    params = {name: jnp.asarray(value) for name, value in case.weights().items()}
    programs = {
        form: _quick(jax.value_and_grad(case.loss(form))).lower(params).compile() for form in ("trained", "textbook")
    }
    flops = {form: program.cost_analysis()["flops"] for form, program in programs.items()}
    # a matmul of every weight and position, forward and twice backward, is the least the textbook counts
    weights = sum(value.size for name, value in params.items() if name not in ("W_E", "W_pos") and value.ndim > 1)
    assert flops["textbook"] > 3 * 2 * weights * 3 * case.n
    assert flops["trained"] < share * flops["textbook"]
    (found, slopes), (loss, gradient) = (programs[form](params) for form in ("trained", "textbook"))
    assert float(found) == pytest.approx(float(loss), rel=1e-5)
    for name, slope in gradient.items():
        assert jnp.linalg.norm(slopes[name] - slope) <= 1e-5 * jnp.linalg.norm(slope), name


# --- products and sums ----------------------------------------------------------------------------------------


def whole(seed: int, *shape: int) -> np.ndarray:
    """Small whole numbers: products and sums of them are exact in float32, in any order."""
    return np.random.Generator(np.random.PCG64(seed)).integers(-8, 9, size=shape).astype(np.float32)


def value_and_pullback(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """(dy, inputs) -> (y, the inputs' gradients)."""

    def both(dy: jax.Array, *inputs: jax.Array):
        y, pull = jax.vjp(function, *inputs)
        return y, pull(dy)

    return both


SIZES = [(1, 1, 1), (1, 5, 4), (5, 1, 4), (4, 7, 3), (7, 4, 3), (6, 6, 1), (2, 8, 9)]
# not (4, 7, 3): where these gradients are a program's output, XLA's CPU compiler aborts on them with less than 8
# features and 2 or 3 examples in lanes
SIZES_IN_LANES = [(1, 5, 4), (5, 1, 4), (4, 7, 9), (7, 4, 3)]


@pytest.mark.parametrize(("i", "o", "n"), SIZES)
def test_linear_is_the_transposed_product_with_its_gradients(i: int, o: int, n: int):
    W, x, dy = whole(0, i, o), whole(1, i, n), whole(2, o, n)
    y, (dW, dx) = _quick(value_and_pullback(linear))(dy, W, x)
    np.testing.assert_array_equal(y, np.einsum("io,in->on", W, x))
    np.testing.assert_array_equal(dW, np.einsum("in,on->io", x, dy))
    np.testing.assert_array_equal(dx, np.einsum("io,on->in", W, dy))


@pytest.mark.parametrize(("i", "o", "n"), SIZES_IN_LANES)
@pytest.mark.parametrize("batched", ["Wx", "W", "x"])
def test_linear_in_lanes_is_that_of_every_lane(i: int, o: int, n: int, batched: str):
    """Also where one weight matrix, or one input, is all lanes'."""
    W, x, dy = whole(0, 3, i, o), whole(1, 3, i, n), whole(2, 3, o, n)
    axes = [0 if name in batched else None for name in "Wx"]
    given = [value if axis == 0 else value[0] for value, axis in zip((W, x), axes, strict=True)]
    W, x = (np.broadcast_to(value, (3, *value.shape[-2:])) for value in given)
    lanes = jax.vmap(value_and_pullback(linear), in_axes=(0, *axes))
    y, (dW, dx) = _quick(lanes)(dy, *given)
    np.testing.assert_array_equal(y, np.einsum("bio,bin->bon", W, x))
    np.testing.assert_array_equal(dW, np.einsum("bin,bon->bio", x, dy))
    np.testing.assert_array_equal(dx, np.einsum("bio,bon->bin", W, dy))


@pytest.mark.parametrize("lead", [(), (2,)], ids=["", "heads"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 8, 13])
def test_total_and_spread_are_sum_and_broadcast_over_features_with_their_gradients(count: int, lead: tuple[int, ...]):
    """Each is the other's gradient; by itself and in lanes."""
    n = 4
    many, one = whole(0, 3, *lead, count, n), whole(1, 3, *lead, n)

    def both(many: jax.Array, one: jax.Array):
        summed, (pulled,) = value_and_pullback(total)(one, many)
        repeated, (gathered,) = value_and_pullback(lambda x: spread(x, count))(many, one)
        return summed, gathered, repeated, pulled

    for function, batch in ((_quick(both), lambda x: x[0]), (_quick(jax.vmap(both)), lambda x: x)):
        found = function(batch(many), batch(one))
        summed, repeated = many.sum(-2), np.repeat(one[..., None, :], count, axis=-2)
        expected = [batch(summed), batch(summed), batch(repeated), batch(repeated)]
        for value, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(value, right)


@pytest.mark.parametrize("count", [1000, 1023, 1024])
def test_total_rounds_as_often_as_features_can_be_halved(count: int):
    """Not once a feature."""
    x = np.random.Generator(np.random.PCG64(3)).uniform(size=(count, 50)).astype(np.float32)
    true = x.astype(np.float64).sum(0)
    largest = np.ceil(np.log2(count)) * 2.0**-24
    one_by_one = np.abs(np.cumsum(x, axis=0)[-1] / true - 1)
    assert one_by_one.max() > largest
    assert np.abs(np.asarray(_quick(total)(x)) / true - 1).max() <= largest


@pytest.mark.parametrize(("i", "o"), [(1, 3), (4, 7), (6, 1)])
def test_products_and_sums_have_second_derivatives(i: int, o: int):
    """Reverse over reverse, by itself and in lanes, against forward over reverse through plain operations."""

    def energy(how: Any, at: tuple[jax.Array, jax.Array]) -> jax.Array:
        y = how.linear(*at)
        return how.total(y**3 * how.spread(jnp.sin(how.total(y * y)), o)).sum()

    class Plain:
        linear = staticmethod(lambda W, x: jnp.einsum("io,in->on", W, x))
        total = staticmethod(lambda x: x.sum(-2))
        spread = staticmethod(lambda x, count: jnp.broadcast_to(x, (count, *x.shape)))

    def reversed_twice(at: Any, direction: Any) -> Any:
        return hessian_times(functools.partial(energy, features), at, direction)

    def forward(at: Any, direction: Any) -> Any:
        return jax.jvp(jax.grad(functools.partial(energy, Plain)), (at,), (direction,))[1]

    draw = np.random.Generator(np.random.PCG64(4)).normal
    with jax.enable_x64(True):
        at, direction = ((jnp.asarray(draw(size=(3, i, o))), jnp.asarray(draw(size=(3, i, 5)))) for _ in range(2))
        expected = _quick(jax.vmap(forward))(at, direction)
        lanes = _quick(jax.vmap(reversed_twice))(at, direction)
        first = _quick(reversed_twice)(*jax.tree.map(lambda x: x[0], (at, direction)))
    for of_lanes, of_first, right in zip(lanes, first, expected, strict=True):
        assert np.linalg.norm(right) > 0.1
        assert np.linalg.norm(of_lanes - right) <= 1e-13 * np.linalg.norm(right)
        assert np.linalg.norm(of_first - right[0]) <= 1e-13 * np.linalg.norm(right[0])
