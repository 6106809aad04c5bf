"""Curves read a few runs at a time: never more than fit at once, and what comes of them is the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

import grokjax
from grokjax.analysis import curve_batches
from grokjax.analysis.curve_batches import in_batches, read_curves, read_frames
from grokjax.analysis.summary import derive
from grokjax.figures import bands, make
from grokjax.report.page import page
from grokjax.results.read import Results

SWEEP = """
base:
  task: {p: 5, train_fraction: 0.7}
  model: {name: mlp, widths: [8]}
  train: {steps: 40}
log: {every: 5, eval_every: 10}
parameters:
  seed: {values: [0, 1, 2]}
  optimizer.weight_decay: {values: [0.1, 1]}
"""
WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
RECORDS = 40 / 5 + 2  # of a run, as they are counted: a few more than there are


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("batches")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture
def budget(results: Results, monkeypatch: pytest.MonkeyPatch):
    dense = results.manifest.every_run[results.run_ids[0]].values["log.dense_first"]

    def allow(runs: float, metrics: int) -> None:
        monkeypatch.setattr(curve_batches, "BUDGET", runs * metrics * (RECORDS + dense))

    return allow


def test_a_batch_holds_as_many_runs_as_fit_and_all_come_once(results: Results, budget):
    budget(2, metrics=3)
    batches = list(in_batches(results, results.run_ids, metrics=3))
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert sorted(run_id for batch in batches for run_id in batch) == sorted(results.run_ids)
    assert [len(batch) for batch in in_batches(results, results.run_ids, metrics=1)] == [6]


def test_a_run_that_is_larger_than_the_budget_comes_alone(results: Results, budget):
    budget(0.1, metrics=1)
    assert [len(batch) for batch in in_batches(results, results.run_ids)] == [1] * 6


def test_frames_and_curves_hold_what_the_api_gives(results: Results, budget):
    metrics = ["train/loss", "test/loss"]
    whole = results.curves(metrics)
    budget(1, metrics=2)
    frames = pd.concat(read_frames(results, metrics, results.run_ids))
    order = ["run_id", "step"]
    pd.testing.assert_frame_equal(
        frames.sort_values(order, ignore_index=True), whole.sort_values(order, ignore_index=True)
    )
    for run_id, curves in read_curves(results, results.run_ids, metrics).items():
        stored = whole[whole["run_id"] == run_id].dropna(subset="test/loss")
        steps, values = curves.of("test/loss")
        assert steps.tolist() == stored["step"].tolist()
        assert values.tolist() == stored["test/loss"].tolist()
        assert curves.of("never/recorded")[0].tolist() == []


def test_events_pictures_and_the_report_do_not_depend_on_how_much_is_read_at_once(results: Results, budget, tmp_path):
    runs, events = derive(results)
    csv = make("curves", results, tmp_path / "whole")[-1].read_bytes()
    report = page(results, WHEN)
    budget(1, metrics=1)
    assert not curve_batches.fit_at_once(results, results.run_ids, 1)
    few_runs, few_events = derive(results)
    pd.testing.assert_frame_equal(few_runs, runs)
    pd.testing.assert_frame_equal(few_events, events)
    assert make("curves", results, tmp_path / "few")[-1].read_bytes() == csv
    assert page(results, WHEN) == report


def test_a_picture_reads_a_group_at_a_time_where_all_are_too_many(results: Results, budget, monkeypatch):
    budget(1, metrics=1)
    asked, real = [], Results.curves
    monkeypatch.setattr(Results, "curves", lambda self, names, runs: asked.append(len(runs)) or real(self, names, runs))
    bands.arm_bands(results, ["train/loss", "test/loss"], "optimizer.weight_decay", None)
    assert asked == [3, 3]
