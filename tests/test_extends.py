"""`extends`: another file's sweep with this file's keys laid over it; mistakes are told in the file that has them."""

from pathlib import Path

import pytest

from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError

OTHER = """\
name: other
description: what the other asks
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  optimizer: {name: adamw, b2: 0.95}
  train: {steps: 20}
log: {every: 5}
parameters:
  seed: {min: 0, max: 2}
  optimizer.lr: {values: [1e-3, 1e-2]}
arms:
  wide: {base: {model: {widths: [16]}}}
  deep: {base: {model: {widths: [8, 8]}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("other.yaml", OTHER)
    return tmp_path


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def extended(text, *arguments, **more):
    write("mine.yaml", "extends: other.yaml\n" + text)
    return load_sweep("mine.yaml", *arguments, **more)


def ids(made):
    return [run.run_id for run in made.runs]


def refusal(text):
    with pytest.raises(SweepError) as caught:
        extended(text)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_with_nothing_else_the_runs_are_the_other_s_and_the_name_is_its_own():
    made = extended("")
    assert ids(made) == ids(load_sweep("other.yaml"))
    assert (made.name, made.description) == ("mine", None)
    assert extended("name: x\n").name == "x"


def test_base_is_merged_key_by_key_nested_or_dotted():
    made = extended("base: {optimizer.b2: 0.9, train: {steps: 40}}\n")
    assert {(run.spec.optimizer.b2, run.spec.train.steps, run.spec.task.p) for run in made.runs} == {(0.9, 40, 7)}
    assert ids(made) == ids(extended("base: {optimizer: {b2: 0.9}, train.steps: 40}\n"))
    assert {run.spec.log.every for run in extended("log: {dense_first: 4}\n").runs} == {5}


def test_another_family_drops_the_keys_that_it_has_not():
    made = extended("base: {optimizer: {name: sgd}}\n")
    assert {run.spec.optimizer.name for run in made.runs} == {"sgd"}


def test_an_equal_axis_is_replaced_by_an_axis_or_by_a_value_and_the_others_stay():
    assert {run.spec.seed for run in extended("parameters: {seed: {values: [7]}}\n").runs} == {7}
    assert {run.spec.seed for run in extended("base: {seed: 9}\n").runs} == {9}
    zipped = extended("zip:\n  - seed: [1, 2]\n    optimizer.b1: [0.8, 0.9]\n")
    assert sorted({(run.spec.seed, run.spec.optimizer.b1) for run in zipped.runs}) == [(1, 0.8), (2, 0.9)]
    assert len(zipped.runs) == 2 * 2 * 2


def test_an_equal_arm_is_replaced_as_a_whole_and_others_are_added():
    made = extended("arms:\n  deep: {base: {model: {widths: [4, 4]}}}\n  more: {}\n")
    assert list(made.axes) == ["wide", "deep", "more"]
    assert {tuple(run.spec.model.widths) for run in made.runs if "deep" in run.arms} == {(4, 4)}
    assert {tuple(run.spec.model.widths) for run in made.runs if "more" in run.arms} == {(8,)}


def test_settings_and_arms_are_those_of_the_whole():
    made = extended("", {"seed": "5..6"}, arms=["wide"])
    assert {run.spec.seed for run in made.runs} == {5, 6}
    assert set(made.axes) == {"wide"}


def test_method_and_its_numbers_are_inherited_one_by_one():
    write("other.yaml", OTHER.replace("log:", "method: random\nrun_cap: 4\nlog:"))
    assert len(extended("arms: {wide: , deep: }\n").runs) == 4
    assert len(extended("run_cap: 2\narms: {wide: , deep: }\n").runs) == 2
    assert len(extended("method: grid\n").runs) == 12


def test_a_chain_of_files_is_laid_over_the_farthest_first():
    write("middle.yaml", "extends: other.yaml\nbase: {train: {steps: 30}, seed: 1}\n")
    write("mine.yaml", "extends: middle.yaml\nbase: {train: {steps: 40}}\n")
    made = load_sweep("mine.yaml")
    assert {(run.spec.train.steps, run.spec.seed, run.spec.task.p) for run in made.runs} == {(40, 1, 7)}


def test_a_mistake_is_told_in_the_file_that_has_it():
    write("other.yaml", OTHER.replace("p: 7", "p: seven").replace("min: 0", "min: 9"))
    assert refusal("base: {train: {steps: 0}}\nbsae: 1\n") == [
        "mine.yaml:2:16: train.steps: out of range: must be at least 1, got 0",
        "mine.yaml:3:1: bsae: unknown key (did you mean base?); the top level has name, base, log, events, engine, "
        "method, run_cap, random_seed, parameters, zip, arms, uses, extends, description",
        "other.yaml:4:10: task.p: wrong type: expected a whole number, got 'seven' (text)",
        "other.yaml:10:10: seed: an empty axis: min 9 is above max 2",
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("base: {seed: 1\n", "other.yaml:2:1: not valid YAML"),
        ("", "other.yaml:1:1: the file is empty"),
        ("base: {seed: 1, seed: 2}\n", "other.yaml:1:17: seed: duplicate key"),
    ],
)
def test_a_broken_file_is_told_at_its_place(other, said):
    write("other.yaml", other)
    assert refusal("")[0].startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extends: othr.yaml", "mine.yaml:1:1: extends: othr.yaml: no such file (did you mean other.yaml?)"),
        ("extends: sub/none.yaml", "mine.yaml:1:1: extends: sub/none.yaml: no such file"),
        ("extends: .", "mine.yaml:1:1: extends: .: is a directory, not a sweep file"),
        ("extends: 5", "mine.yaml:1:1: extends: must be the name of another sweep file, got 5"),
        ("extends: [other.yaml]", "mine.yaml:1:1: extends: must be the name of another sweep file, got ['other.yaml']"),
        ("extends:", "mine.yaml:1:1: extends: must be the name of another sweep file, got null"),
        ("extends: mine.yaml", "mine.yaml:1:1: extends: leads back to itself: mine.yaml -> mine.yaml"),
    ],
)
def test_a_file_that_cannot_be_extended_is_told_where_it_is_named(line, said):
    write("mine.yaml", line + "\n")
    with pytest.raises(SweepError) as caught:
        load_sweep("mine.yaml")
    assert [str(mistake).startswith(said) for mistake in caught.value.mistakes] == [True], caught.value


def test_a_circle_of_files_is_told_with_its_files():
    write("a.yaml", "extends: sub/b.yaml\n")
    write("sub/b.yaml", "extends: ../a.yaml\n")
    with pytest.raises(SweepError, match=r"sub/b.yaml:1:1: extends: leads back to itself: a.yaml -> b.yaml -> a.yaml"):
        load_sweep("a.yaml")


def test_paths_are_relative_to_the_file_that_says_them():
    own = "from typing import Literal\n\nimport jax.numpy as jnp\n\nfrom grokjax.spec.losses import Loss\n\n\n"
    own += 'class Half(Loss):\n    name: Literal["half"] = "half"\n\n    def of_guess(self, classes):\n'
    own += "        return 1.0\n"
    own += '\n\nLOSSES = {"half": lambda loss, logits, labels: 0.5 * jnp.square(logits)}\n'
    write("sub/own.py", own)
    write("sub/other.yaml", "uses: own.py\nbase: {loss: {name: half}, task: {p: 7}}\n")
    write("mine.yaml", "extends: sub/other.yaml\nbase: {init: {from_file: start.safetensors}}\n")
    with pytest.raises(SweepError) as caught:
        load_sweep("mine.yaml")
    assert [str(each) for each in caught.value.mistakes] == [
        "mine.yaml:2:15: init.from_file: no such file: " + str(Path("start.safetensors").absolute())
    ]
    write("mine.yaml", "extends: sub/other.yaml\n")
    assert load_sweep("mine.yaml").runs[0].spec.loss.name == "half"


def test_what_is_stored_can_be_read_by_itself():
    text = extended("base: {seed: 1}\n").text
    assert text.startswith("extends: other.yaml\nbase: {seed: 1}\n")
    assert "# extends other.yaml, which says:\n#   name: other\n" in text
    kept = [line.removeprefix("#").removeprefix("   ") for line in text.split("which says:\n")[1].splitlines()]
    assert kept == OTHER.splitlines()
    assert load_sweep("other.yaml").text == OTHER
