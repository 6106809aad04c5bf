"""The local learning coefficient: the sampler against plain NumPy and known coefficients, diagnostics, stored runs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.analysis import stored
from grokjax.analysis.chains import drift, effective_size, split_rhat
from grokjax.analysis.learning_coefficient import Sampling, learning_coefficient, traces
from grokjax.analysis.sgld import Langevin, batch_rows, chain, noise_like
from grokjax.cli import app
from grokjax.figures import make

SWEEP = {
    "name": "coefficient",
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [12], "logit_scale": 2.0},
        "optimizer": {"name": "adamw", "lr": 0.02},
        "train": {"steps": 300},
    },
    "log": {"every": 10, "eval_every": 10, "snapshot_every": 150},
    "arms": {
        "decay": {"parameters": {"seed": {"min": 0, "max": 1}, "optimizer.weight_decay": {"values": [0, 1]}}},
        "wide": {"base": {"numerics": {"params": "float64"}, "optimizer": {"weight_decay": 0}}},
        "squares": {"base": {"seed": 5, "loss": {"name": "mse"}}},
    },
}
FEW = Sampling(step_size=1e-3, gamma=20.0, chains=3, draws=40, burn_in=20, batch=16)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("coefficient")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture(scope="module")
def frame(results: grokjax.Results):
    return learning_coefficient(results, sampling=FEW)


def test_a_chain_is_that_of_a_plain_loop():
    """Linear regression on minibatches, in float64, with the same noise and the same batches."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    how = Langevin(step_size=0.003, nbeta=7.0, gamma=2.0, steps=25)
    start = {"a": np.array([0.3, -1.0, 0.2]), "b": np.array(0.5)}
    with jax.enable_x64(True):
        key = jax.random.key(3)

        def loss(w, key):
            rows = batch_rows(key, 20, 8)
            return ((jnp.asarray(x)[rows] @ w["a"] + w["b"] - jnp.asarray(y)[rows]) ** 2).mean()

        found = np.asarray(chain(loss, {name: jnp.asarray(value) for name, value in start.items()}, key, how))
        a, b, wanted = start["a"].copy(), float(start["b"]), []
        for one in jax.random.split(key, how.steps):
            of_batch, of_noise = jax.random.split(one)
            rows, noise = np.asarray(batch_rows(of_batch, 20, 8)), noise_like(start, of_noise, how.step_size)
            error = x[rows] @ a + b - y[rows]
            wanted.append((error**2).mean())
            pull_a, pull_b = how.gamma * (a - start["a"]), how.gamma * (b - float(start["b"]))
            a = a - 0.0015 * (7.0 * 2 * x[rows].T @ error / 8 + pull_a) + np.asarray(noise["a"])
            b = b - 0.0015 * (7.0 * 2 * error.mean() + pull_b) + float(noise["b"])
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_noise_has_the_variance_asked_for_and_batches_are_even():
    noise = noise_like({"a": jnp.zeros((100, 100)), "b": jnp.zeros(10_000)}, jax.random.key(0), 0.25)
    assert noise["a"].std() == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef(noise["a"].ravel(), noise["b"])[0, 1]) < 0.05
    rows = np.stack([batch_rows(key, 6, 2) for key in jax.random.split(jax.random.key(1), 600)])
    assert (rows[:, 0] != rows[:, 1]).all()
    assert np.abs(np.bincount(rows.ravel()) / 600 - 1 / 3).max() < 0.07
    assert sorted(np.asarray(batch_rows(jax.random.key(0), 6, 9)).tolist()) == list(range(6))


