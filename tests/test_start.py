"""Where a run starts: the paper's norms, the same bits for a seed everywhere, scales, files, the sphere."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from grokjax.engine import draws
from grokjax.engine.draws import draw_params
from grokjax.engine.inputs import Starts
from grokjax.models import mlp, transformer
from grokjax.models.declare import declare_with
from grokjax.models.network import starting_numbers, starting_params
from grokjax.spec.families import validate
from grokjax.spec.hypers import hyper_of
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import matches, parameter_count, parameter_shapes
from grokjax.sweep.resolve import resolve
from grokjax.sweep.run import Run
from grokjax.train.state import State
from grokjax.train.step import start

SMALL = {"name": "transformer", "d_model": 8, "heads": 2, "d_head": 3, "d_mlp": 12}
NARROW = {"name": "mlp", "widths": [9]}
EMBEDDED = NARROW | {"input": "embedded", "d_model": 4}


def spec_of(**sections: Any) -> RunSpec:
    """A resolved spec; p is 7 where no task is given."""
    return resolve(validate({"task": {"p": 7}} | sections), set())


def draw(spec: RunSpec, seeds: list[int], starts: Starts | None = None) -> dict[str, np.ndarray]:
    """Starting values [seeds, ...] before any scale, of a chunk with a run a seed."""
    runs = [Run(str(seed), spec.model_copy(update={"seed": seed}), ("main",)) for seed in seeds]
    return (starts or Starts()).stack(runs)


def started(spec: RunSpec) -> State:
    """The state at step 0 of a run."""
    values = draw(spec, [spec.seed])
    with jax.enable_x64(spec.numerics.params == "float64"):
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        params = {name: jnp.asarray(value[0]) for name, value in values.items()}
        return jax.device_get(jax.jit(partial(start, spec))(params, hyper))


def test_the_paper_s_setup_starts_at_the_paper_s_norms():
    spec = spec_of(task={"p": 113})
    assert parameter_count(parameter_shapes(spec)) == 226_816
    params = draw(spec, seeds=list(range(8)))
    assert sum(value[0].size for value in params.values()) == 226_816
    norms = {name: np.sqrt((value.reshape(8, -1) ** 2).sum(1)) for name, value in params.items()}
    total = np.sqrt(sum(norm**2 for norm in norms.values())).mean()
    mean = {name.removesuffix(".0"): norm.mean() for name, norm in norms.items()}
    assert mean["W_E"] == pytest.approx(10.7, rel=0.01)
    assert mean["W_pos"] == pytest.approx(1.73, rel=0.06)  # 384 numbers only
    for name in ("W_Q", "W_K", "W_V", "W_O", "W_U"):
        assert mean[name] == pytest.approx(11.31, rel=0.01), name
    for name in ("W_in", "W_out"):
        assert mean[name] == pytest.approx(22.63, rel=0.01), name
    assert mean["b_in"] == mean["b_out"] == 0
    assert total == pytest.approx(42.2, rel=0.005)


MODELS = [
    SMALL,
    SMALL | {"layers": 2, "layernorm": "pre"},
    SMALL | {"layers": 2, "layernorm": "pre", "d_mlp": 0},
    SMALL | {"d_head": None, "d_mlp": 0},
    NARROW,
    {"name": "mlp", "widths": [9, 5, 6], "bias": False},
    {"name": "mlp", "widths": [9, 5], "input": "embedded", "d_model": 4},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_what_flax_declares_is_what_the_sweep_plans_with(model: dict[str, Any]):
    spec = spec_of(model=model)
    shapes = parameter_shapes(spec)
    network = transformer.Transformer if model["name"] == "transformer" else mlp.MLP

    def declare(seed):
        return nnx.state(network(spec.model, spec.task, declare_with(seed, str(spec.init.scheme), shapes)), nnx.Param)

    declared = {}
    for path, variable in nnx.to_flat_state(jax.eval_shape(declare, jnp.uint32(0))):
        layer = [str(part) for part in path if isinstance(part, int)]
        (value,) = jax.tree.leaves(variable)
        declared[".".join([str(path[-1]), *layer])] = value.shape
    assert declared == shapes
    params = jax.eval_shape(partial(starting_params, spec=spec), jnp.uint32(0))
    assert {name: value.shape for name, value in params.items()} == shapes


@pytest.mark.parametrize("scheme", ["paper", "fan_in", "torch_linear"])
def test_a_seed_has_the_same_bits_whatever_is_drawn_beside_it(scheme: str):
    model = SMALL if scheme == "paper" else NARROW
    spec, starts = spec_of(model=model, init={"scheme": scheme}), Starts()
    alone = draw(spec, [7], starts)
    for seeds in ([7, 8], [0, 1, 2, 7], [3, 7, 7, 9, 2, 5, 11, 4, 2**31 - 1]):
        together = draw(spec, seeds, starts)
        for name, value in alone.items():
            assert together[name][seeds.index(7)].tobytes() == value[0].tobytes(), name


@pytest.mark.parametrize("scheme", ["fan_in", "torch_linear"])
def test_a_seed_has_the_same_bits_under_float64(scheme: str):
    start = {"model": EMBEDDED, "init": {"scheme": scheme}, "seed": 3}
    narrow, float64 = draw(spec_of(**start), [3]), spec_of(**start, numerics={"params": "float64"})
    with jax.enable_x64(True):  # as the engine draws for a float64 program
        wide = draw(float64, [3])
    state = started(float64)
    for name, value in narrow.items():
        assert value.dtype == np.float32
        assert state.params[name].dtype == np.float64
        np.testing.assert_array_equal(wide[name], value.astype(np.float64), err_msg=name)
        np.testing.assert_array_equal(state.params[name], wide[name][0], err_msg=name)


def test_a_seed_has_the_same_bits_for_every_optimizer_loss_and_batch():
    expected = started(spec_of(model=NARROW, seed=4)).params
    task = {"p": 7, "op": "multiply", "train_fraction": 0.7}
    for other in (
        {"optimizer": {"name": "sgd"}, "loss": {"name": "mse"}},
        {"optimizer": {"name": "adam", "lr": 0.5}, "train": {"batch": 3, "steps": 17}, "task": task},
    ):
        found = started(spec_of(**({"model": NARROW, "seed": 4} | other))).params
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), f"{other}: {name}"


def test_a_matrix_is_drawn_by_its_own_name():
    one, two = (draw(spec_of(model=SMALL | {"d_mlp": 0, "layers": layers}), [0, 1]) for layers in (1, 2))
    for name, value in one.items():
        assert two[name].tobytes() == value.tobytes(), "layers, or other matrices, do not matter"
    alike = [two[f"{name}.{layer}"][seed] for name in ("W_Q", "W_K", "W_V") for layer in (0, 1) for seed in (0, 1)]
    assert len({value.tobytes() for value in alike}) == len(alike)


OWN: dict[str, dict[str, float]] = {
    "W_Q": {"uniform": 0.3},
    "W_K": {"he": 0.7},
    "W_V": {"fan_in": 1.37},
    "W_E": {"line": 0.3},
    "W_U": {"constant": 0.25},
    "W.1": {"he": 1.3},
    "b.0": {"uniform": 0.1},
}


@pytest.mark.parametrize("scheme", ["paper", "fan_in", "torch_linear"])
@pytest.mark.parametrize("model", [SMALL | {"d_mlp": 37}, {"name": "mlp", "widths": [21, 13]}], ids=["heads", "mlp"])
@pytest.mark.parametrize("own", [{}, OWN], ids=["scheme", "own"])
def test_what_is_drawn_in_parts_is_what_one_program_of_all_draws(model: dict, scheme: str, own: dict):
    scheme = "fan_in" if model["name"] == "mlp" and scheme == "paper" else scheme
    names = parameter_shapes(spec_of(model=model))
    mine = {key: of for key, of in own.items() if any(matches(key, name) for name in names)}
    spec = spec_of(model=model, task={"p": 29}, init={"scheme": scheme, "distribution": mine})
    together = jax.jit(lambda seed, numbers: starting_params(seed, spec, numbers))
    for seed in (0, 2**31 - 1):
        given = np.uint32(seed), starting_numbers(spec)
        expected, found = jax.device_get(together(*given)), draw_params(spec)(*given)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), name


def test_another_width_compiles_nothing_that_draws():
    draw(spec_of(model=SMALL | {"d_mlp": 12}), [0])
    compiled = draws._drawn._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    draw(spec_of(model=SMALL | {"d_mlp": 9}), [0])  # 72 and 96 values are 128 of a program
    assert draws._drawn._cache_size() == compiled  # pyright: ignore[reportAttributeAccessIssue]


def moments(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, deviation, and the fourth moment over the variance squared (3 for normal, 1.8 for uniform)."""
    values = values.astype(np.float64)
    return values.mean(), values.std(), (values**4).mean() / (values**2).mean() ** 2


