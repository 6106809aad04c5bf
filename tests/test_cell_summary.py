"""Tables of cells: k of n, censored medians, and their text; curves as an xarray dataset; results in a notebook."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from told_results import NEVER, results_of, run
from told_results import Told as ToldResults

import grokjax
from grokjax.analysis.cell_summary import summarize

SWEEP = """
name: cells
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [12]}
  train: {steps: 25}
log: {every: 10, eval_every: 20}
parameters:
  seed: {values: [0, 1, 2]}
  optimizer.lr: {values: [1e-3, 1e-2]}
"""


def told(rows: list[dict[str, Any]]) -> Any:
    members = ToldResults(rows)
    every_run = {row["run_id"]: SimpleNamespace(values=row) for row in members.runs().to_dict("records")}
    manifest = SimpleNamespace(axes={"main": ("seed", "train.batch")}, every_run=every_run)
    return results_of(path=members.path, runs=members.runs, manifest=manifest)


def test_a_median_counts_the_runs_that_never_did():
    """Of 730, 1030 and two that never did, the median is not 880."""
    rows = [run(generalization=step, seed=at, train__batch=None) for at, step in enumerate([730, 1030, NEVER, NEVER])]
    (row,) = summarize(told(rows)).to_dict("records")
    assert (row["runs"], row["generalized"]) == (4, 2)
    assert row["median_step"] == 1030  # just half of them got there: the last of these
    assert "2 of 4" in summarize(told(rows)).to_markdown()


def test_a_null_value_is_a_cell_of_its_own_and_running_runs_are_counted_apart():
    rows = [run(generalization=500, train__batch=value, seed=at) for at, value in enumerate([None, 16, None, 16])]
    rows.append(run(train__batch=16, seed=4, status="running"))
    frame = summarize(told(rows))
    assert sorted(frame["runs"]) == [2, 2]
    assert frame["going"].tolist() == [1 if value == 16 else 0 for value in frame["train.batch"]]
    assert frame["train.batch"].isna().sum() == 1
    assert "2 (+ 1 going)" in frame.to_markdown()


def test_markdown_and_latex_have_a_row_a_cell_and_need_no_package():
    rows = [run(generalization=500, train__batch=size, seed=at) for size in (8, 16) for at in range(2)]
    frame = summarize(told(rows))
    markdown = frame.to_markdown().splitlines()
    assert len(markdown) == 4
    assert markdown[0].startswith("| train.batch | runs | fit | generalized |")
    assert markdown[2].split(" | ")[:3] == ["| 8", "2", "2 of 2"]
    latex = frame.to_latex()
    assert latex.count(r"\\") == 3
    assert latex.startswith(r"\begin{tabular}{llllllll}")
    hidden = "import sys; sys.modules['tabulate'] = sys.modules['jinja2'] = None\n"
    code = hidden + "from grokjax.analysis.cell_summary import Summary; print(Summary([]).to_latex())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"no key 'sed' in told \(did you mean seed\?\)"):
        summarize(told([run(train__batch=8)]), by="sed")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cells")
    (folder / "cells.yaml").write_text(SWEEP)
    return grokjax.run(folder / "cells.yaml", folder / "out")


def test_columns_that_vary_come_first_and_constants_last(results):
    columns = list(results.runs())
    constants = results.constants()
    assert columns[:4] == ["run_id", "arm", "arms", "seed"]
    assert columns.index("optimizer.lr") < columns.index("outcome") < columns.index("task.p")
    assert set(columns[-len(constants) :]) == set(constants)
    assert constants["task.p"] == 7
    assert "optimizer.lr" not in constants


def test_a_summary_by_any_key_pools_the_rest(results):
    assert results.summary()["optimizer.lr"].tolist() == [1e-3, 1e-2]
    assert results.summary(by="seed")["runs"].tolist() == [2, 2, 2]
    assert results.summary(by=["seed", "lr"])["optimizer.lr"].nunique() == 2  # the name that pictures show will do
    assert results.summary(by=["seed", "optimizer.lr"])["runs"].tolist() == [1] * 6


def test_a_dataset_has_the_curves_and_the_axes(results):
    pytest.importorskip("xarray")
    data = results.dataset(["train/loss", "test/accuracy"])
    assert dict(data.sizes) == {"run": 6, "step": 4}
    assert data["step"].values.tolist() == [0, 10, 20, 25]
    runs = results.runs().set_index("run_id")
    for run_id in runs.index:
        curve = results.curves("train/loss", run_id)
        np.testing.assert_array_equal(data["train/loss"].sel(run=run_id), curve["train/loss"])
        assert data["optimizer.lr"].sel(run=run_id) == runs["optimizer.lr"][run_id]
    assert data["test/accuracy"].isnull().sum() == 6  # at step 10 nothing is evaluated
    fast = data.where(data["optimizer.lr"] == 1e-2, drop=True)
    assert fast.sizes["run"] == 3
    assert data.attrs["task.p"] == 7


def test_a_notebook_shows_what_was_swept_and_a_picture(results):
    html = results._repr_html_()
    assert "6 runs: " in html
    assert "<code>optimizer.lr</code> (2 values)" in html
    assert html.count("<tr") == 3
    assert "<svg" in html
