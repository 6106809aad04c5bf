"""The ray through stored parameters: against plain NumPy, and against what was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import grokjax
from grokjax.analysis.landscape import METRICS, ray
from grokjax.figures import make
from grokjax.results.manifest import read_manifest
from grokjax.tasks.all import table
from grokjax.tasks.examples import split

SWEEP = {
    "name": "landscape",
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [12], "logit_scale": 2.0},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "train": {"steps": 60},
    },
    "log": {"every": 10, "eval_every": 10, "snapshot_every": 20},
    "arms": {
        "decay": {"parameters": {"seed": {"min": 0, "max": 1}, "optimizer.weight_decay": {"values": [0, 1]}}},
        "wide": {"base": {"numerics": {"params": "float64"}, "optimizer": {"weight_decay": 0}}},
        "split": {"base": {"seed": 5, "task": {"train_fraction": 0.4}, "loss": {"name": "mse"}}},
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("landscape")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def by_hand(results: grokjax.Results, run_id: str, step: int | None, scale: float) -> list[float]:
    """METRICS of an MLP on two one-hot operands, in float64."""
    spec = next(run.spec for run in read_manifest(results.path).plan.sweep.runs if run.run_id == run_id)
    params = {name: value.astype(np.float64) * scale for name, value in results.params(run_id, step).items()}
    examples = table(spec.task)
    rows = split(spec.task, len(examples.targets), spec.task.train_size)
    found = []
    for part in (rows.train, rows.test):
        tokens, labels = np.asarray(examples.inputs)[part], np.asarray(examples.targets)[part]
        one_hot = np.concatenate([np.eye(spec.task.p)[tokens[:, 0]], np.eye(spec.task.p)[tokens[:, 1]]], axis=1)
        hidden = np.maximum(one_hot @ params["W.0"] + params["b.0"], 0)
        logits = (hidden @ params["W.1"] + params["b.1"]) * spec.model.logit_scale
        if spec.loss.name == "mse":
            loss = ((logits - np.eye(logits.shape[1])[labels]) ** 2).mean()
        else:
            shifted = logits - logits.max(1, keepdims=True)
            loss = (np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean()
        found += [loss, (logits.argmax(1) == labels).mean()]
    return found


@pytest.mark.parametrize("step", [None, 20])
def test_the_ray_is_that_of_plain_numpy(results: grokjax.Results, step: int | None):
    scales = [0.3, 1.0, 2.5]
    rays = ray(results, step=step, scales=scales)
    assert list(rays["run_id"].drop_duplicates()) == results.run_ids
    for row in rays.to_dict("records"):
        wanted = by_hand(results, row["run_id"], step, row["scale"])
        np.testing.assert_allclose([row[name] for name in METRICS], wanted, rtol=2e-5, atol=1e-7)
        params = results.params(row["run_id"], step)
        norm = np.sqrt(sum(np.sum(value.astype(np.float64) ** 2) for value in params.values()))
        assert row["norm"] == pytest.approx(norm * row["scale"], rel=1e-12)


def test_unscaled_it_is_what_was_recorded(results: grokjax.Results):
    rays = ray(results, scales=[1.0]).set_index("run_id")
    runs = results.runs().set_index("run_id").loc[rays.index]
    for name in METRICS:
        np.testing.assert_allclose(rays[name], runs[f"final/{name}"], rtol=1e-5)
    assert (rays["step"] == 60).all()


@pytest.mark.parametrize("scales", [[], [0.0], [-1.0, 1.0], [float("nan")]])
def test_scales_that_are_none_are_an_error(results: grokjax.Results, scales: list[float]):
    with pytest.raises(ValueError, match="scales must be positive"):
        ray(results, scales=scales)


def test_an_unknown_run_or_step_is_an_error(results: grokjax.Results):
    with pytest.raises(ValueError, match="no run 'xyzw'"):
        ray(results, ["xyzw"])
    with pytest.raises(ValueError, match="none at 7"):
        ray(results, step=7)


def test_the_picture_has_the_medians_and_marks_where_the_runs_were(results: grokjax.Results, tmp_path: Path):
    from grokjax.figures import landscape

    (arm,) = landscape.data(results, arm="decay")
    rays = ray(results, [run_id for group in arm.grouping.groups for run_id in group.run_ids])
    for index, group in enumerate(arm.grouping.groups):
        losses = arm.bands[(arm.bands["group"] == index) & (arm.bands["metric"] == "test/loss")]
        trained = losses[losses["scale"] == 1.0].iloc[0]
        as_trained = rays[rays["run_id"].isin(group.run_ids) & (rays["scale"] == 1.0)]
        assert trained["median"] == pytest.approx(as_trained["test/loss"].median())
        assert trained["norm"] == pytest.approx(as_trained["norm"].median())
    paths = make("landscape", results, tmp_path / "ray", arm="decay")
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"]
    assert all(path.stat().st_size for path in paths)
