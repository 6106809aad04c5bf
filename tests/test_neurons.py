"""Quadratic neurons: the fit against plain least squares and known values, and stored networks against NumPy."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import reference
import slow_progress
from quickly import QUICK
from safetensors.numpy import save_file
from typer.testing import CliRunner

import grokjax
from grokjax.analysis import neurons as analysis
from grokjax.analysis.neurons import FITS, each_neuron, fits, neurons, quadratic_fit
from grokjax.analysis.stored import Snapshot, specs_of
from grokjax.cli import app
from grokjax.figures import make
from grokjax.figures import neurons as picture
from grokjax.models.activations import ACTIVATIONS
from grokjax.models.network import hidden_and_logits, preactivations
from grokjax.spec.models import MLP, Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Modular
from grokjax.tasks.all import table

P = 7
SWEEP = {
    "name": "neurons",
    "base": {"task": {"p": P, "train_fraction": 0.6}, "train": {"steps": 20}, "optimizer": {"lr": 0.02}},
    "log": {"every": 10, "eval_every": 10, "snapshot_every": 10},
    "arms": {
        "transformer": {
            "base": {"model": {"d_model": 8, "heads": 2, "d_mlp": 12}},
            "parameters": {"seed": {"min": 0, "max": 2}},
        },
        "deep": {"base": {"model": {"name": "mlp", "widths": [9, 6], "activation": "gelu"}}},
        "planted": {
            "base": {
                "model": {"name": "mlp", "widths": [6]},
                "init": {"from_file": "planted.safetensors"},
                "optimizer": {"lr": 0},
            },
        },
    },
}


def planted() -> dict[str, np.ndarray]:
    """Six neurons on a + b centered, whose values are symmetric; the bias of four keeps them below or above 0."""
    steps = np.arange(P) - (P - 1) / 2
    return {
        "W.0": np.tile(np.concatenate([steps, steps])[:, None], (1, 6)).astype(np.float32),
        "b.0": np.array([0, 0, -50, -50, -50, 50], np.float32),
        "W.1": np.ones((6, P), np.float32),
        "b.1": np.zeros(P, np.float32),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("neurons")
    save_file(planted(), folder / "planted.safetensors")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def of_arm(results, arm: str) -> list[str]:
    return list(results.planned().query(f"arm == '{arm}'")["run_id"])


# --- the fit --------------------------------------------------------------------------------------------------


def r_squared(x: np.ndarray, y: np.ndarray, degree: int) -> float:
    if y.std() == 0:
        return 0.0
    columns = np.stack([x**power for power in range(degree + 1)], axis=1)
    left = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    return 1 - (left**2).sum() / ((y - y.mean()) ** 2).sum()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_the_fit_is_that_of_plain_least_squares(scale: float):
    draw = np.random.Generator(np.random.PCG64(1)).normal
    x = draw(size=(5, 80)) + np.arange(5)[:, None]
    y = np.sin(x) + 0.3 * draw(size=x.shape)
    found = quadratic_fit(jnp.asarray(scale * x, jnp.float32), jnp.asarray(scale * y, jnp.float32))
    assert found.linear == pytest.approx([r_squared(*row, 1) for row in zip(x, y, strict=True)], abs=1e-5)
    assert found.quadratic == pytest.approx([r_squared(*row, 2) for row in zip(x, y, strict=True)], abs=1e-5)
    assert found.std == pytest.approx(scale * y.std(1), rel=1e-5)
    assert found.low == pytest.approx(scale * x.min(1), rel=1e-6)
    assert found.high == pytest.approx(scale * x.max(1), rel=1e-6)
    assert found.positive == pytest.approx((x > 0).mean(1), rel=1e-6)


def test_activations_over_normal_pre_activations_have_their_known_values():
    count = 20_000
    x = np.array([[NormalDist().inv_cdf((at + 0.5) / count) for at in range(count)]])
    variance = 0.5 - 0.5 / np.pi
    known = {
        "square": (0, 1),
        "identity": (1, 1),
        "relu": (0.25 / variance, 0.25 / variance + 1 / (4 * np.pi * variance)),
    }
    for name, (linear, quadratic) in known.items():
        held = jnp.asarray(x, jnp.float32)
        found = quadratic_fit(held, ACTIVATIONS[name](held))
        assert float(found.linear[0]) == pytest.approx(linear, abs=1e-3), name
        assert float(found.quadratic[0]) == pytest.approx(quadratic, abs=1e-3), name
    assert known["relu"] == pytest.approx((0.734, 0.967), abs=1e-3)  # as the module says


def test_what_is_constant_or_has_two_values_has_no_square():
    x = jnp.asarray([[1.0, 2.0, 3.0, 4.0], [-1.0, 2.0, 2.0, -1.0], [5.0] * 4])
    found = quadratic_fit(x, jnp.asarray([[3.0] * 4, [0.0, 7.0, 7.0, 0.0], [3.0] * 4]))
    assert found.linear == pytest.approx([0, 1, 0], abs=1e-6)
    assert found.quadratic == pytest.approx([0, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Transformer(d_model=8, heads=2, d_head=3, d_mlp=12, layers=2, layernorm="pre", activation="gelu"),
        MLP(widths=[9, 6], activation="tanh", input="embedded", d_model=5),
    ],
    ids=["transformer", "mlp"],
)
def test_before_the_activation_it_is_the_network_s_own_neurons(model):
    if isinstance(model, Transformer):
        params = reference.transformer_weights(P, 8, 2, 3, 12, 2, True, 3)
    else:
        params = reference.mlp_weights(P, [9, 6], 5, True, 3)
    held = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    tokens = jnp.asarray(table(Modular(p=P)).inputs)
    spec = RunSpec(task=Modular(p=P), model=model)

    def both(held):
        return preactivations(spec, held, tokens), hidden_and_logits(spec, held, tokens)[0]

    found, neurons_after = jax.jit(both, compiler_options=QUICK)(held)
    assert list(found) == ([1] if isinstance(model, Transformer) else [0, 1])
    last = reference.activate(model.activation, np.asarray(found[max(found)], np.float64))[0]
    np.testing.assert_allclose(last, neurons_after, rtol=1e-4, atol=1e-5)


# --- stored networks ------------------------------------------------------------------------------------------


def by_hand(params: dict[str, np.ndarray], spec) -> dict[int, np.ndarray]:
    """Layer -> pre-activations [examples, neurons]."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    tokens = np.asarray(table(spec.task).inputs)
    if "W_U" in params:
        return {0: slow_progress.neurons_of(params, tokens, "identity")}  # of one layer: W_in x + b_in
    first = np.eye(P)[tokens[:, :2]].reshape(len(tokens), -1) @ params["W.0"] + params["b.0"]
    if "W.2" not in params:
        return {0: first}
    return {0: first, 1: reference.activate(spec.model.activation, first)[0] @ params["W.1"] + params["b.1"]}


