"""Several results directories beside each other: as tables (`grokjax compare`), and in one picture."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.analysis.censored import wilson
from grokjax.analysis.compare import differences, outcomes_by_arm
from grokjax.cli import app
from grokjax.comparison import outcomes_text
from grokjax.figures import OF_NETWORKS, curves, draw, phase
from grokjax.results.joined import join

BASE = """
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  train: {steps: 20}
log: {every: 10, eval_every: 10}
events: {generalization: 0.01}
"""
ONE = f"name: one{BASE}parameters: {{seed: {{min: 0, max: 2}}, optimizer.weight_decay: {{values: [0, 1]}}}}\n"
# Two runs of `one` again (weight decay 0), and another family.
TWO = f"""name: two{BASE}arms:
  again:
    base: {{optimizer: {{weight_decay: 0}}}}
    parameters: {{seed: {{min: 1, max: 3}}}}
  sgd:
    base: {{optimizer: {{name: sgd, lr: 1e30}}, train: {{batch: 4}}}}
    parameters: {{seed: {{min: 0, max: 1}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    for name, text in {"one": ONE, "two": TWO}.items():
        (folder / f"{name}.yaml").write_text(text)
        grokjax.run(folder / f"{name}.yaml", folder / name)
    return folder


@pytest.fixture(scope="module")
def parts(folder):
    return [grokjax.open_results(folder / name) for name in ("one", "two")]


@pytest.fixture(scope="module")
def joined(parts):
    return join(parts)


def call(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def table_of(text, first):
    """The lines of a table whose head starts with a word, as lists of cells."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[start:]:
        if not line:
            break
        rows.append([cell.strip() for cell in line.split("  ") if cell.strip()])
    return rows


def test_joined_runs_are_those_of_both_each_once_under_arms_by_sweep(parts, joined):
    runs = joined.runs()
    both = set(parts[0].run_ids) & set(parts[1].run_ids)
    assert len(both) == 2
    assert len(runs) == 6 + 5 - 2 == runs["run_id"].nunique()
    assert list(joined.manifest.axes) == ["one", "two/again", "two/sgd"]
    for row in runs.to_dict("records"):
        assert (row["arms"] == ["one", "two/again"]) == (row["run_id"] in both)


def test_joined_curves_events_and_parameters_are_those_of_their_directories(parts, joined):
    metrics = ["train/loss", "norm/W.0"]
    found = joined.curves(metrics).set_index(["run_id", "step"])
    for part in parts:
        wanted = part.curves(metrics).set_index(["run_id", "step"])
        pd.testing.assert_frame_equal(found.loc[wanted.index], wanted)
    assert len(found) == len(pd.concat([part.curves(metrics) for part in parts]).drop_duplicates(["run_id", "step"]))
    events = pd.concat([part.events() for part in parts]).drop_duplicates(["run_id", "kind", "step"])
    assert len(joined.events()) == len(events)
    last = parts[1].run_ids[-1]
    for name, value in parts[1].params(last).items():
        np.testing.assert_array_equal(joined.params(last)[name], value)


def test_a_picture_of_several_has_their_arms_side_by_side(parts, joined):
    arms = {arm.grouping.arm: arm for arm in curves.data(joined).arms}
    assert list(arms) == ["one", "two/again", "two/sgd"]
    assert arms["one"].sizes == (3, 3)
    assert arms["two/again"].sizes == (3,)
    pd.testing.assert_frame_equal(arms["one"].bands, curves.data(parts[0]).arms[0].bands)
    figure = draw("curves", joined, metric=["train/loss"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title.replace("\n", " ") for title in titles] == [f"{arm}: train loss" for arm in arms]
    assert phase.data(joined, x="seed", arm="two/again").x_values == ("1", "2", "3")


@pytest.mark.parametrize("kind", OF_NETWORKS)
def test_kinds_that_go_back_to_networks_refuse_several_directories(joined, kind):
    with pytest.raises(ValueError, match="it is of one results directory at a time"):
        draw(kind, joined)


def test_what_differs_is_told_of_every_arm_and_a_family_s_keys_where_it_has_them(joined):
    rows = differences(joined).set_index("key")
    assert list(rows.loc["seed"]) == [(0, 1, 2), (1, 2, 3), (0, 1)]
    assert list(rows.loc["optimizer.weight_decay"]) == [(0.0, 1.0), (0.0,), (0.0,)]
    assert list(rows.loc["optimizer.b1"]) == [(0.9,), (0.9,), ()]
    assert list(rows.loc["optimizer.momentum"]) == [(), (), (0.0,)]
    assert list(rows.loc["train.batch"]) == [(None,), (None,), (4,)]
    assert "task.p" not in rows.index
    assert differences(join([joined.parts[0]])).empty


def test_outcomes_are_k_of_n_with_their_intervals(joined):
    rows = outcomes_by_arm(joined).set_index("arm")
    runs = joined.runs()
    for arm, row in rows.iterrows():
        of_arm = runs[[arm in arms for arms in runs["arms"]]]
        assert row["runs"] + row["unended"] == len(of_arm)
        assert row["generalized"] == of_arm["outcome"].isin(["generalized", "lost"]).sum() or row["diverged"]
        assert row["diverged"] == (of_arm["status"] == "diverged").sum()
        assert (row["low"], row["high"]) == pytest.approx(wilson(int(row["generalized"]), int(row["runs"])))
    assert rows["runs"].tolist() == [6, 3, 2]


def test_compare_says_what_differs_and_what_runs_did(folder):
    done = call(folder / "one", folder / "two")
    assert done.exit_code == 0
    differs, outcomes = table_of(done.output, "differs"), table_of(done.output, "arm ")
    assert differs[0] == ["differs", "one", "two/again", "two/sgd"]
    assert ["optimizer.name", "adamw", "adamw", "sgd"] in differs
    assert ["train.batch", "full batch", "full batch", "4"] in differs
    assert [row[0] for row in outcomes] == ["arm", "one", "two/again", "two/sgd"]
    assert outcomes[1][1].endswith(" of 6")
    assert outcomes[3][-2] == "2 of 2"  # diverged


def test_compare_by_a_key_and_of_some_runs_has_a_row_a_value(folder, tmp_path):
    out = tmp_path / "rows.csv"
    words = ["--by", "weight_decay", "--where", "seed < 2 and optimizer.name == adamw", "--out", out]
    done = call(folder / "one", folder / "two", *words)
    assert done.exit_code == 0
    rows = pd.read_csv(out)
    assert list(rows.columns[:3]) == ["arm", "optimizer.weight_decay", "runs"]
    assert rows.iloc[:, :3].to_numpy().tolist() == [["one", 0.0, 2], ["one", 1.0, 2], ["two/again", 0.0, 1]]
    assert table_of(done.output, "arm ")[0][:2] == ["arm", "weight_decay"]
    assert f"3 rows in {out}" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one"], "alone has nothing beside it: name two or more"),
        (["one", "one"], "is given twice"),
        (["one", "two", "one"], "is given twice"),
        (["one", "nowhere"], "is no results directory"),
        (["one", "one.yaml"], "is a file, not a results directory"),
        (["one", "two", "--by", "weight_decy"], "no key 'weight_decy' in"),
        (["one", "two", "--where", "sed == 1"], "did you mean seed"),
        (["one", "two", "--where", "seed == 99"], "seed is 0, 1, 2, 3 there"),
        (["one", "two", "--out", "rows.xlsx"], "rows.xlsx: the table is written as .csv"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(folder, words, said):
    done = call(*(folder / word if word.startswith(("one", "two", "no")) else word for word in words))
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.splitlines()) == 1


def test_sweeps_of_one_name_are_called_by_their_directories(folder, tmp_path):
    other = grokjax.run(folder / "one.yaml", tmp_path / "other", set={"train.steps": 10})
    both = join([grokjax.open_results(folder / "one"), other])
    assert list(both.manifest.axes) == ["one", "other"]
    assert differences(both)["key"].tolist() == ["train.steps"]


def test_counts_are_whole_beside_an_arm_that_has_not_ended(joined):
    rows = outcomes_by_arm(joined)
    rows.loc[0, ["runs", "unended"]] = [0, 3]
    rows.loc[0, ["generalized", "fit", "diverged"]] = np.nan  # as where nothing has ended: the others are floats then
    table = table_of(outcomes_text(joined, rows, []), "arm")
    assert table[1] == ["one", "-", "-", "-", "-", "3"]
    assert table[2][:2] == ["two/again", f"{int(rows['generalized'][1])} of 3"]
