"""The tangent kernel: against finite differences and explicit Jacobians, its properties, and stored runs."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.analysis import stored
from grokjax.analysis.kernel import Sample, cosine, describe, kernel, tangent_kernel
from grokjax.cli import app
from grokjax.figures import make
from grokjax.models.network import forward
from grokjax.train.step import precision

SWEEP = {
    "name": "kernel",
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [9], "activation": "tanh", "logit_scale": 2.0},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "train": {"steps": 40},
    },
    "log": {"every": 10, "eval_every": 10, "snapshot_every": 20},
    "arms": {
        "small": {"base": {"init": {"scale": 0.5}}, "parameters": {"seed": {"min": 0, "max": 1}}},
        "fixed": {"base": {"constraint": {"name": "fixed_norm", "radius": 3.0}}},
        "wide": {"base": {"numerics": {"params": "float64"}}},
        "attention": {"base": {"model": {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 8}}},
    },
}
FEW = Sample(examples=12, seed=3)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture(scope="module")
def frame(results: grokjax.Results):
    return kernel(results, sample=FEW)


def run_of(results: grokjax.Results, arm: str) -> str:
    return next(row.run_id for row in results.planned().itertuples() if row.arm == arm)


def by_differences(params: dict[str, np.ndarray], tokens: np.ndarray, p: int, scale: float) -> np.ndarray:
    """The kernel of a tanh MLP from its logits alone, each parameter moved a little both ways, in float64."""

    def logits(params: dict[str, np.ndarray]) -> np.ndarray:
        one_hot = np.concatenate([np.eye(p)[tokens[:, 0]], np.eye(p)[tokens[:, 1]]], axis=1)
        return (np.tanh(one_hot @ params["W.0"] + params["b.0"]) @ params["W.1"] + params["b.1"]) * scale

    gram = np.zeros((len(tokens), len(tokens)))
    for name, value in params.items():
        for at in np.ndindex(value.shape):
            up, down = value.copy(), value.copy()
            up[at] += 1e-5
            down[at] -= 1e-5
            slope = (logits(params | {name: up}) - logits(params | {name: down})) / 2e-5
            gram += slope @ slope.T
    return gram


@pytest.mark.parametrize("arm", ["small", "wide"])
def test_the_kernel_is_that_of_finite_differences(results: grokjax.Results, frame: pd.DataFrame, arm: str):
    run_id = run_of(results, arm)
    sample = FEW.of(stored.specs_of(results)[run_id])
    params = {name: value.astype(np.float64) for name, value in results.params(run_id, 20).items()}
    wanted = by_differences(params, np.asarray(sample.inputs), 7, 2.0)
    with precision(stored.specs_of(results)[run_id]):
        start = stored.start_params(results, [run_id])[run_id]
    start = {name: value.astype(np.float64) for name, value in start.items()}
    before = by_differences(start, np.asarray(sample.inputs), 7, 2.0)
    labels = np.asarray(sample.targets)
    row = frame[(frame["run_id"] == run_id) & (frame["step"] == 20)].iloc[0]
    for name, value in describe(wanted, before, labels).items():
        assert row[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_the_kernel_of_a_transformer_is_that_of_its_jacobian(results: grokjax.Results, frame: pd.DataFrame):
    run_id = run_of(results, "attention")
    spec = stored.specs_of(results)[run_id]
    params = {name: jnp.asarray(value) for name, value in results.params(run_id).items()}
    tokens = jnp.asarray(FEW.of(spec).inputs)
    with precision(spec, matmul="highest"):
        jacobian = jax.jit(jax.jacobian(lambda params: forward(spec, params, tokens).T * 2.0))(params)
        flat = np.concatenate([np.asarray(part).reshape(12, 8, -1) for part in jacobian.values()], axis=-1)
        found = tangent_kernel(lambda params, one: forward(spec, params, one[None])[:, 0] * 2.0, params, tokens)
    wanted = np.einsum("icp,jcp->ij", flat, flat)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    row = frame[(frame["run_id"] == run_id) & (frame["step"] == 40)].iloc[0]
    assert row["norm"] == pytest.approx(np.linalg.norm(wanted) / 12, rel=1e-4)


def test_a_linear_network_s_kernel_is_the_gram_matrix_of_its_inputs():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    params = {"W": jnp.ones((3, 4))}
    found = tangent_kernel(lambda params, one: 3 * one @ params["W"], params, x)
    np.testing.assert_allclose(found, 9 * 4 * np.asarray(x @ x.T), rtol=1e-5)


def test_alignment_is_1_of_the_labels_own_kernel_whatever_its_scale():
    labels = np.array([0, 1, 2, 1, 0, 5])
    one_hot = (labels[:, None] == np.unique(labels)).astype(float)
    one_hot -= one_hot.mean(0)
    wanted = one_hot @ one_hot.T
    found = describe(3 * wanted, wanted, labels)
    assert found["alignment"] == pytest.approx(1)
    assert found["centered_alignment"] == pytest.approx(1)
    assert found["change"] == pytest.approx(0, abs=1e-12)
    assert found["distance"] == pytest.approx(2)
    constant = describe(np.ones((6, 6)), wanted, labels)  # says nothing of the labels
    assert constant["alignment"] == pytest.approx(0, abs=1e-12)
    shifted = describe(wanted + 10, wanted, labels)
    assert shifted["alignment"] < 0.5
    assert shifted["centered_alignment"] == pytest.approx(1)
    assert np.isnan(cosine(wanted, 0 * wanted))


def test_every_snapshot_and_the_start_have_a_row_in_order(results: grokjax.Results, frame: pd.DataFrame):
    wanted = [(run_id, step) for run_id in results.run_ids for step in (0, *results.snapshots(run_id))]
    assert list(zip(frame["run_id"], frame["step"], strict=True)) == wanted
    assert frame[["alignment", "centered_alignment"]].stack().between(0, 1).all()
    starts = frame[frame["step"] == 0]
    assert (starts[["change", "centered_change", "distance"]] < 1e-12).all(axis=None)
    later = frame[frame["step"] > 0]
    assert (later[["change", "distance"]] > 1e-4).all(axis=None)


@pytest.mark.parametrize("arm", list(SWEEP["arms"]))
def test_the_start_is_the_one_that_training_had(results: grokjax.Results, arm: str):
    run_id = run_of(results, arm)
    spec = stored.specs_of(results)[run_id]
    with precision(spec):
        found = stored.start_params(results, [run_id])[run_id]
    (moment,) = grokjax.replay(results, run_id, 0, 0)
    for name, value in moment.params.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=0)


@pytest.mark.parametrize("optimizer", ["keep", "reset"])
def test_a_fork_starts_where_it_was_forked(results: grokjax.Results, tmp_path: Path, optimizer: str):
    parent = run_of(results, "small")
    origin = {"results": str(results.path), "run": parent, "step": 20, "optimizer": optimizer}
    base = {**SWEEP["base"], "init": {"from_run": origin}, "train": {"steps": 20}}
    (tmp_path / "sweep.yaml").write_text(json.dumps({"name": "fork", "base": base, "log": SWEEP["log"]}))
    fork = grokjax.run(tmp_path / "sweep.yaml", tmp_path / "out")
    found = stored.start_params(fork, fork.run_ids)[fork.run_ids[0]]
    for name, value in results.params(parent, 20).items():
        np.testing.assert_array_equal(found[name], value)


def test_it_does_not_depend_on_what_else_is_measured(results: grokjax.Results, frame: pd.DataFrame):
    run_id = results.run_ids[1]
    alone = kernel(results, run_id, 40, FEW)
    there = frame[(frame["run_id"] == run_id) & (frame["step"] == 40)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, there, rtol=1e-4, atol=1e-6)
    start = kernel(results, run_id, 0, FEW)
    assert start["step"].tolist() == [0]


def test_examples_are_of_the_part_asked_for(results: grokjax.Results):
    spec = stored.specs_of(results)[results.run_ids[0]]
    train, test = stored.examples_of(spec)
    pairs = {
        part: {tuple(row) for row in Sample(9, part).of(spec).inputs.tolist()} for part in ("train", "test", "all")
    }
    own = {"train": set(map(tuple, train.inputs.tolist())), "test": set(map(tuple, test.inputs.tolist()))}
    assert all(len(some) == 9 for some in pairs.values())
    assert pairs["train"] <= own["train"]
    assert pairs["test"] <= own["test"]
    assert len(Sample(500, "all").of(spec).targets) == 49
    assert (Sample(9, seed=1).of(spec).inputs != Sample(9).of(spec).inputs).any()


@pytest.mark.parametrize("wrong", [{"examples": 1}, {"part": "some"}, {"seed": -1}])
def test_what_cannot_be_is_an_error(wrong: dict):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Sample(**wrong)


def test_the_command_writes_csv(results: grokjax.Results, frame: pd.DataFrame, tmp_path: Path):
    out = tmp_path / "some.csv"
    command = ["kernel", str(results.path), "--run", results.run_ids[0], "--examples", "12", "--seed", "3"]
    done = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert done.exit_code == 0, done.output
    read = pd.read_csv(out)
    assert read["step"].tolist() == [0, 20, 40]
    np.testing.assert_allclose(read["alignment"], frame["alignment"][:3], rtol=1e-4)
    for wrong, what in ((["--run", "nobody"], "no run 'nobody'"), (["--part", "some"], "part must be one of"),
                        (["--step", "7"], "none at 7")):  # fmt: skip
        done = CliRunner().invoke(app, ["kernel", str(results.path), *wrong])
        assert done.exit_code == 2
        assert what in done.output


def test_the_picture_has_the_medians(results: grokjax.Results, tmp_path: Path):
    paths = make("kernel", results, tmp_path / "kernel", arm="small", examples=12)
    drawn = pd.read_csv(paths[-1])
    assert set(drawn["metric"]) == {"alignment", "centered_alignment", "change", "test/accuracy"}
    wanted = kernel(results, results.run_ids[:2], 20, Sample(12))["alignment"].median()
    found = drawn[(drawn["metric"] == "alignment") & (drawn["step"] == 20)]["median"].iloc[0]
    assert found == pytest.approx(wanted, rel=1e-4)
    assert all(path.stat().st_size for path in paths)