@pytest.mark.parametrize("arm", ["transformer", "deep"])
def test_stored_neurons_are_those_of_plain_numpy(results, arm: str):
    each = each_neuron(results, of_arm(results, arm))
    specs = specs_of(results)
    steps = {run_id: list(results.snapshots(run_id)) for run_id in of_arm(results, arm)}
    assert each.groupby("run_id", sort=False)["step"].unique().map(list).to_dict() == steps
    for (run_id, step, layer), own in each.groupby(["run_id", "step", "layer"]):
        x = by_hand(results.params(run_id, step), specs[run_id])[layer]
        y = reference.activate(specs[run_id].model.activation, x)[0]
        assert list(own["neuron"]) == list(range(x.shape[1]))
        assert list(own["linear"]) == pytest.approx(
            [r_squared(*pair, 1) for pair in zip(x.T, y.T, strict=True)], abs=1e-4
        )
        assert list(own["quadratic"]) == pytest.approx(
            [r_squared(*pair, 2) for pair in zip(x.T, y.T, strict=True)], abs=1e-4
        )
        assert list(own["std"]) == pytest.approx(list(y.std(0)), rel=1e-4)
        assert list(own["low"]) == pytest.approx(list(x.min(0)), rel=1e-4, abs=1e-5)


def test_a_layer_s_row_sums_up_its_live_neurons(results):
    each, found = each_neuron(results, steps="last"), neurons(results, steps="last")
    assert len(found) == len(each.groupby(["run_id", "layer"]))
    for row in found.to_dict("records"):
        own = each[(each["run_id"] == row["run_id"]) & (each["layer"] == row["layer"])]
        assert (row["neurons"], row["dead"]) == (len(own), own["dead"].mean())
        live = own[~own["dead"]]
        for name in FITS:
            assert row[name] == pytest.approx(np.average(live[name], weights=live["std"] ** 2))
            assert row[f"{name}/q10"] == pytest.approx(live[name].quantile(0.1))
        assert row["high"] == pytest.approx(live["high"].median())