WIDE = {"name": "transformer", "layers": 1, "d_model": 64, "heads": 2, "d_head": 16, "d_mlp": 256}
# inputs that one output sums over; an embedding is looked up, and counts its width
FAN_IN = {"W_E": 64, "W_pos": 64, "W_Q.0": 64, "W_K.0": 64, "W_V.0": 64, "W_O.0": 32}
FAN_IN |= {"W_in.0": 64, "W_out.0": 256, "W_U": 64}


@pytest.mark.parametrize("scheme", ["paper", "fan_in", "torch_linear"])
def test_each_scheme_has_its_distribution(scheme: str):
    spec = spec_of(model=WIDE | {"layernorm": "pre"}, task={"p": 31}, init={"scheme": scheme})
    params = draw(spec, seeds=list(range(40)))
    for name, inputs in FAN_IN.items():
        mean, deviation, fourth = moments(params[name])
        expected, shape = inputs**-0.5, 3.0
        if scheme == "paper":
            expected = 32**-0.5 if name == "W_U" else 64**-0.5
        if scheme == "torch_linear" and name in ("W_E", "W_pos"):  # torch.nn.Embedding
            expected = 1.0
        elif scheme == "torch_linear":  # uniform on +- 1 / sqrt(fan_in)
            assert np.abs(params[name]).max() <= expected
            expected, shape = expected / np.sqrt(3), 1.8
        assert deviation == pytest.approx(expected, rel=0.03), name
        assert abs(mean) < 0.05 * deviation, name
        assert fourth == pytest.approx(shape, rel=0.06), name
    for name, inputs in {"b_in.0": 64, "b_out.0": 256}.items():
        bound = inputs**-0.5 if scheme == "torch_linear" else 0.0
        assert np.abs(params[name]).max() <= bound
        assert params[name].std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    for name in ("ln1_{}.0", "ln2_{}.0", "ln_final_{}"):
        assert (params[name.format("w")] == 1).all()
        assert (params[name.format("b")] == 0).all()


