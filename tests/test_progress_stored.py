"""Progress measures of stored runs: those of the probe, with the key frequencies of the end; and the command."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.analysis import progress as analysis
from grokjax.analysis import stored
from grokjax.cli import app
from grokjax.figures import make, progress
from grokjax.probes import progress as measures
from grokjax.results.manifest import read_manifest

SWEEP = """
name: small
base:
  model: {name: mlp, widths: [12], activation: square, bias: false, logit_scale: 2.0}
  init: {scheme: fan_in}
  optimizer: {lr: 0.02, weight_decay: 0.1}
  train: {steps: 40}
log: {every: 20, eval_every: 20, snapshot_every: 20}
parameters:
  seed: {min: 0, max: 1}
arms:
  seven: {base: {task: {p: 7, train_fraction: 0.6}}}
  six: {base: {task: {p: 6, op: subtract, train_fraction: 0.6}}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture(scope="module")
def frame(results):
    return analysis.progress(results)


def test_every_snapshot_has_a_row_and_every_measure_a_column(results, frame):
    assert list(frame.columns[:2]) == ["run_id", "step"]
    wanted = [(run_id, step) for run_id in results.run_ids for step in results.snapshots(run_id)]
    assert list(zip(frame["run_id"], frame["step"], strict=True)) == wanted
    assert {"progress/restricted_loss", "progress/gini_out", "stable_rank/W.1"} <= set(frame.columns)
    assert set(frame.dtypes[2:]) == {np.dtype(np.float32)}
    assert np.isfinite(frame.iloc[:, 2:]).all(axis=None)


def test_measures_are_the_probe_s_with_the_key_frequencies_of_the_end(results, frame):
    specs = {run.run_id: run.spec for chunk in read_manifest(results.path).plan.chunks for run in chunk.runs}
    run_id = results.run_ids[-1]
    spec = specs[run_id]
    final, early = ({name: jnp.asarray(value) for name, value in results.params(run_id, step).items()}
                    for step in (40, 20))  # fmt: skip
    keys = jax.jit(partial(measures.spectrum, spec))(final)["is_key"] > 0
    assert keys.any()
    train = jnp.asarray(stored.examples_of(spec)[0].inputs)
    wanted = jax.jit(partial(measures.progress, spec))(early, train, 2.0, keys)
    row = frame[(frame["run_id"] == run_id) & (frame["step"] == 20)].iloc[0]
    for name, value in wanted.items():
        assert row[name] == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


def test_runs_and_steps_can_be_chosen(results, frame):
    run_id = results.run_ids[2]
    found = analysis.progress(results, run_id, 20)
    assert len(found) == 1
    one = frame[(frame["run_id"] == run_id) & (frame["step"] == 20)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, one[found.columns], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="none at 21"):
        analysis.progress(results, run_id, [20, 21])
    with pytest.raises(ValueError, match="no run 'nobody'"):
        analysis.progress(results, ["nobody"])


def test_many_batches_are_as_one(results, frame, monkeypatch):
    monkeypatch.setattr(
        stored, "BATCH_BYTES", 3 * stored.all_pairs_bytes(read_manifest(results.path).plan.buckets[0].spec)
    )
    found = analysis.progress(results, results.run_ids[:2])
    wanted = frame[frame["run_id"].isin(results.run_ids[:2])]
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-4, atol=1e-6)


def test_frequencies_have_a_row_each(results):
    found = analysis.frequencies(results, results.run_ids[:1], 40)
    assert list(found["frequency"]) == [1, 2, 3]
    assert (found["neurons"] > 0).tolist() == (found["is_key"] == 1).tolist()


def test_the_command_writes_csv(results, frame, tmp_path):
    out = tmp_path / "some.csv"
    done = CliRunner().invoke(app, ["progress", str(results.path), "--run", results.run_ids[0], "--out", str(out)])
    assert done.exit_code == 0, done.output
    read = pd.read_csv(out)
    wanted = frame[frame["run_id"] == results.run_ids[0]]
    assert list(read["step"]) == list(wanted["step"])
    np.testing.assert_allclose(read["progress/trig_loss"], wanted["progress/trig_loss"], rtol=1e-4, atol=1e-6)
    done = CliRunner().invoke(app, ["progress", str(results.path), "--run", "nobody"])
    assert done.exit_code == 2
    assert "no run 'nobody'" in done.output


def test_the_picture_has_the_medians_of_measures_and_the_recorded_losses(results, frame, tmp_path):
    paths = make("progress", results, tmp_path / "progress", arm="seven")
    drawn = pd.read_csv(paths[-1])
    own = frame[frame["run_id"].isin(results.run_ids[:2]) & (frame["step"] == 20)]
    for name in progress.STRUCTURE.keys() & set(frame.columns) | {"progress/excluded_loss"}:
        found = drawn[(drawn["metric"] == name) & (drawn["step"] == 20)]["median"].iloc[0]
        assert found == pytest.approx(own[name].median(), rel=1e-5), name
    assert set(drawn[drawn["metric"] == "test/loss"]["step"]) == {0, 20, 40}
    assert all(path.stat().st_size for path in paths)
