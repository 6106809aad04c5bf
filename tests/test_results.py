"""The results directory and its API, as DESIGN and README promise them."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import grokjax
from grokjax.launch import Interrupted, train
from grokjax.sweep.expand import load_sweep

SWEEP = """
name: two_arms
base:
  task: {p: 7, train_fraction: 0.6}
  train: {steps: 25}
log: {every: 10, eval_every: 20}
parameters:
  seed: {values: [0, 1]}
arms:
  transformer:
    base: {model: {d_model: 8, heads: 2, d_mlp: 16}}
  mlp:
    base: {model: {name: mlp, widths: [12]}}
  same:
    base: {model: {name: mlp, widths: [12]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def test_runs_has_one_row_a_run_with_every_resolved_value(results):
    runs = results.runs()
    assert list(runs.columns[:4]) == ["run_id", "arm", "arms", "seed"]
    assert len(runs) == 4
    assert runs["run_id"].is_unique
    assert list(runs["arm"]) == ["transformer", "transformer", "mlp", "mlp"]
    assert runs["arms"].tolist()[2] == ["mlp", "same"]
    assert set(runs["optimizer.lr"]) == {1e-3}
    assert runs["model.d_head"].tolist()[:2] == [4, 4]
    assert runs["task.split.seed"].tolist() == [0, 1, 0, 1]
    assert runs["model.widths"].tolist()[2] == [12]
    assert set(runs["status"]) == {"ended"}
    assert {"outcome", "fit_step", "generalization_step", "delay", "slingshots"} <= set(runs.columns)
    assert "final/train/loss" in runs
    assert "final/norm/W_E" in runs


def test_records_stand_at_0_every_and_the_end(results):
    curves = results.curves("train/loss")
    for _, rows in curves.groupby("run_id"):
        assert rows["step"].tolist() == [0, 10, 20, 25]


def test_test_metrics_stand_at_evaluations_and_the_end_and_other_rows_are_left_out(results):
    curves = results.curves(["test/loss"])
    assert curves.groupby("run_id")["step"].apply(list).tolist() == [[0, 20, 25]] * 4


def test_update_norm_is_null_at_the_end(results):
    curves = results.curves(["train/loss", "update_norm/W_U"], runs=results.runs()["run_id"][0])
    assert curves["update_norm/W_U"].isna().tolist() == [False, False, False, True]
    assert results.curves("update_norm/W_U")["step"].max() == 20


def test_columns_of_all_files_are_unified(results):
    curves = results.curves(["norm/W_E", "norm/W.0"])
    first, last = results.runs()["run_id"].iloc[[0, -1]]
    assert curves[curves["run_id"] == first]["norm/W.0"].isna().all()
    assert curves[curves["run_id"] == last]["norm/W.0"].notna().all()


def test_curves_come_by_run_and_step(results):
    curves = results.curves("train/loss")
    order = {run_id: place for place, run_id in enumerate(results.runs()["run_id"])}
    keys = [(order[run_id], step) for run_id, step in zip(curves["run_id"], curves["step"], strict=True)]
    assert keys == sorted(keys)


def test_an_unknown_metric_or_run_is_an_error_with_a_suggestion(results):
    with pytest.raises(ValueError, match="did you mean train/loss"):
        results.curves(["train/los"])
    with pytest.raises(ValueError, match="no run 'abc'"):
        results.curves("train/loss", runs=["abc"])


def test_final_values_are_the_last_record(results):
    runs = results.runs().set_index("run_id")
    last = results.curves("train/loss").groupby("run_id")["train/loss"].last()
    pd.testing.assert_series_equal(runs["final/train/loss"].sort_index(), last.sort_index(), check_names=False)


def test_final_parameters_have_the_norms_of_the_last_record(results):
    for run_id in results.runs()["run_id"]:
        norm = results.curves("norm/total", runs=run_id)["norm/total"].iloc[-1]
        params = results.params(run_id)
        assert np.sqrt(sum((value.astype(float) ** 2).sum() for value in params.values())) == pytest.approx(norm, 1e-6)


def test_derived_tables_are_rebuilt_when_they_are_gone_or_stale(results, folder):
    wanted = results.runs()
    (folder / "out" / "runs.parquet").unlink()
    pd.testing.assert_frame_equal(grokjax.open_results(folder / "out").runs(), wanted)
    assert (folder / "out" / "runs.parquet").exists()
    table = pq.read_table(folder / "out" / "runs.parquet")
    pq.write_table(
        table.slice(0, 1).replace_schema_metadata({b"grokjax.curves": b"other"}), folder / "out" / "runs.parquet"
    )
    pd.testing.assert_frame_equal(grokjax.open_results(folder / "out").runs(), wanted)


def test_an_unfinished_chunk_goes_on_and_ends_alike(results, folder):
    sweep = load_sweep(folder / "sweep.yaml")
    stop_after = Countdown(1)
    with pytest.raises(Interrupted):
        train(sweep, folder / "cut", stop_after)
    part = grokjax.open_results(folder / "cut")
    assert set(part.runs()["status"]) == {"ended", "planned"}
    assert part.runs()["outcome"].isna().any()
    whole = train(sweep, folder / "cut")
    pd.testing.assert_frame_equal(whole.curves(), results.curves())
    for run_id in whole.run_ids:
        for name, value in results.params(run_id).items():
            np.testing.assert_array_equal(whole.params(run_id)[name], value)


class Countdown:
    """A screen that asks to stop, as Ctrl-C does, after some segments."""

    def __init__(self, segments: int):
        self.left = segments

    def started(self, plan, done, begun):
        pass

    def compiling(self, bucket):
        pass

    def say(self, text):
        pass

    def resumed(self, bucket, steps, ended, did):
        pass

    def finished(self):
        pass

    def segment(self, bucket, segment):
        self.left -= 1
        if self.left == 0:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


def test_short_segments_record_the_same_rows_as_one_long_one(folder, monkeypatch):
    monkeypatch.setattr("grokjax.results.write.FLUSH_SECONDS", -1.0)
    settings = {"log.dense_first": 3, "log.every": 5, "train.steps": 47, "seed": 0}
    frames = []
    for number, seconds in enumerate((8.0, 1e-9)):
        monkeypatch.setattr("grokjax.plan.plan.SEGMENT_SECONDS", seconds)
        out = folder / f"segments-{number}"
        frames.append(grokjax.run(folder / "sweep.yaml", out, set=settings).curves())
        written = sum(pd.read_parquet(path)["written"].nunique() for path in out.glob("chunks/*/*/curves-*"))
        assert written > 10 if number else written <= 6
    pd.testing.assert_frame_equal(frames[0], frames[1], rtol=1e-3, atol=1e-6)
    steps = frames[0].groupby("run_id")["step"].apply(list).tolist()
    assert steps == [[0, 1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 47]] * 2