def test_planted_neurons_bend_or_are_lines_or_dead(results):
    each = each_neuron(results, of_arm(results, "planted"), "last")
    assert list(each["dead"]) == [False, False, True, True, True, False]
    assert neurons(results, of_arm(results, "planted"), "last")["dead"].tolist() == [0.5]
    assert list(each["positive"][2:]) == [0, 0, 0, 1]
    assert each["beyond"].iloc[-1] == pytest.approx(0, abs=1e-6)  # above 0 it is a line
    assert each["beyond"].iloc[0] > 0.2


@pytest.mark.parametrize(("activation", "linear", "quadratic"), [("square", 0, 1), ("identity", 1, 1)])
def test_the_fits_of_a_network_of_squares_and_of_a_linear_one(activation: str, linear: float, quadratic: float):
    spec = RunSpec(task=Modular(p=P), model=MLP(widths=[6], activation=activation))  # pyright: ignore[reportArgumentType]
    held = {name: jnp.asarray(value) for name, value in planted().items()}
    found = jax.jit(partial(fits, spec, np.asarray(table(spec.task).inputs)), compiler_options=QUICK)(held)
    assert found["0/linear"][0] == pytest.approx(linear, abs=1e-6)
    assert found["0/quadratic"] == pytest.approx([quadratic] * 6, abs=1e-4)


def test_wrong_input_is_said_in_words(results, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="no run 'abc'"):
        neurons(results, "abc")
    with pytest.raises(ValueError, match="none at 7"):
        each_neuron(results, steps=7)
    alone = Snapshot("abc", 20, RunSpec(model=Transformer(d_mlp=0)))
    monkeypatch.setattr(analysis, "asked_snapshots", lambda *_: [alone])
    with pytest.raises(ValueError, match="attention only"):
        neurons(results)


# --- the picture and the command ------------------------------------------------------------------------------


def test_the_picture_has_medians_over_seeds_and_every_neuron_of_the_end(results, tmp_path: Path):
    (one,) = picture.data(results, arm="transformer")
    wanted = neurons(results, of_arm(results, "transformer"), 10)["beyond"]
    row = one.bands.bands.query("metric == 'beyond' and step == 10").iloc[0]
    assert (row["low"], row["median"], row["high"]) == pytest.approx((wanted.min(), wanted.median(), wanted.max()))
    assert set(one.each["step"]) == {20}
    assert [layer.layer for layer in picture.data(results, arm="deep")] == [0, 1]
    paths = make("neurons", results, tmp_path / "it", arm="transformer", by="seed", step=10)
    bars = pd.read_csv(paths[2]).query("metric == 'beyond/share'")
    assert bars.groupby("seed")["median"].sum().tolist() == pytest.approx([1, 1, 1])
    assert set(bars["step"]) == {10}


def test_the_command_writes_a_row_a_layer_or_a_neuron(results, tmp_path: Path):
    out, run_id = tmp_path / "it.csv", of_arm(results, "deep")[0]
    for more, rows in ((["--last"], 2), (["--step", "10", "--each"], 15)):
        result = CliRunner().invoke(app, ["neurons", str(results.path), "--run", run_id, "--out", str(out), *more])
        assert result.exit_code == 0, result.output
        assert len(pd.read_csv(out)) == rows
    for wrong, words in ((["--run", "abc"], "no run 'abc'"), (["--step", "10", "--last"], "give one of them")):
        result = CliRunner().invoke(app, ["neurons", str(results.path), *wrong])
        assert result.exit_code == 2
        assert words in result.output
