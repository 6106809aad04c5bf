"""--set and `set`: full and short keys, and values that are axes; --arm and `arms`: some arms of a sweep only."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.plan.growth import extend
from grokjax.plan.plan import Device, make_plan, of_arms_asked_for
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.settings import parse_overrides

BASE = """\
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  train: {steps: 20}
"""
GRID = BASE + "parameters:\n  seed: {min: 0, max: 1}\n  optimizer.lr: {values: [1e-3, 1e-2]}\n"
ARMS = (
    BASE
    + """\
parameters: {seed: {min: 0, max: 1}}
arms:
  adamw: {}
  sgd: {base: {optimizer: {name: sgd}}}
  both: {parameters: {optimizer.lr: {values: [1e-3, 3e-3]}}}
"""
)
DEVICE = Device("cpu", "test", 2, 10**10, "none")


def sweep(text, *pairs, arms=(), **overrides):
    given = {**parse_overrides(list(pairs)), **overrides}
    return expand(parse_sweep(text, "sweep.yaml", Path(".")), given, arms=arms)


def ids(made):
    return [run.run_id for run in made.runs]


def refusal(text, *pairs, **more):
    with pytest.raises(SweepError) as caught:
        sweep(text, *pairs, **more)
    return [str(mistake) for mistake in caught.value.mistakes]


# Values that are axes


@pytest.mark.parametrize("text", ["0,1,2", "0..2", "0, 1, 2", "0,1..2", "0 .. 1,2"])
def test_a_list_or_range_is_the_axis_that_the_file_would_have(text):
    written = sweep(GRID.replace("{min: 0, max: 1}", "{values: [0, 1, 2]}"))
    assert ids(sweep(GRID, f"seed={text}")) == ids(written)
    assert ids(sweep(BASE, f"seed={text}")) == ids(sweep(BASE + "parameters: {seed: {min: 0, max: 2}}\n"))


def test_an_axis_is_replaced_where_it_stood_and_a_new_one_is_the_last():
    made = sweep(GRID, "seed=5,6", "optimizer.b2=0.9,0.98")
    assert made.axes == {"main": ("seed", "optimizer.lr", "optimizer.b2")}
    assert len(made.runs) == 8
    assert {run.spec.seed for run in made.runs} == {5, 6}


def test_an_axis_takes_its_key_out_of_a_zip_and_wins_over_what_is_fixed():
    zipped = BASE + "zip:\n  - optimizer.lr: [1, 2]\n    seed: [3, 4]\n"
    made = sweep(zipped, "seed=0..1")
    assert [(run.spec.optimizer.lr, run.spec.seed) for run in made.runs] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {run.spec.train.steps for run in sweep(GRID, "train.steps=10,30").runs} == {10, 30}


def test_a_list_from_python_is_an_axis_too():
    written = ids(sweep(GRID, "seed=0..2"))
    for several in ([0, 1, 2], (0, 1, 2), range(3), np.arange(3), "0..2"):
        assert ids(sweep(GRID, seed=several)) == written


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("train.batch=null,8", [None, 8]),
        ("task.op=add,multiply", ["add", "multiply"]),
        ("model.bias=true,false", [True, False]),
        ("optimizer.lr=1e-3,0.5", [0.001, 0.5]),
        ("optimizer.weight_decay=0..2", [0, 1, 2]),
        ("optimizer.lr_by_matrix.W=0,1", [0, 1]),
        ("init.scale_by_matrix.W.0=1,2", [1, 2]),
    ],
)
def test_numbers_names_and_truth_values_may_be_several(setting, values):
    made = sweep(BASE, setting)
    assert len(made.runs) == len(values)
    key = setting.partition("=")[0]
    assert made.warnings[0].startswith(f"--set makes {key} an axis of {len(values)}: ")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("init.from_file=a,b.safetensors", "no such file: "),
        ("init.from_file=../a.safetensors", "no such file: "),
        ("log.snapshot_steps=log:10,log:20", "must be null or log:N"),
        ("model.widths=4,4", "expected a list, got '4,4' (text); write it in brackets: [4,4]"),
        ("log.probes=margin,drift", "expected a list"),
    ],
)
def test_a_comma_in_a_text_or_list_is_a_part_of_it(setting, said):
    (message,) = refusal(BASE, setting)
    assert said in message


def test_flow_forms_of_lists_and_mappings_are_one_value_where_the_key_is_one():
    assert [run.spec.model.widths for run in sweep(BASE, "model.widths=[4, 4]").runs] == [[4, 4]]
    assert len(sweep(BASE, "optimizer.lr_by_matrix={W: 0}").runs) == 1


def test_an_axis_of_one_family_is_that_of_the_arms_that_use_it():
    made = sweep(ARMS, "optimizer.momentum=0,0.5")
    assert made.axes["sgd"] == ("seed", "optimizer.momentum")
    assert made.axes["adamw"] == ("seed",)
    assert "no run's optimizer has momentum" in refusal(ARMS, "optimizer.momentum=0,0.5", arms=["adamw"])[0]


def test_in_a_random_sweep_it_is_drawn_from():
    text = BASE + "method: random\nrun_cap: 6\nparameters: {seed: {min: 0, max: 99}}\n"
    written = text.replace("seed:", "optimizer.b2: {values: [0.9, 0.98]}, seed:")
    assert set(ids(sweep(text, "optimizer.b2=0.9,0.98"))) == set(ids(sweep(written)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=5, unique=True), st.integers(0, 3), st.integers(0, 3))
def test_any_numbers_and_ranges_are_the_values_written_out(numbers, low, more):
    numbers = [number for number in numbers if not low <= number <= low + more]
    text = ",".join([f"{low}..{low + more}", *map(str, numbers)])
    assert [run.spec.seed for run in sweep(BASE, f"seed={text}").runs] == [*range(low, low + more + 1), *numbers]


# Short keys


def test_the_last_part_of_a_key_is_enough_where_one_key_ends_so_and_it_is_said():
    keys = {
        "weight_decay": "optimizer.weight_decay",
        "steps": "train.steps",
        "p": "task.p",
        "lr_by_matrix.W.0": "optimizer.lr_by_matrix.W.0",
        "split.seed": "task.split.seed",
    }
    for short, full in keys.items():
        made = sweep(BASE, f"{short}=7")
        assert ids(made) == ids(sweep(BASE, f"{full}=7"))
        assert made.overrides == {full: 7}
        assert f"--set {short} is {full}" in made.warnings
    assert sweep(BASE, "seed=7").runs[0].spec.seed == 7  # a whole key is that key


def test_a_short_key_of_several_lists_them_and_one_twice_is_refused():
    own = BASE.replace("base:", "parameters: {seed: {min: 0, max: 1}}\nbase:")
    assert refusal(own, "lr=1", "optimizer.lr=2") == ["--set: optimizer.lr: given twice; give it once"]
    (message,) = refusal(own, "schedule.name=cosine", "name=x")[:1]
    assert "name: is no key of a run" in message


# Arms


def test_arms_that_are_asked_for_have_the_runs_that_they_have_in_the_whole_sweep():
    whole = sweep(ARMS)
    for names in (["sgd"], ["both", "adamw"]):
        some = sweep(ARMS, arms=names)
        assert set(ids(some)) == {run.run_id for run in whole.runs if set(names) & set(run.arms)}
        assert set(some.axes) == set(names)
        assert some.only == tuple(names)
    assert ids(sweep(BASE, arms=["main"])) == ids(sweep(BASE))


def test_an_unknown_arm_is_told_with_those_that_there_are():
    assert refusal(ARMS, arms=["sdg"]) == ["--arm: sdg: no such arm (did you mean sgd?); there are adamw, sgd, both"]
    assert refusal(BASE, arms=["sgd"]) == ["--arm: sgd: no such arm; there are main"]


def planned(old, made):
    return extend(old, made, lambda sweep, continues: make_plan(sweep, DEVICE, continues=continues), "out")


def arms_of(plan):
    return {run.run_id: set(run.arms) for run in plan.sweep.runs}


def test_one_arm_after_the_other_and_then_the_whole_sweep_is_growth():
    whole = sweep(ARMS)
    plan = make_plan(sweep(ARMS, arms=["both"]), DEVICE)
    for names in (["adamw"], ["sgd"], ["both"], ["adamw", "sgd"]):
        plan = planned(plan, sweep(ARMS, arms=names))
    assert arms_of(plan) == {run.run_id: set(run.arms) for run in whole.runs}
    assert len({run.run_id for chunk in plan.chunks for run in chunk.runs}) == len(whole.runs)
    assert plan.sweep.axes.keys() == whole.axes.keys()
    assert planned(plan, whole).sweep.runs == whole.runs


def test_an_arm_of_a_whole_sweep_leaves_the_others_and_trains_its_chunks_only():
    plan = planned(make_plan(sweep(ARMS), DEVICE), sweep(ARMS, arms=["sgd"]))
    assert arms_of(plan) == arms_of(make_plan(sweep(ARMS), DEVICE))
    asked = of_arms_asked_for(plan)
    assert 0 < len(asked.chunks) < len(plan.chunks)
    assert {arm for chunk in asked.chunks for run in chunk.runs for arm in run.arms} == {"sgd"}
    assert of_arms_asked_for(make_plan(sweep(ARMS), DEVICE)).chunks == make_plan(sweep(ARMS), DEVICE).chunks


def test_what_an_asked_for_run_goes_on_with_is_trained_too():
    short = make_plan(sweep(ARMS), DEVICE)
    longer = planned(short, sweep(ARMS, "train.steps=40", arms=["sgd"]))
    asked = {run.run_id for chunk in of_arms_asked_for(longer).chunks for run in chunk.runs}
    assert set(longer.continues) <= asked
    assert set(longer.continues.values()) <= asked


def test_a_run_of_another_arm_that_is_gone_is_still_told_of_the_whole_sweep():
    plan = planned(make_plan(sweep(ARMS), DEVICE), sweep(ARMS, arms=["sgd"]))
    with pytest.raises(SweepError, match="2 of its 6 runs are gone"):
        planned(plan, sweep(ARMS.replace("1e-3, 3e-3", "1e-3, 5e-3")))


def test_the_command_and_the_call_train_one_arm_and_then_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(ARMS)
    first = CliRunner().invoke(app, ["run", "s.yaml", "--arm", "adamw", "--out", "out"])
    assert first.exit_code == 0, first.output
    assert "only arm adamw: 2 runs in 1 chunks" in first.output
    assert set(grokjax.open_results("out").runs()["arm"]) == {"adamw"}
    results = grokjax.run("s.yaml", "out", arms=["sgd"])
    assert sorted(results.runs()["arm"]) == ["adamw", "adamw", "sgd", "sgd"]
    assert set(results.runs()["status"]) == {"ended"}
    assert CliRunner().invoke(app, ["plan", "s.yaml", "--arm", "nothing"]).exit_code == 2
