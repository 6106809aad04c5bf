"""What `grokjax plan` prints: axes with their values, what tells buckets apart, how long it may take."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from grokjax.plan.growth import extend, growth_text
from grokjax.plan.plan import Device, Plan, estimated_seconds, make_plan
from grokjax.plan.remarks import remarks
from grokjax.plan.tuning import Tuned
from grokjax.spec.identity import program_key, program_values, tuning_key
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep
from grokjax.sweep.run import Sweep
from grokjax.tables import plan_text, value_at, values_text

BASE = "base: {task: {p: 7}, model: {d_model: 8, heads: 2, d_mlp: 16}, train: {steps: 1000}}\n"


def sweep(text: str) -> Sweep:
    return expand(parse_sweep(BASE + text, "s.yaml", Path()))


def planned(text: str, count: int = 1, **more: object) -> Plan:
    return make_plan(sweep(text), Device("cpu", "cpu", count, 2**33, "test"), **more)  # type: ignore[arg-type]


def lines(plan: Plan, begin: str) -> list[str]:
    return [line.strip() for line in plan_text(plan).splitlines() if line.strip().startswith(begin)]


def test_axes_are_told_with_their_values_and_how_many_there_are():
    text = plan_text(
        planned("parameters: {seed: {values: [2, 0, 1]}, optimizer.weight_decay: {values: [1, 0, 0.5]}}\n")
    )
    assert "arm main: 9 runs\n  seed: 0, 1, 2 (3)\n  optimizer.weight_decay: 0, 0.5, 1 (3)\n" in text
    assert "arm main: 1 run, nothing is varied" in plan_text(planned("arms: {main: {}}\n"))


def test_a_long_axis_loses_its_middle_and_keeps_its_count():
    assert values_text(range(100)) == "0, 1, 2, 3, ..., 96, 97, 98, 99 (100)"
    assert values_text([0.1] * 3 + [1e-05]) == "1e-05, 0.1 (2)"
    assert values_text([None, 32, None]) == "null, 32 (2)"
    assert values_text(["mul", "add", "mul"]) == "mul, add (2)"
    assert values_text([True, False]) == "true, false (2)"
    assert values_text([[8, 4], [16]]) == "8-4, 16 (2)"


def test_the_values_of_an_axis_are_those_of_its_runs_whatever_key_it_is():
    made = sweep(
        "parameters: {optimizer.lr_by_matrix.W_E: {values: [0.1, 2]}, optimizer.schedule.name: {values: [cosine]}}\n"
    )
    assert [value_at(run.spec, "optimizer.lr_by_matrix.W_E") for run in made.runs] == [0.1, 2]
    assert [value_at(run.spec, "optimizer.momentum") for run in made.runs] == [None, None]
    text = plan_text(make_plan(made, Device("cpu", "cpu", 1, 2**33, "test")))
    assert "  optimizer.lr_by_matrix.W_E: 0.1, 2 (2)\n" in text


def test_buckets_are_told_apart_by_all_that_differs_and_nothing_else():
    plan = planned(
        "parameters:\n  optimizer.clip_norm: {values: [null, 1]}\n  train.batch: {values: [null, 8]}\n"
        "  seed: {values: [0, 1]}\n"
    )
    apart = lines(plan, "apart from others: ")
    assert len(apart) == len(set(apart)) == len(plan.buckets) == 4
    for line, bucket in zip(apart, plan.buckets, strict=True):
        clips = bucket.spec.optimizer.clip_norm is not None
        batch = bucket.spec.train.batch or "null"
        assert line == f"apart from others: clips {str(clips).lower()}, batch {batch}"
    assert not lines(planned("parameters: {seed: {values: [0, 1]}}\n"), "apart")


def test_what_tells_buckets_apart_is_what_programs_are_keyed_by():
    specs = [bucket.spec for bucket in planned("parameters: {model.activation: {values: [relu, gelu]}}\n").buckets]
    assert len({program_key(spec) for spec in specs}) == 2
    one, other = map(program_values, specs)
    assert {key for key in one if one[key] != other[key]} == {"model.activation"}
    assert program_values(specs[0]) == program_values(specs[0].model_copy(update={"seed": 5}))
    assert sha256(json.dumps(one).encode()).digest() != sha256(json.dumps(other).encode()).digest()


def test_the_time_is_estimated_and_marked_so_or_measured():
    plan = planned("parameters: {seed: {values: [0, 1]}}\n")
    (line,) = lines(plan, "time: ")
    assert "estimated from a model of this kind of processor, not measured" in line
    assert "--measure measures" in line
    measured = [line for line in plan_text(plan, {0: 1.0}).splitlines() if line.startswith("time: ")]
    assert measured == ["time: 0.556 h (0:33:20) in all, as measured, with compiling on top"]


def test_the_estimate_grows_with_the_steps_and_is_what_was_tuned():
    one, twice = (planned(f"arms: {{a: {{base: {{train: {{steps: {steps}}}}}}}}}\n") for steps in (1000, 2000))
    assert estimated_seconds(twice, twice.buckets[0]) == pytest.approx(
        2 * estimated_seconds(one, one.buckets[0]), rel=0.05
    )
    key = tuning_key(one.buckets[0].spec)
    tuned = planned("arms: {a: {}}\n", tuning={key: Tuned(1, 0.25)})
    assert estimated_seconds(tuned, tuned.buckets[0]) == 250.0
    assert "estimated from what grokjax bench --tune measured" in plan_text(tuned)


@pytest.mark.parametrize(
    ("lanes", "devices", "runs", "said"),
    [
        (5, 2, 20, "bucket 0: engine.lanes 5 is raised to 6, a multiple of the 2 devices"),
        (64, 1, 3, "bucket 0: 64 lanes for 3 runs: the others compute for nothing; lower engine.lanes"),
    ],
)
def test_lanes_that_are_not_those_asked_for_or_too_many_are_said(lanes: int, devices: int, runs: int, said: str):
    text = f"engine: {{lanes: {lanes}}}\nparameters: {{seed: {{min: 0, max: {runs - 1}}}}}\n"
    assert said in remarks(planned(text, devices))
    assert not [
        note for note in remarks(planned(text.replace(f"lanes: {lanes}", "lanes: auto"), devices)) if "lanes" in note
    ]


def test_lanes_that_the_memory_does_not_hold_are_said():
    text = "engine: {lanes: 8}\nparameters: {seed: {min: 0, max: 7}}\n"
    key = program_key(sweep(text).runs[0].spec)
    assert "bucket 0: engine.lanes 8 is lowered to 4, which the memory holds" in remarks(
        planned(text, most_lanes={key: 4})
    )


def test_what_a_sweep_adds_is_told_in_a_line():
    old = planned("parameters: {seed: {min: 0, max: 2}}\n")
    ids = {run.run_id for run in old.sweep.runs}
    assert growth_text(old, ids) == ""
    new = sweep("parameters: {seed: {min: 0, max: 4}, train.steps: {values: [5000]}}\n")
    grown = extend(old, new, lambda added, continues: make_plan(added, old.device, continues=continues), "out")
    assert growth_text(grown, ids) == "extends 3 runs, 1,000 -> 5,000 steps; adds 2 runs"
    assert growth_text(grown, {run.run_id for bucket in grown.buckets for run in bucket.runs}) == ""
    assert growth_text(replace(grown, continues={}), ids) == "adds 5 runs"
