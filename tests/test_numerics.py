"""Whole training runs, from a sweep file to stored curves and weights, against plain float64 NumPy.

Every case is one compiled program with a few runs in it. float32 carries 6e-8 a number; over 60 steps of sums over
hundreds of examples and Adam's quotients that grows to some 1e-6, so 1e-5 in the loss leaves room and no wrong
formula hides in it. With float64 parameters only the stored curves are float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from reference import Params, Recipe
from safetensors.numpy import save_file

import grokjax
from grokjax.results.read import Results
from grokjax.spec.families import validate
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.resolve import resolve
from grokjax.train.batches import batch_at
from grokjax.train.state import Examples

P, FRACTION, SPLIT_SEED = 7, 0.6, 3
EVERY, EVAL_EVERY = 7, 14


@dataclass(frozen=True)
class Network:
    """A model as a sweep names it, and weights for it."""

    spec: dict[str, Any]
    weights: Callable[[], Params]


def transformer(layers: int = 1, d_mlp: int = 16, layernorm: bool = False) -> Network:
    spec = {"name": "transformer", "layers": layers, "d_model": 8, "heads": 2, "d_head": 3, "d_mlp": d_mlp}
    return Network(
        spec | {"layernorm": "pre" if layernorm else "none"},
        lambda: reference.transformer_weights(P, 8, 2, 3, d_mlp, layers, layernorm, seed=11),
    )


def mlp(widths: tuple[int, ...] = (16,), d_model: int | None = None, bias: bool = True) -> Network:
    spec: dict[str, Any] = {"name": "mlp", "widths": list(widths), "bias": bias, "input": "one_hot"}
    return Network(
        spec if d_model is None else spec | {"input": "embedded", "d_model": d_model},
        lambda: reference.mlp_weights(P, list(widths), d_model, bias, seed=11),
    )


def options(name: str, **model: Any) -> tuple[Network, reference.Form]:
    """A small network with some options, and what the reference must know of them."""
    sizes = {"transformer": {"d_model": 8, "heads": 2, "d_head": 3, "d_mlp": 10}, "mlp": {"widths": [12], "d_model": 5}}
    spec = {"name": name} | sizes[name] | model
    shapes = parameter_shapes(resolve(validate({"task": {"p": P}, "model": spec}), set()))
    return Network(spec, lambda: reference.weights_of(shapes, seed=11)), reference.form_of(spec)


ADAMW = Recipe(optimizer="adamw", lr=5e-3, weight_decay=1.0, warmup_steps=10)
FACTORS = {
    "lr_by_matrix": {"W_E": 0.0, "W_O": 2.0, "W_O.0": 1.5, "b_in": 0.0},
    "weight_decay_by_matrix": {"W_U": 0.0, "W_Q.0": 3.0, "b_out": 0.5},
}
MOMENTUM = Recipe(optimizer="sgd", lr=0.1, momentum=0.9)


def fixed(recipe: Recipe, scope: str, radius: float | None = None) -> Recipe:
    return replace(recipe, fixed_norm=scope, radius=radius, weight_decay=0.0)


@dataclass(frozen=True)
class Case:
    """Runs of one program."""

    network: Network
    recipes: tuple[Recipe, ...]
    params: str = "float32"
    precision: str = "exact"
    batch: int | None = None


def of(network: tuple[Network, reference.Form], *recipes: Recipe, **case: Any) -> Case:
    """A case of a network with options, of recipes that say nothing of them."""
    return Case(network[0], tuple(replace(recipe, form=network[1]) for recipe in recipes), **case)


CASES = {
    "transformer adamw": Case(
        transformer(),
        (
            ADAMW,
            replace(ADAMW, **FACTORS),
            replace(ADAMW, logit_scale=3.0, b1=0.5, b2=0.999, eps=1e-3, warmup_steps=0, weight_decay=0.0),
            replace(ADAMW, steps=41, lr=2e-2),
        ),
    ),
    "transformer adamw, every matrix on a sphere": Case(
        transformer(), (fixed(ADAMW, "matrix"), fixed(ADAMW, "matrix", radius=2.0))
    ),
    "transformer momentum": Case(
        transformer(),
        (
            replace(MOMENTUM, weight_decay=0.01, **FACTORS),
            replace(MOMENTUM, momentum=0.0, lr=0.5, warmup_steps=20),
        ),
    ),
    "transformer adam with coupled decay, clipped": Case(
        transformer(),
        (
            replace(ADAMW, optimizer="adam", weight_decay=0.02, clip_norm=0.3),
            replace(ADAMW, optimizer="adam", weight_decay=0.0, clip_norm=1e3),
        ),
    ),
    "transformer nesterov with decoupled decay, clipped": Case(
        transformer(),
        (replace(MOMENTUM, nesterov=True, decay="decoupled", weight_decay=0.2, clip_norm=0.5, **FACTORS),),
    ),
    "transformer mse, identity": Case(transformer(), (replace(ADAMW, loss="mse", activation="identity"),)),
    "mlp adamw": Case(
        mlp(),
        (
            replace(ADAMW, lr_by_matrix={"W": 2.0, "W.1": 0.0, "b.0": 0.1}),
            replace(ADAMW, lr=0.03, logit_scale=20.0, weight_decay=0.0, steps=100),
        ),
    ),
    "mlp adamw, all parameters on a sphere": Case(mlp(), (fixed(ADAMW, "global"), fixed(ADAMW, "global", radius=5.0))),
    "mlp momentum, embedded": Case(mlp((12, 9), d_model=5), (MOMENTUM, replace(MOMENTUM, weight_decay=0.02))),
    "mlp momentum, all parameters on a sphere, float64": Case(
        mlp((10, 9), bias=False), (fixed(replace(MOMENTUM, activation="tanh"), "global"),), params="float64"
    ),
    "mlp momentum, every matrix on a sphere, float64": Case(
        mlp(d_model=5), (fixed(MOMENTUM, "matrix"),), params="float64"
    ),
    "transformer of two layers, gelu, float64": Case(
        transformer(layers=2), (replace(ADAMW, activation="gelu", **FACTORS),), params="float64"
    ),
    "transformer with layer norm, float64": Case(
        transformer(layernorm=True),
        (replace(ADAMW, optimizer="adam", activation="tanh", weight_decay=0.02),),
        params="float64",
    ),
    "transformer of attention only, nesterov, float64": Case(
        transformer(d_mlp=0), (replace(MOMENTUM, nesterov=True, weight_decay=0.01),), params="float64"
    ),
    "mlp square, mse, float64": Case(
        mlp(), (replace(ADAMW, loss="mse", activation="square", logit_scale=0.5),), params="float64"
    ),
    "mlp, float32 log_softmax": Case(mlp(), (ADAMW,), precision="float32"),
    "mlp, float64 log_softmax": Case(mlp(), (ADAMW,), precision="float64"),
    "transformer of Power et al.: post-norm, sinusoids, no biases": of(
        options("transformer", layernorm="post", positions="sinusoidal", bias=False),
        replace(ADAMW, weight_decay=0.1),
    ),
    "transformer of Grokfast's code, float64": of(
        options("transformer", layernorm="stream"),
        replace(ADAMW, activation="gelu", optimizer="adam", weight_decay=0.01),
        params="float64",
    ),
    "transformer without mask, positions and direct path, float64": of(
        options("transformer", mask="none", positions="none", direct_path=False, layernorm="pre"),
        replace(ADAMW, activation="tanh"),
        params="float64",
    ),
    "mlp with slopes of leaky ReLU": Case(
        options("mlp")[0],
        tuple(
            replace(
                ADAMW,
                activation="leaky_relu",
                form=reference.Form(negative_slope=slope),
                model={"negative_slope": slope},
            )
            for slope in (0.01, 0.3)
        ),
    ),
    "transformer with mixes of attention": Case(
        options("transformer")[0],
        tuple(
            replace(ADAMW, form=reference.Form(attention_mix=mix), model={"attention_mix": mix})
            for mix in (0.0, 0.4, 1.0)
        ),
    ),
    "mlp of two tables, bias in the last layer": of(
        options("mlp", input="embedded", tables="each", bias="last"), ADAMW
    ),
    "mlp of added operands, the table frozen, the rest on a sphere": of(
        options("mlp", input="embedded", combine="sum"),
        replace(fixed(ADAMW, "global"), frozen=("W_E",), activation="tanh"),
    ),
    "mlp of added one-hot vectors, mse, float64": of(
        options("mlp", input="summed", bias=False), replace(MOMENTUM, loss="mse", activation="square"), params="float64"
    ),
    "transformer with frozen matrices, clipped": of(
        options("transformer", layers=2, d_mlp=0),
        replace(ADAMW, clip_norm=0.3, frozen=("W_E", "W_pos", "W_O"), lr_by_matrix={"W_V": 2.0}),
    ),
    "transformer on minibatches": Case(transformer(), (ADAMW, ADAMW), batch=9),
}


# one of each network, optimizer and kind of loss; the others, whose formulas differ, are compiled quickly
AS_SHIPPED = {"transformer adamw", "mlp momentum, embedded", "mlp, float32 log_softmax"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.as_shipped if name in AS_SHIPPED else ()) for name in CASES]
)
def test_runs_follow_plain_numpy(name: str, tmp_path: Path):
    case = CASES[name]
    weights = case.network.weights()
    results = _train(case, weights, tmp_path)
    runs = results.runs().set_index("arm")
    train_set, test_set = reference.modular_addition(P, FRACTION, SPLIT_SEED)
    for arm, recipe in enumerate(case.recipes):
        run_id = str(runs.loc[f"arm{arm}", "run_id"])
        batch = None if case.batch is None else _batches(case.batch, len(train_set[1]), seed=arm)
        expected = reference.train(_as_stored(weights, case), train_set, test_set, recipe, batch)
        assert expected[-1].loss < expected[0].loss or batch  # it trains: the comparison means something
        _check_curves(results, run_id, expected, recipe, case)
        _check_weights(results.params(run_id), expected[-1].params, case)


def _train(case: Case, weights: Params, folder: Path) -> Results:
    save_file(_as_stored(weights, case), folder / "weights.safetensors")
    sweep = {
        "name": "numerics",
        "base": {
            "task": {
                "op": "add",
                "p": P,
                "train_fraction": FRACTION,
                "split": {"method": "python", "seed": SPLIT_SEED},
            },
            "init": {"from_file": "weights.safetensors"},
            "numerics": {"params": case.params},
        },
        "log": {"every": EVERY, "eval_every": EVAL_EVERY},
        "arms": {f"arm{arm}": {"base": _base(case, recipe, arm)} for arm, recipe in enumerate(case.recipes)},
    }
    (folder / "sweep.yaml").write_text(json.dumps(sweep))  # JSON is YAML
    return grokjax.run(folder / "sweep.yaml", out=folder / "out")


def _as_stored(weights: Params, case: Case) -> Params:
    return {name: np.ascontiguousarray(value.astype(case.params)) for name, value in weights.items()}


def _base(case: Case, recipe: Recipe, seed: int) -> dict[str, Any]:
    optimizer: dict[str, Any] = {
        "name": recipe.optimizer,
        "lr": recipe.lr,
        "warmup_steps": recipe.warmup_steps,
        "clip_norm": recipe.clip_norm,
        "lr_by_matrix": recipe.lr_by_matrix,
        "weight_decay_by_matrix": recipe.weight_decay_by_matrix,
    }
    if recipe.optimizer == "sgd":
        optimizer |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "decay": recipe.decay}
    else:
        optimizer |= {"b1": recipe.b1, "b2": recipe.b2, "eps": recipe.eps}
    if recipe.fixed_norm is None:  # else the default must be none
        optimizer["weight_decay"] = recipe.weight_decay
    constraint: dict[str, Any] = {"name": "none"}
    if recipe.fixed_norm:
        constraint = {"name": "fixed_norm", "scope": recipe.fixed_norm, "radius": recipe.radius}
    init = {"init": {"frozen": list(recipe.frozen)}} if recipe.frozen else {}
    loss = {"name": recipe.loss} | ({"precision": case.precision} if recipe.loss == "cross_entropy" else {})
    return init | {
        "seed": seed,
        "model": case.network.spec
        | recipe.model
        | {"activation": recipe.activation, "logit_scale": recipe.logit_scale},
        "loss": loss,
        "optimizer": optimizer,
        "constraint": constraint,
        "train": {"steps": recipe.steps, "batch": case.batch},
    }


def _batches(size: int, n: int, seed: int) -> Callable[[int], np.ndarray]:
    """Step -> the rows that grokjax draws of a train set of n; the tests below hold the draws themselves."""
    rows = jnp.arange(n, dtype=jnp.int32)
    everything = Examples(jnp.stack([rows] * 3, axis=1), rows)
    draw = jax.jit(lambda step: batch_at(everything, jnp.uint32(seed), step, size).targets)
    return lambda step: np.asarray(draw(jnp.int32(step)))


def _check_curves(results: Results, run_id: str, expected: list[reference.Moment], recipe: Recipe, case: Case):
    curves = results.curves(runs=run_id).set_index("step")
    steps = [*range(0, recipe.steps, EVERY), recipe.steps]
    assert list(curves.index) == steps
    tested = [step for step in steps if step % EVAL_EVERY == 0 or step == recipe.steps]
    norms: dict[str, list[float]] = {}
    for step in steps:
        now = expected[step]
        norms.setdefault("norm/total", []).append(reference.norm(now.params))
        for name in now.params:
            norms.setdefault(f"norm/{name}", []).append(np.linalg.norm(now.params[name]))
            norms.setdefault(f"grad_norm/{name}", []).append(np.linalg.norm(now.grads[name]))
            if step < recipe.steps:
                update = expected[step + 1].params[name] - now.params[name]
                norms.setdefault(f"update_norm/{name}", []).append(np.linalg.norm(update))
    losses = [now.loss for now in expected]
    since = [0, *(step + 1 for step in steps[:-1])]
    wide = case.params == "float64"
    loose, tight = (2e-6, 1e-6) if wide else (5e-4, 1e-5)
    close = np.testing.assert_allclose

    close(curves["train/loss"], [losses[step] for step in steps], rtol=tight)
    largest = [max(losses[begin : step + 1]) for begin, step in zip(since, steps, strict=True)]
    close(curves["train/loss_max"], largest, rtol=tight)
    close(curves["train/accuracy"], [expected[step].accuracy for step in steps], rtol=1e-6)
    assert list(curves.index[curves["test/loss"].notna()]) == tested
    assert list(curves.index[curves["test/accuracy"].notna()]) == tested
    close(curves["test/loss"].dropna(), [expected[step].test_loss for step in tested], rtol=tight)
    close(curves["test/accuracy"].dropna(), [expected[step].test_accuracy for step in tested], rtol=1e-6)
    for name, values in norms.items():
        recorded = curves[name].dropna()
        assert list(recorded.index) == steps[: len(values)], f"{name}: no update_norm at the end, else all"
        # an update is a difference of parameters of size 1, and a gradient a sum of terms that cancel
        kind = name.partition("/")[0]
        close(recorded, values, rtol=tight if kind == "norm" else loose, atol=0 if wide else 1e-6, err_msg=name)


def _check_weights(found: Params, expected: Params, case: Case):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == case.params
        error = np.linalg.norm(found[name] - values) / np.linalg.norm(values)
        assert error < (1e-9 if case.params == "float64" else 5e-5), f"{name}: off by {error:.1e}"


def test_a_network_that_memorized_keeps_its_gradient_under_the_exact_loss_alone(tmp_path: Path):
    """At a loss of some 1e-10, where float32's log_softmax has rounded most of the gradient away."""
    network, sets = mlp(), reference.modular_addition(P, FRACTION, SPLIT_SEED)
    memorize = replace(ADAMW, lr=0.03, logit_scale=20.0, weight_decay=0.0, steps=100)
    trained = reference.train(network.weights(), *sets, memorize)[-1].params
    sharp = replace(memorize, logit_scale=75.0, steps=1)
    off = {}
    for precision in ("exact", "float32"):
        case = Case(network, (sharp,), precision=precision)
        start = reference.train(_as_stored(trained, case), *sets, sharp)[0]
        assert 1e-11 < start.loss < 1e-8
        (tmp_path / precision).mkdir()
        record = _train(case, trained, tmp_path / precision).curves().iloc[0]
        assert record["step"] == 0
        off[precision] = max(
            abs(record[f"grad_norm/{name}"] / np.linalg.norm(gradient) - 1) for name, gradient in start.grads.items()
        )
    assert off["exact"] < 1e-4
    assert off["float32"] > 0.1


