"""A null value is a value: its word is declared on its field, and it has a place in every picture and table."""

import numpy as np
import pandas as pd
import pytest

import grokjax
from grokjax.analysis.cells import null_number, null_runs, ordered_values, runs_of
from grokjax.analysis.outcomes import edges
from grokjax.figures import curves, efficiency, optimizers, phase, times
from grokjax.figures.groups import group_runs, value_texts
from grokjax.figures.style import value_text
from grokjax.spec.nulls import null_of
from grokjax.spec.run import RunSpec
from grokjax.spec.walk import fields_of, section_of

SWEEP = """
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  optimizer: {lr: 0.03}
  train: {steps: 40}
log: {every: 10, eval_every: 20}
arms:
  batch:
    parameters:
      seed: {values: [0, 1]}
      train.batch: {values: [null, 14, 4]}
  sizes:
    parameters:
      task.train_fraction: {values: [0.4, 0.6]}
      train.batch: {values: [null, 8]}
  held:
    base: {constraint: {name: fixed_norm}, train: {steps: 20}}
    parameters:
      constraint.radius: {values: [5, null]}
"""
EXAMPLES = 29  # int(0.6 * 49)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nulls")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def of_arm(results, arm):
    return runs_of(results.planned(), arm)


def test_every_section_that_all_runs_have_says_what_its_nulls_mean():
    silent = []
    for name, field in fields_of(RunSpec).items():
        section = section_of(field.annotation)
        for inner, inner_field in fields_of(section).items() if section and name != "uses" else ():
            if inner_field.default is None and null_of(f"{name}.{inner}") is None:
                silent.append(f"{name}.{inner}")
    assert silent == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("train.batch", "full batch"),
        ("stop.after_generalization", "never"),
        ("optimizer.clip_norm", "no clipping"),
        ("constraint.radius", "initial norm"),
        ("task.split.seed", "the run's seed"),
        ("model.widths", "none"),
        ("no.such.key", "none"),
    ],
)
def test_null_is_told_in_the_word_that_its_field_declares(key, text):
    assert value_text(None, key) == text
    assert value_text(np.nan, key) == text


def test_null_stands_last_where_it_is_the_most_and_else_first():
    assert ordered_values(pd.Series([None, 64, 8], name="train.batch")) == [8, 64, None]
    assert ordered_values(pd.Series([64, None, 8]), "constraint.radius") == [None, 8, 64]


def test_a_full_batch_is_told_with_its_examples_where_all_runs_have_as_many(results):
    assert list(value_texts(results, of_arm(results, "batch"), "train.batch").values()) == [
        "4",
        "14",
        f"full batch ({EXAMPLES})",
    ]
    assert value_texts(results, of_arm(results, "sizes"), "train.batch")[None] == "full batch"
    assert null_number("constraint.radius", of_arm(results, "held")) is None


def test_a_run_without_a_key_has_no_null_there(results):
    runs = results.planned()
    assert null_runs(results, "constraint.radius", of_arm(results, "batch")) == []
    assert value_texts(results, of_arm(results, "batch"), "constraint.radius") == {None: "none"}
    assert len(null_runs(results, "constraint.radius", runs)) == 1


def test_pictures_and_tables_tell_null_in_words(results):
    full = f"full batch ({EXAMPLES})"
    grouping = group_runs(results, results.planned(), "batch")
    assert grouping.labels == ["4", "14", full]
    assert set(curves.table(curves.data(results, arm="batch"))["train.batch"]) == {4, 14, full}
    cells = phase.data(results, x="train.batch", y="seed", arm="batch")
    assert cells.x_values == ("4", "14", full)
    assert set(cells.cells["x"]) == {"4", "14", full}


def test_null_has_a_place_beyond_the_numbers_of_an_axis(results):
    data = times.data(results, x="train.batch", arm="batch")
    assert data.null is not None
    assert data.null.x > data.null.edge > 14
    assert len(data.points) + sum(data.left_out.values()) == 6
    rows = times.table(data).query("row == 'run'")
    assert (rows["train.batch"] == f"full batch ({EXAMPLES})").sum() == data.points["x"].isna().sum() == 2
    (axes,) = times.figure(data).axes
    assert f"full\nbatch\n({EXAMPLES})" in [label.get_text() for label in axes.get_xticklabels()]


def test_null_of_a_norm_stands_before_the_numbers(results):
    data = times.data(results, x="constraint.radius", arm="held")
    assert data.null is not None
    assert data.null.x < data.null.edge < 5


@pytest.mark.parametrize("module", [optimizers, efficiency])
def test_the_other_axes_of_numbers_have_that_place_too(results, module):
    data = module.data(results, x="train.batch", arm="batch")
    assert data.null.x > 14
    assert f"full batch ({EXAMPLES})" in set(module.table(data)["train.batch"])
    module.figure(data)


def test_the_largest_number_is_no_edge_where_null_was_tried_that_is_more():
    frame = pd.DataFrame({"train.batch": [8.0, 64.0, None], "constraint.radius": [8.0, 64.0, None]})
    assert edges(frame, 1, ["train.batch"]) == []
    assert edges(frame, 2, ["train.batch"]) == []
    assert edges(frame, 0, ["train.batch"]) == [("train.batch", 8.0, "smallest")]
    assert edges(frame, 1, ["constraint.radius"]) == [("constraint.radius", 64.0, "largest")]


def test_a_table_of_cells_tells_null_by_its_word(results):
    lines = results.summary("batch").to_markdown().splitlines()
    assert lines[-1].startswith("| full batch |")  # several train sets: of no one number
    assert results.summary("batch").tail(1).to_latex().count("full batch") == 1


def test_a_dataset_has_the_word_of_null_and_the_number_that_it_comes_to(results):
    pytest.importorskip("xarray")
    data = results.dataset("train/loss")
    full = data.where(data["train.batch"] == "full batch", drop=True)
    of_runs = results.runs()
    assert full.sizes["run"] == of_runs["train.batch"].isna().sum() > 0
    assert full["batch_size"].values.tolist() == of_runs.loc[of_runs["train.batch"].isna(), "batch_size"].tolist()
    has_no_such_key = of_runs["constraint.name"] == "none"
    assert (data["constraint.radius"].values[has_no_such_key] == "").all()
