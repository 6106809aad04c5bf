"""Kernels that keep a hidden layer off the memory, run without a GPU or TPU as Pallas interprets them."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf
from test_noise import parts

from grokjax.aot.targets import TARGETS
from grokjax.models import fused
from grokjax.models.forms import traced_for
from grokjax.models.fused import mosaic, tile, triton
from grokjax.models.fused.step import FORMS, Form, neurons
from grokjax.plan.growth import growth
from grokjax.plan.plan import Device, make_plan
from grokjax.plan.remarks import remarks
from grokjax.spec.families import validate
from grokjax.spec.kernels import ACTIVATIONS, kernel_problems
from grokjax.spec.models import MLP
from grokjax.spec.run import RunSpec
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.resolve import resolve
from grokjax.train.step import step

LANES = 2
KINDS = {"triton": triton, "mosaic": mosaic}
INTERPRETED = {
    name: Form(partial(kind.forward, interpret=True), partial(kind.backward, interpret=True))
    for name, kind in KINDS.items()
}
SHAPES = [  # inputs, neurons, outputs, examples
    pytest.param((16, 32, 16, 64), id="whole tiles"),
    pytest.param((20, 70, 7, 90), id="no whole tile of anything"),
    pytest.param((3, 5, 1, 9), id="less than a tile"),
    pytest.param((130, 40, 20, 65), id="wide"),
    pytest.param((20, 70, 20, 150), id="added to what is read"),
]


@pytest.fixture(params=sorted(INTERPRETED))
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Form:
    """In the place of what a CPU computes, with few examples a tile and a part, so that there are several."""
    monkeypatch.setattr(mosaic, "EXAMPLES", 32)
    monkeypatch.setattr(triton, "PART", 64)
    monkeypatch.setitem(FORMS, "default", INTERPRETED[request.param])
    jax.clear_caches()  # of traces with another form
    return INTERPRETED[request.param]


def in_numpy(
    activation: str, adds: bool, x: Any, W_in: Any, b_in: Any, W_out: Any, b_out: Any, dy: Any
) -> list[np.ndarray]:
    """y and the gradients of x, W_in, b_in, W_out and b_out, of one lane in float64."""
    given = (x, W_in, b_in, W_out, b_out, dy)
    x, W_in, b_in, W_out, b_out, dy = (np.asarray(value, np.float64) for value in given)
    before = W_in.T @ x + b_in[:, None]
    below = (1 + erf(before / np.sqrt(2))) / 2
    density = np.exp(-(before**2) / 2) / np.sqrt(2 * np.pi)
    value, slope = {
        "relu": (np.maximum(before, 0), before > 0),
        "gelu": (before * below, below + before * density),
        "tanh": (np.tanh(before), 1 / np.cosh(before) ** 2),
        "square": (before**2, 2 * before),
        "identity": (before, np.ones_like(before)),
    }[activation]
    d_before = (W_out @ dy) * slope
    y, dx = W_out.T @ value + b_out[:, None], W_in @ d_before
    if adds:
        y, dx = y + x, dx + dy
    return [y, dx, x @ d_before.T, d_before.sum(1), value @ dy.T, dy.sum(1)]


def drawn(shape: tuple[int, int, int, int]) -> list[jax.Array]:
    """x, W_in, b_in, W_out, b_out and dy of some lanes."""
    i, m, o, n = shape
    random = np.random.default_rng(0)
    shapes = (i, n), (i, m), (m,), (m, o), (o,), (o, n)
    return [jnp.asarray(random.normal(size=(LANES, *each)), jnp.float32) for each in shapes]


def close(found: Any, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_values_and_gradients_of_lanes_are_those_of_numpy(form: Form, activation: str, shape: Any):
    *given, dy = drawn(shape)
    adds = shape[0] == shape[2]
    found = value_and_gradients(activation, adds, given, dy)
    for lane in range(LANES):
        for one, wanted in zip(
            found, in_numpy(activation, adds, *(value[lane] for value in (*given, dy))), strict=True
        ):
            close(one[lane], wanted)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_kernels_is_there_as_xla_has_it_too(activation: str, monkeypatch: pytest.MonkeyPatch):
    *given, dy = drawn((16, 32, 16, 40))
    wanted = [in_numpy(activation, False, *(value[lane] for value in (*given, dy))) for lane in range(LANES)]
    for each in (FORMS["default"], *INTERPRETED.values()):
        monkeypatch.setitem(FORMS, "default", each)
        jax.clear_caches()
        for at, one in enumerate(value_and_gradients(activation, False, given, dy)):
            close(one, np.stack([of_lane[at] for of_lane in wanted]))


def value_and_gradients(activation: str, adds: bool, given: list[jax.Array], dy: jax.Array) -> list[jax.Array]:
    def of_lane(dy: jax.Array, *given: jax.Array) -> list[jax.Array]:
        y, backward = jax.vjp(partial(neurons, activation, adds=adds), *given)
        return [y, *backward(dy)]

    with jax.default_matmul_precision("highest"):
        return jax.jit(jax.vmap(of_lane))(dy, *given)


def test_without_biases_and_without_a_gradient_of_the_input_the_rest_is_the_same(form: Form):
    x, W_in, b_in, W_out, b_out, dy = (value[0] for value in drawn((20, 70, 7, 90)))
    _, _, *wanted = in_numpy("relu", False, x, W_in, 0 * b_in, W_out, 0 * b_out, dy)

    def y(W_in: jax.Array, W_out: jax.Array) -> jax.Array:
        return neurons("relu", x, W_in, None, W_out, None, with_dx=False)

    _, backward = jax.vjp(y, W_in, W_out)
    dW_in, dW_out = backward(dy)
    close(dW_in, wanted[0])
    close(dW_out, wanted[2])


def spec_of(kernel: str, **base: Any) -> RunSpec:
    task = {"p": 7, "train_fraction": 0.8}
    return resolve(validate({"task": task, "engine": {"kernel": kernel}} | base), set())


TRANSFORMER = {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 20}
MODELS = {
    "transformer": TRANSFORMER,
    "norms, no biases": TRANSFORMER | {"layernorm": "pre", "bias": False, "activation": "gelu"},
    "norms of the stream": TRANSFORMER | {"layernorm": "post"},
    "one hidden layer": {"name": "mlp", "widths": [20]},
    "two": {"name": "mlp", "widths": [20, 12], "activation": "tanh", "bias": "last"},
    "three, embedded": {"name": "mlp", "widths": [20, 12, 8], "input": "embedded", "d_model": 4},
}


TRAINED = [*((name, "cpu") for name in MODELS), ("transformer", "gpu"), ("one hidden layer", "gpu")]


@pytest.mark.parametrize(("name", "platform"), TRAINED)
def test_training_goes_as_with_xla(form: Form, name: str, platform: str):
    ends, model = [], MODELS[name]
    for kernel in ("xla", "fused"):
        spec = spec_of(kernel, model=model, optimizer={"name": "sgd", "lr": 0.1})
        hyper, state, train = parts(spec)
        take = jax.jit(partial(step, spec))
        with jax.default_matmul_precision("highest"), traced_for(platform):
            for _ in range(4):
                state, _ = take(state, hyper, train)
        ends.append(state.params)
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_hidden_layer_is_in_no_array_of_a_fused_step_outside_of_its_kernels(form: Form, model: dict[str, Any]):
    examples = 39  # of 49 pairs
    for kernel in ("xla", "fused"):
        spec = spec_of(kernel, model=model)
        hyper, state, train = parts(spec)
        text = str(jax.make_jaxpr(partial(step, spec))(state, hyper, train))
        assert (f"f32[20,{examples}]" in text) == (kernel == "xla" or model.get("widths") == [20, 12]), kernel


def test_an_mlp_s_hidden_layers_are_fused_from_the_last_one_back():
    assert [list(MLP(widths=[4] * count).fused) for count in (1, 2, 3, 4)] == [[0], [1], [0, 2], [1, 3]]


SWEEP = "{name: x, base: {task: {p: 7}, model: {d_model: 8, d_mlp: 16}, train: {steps: 5}}, engine: {kernel: KERNEL}}"


def sweep_of(kernel: str) -> Any:
    return expand(parse_sweep(SWEEP.replace("KERNEL", kernel), "x.yaml", fused.__path__[0]))


def test_a_cpu_refuses_the_kernels_before_anything_is_planned():
    here = Device("cpu", "x86_64 core", 2, 2**33, "jax")
    assert make_plan(sweep_of("xla"), here).buckets
    with pytest.raises(SweepError, match=r"engine\.kernel: fused is for GPUs and TPUs, and here is 2 x x86_64 .*xla"):
        make_plan(sweep_of("fused"), here)
    plan = make_plan(sweep_of("fused"), TARGETS["h100"].device("x"))
    assert plan.buckets[0].spec.engine.kernel == "fused"
    assert any("has not been measured" in note for note in remarks(plan))


def test_a_model_of_a_user_s_own_has_no_kernels():
    class Mine(MLP):
        function: ClassVar[Any] = staticmethod(lambda *given: None)

    (problem,) = kernel_problems(spec_of("fused").model_copy(update={"model": Mine()}))
    assert problem.what == "fused: mlp is your own, and has no such kernels; use xla"


def test_runs_go_on_with_the_kernel_that_they_began_with():
    device = TARGETS["h100"].device("x")
    with pytest.raises(SweepError, match=r"engine\.kernel xla -> fused"):
        growth(make_plan(sweep_of("xla"), device), sweep_of("fused"), "results")


def test_who_asks_for_no_kernels_does_not_wait_for_pallas():
    code = "import sys, grokjax.engine.loop; assert 'jax.experimental.pallas' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_flops_of_a_kernel_are_those_of_its_products():
    x, W_out = jnp.zeros((3, 11)), jnp.zeros((5, 7))
    forward, dx = 2 * 11 * 5 * (3 + 7), 2 * 11 * 5 * 3
    assert tile.flops(None, x, W_out) == forward
    assert tile.flops(False, x, W_out) == 2 * forward  # the neurons again, then both gradients, and what reaches them
    assert tile.flops(True, x, W_out) == 2 * forward + dx