def test_a_factor_of_0_freezes_a_matrix_to_the_bit(tmp_path: Path):
    case = Case(mlp(), (replace(ADAMW, lr_by_matrix={"W.0": 0.0}),))
    weights = case.network.weights()
    results = _train(case, weights, tmp_path)
    (run_id,) = results.run_ids
    found = results.params(run_id)
    np.testing.assert_array_equal(found["W.0"], weights["W.0"].astype(np.float32))
    assert (found["W.1"] != weights["W.1"].astype(np.float32)).any()
    updates = results.curves("update_norm/W.0")["update_norm/W.0"]
    assert (updates == 0).all()


def test_an_epoch_of_minibatches_repeats_no_example_and_the_next_is_shuffled_anew():
    draw = _batches(9, n=29, seed=5)  # 3 batches an epoch, 2 examples left over
    epochs = [np.concatenate([draw(3 * epoch + part) for part in range(3)]) for epoch in range(20)]
    assert all(len(set(epoch)) == 27 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20
    assert set(np.concatenate(epochs)) == set(range(29)), "what is left over has its turn in other epochs"


def test_minibatches_follow_the_seed_and_the_step_alone():
    one, again, other = _batches(9, 29, seed=5), _batches(9, 29, seed=5), _batches(9, 29, seed=6)
    late = again(100)  # before any other step is asked for
    for step in (0, 1, 100):
        np.testing.assert_array_equal(one(step), again(step))
        assert (one(step) != other(step)).any()
    np.testing.assert_array_equal(late, one(100))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(_batches(9, 29, seed=5)(100), late)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "square", "identity"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize(
    "network",
    [
        transformer(),
        transformer(layers=2, layernorm=True),
        transformer(d_mlp=0, layernorm=True),
        mlp((9, 8)),
        mlp(d_model=5, bias=False),
    ],
    ids=["transformer", "two layers and layer norm", "attention only", "mlp", "embedded mlp"],
)
def test_gradients_of_the_reference_are_finite_differences(network: Network, loss: str, activation: str):
    """The reference itself: a slope along a random direction, in every parameter by itself."""
    params = network.weights()
    train_set, _ = reference.modular_addition(P, FRACTION, SPLIT_SEED)
    recipe = Recipe(loss=loss, activation=activation, logit_scale=1.5)
    *_, grads = reference.loss_and_gradient(params, *train_set, recipe)
    draw = np.random.Generator(np.random.PCG64(0)).normal
    h = 1e-5
    for name, value in params.items():
        direction = draw(size=value.shape)
        above, below = (
            reference.loss_and_gradient(params | {name: value + side * direction}, *train_set, recipe)[0]
            for side in (h, -h)
        )
        slope = (above - below) / (2 * h)
        assert (grads[name] * direction).sum() == pytest.approx(slope, rel=2e-5, abs=1e-9), name
