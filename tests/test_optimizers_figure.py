"""The comparison of optimizers: what is a setting, which is the best of a sweep, and when the sweep was too narrow."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import grokjax
from grokjax.figures import make, optimizers
from grokjax.results.read import Results

SCRIPT = Path(__file__).parents[1] / "scripts" / "optimizer_comparison.py"
SWEEP = """
base:
  task: {p: 5, train_fraction: 0.7}
  model: {name: mlp, widths: [8]}
  train: {steps: 20}
log: {every: 10, eval_every: 10}
parameters:
  seed: {values: [0, 1, 2, 3]}
arms:
  adam:
    base: {optimizer: {name: adam, weight_decay: 0}}
    parameters:
      optimizer.lr: {values: [0.001, 0.01, 0.1]}
      optimizer.weight_decay: {values: [0, 0.1]}
  momentum:
    base: {optimizer: {name: sgd, momentum: 0.9}}
    parameters:
      optimizer.lr: {values: [0.01, 0.1, 1.0e30]}
"""


class Told(Results):
    """Results whose outcomes are told, not trained."""

    def __init__(self, results, steps):
        self.path, self.manifest, self.planned = results.path, results.manifest, results.planned
        self.trained, self.steps = results.runs(), steps

    def runs(self):
        rows = self.trained
        keys = zip(rows["arm"], rows["optimizer.lr"], rows["optimizer.weight_decay"], rows["seed"], strict=True)
        step = [self.steps.get((arm, lr, decay), [np.nan] * 4)[int(seed)] for arm, lr, decay, seed in keys]
        return rows.assign(generalization_step=step)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimizers")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture
def told(results):
    steps = {
        ("adam", 0.01, 0.0): [100, 200, 300, 400],
        ("adam", 0.01, 0.1): [100, 200, 250, 400],  # as many, and sooner
        ("adam", 0.1, 0.1): [10, 10, np.nan, 10],  # sooner, but fewer
        ("momentum", 0.1, 0.0): [50, np.nan, np.nan, 60],
        ("momentum", 0.01, 0.0): [np.nan, 50, np.nan, np.nan],
    }
    return Told(results, steps)


def best_of(data, name):
    return data.settings.query("optimizer == @name and best").iloc[0]


def test_the_best_has_most_runs_generalized_then_the_smallest_median(told):
    data = optimizers.data(told)
    assert (data.by, data.x, data.names) == ("arm", "optimizer.lr", ("adam", "momentum"))
    adam = best_of(data, "adam")
    assert (adam["optimizer.lr"], adam["optimizer.weight_decay"], adam["median_step"]) == (0.01, 0.1, 225.0)
    assert (adam["tried_settings"], adam["tried_runs"], adam["generalized"], adam["runs"]) == (6, 24, 4, 4)
    momentum = best_of(data, "momentum")
    assert (momentum["optimizer.lr"], momentum["median_step"], momentum["fraction"]) == (0.1, 60.0, 0.5)
    assert (momentum["tried_settings"], momentum["tried_runs"]) == (3, 12)


def test_its_interval_is_wilson_s(told):
    for row in optimizers.data(told).settings.to_dict("records"):
        reference = stats.binomtest(row["generalized"], row["runs"]).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_at_each_lr_the_best_over_the_other_axes_is_drawn(told):
    drawn = optimizers.data(told).settings.query("optimizer == 'adam' and drawn")
    assert drawn["optimizer.lr"].tolist() == [0.001, 0.01, 0.1]
    assert drawn["fraction"].tolist() == [0.0, 1.0, 0.75]


def test_a_diverged_run_counts_as_one_that_did_not_generalize(results):
    row = optimizers.data(results).settings.query("optimizer == 'momentum' and `optimizer.lr` == 1e30").iloc[0]
    assert (row["runs"], row["diverged"], row["generalized"]) == (4, 4, 0)


def test_a_best_on_the_edge_of_an_axis_is_warned_of(told):
    # weight decay 0.1 is the largest of adam's; lr 0.01 has values on both sides
    assert optimizers.data(told).warnings == ("adam: the best weight_decay 0.1 is the largest tried",)
    told.steps = {("adam", 0.001, 0.0): [10] * 4, ("momentum", 0.01, 0.0): [10] * 4}
    # below a weight decay of 0 there is nothing to try
    assert optimizers.data(told).warnings == (
        "adam: the best lr 0.001 is the smallest tried",
        "momentum: the best lr 0.01 is the smallest tried",
    )
    assert "adam: the best lr 0.001 is the smallest tried" in optimizers.figure(optimizers.data(told)).get_suptitle()


def test_where_no_run_generalized_that_is_the_warning(told):
    told.steps = {("adam", 0.01, 0.1): [10] * 4}
    assert "momentum: no run generalized, at any setting" in optimizers.data(told).warnings


def test_within_an_arm_optimizers_are_told_apart_by_name_and_momentum(told):
    assert optimizers.data(told, arm="momentum").names == ("sgd + momentum",)
    assert optimizers.data(told, by="optimizer.weight_decay", arm="adam").names == ("0", "0.1")


def test_the_csv_holds_every_setting(results, tmp_path):
    paths = make("optimizers", results, tmp_path / "picture")
    csv = pd.read_csv(paths[-1])
    assert len(csv) == 9
    assert csv.groupby("optimizer")["best"].sum().tolist() == [1, 1]
    assert csv["runs"].sum() == len(results.runs())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "task.name"}, "not all numbers"),
        ({"by": "optimizer.nam"}, "did you mean optimizer.name"),
        ({"arm": "adm"}, "did you mean adam"),
    ],
)
def test_a_wrong_option_says_what_there_is(results, options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.data(results, **options)


def test_the_script_writes_three_files_and_repeats_the_warnings(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(results.path), "--out", str(tmp_path / "picture")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in lines[:3]] == ["picture.png", "picture.svg", "picture.csv"]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    assert lines[3:] == [f"warning: {text}" for text in optimizers.data(results).warnings]
    assert lines[3:]


def test_the_script_has_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 0
    assert "STEM.png, STEM.svg" in capsys.readouterr().out