def test_latents_start_between_a_line_and_a_cloud():
    model = {"name": "mlp", "widths": [5], "input": "embedded", "d_model": 3}
    seeds = list(range(200))

    def latents(m: float) -> np.ndarray:
        init = {"distribution": {"W_E": {"line": m}}}
        return draw(spec_of(model=model, task={"p": 11}, init=init), seeds=seeds)["W_E"].reshape(-1, 11, 3)

    line, cloud, between = latents(0.0), latents(1.0), latents(0.25)
    assert np.allclose(line[..., 0], np.linspace(-1, 1, 11), atol=1e-6)
    assert 0.29 < np.abs(line[..., 1:]).max() <= 0.3
    assert 0.99 < np.abs(cloud).max() <= 1
    assert moments(cloud)[1] == pytest.approx(3**-0.5, rel=0.03)
    assert np.allclose(between, 0.25 * cloud + 0.75 * line, atol=1e-6)


def test_an_mlp_starts_as_torch_s_linear_layers():
    spec = spec_of(model={"name": "mlp", "widths": [50], "input": "embedded", "d_model": 20}, task={"p": 31})
    params = draw(spec, seeds=list(range(40)))
    assert moments(params["W_E"])[1] == pytest.approx(1, rel=0.03)
    for name, inputs in {"W.0": 40, "b.0": 40, "W.1": 50, "b.1": 50}.items():
        assert np.abs(params[name]).max() <= inputs**-0.5
        assert np.abs(params[name]).max() == pytest.approx(inputs**-0.5, rel=0.01)
        assert moments(params[name])[2] == pytest.approx(1.8, rel=0.06)


def test_scales_multiply():
    init = {"scheme": "torch_linear"}
    plain = started(spec_of(model=EMBEDDED, init=init)).params
    by_matrix = {"W": 4.0, "W.0": 0.5, "b.1": 8.0, "W_E": 0.0}
    scaled = started(spec_of(model=EMBEDDED, init=init | {"scale": 2.0, "scale_by_matrix": by_matrix})).params
    factors = {"W_E": 0.0, "W.0": 4.0, "b.0": 2.0, "W.1": 8.0, "b.1": 16.0}
    for name, value in plain.items():
        np.testing.assert_array_equal(scaled[name], factors[name] * value, err_msg=name)  # powers of two round nothing


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_a_file_s_weights_are_taken_by_name_and_scaled(tmp_path: Path, stored: str):
    shapes = parameter_shapes(spec_of(model=SMALL))
    random = np.random.Generator(np.random.PCG64(0))
    weights = {name: random.normal(size=shape).astype(stored) for name, shape in reversed(shapes.items())}
    save_file(weights, tmp_path / "w.safetensors")
    init = {"from_file": str(tmp_path / "w.safetensors"), "scale": 4.0}
    for precision in ("float32", "float64"):
        state = started(spec_of(model=SMALL, init=init, numerics={"params": precision}))
        for name, value in weights.items():
            np.testing.assert_array_equal(state.params[name], (4 * value.astype(np.float64)).astype(precision))


@pytest.mark.parametrize("radius", [None, 3.0])
def test_fixed_norm_of_all_parameters_holds_at_step_0(radius: float | None):
    init = {"scheme": "torch_linear", "scale": 2.0}
    free = started(spec_of(model=EMBEDDED, init=init)).params
    constraint = {"name": "fixed_norm", "scope": "global", "radius": radius}
    held = started(spec_of(model=EMBEDDED, init=init, constraint=constraint)).params
    norm = np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in free.values()))
    for name, value in free.items():
        np.testing.assert_allclose(held[name], value * ((radius or norm) / norm), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("radius", [None, 3.0])
def test_fixed_norm_of_every_matrix_holds_at_step_0_and_leaves_vectors_free(radius: float | None):
    init = {"scheme": "torch_linear", "scale_by_matrix": {"W.1": 0.0}}
    free = started(spec_of(model=EMBEDDED, init=init)).params
    constraint = {"name": "fixed_norm", "scope": "matrix", "radius": radius}
    held = started(spec_of(model=EMBEDDED, init=init, constraint=constraint)).params
    for name, value in free.items():
        norm = np.linalg.norm(value.astype(np.float64))
        factor = radius / norm if radius and norm and name.startswith("W") else 1.0
        np.testing.assert_allclose(held[name], value * factor, rtol=1e-6, err_msg=name)
    assert not held["W.1"].any(), "zero has no direction, and stays zero"