def sampled(loss, dimensions: int, how: Langevin, chains: int = 256) -> float:
    """n beta E[L] around 0, where the loss is 0, after a third of the steps."""
    keys = jax.random.split(jax.random.key(0), chains)
    run = jax.jit(jax.vmap(lambda key: chain(lambda w, _: loss(w), jnp.zeros(dimensions), key, how)))
    return how.nbeta * float(np.asarray(run(keys), np.float64)[:, how.steps // 3 :].mean())


def integrated(loss, how: Langevin) -> float:
    """n beta E[L] in two dimensions, on a grid."""
    side = np.linspace(-6, 6, 2401) / np.sqrt(how.gamma)
    energy = how.nbeta * loss(np.stack(np.meshgrid(side, side)))
    weight = np.exp(-energy - how.gamma / 2 * (side[:, None] ** 2 + side**2))
    return float((energy * weight).sum() / weight.sum())


@pytest.mark.parametrize("dimensions", [1, 6])
def test_of_a_regular_minimum_it_is_half_the_dimension(dimensions: int):
    found = sampled(lambda w: (w**2).sum(), dimensions, Langevin(1e-4, 500.0, 0.1, 1500))
    assert found == pytest.approx(dimensions / 2, rel=0.06)


def test_of_a_fourth_power_it_is_a_quarter():
    found = sampled(lambda w: (w**4).sum(), 1, Langevin(2e-3, 500.0, 0.01, 3000))
    assert found == pytest.approx(0.25, rel=0.06)


def test_of_a_normal_crossing_it_is_a_half_less_the_term_of_its_multiplicity():
    """w1^2 w2^2: coefficient 1/2 of multiplicity 2, so that n beta E[L] goes to 1/2 from below, as 1 / log n does."""

    def loss(w):
        return w[0] ** 2 * w[1] ** 2

    how = Langevin(1e-3, 1000.0, 5.0, 4500)
    exact = integrated(loss, how)
    assert sampled(loss, 2, how) == pytest.approx(exact, rel=0.06)
    assert exact < integrated(loss, how._replace(nbeta=1e5)) < 0.5


def test_rhat_and_effective_size_know_what_chains_are_worth():
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, 4000))
    assert split_rhat(noise) == pytest.approx(1, abs=0.005)
    assert effective_size(noise) == pytest.approx(16_000, rel=0.1)
    slow = np.zeros_like(noise)
    for at in range(1, 4000):
        slow[:, at] = 0.9 * slow[:, at - 1] + noise[:, at]
    assert effective_size(slow) == pytest.approx(16_000 * 0.1 / 1.9, rel=0.2)
    assert split_rhat(noise + np.arange(4)[:, None]) > 1.3
    assert split_rhat(noise + np.linspace(0, 5, 4000)) > 1.3
    assert drift(noise * 0 + np.linspace(0, 5, 4000)) == pytest.approx(5)
    assert np.isnan([split_rhat(noise[:, :1]), effective_size(noise[:, :2]), drift(noise[:, :1])]).all()


def test_every_snapshot_has_a_row_in_order(results: grokjax.Results, frame: pd.DataFrame):
    wanted = [(run_id, step) for run_id in results.run_ids for step in results.snapshots(run_id)]
    assert list(zip(frame["run_id"], frame["step"], strict=True)) == wanted
    assert np.isfinite(frame[["lambda", "lambda_se", "loss", "mean_loss", "rhat", "ess", "drift"]]).all(axis=None)
    assert (frame["n_beta"] == 29 / np.log(29)).all()
    assert (frame["trusted"] == (frame["why"] == "")).all()


def test_the_loss_at_the_center_is_what_was_recorded(results: grokjax.Results, frame: pd.DataFrame):
    recorded = results.curves(["train/loss"]).merge(frame, on=["run_id", "step"])
    assert len(recorded) == len(frame)
    np.testing.assert_allclose(recorded["loss"], recorded["train/loss"], rtol=1e-5)


def test_the_coefficient_is_that_of_the_traces(results: grokjax.Results, frame: pd.DataFrame):
    found = traces(results, results.run_ids[:1], 150, FEW)
    assert found["draw"].tolist() == [*range(40)] * 3
    row = frame.iloc[0]
    each = row["n_beta"] * (found.groupby("chain")["loss"].mean() - row["loss"])
    assert row["lambda"] == pytest.approx(each.mean(), rel=1e-4)
    assert row["lambda_se"] == pytest.approx(each.std() / np.sqrt(3), rel=1e-3)
    assert row["rhat"] == pytest.approx(split_rhat(found["loss"].to_numpy().reshape(3, 40)), rel=1e-3)


def test_it_does_not_depend_on_what_else_is_measured(results: grokjax.Results, frame: pd.DataFrame):
    run_id = results.run_ids[2]
    alone = learning_coefficient(results, run_id, 300, FEW).iloc[0]
    there = frame[(frame["run_id"] == run_id) & (frame["step"] == 300)].iloc[0]
    assert alone["lambda"] == pytest.approx(there["lambda"], rel=1e-4)
    other = learning_coefficient(results, run_id, 300, replace(FEW, seed=1)).iloc[0]
    assert other["lambda"] != pytest.approx(there["lambda"], rel=1e-4)


def test_many_batches_are_as_one(results: grokjax.Results, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "BATCH_BYTES", 1)
    found = learning_coefficient(results, results.run_ids[:2], sampling=FEW)
    np.testing.assert_allclose(found["lambda"], frame["lambda"][: len(found)], rtol=1e-4)


def test_what_is_not_to_be_trusted_is_said(results: grokjax.Results):
    measure = partial(learning_coefficient, results, results.run_ids[0])
    gone = measure(300, replace(FEW, step_size=1e3, gamma=1e3)).iloc[0]
    assert (gone["diverged"], gone["trusted"]) == (1, False)
    assert "100% of the chains diverged" in gone["why"]
    assert np.isnan(gone["lambda"])
    lost = measure(300, replace(FEW, step_size=1e-2, gamma=0)).iloc[0]
    assert "lose the solution" in lost["why"]
    short = measure(300, replace(FEW, burn_in=0, step_size=1e-4)).iloc[0]
    assert "drifts" in short["why"]


def test_chains_that_find_lower_loss_say_that_it_is_no_minimum(tmp_path: Path):
    sweep = {**SWEEP, "arms": {}, "log": {**SWEEP["log"], "snapshot_steps": "log:9"}}
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    early = grokjax.run(tmp_path / "sweep.yaml", tmp_path / "out")
    row = learning_coefficient(early, steps=1, sampling=replace(FEW, draws=100, step_size=1e-3, gamma=0.1)).iloc[0]
    assert row["below"] == 1
    assert row["lambda"] < 0
    assert "no minimum" in row["why"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"chains": 0}, "chains must be at least 1, got 0"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"burn_in": -1}, "burn_in must be at least 0"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"step_size": 0.0}, "step_size must be a positive number"),
        ({"gamma": float("nan")}, "gamma must be a number"),
        ({"seed": -1}, "seed must be within"),
    ],
)
def test_what_cannot_be_is_an_error(wrong: dict, what: str):
    with pytest.raises(ValueError, match=what):
        Sampling(**wrong)


def test_the_command_writes_csv(results: grokjax.Results, frame: pd.DataFrame, tmp_path: Path):
    out = tmp_path / "some.csv"
    few = ["--chains", "3", "--draws", "40", "--burn-in", "20", "--batch", "16", "--step-size", "1e-3", "--gamma", "20"]
    command = ["learning-coefficient", str(results.path), "--run", results.run_ids[0], *few, "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    read = pd.read_csv(out)
    np.testing.assert_allclose(read["lambda"], frame["lambda"][: len(read)], rtol=1e-4)
    done = CliRunner().invoke(app, [*command, "--step", "300", "--traces"])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(out)) == 3 * 40
    for wrong, what in ((["--run", "nobody"], "no run 'nobody'"), (["--chains", "0"], "chains must be"),
                        (["--step", "7"], "none at 7")):  # fmt: skip
        done = CliRunner().invoke(app, ["learning-coefficient", str(results.path), *wrong])
        assert done.exit_code == 2
        assert what in done.output


def test_the_picture_has_every_run(results: grokjax.Results, tmp_path: Path):
    paths = make("learning_coefficient", results, tmp_path / "lc", arm="decay", chains=2, draws=10)
    drawn = pd.read_csv(paths[-1])
    assert len(drawn) == 4 * 2
    assert {"arm", "group", "lambda", "lambda_se", "trusted"} <= set(drawn.columns)
    assert all(path.stat().st_size for path in paths)
