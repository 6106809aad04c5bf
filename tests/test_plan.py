"""Planning: from runs to buckets, chunks and segments, as a pure function of the sweep and the device."""

import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.plan import cost
from grokjax.plan.growth import extend
from grokjax.plan.plan import (
    MEMORY_SHARE,
    QUEUE,
    QUEUE_SHARE,
    RECORD_BYTES,
    Device,
    curves_bytes,
    lane_bytes,
    make_plan,
    snapshot_count,
)
from grokjax.plan.remarks import remarks
from grokjax.plan.snapshots import snapshot_steps
from grokjax.spec.shapes import parameter_count, parameter_shapes
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep


def sweep(text):
    return expand(parse_sweep(text, "s.yaml", Path(".")))


def device(platform="cpu", count=1, gigabytes=8.0):
    return Device(platform, platform, count, int(gigabytes * 2**30), "test")


def one(base):
    return sweep(f"base: {{{base}}}\n").runs[0].spec


MIXED = """\
base: {task: {p: 7, train_fraction: 0.5}, model: {d_model: 8, heads: 2, d_mlp: 16}}
parameters:
  seed: {min: 0, max: 9}
  optimizer.lr: {values: [0.1, 0.01]}
zip: [{train.steps: [50, 300, 1000], optimizer.warmup_steps: [0, 1, 2]}]
arms:
  adam: {base: {optimizer: {name: adam}}}
  sgd: {base: {optimizer: {name: sgd}}, zip: [{train.steps: [10, 20]}]}
"""


def test_equal_sweeps_have_equal_plans():
    assert make_plan(sweep(MIXED), device()) == make_plan(sweep(MIXED), device())


def test_the_longest_runs_come_first():
    plan = make_plan(sweep(MIXED), device())
    for bucket in plan.buckets:
        steps = [run.spec.train.steps for chunk in plan.chunks if chunk.bucket is bucket for run in chunk.runs]
        assert steps == sorted(steps, reverse=True)


TEXTS = st.builds(
    lambda seeds, steps, log, lanes, model: (
        f"base: {{task: {{p: 7, train_fraction: 0.5}}, train: {{steps: {steps}}}, model: {model}}}\n"
        f"log: {log}\nengine: {{lanes: {lanes}}}\nparameters: {{seed: {{min: 0, max: {seeds}}}}}\n"
    ),
    st.integers(0, 90),
    st.integers(1, 5000),
    st.sampled_from(
        [
            "{every: 10}",
            "{every: 7}",
            "{every: 1, eval_every: 1}",
            "{every: 50, eval_every: 1000}",
            "{every: 10, dense_first: 130}",
            "{every: 10, dense_first: 100000}",
        ]
    ),
    st.sampled_from(["auto", 1, 3, 8, 200]),
    st.sampled_from(["{d_model: 8, heads: 2, d_mlp: 16}", "{name: mlp, widths: [4]}", "{d_model: 256, layers: 3}"]),
)
DEVICES = st.builds(
    device, st.sampled_from(["cpu", "gpu"]), st.sampled_from([1, 2, 3, 8]), st.sampled_from([0.01, 1, 64])
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, DEVICES)
def test_every_run_is_in_one_chunk_and_segments_are_whole_rounds_or_parts_of_one(text, on):
    made = sweep(text)
    plan = make_plan(made, on)
    placed = [run.run_id for chunk in plan.chunks for run in chunk.runs]
    assert sorted(placed) == sorted(run.run_id for run in made.runs)
    assert [chunk.index for chunk in plan.chunks] == list(range(len(plan.chunks)))
    for chunk in plan.chunks:
        assert 0 < len(chunk.runs) <= chunk.bucket.queue
    for bucket in plan.buckets:
        assert bucket.width % on.count == bucket.queue % on.count == 0
        assert bucket.width <= bucket.queue <= QUEUE * bucket.width
        schedule, log = bucket.schedule, bucket.spec.log
        assert schedule.rows * schedule.every == schedule.steps
        for steps in (schedule.steps, schedule.dense_steps, schedule.dense):
            assert steps % schedule.round == 0 or (steps and schedule.round % steps == 0)
        assert schedule.dense_steps <= schedule.rows
        assert schedule.dense >= min(log.dense_first, max(run.spec.train.steps for run in bucket.runs))
        assert log.evaluation_steps % schedule.round == 0 or schedule.round >= made.runs[0].spec.train.steps


@settings(max_examples=150, deadline=None)
@given(TEXTS, DEVICES)
def test_a_chunk_keeps_to_its_share_of_the_memory_unless_one_lane_a_device_is_more(text, on):
    for bucket in make_plan(sweep(text), on).buckets:
        lanes, queue = lane_bytes(bucket.spec, on) * bucket.width, cost.queue_bytes(bucket.spec) * bucket.queue
        assert bucket.memory == (lanes + queue) // on.count
        if bucket.spec.engine.lanes == "auto" and bucket.width > on.count:
            assert lanes <= MEMORY_SHARE[on.platform] * on.memory * on.count
        if bucket.queue > bucket.width:
            assert queue <= (QUEUE_SHARE * on.memory + cost.queue_bytes(bucket.spec)) * on.count


@settings(max_examples=100, deadline=None)
@given(TEXTS, DEVICES)
def test_the_records_of_a_segment_fit_into_their_bound(text, on):
    for bucket in make_plan(sweep(text), on).buckets:
        rows = bucket.schedule.rows
        assert rows * bucket.width * cost.metric_count(bucket.spec) * 4 <= RECORD_BYTES or rows == 1


def test_chunks_of_a_bucket_are_as_equal_as_they_can_be():
    plan = make_plan(sweep("parameters: {seed: {min: 0, max: 300}}\n"), device("gpu", gigabytes=0.6))
    sizes = [len(chunk.runs) for chunk in plan.chunks]
    assert len(sizes) > 2
    assert max(sizes) - min(sizes) < len(sizes)


def test_a_given_number_of_lanes_is_the_width_rounded_up_to_the_devices():
    text = "engine: {lanes: 5}\nparameters: {seed: {min: 0, max: 19}}\n"
    assert make_plan(sweep(text), device()).buckets[0].width == 5
    assert make_plan(sweep(text), device(count=4)).buckets[0].width == 8


DYNAMIC = """\
parameters:
  seed: {min: 0, max: 1}
  optimizer.lr: {values: [0.1, 0.2]}
  optimizer.weight_decay: {values: [0, 1]}
  optimizer.b1: {values: [0, 0.9]}
  optimizer.eps: {values: [0, 1e-8]}
  optimizer.warmup_steps: {values: [0, 10]}
  optimizer.lr_by_matrix.W_E: {values: [0, 1]}
  init.scale: {values: [1, 8]}
  model.logit_scale: {values: [1, 2]}
  train.steps: {values: [10, 20]}
"""


def test_axes_over_dynamic_values_stay_in_one_bucket():
    plan = make_plan(sweep(DYNAMIC), device())
    assert len(plan.sweep.runs) == 1024
    assert len(plan.buckets) == 1


def test_axes_over_static_values_make_a_bucket_for_each_program():
    text = "parameters: {task.p: {values: [5, 7]}, model.d_mlp: {values: [8, 16, 32]}, seed: {min: 0, max: 3}}\n"
    plan = make_plan(sweep(text), device())
    assert [len(bucket.runs) for bucket in plan.buckets] == [4] * 6


def test_ten_thousand_runs_load_and_plan_in_under_five_seconds():
    text = """\
parameters: {seed: {min: 0, max: 499}, optimizer.weight_decay: {values: [0.1, 0.3, 1, 3, 10]}}
zip: [{optimizer.lr: [1e-4, 1e-3, 1e-2, 1e-1], init.scale: [1, 2, 4, 8]}]
"""
    start = time.process_time()
    plan = make_plan(sweep(text), device())
    remarks(plan)
    assert len(plan.sweep.runs) == 10_000
    assert time.process_time() - start < 5


def test_the_paper_setup_is_as_large_and_costs_as_much_as_it_should():
    spec = one("task: {p: 113, train_fraction: 0.3}")
    assert parameter_count(parameter_shapes(spec)) == 226_816
    d, d_mlp, vocab, examples = 128, 512, 114, 3830
    assert spec.batch_size == examples
    useful = 3 * 2 * examples * (d * d + 2 * d * d_mlp + d * vocab)
    assert useful == pytest.approx(3.74e9, rel=0.01)
    assert 0.95 * useful < cost.step_flops(spec) < 2.2 * useful


def test_the_cost_of_a_step_grows_with_the_batch_the_width_and_the_layers():
    base = cost.step_flops(one("train: {batch: 100}"))
    assert cost.step_flops(one("train: {batch: 200}")) == pytest.approx(2 * base)
    assert cost.step_flops(one("train: {batch: 100}, model: {d_mlp: 0}")) < 0.8 * base
    assert cost.step_flops(one("train: {batch: 100}, model: {layers: 2}")) > 1.8 * base


def test_a_perceptron_costs_two_flops_a_weight_and_example_forwards_and_twice_that_backwards():
    spec = one("task: {p: 10, train_fraction: 0.5}, model: {name: mlp, widths: [30], bias: false}")
    assert cost.step_flops(spec) == 3 * 2 * 50 * (20 * 30 + 30 * 10)
    assert cost.evaluation_flops(spec) == 2 * 50 * (20 * 30 + 30 * 10)


def test_double_precision_needs_more_memory_and_sgd_less():
    base = cost.lane_bytes(one(""))
    assert cost.lane_bytes(one("numerics: {params: float64}")) > 1.8 * base
    assert cost.lane_bytes(one("optimizer: {name: sgd}")) < base


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(1, 50), st.integers(0, 500))
def test_the_number_of_records_is_that_of_the_steps_which_have_one(steps, every, dense):
    spec = one(f"train: {{steps: {steps}}}, log: {{every: {every}, dense_first: {dense}}}")
    recorded = {step for step in range(steps) if step % every == 0 or step < dense} | {steps}
    assert cost.record_count(spec) == len(recorded)


@pytest.mark.parametrize(
    ("log", "count"), [("", 1), ("snapshot_every: 30", 4), ("snapshot_every: null, snapshot_steps: log:3", 3)]
)
def test_disk_space_is_that_of_the_records_and_the_snapshots(log: str, count: int):
    text = f"base: {{train: {{steps: 100}}}}\nlog: {{{log}}}\nparameters: {{seed: {{min: 0, max: 9}}}}\n"
    (bucket,) = make_plan(sweep(text), device()).buckets
    assert 0 < curves_bytes(bucket) <= 10 * 11 * cost.metric_count(bucket.spec) * 4
    assert snapshot_count(bucket) == 10 * count
    assert cost.snapshot_bytes(bucket.spec) == 3 * 226_816 * 4


def test_the_plan_says_what_is_slow_about_a_sweep():
    def said(text):
        return " ".join(remarks(make_plan(sweep(text), device())))

    assert "5 programs, 5 of them with under 4 runs" in said("parameters: {task.p: {values: [5, 7, 11, 13, 17]}}\n")
    many = " ".join(remarks(make_plan(sweep("parameters: {model.d_mlp: {min: 10, max: 1009}}\n"), device(count=2))))
    assert "1000 programs, 1000 of them with under 4 runs: each compiles by itself (all of them in about 1.7 h)" in many
    assert "test evaluations add" in said("log: {every: 1, eval_every: 1}\n")
    assert "a record every 1 steps" in said("log: {every: 1}\n")
    assert "float32 is the one that slingshots" in said("base: {optimizer: {weight_decay: 0}}\n")
    assert said("parameters: {seed: {min: 0, max: 9}}\n") == ""


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("gigabytes", [0.0001, 0.01, 0.1, 0.4])
def test_advice_about_memory_can_be_followed_until_it_fits_or_is_one_run_a_device(gigabytes, count):
    lanes, seen = 512, []
    while True:
        text = f"base: {{task: {{p: 31}}}}\nengine: {{lanes: {lanes}}}\nparameters: {{seed: {{min: 0, max: 511}}}}\n"
        plan = make_plan(sweep(text), device("gpu", count, gigabytes))
        seen.append(plan.buckets[0].memory)
        notes = [note for note in remarks(plan) if "needs about" in note]
        advice = re.search(r"engine\.lanes below (\d+) needs less", " ".join(notes))
        if not advice:
            break
        lanes = (int(advice[1]) - 1) // 2 or 1
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen)
    if notes:
        assert plan.buckets[0].width == count
        assert "the network must be smaller, or train.batch, or task.p" in notes[0]


def test_rarer_evaluations_are_no_advice_where_there_is_but_one():
    text = "base: {{task: {{p: 31, train_fraction: 0.02}}, train: {{steps: {}}}}}\nlog: {{eval_every: 10}}\n"
    assert "raise log.eval_every" in " ".join(remarks(make_plan(sweep(text.format(11)), device())))
    assert "raise log.eval_every" not in " ".join(remarks(make_plan(sweep(text.format(10)), device())))


def test_few_examples_of_a_large_table_need_little_memory():
    text = "base: {task: {p: 1009, train_fraction: 0.02}, model: {name: mlp, widths: [8]}}\n"
    assert make_plan(sweep(text), device()).buckets[0].memory < 1e9


def test_widths_fit_small_and_large_devices():
    text = "parameters: {seed: {min: 0, max: 63}}\n"
    small, large = (make_plan(sweep(text), device("gpu", gigabytes=size)).buckets[0] for size in (0.5, 80))
    assert 1 <= small.width < large.width <= 64
    assert math.ceil(64 / large.width) < math.ceil(64 / small.width)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.none() | st.integers(1, 500), st.none() | st.integers(1, 60))
def test_snapshots_stand_at_multiples_and_at_log_spaced_steps_before_the_end(steps, every, spaced):
    log = {"snapshot_every": every, "snapshot_steps": spaced and f"log:{spaced}"}
    kept = snapshot_steps(one(f"train: {{steps: {steps}}}, log: {json.dumps(log)}")).tolist()
    assert kept == sorted(set(kept))
    assert all(1 <= step < steps for step in kept)
    assert set(range(every, steps, every) if every else []) <= set(kept)
    if spaced and spaced > 1 and steps > 1:
        assert kept[0] == 1
    assert len(kept) <= (spaced or 0) + (steps // every if every else 0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), min_size=1, max_size=5),
    st.sampled_from(["cpu", "gpu"]),
    st.integers(1, 4),
)
def test_a_sweep_that_grows_keeps_its_chunks_and_plans_what_is_new_once(sizes, platform, count):
    """Seeds and steps only grow; a run of more steps goes on with the longest shorter one."""
    on, plan = device(platform, count), None
    last, steps = 0, 0
    for more_seeds, more_steps in sizes:
        last, steps = last + more_seeds, steps + 100 * more_steps
        grown = sweep(f"base: {{train: {{steps: {steps}}}}}\nparameters: {{seed: {{min: 0, max: {last}}}}}\n")
        before = plan
        if plan is None:
            plan = make_plan(grown, on)
        else:
            plan = extend(plan, grown, lambda new, of: make_plan(new, on, continues=of), "DIR")
        placed = [run.run_id for chunk in plan.chunks for run in chunk.runs]
        assert len(placed) == len(set(placed))
        assert {run.run_id for run in grown.runs} <= set(placed)
        assert [chunk.index for chunk in plan.chunks] == list(range(len(plan.chunks)))
        assert all(plan.buckets[chunk.bucket.index] == chunk.bucket for chunk in plan.chunks)
        if before:
            for kept, was in zip(plan.chunks, before.chunks, strict=False):  # in buckets that may have more runs
                assert (kept.index, kept.runs) == (was.index, was.runs)
                assert kept.bucket.runs[: len(was.bucket.runs)] == was.bucket.runs
                assert replace(kept.bucket, runs=was.bucket.runs) == was.bucket
            assert len(plan.chunks) > len(before.chunks)
            assert plan.continues.keys() >= before.continues.keys()
            shorter = {run.run_id: run.spec.train.steps for chunk in before.chunks for run in chunk.runs}
            own = {run.run_id: run.spec for run in grown.runs}
            new = plan.continues.keys() - before.continues.keys()
            assert {own[run_id].seed for run_id in new} == {run.spec.seed for run in before.sweep.runs}
            assert all(shorter[plan.continues[run_id]] == max(shorter.values()) for run_id in new)


def test_a_sweep_that_shrinks_is_another():
    small, large = (sweep(f"parameters: {{seed: {{min: 0, max: {last}}}}}\n") for last in (3, 5))
    with pytest.raises(SweepError, match="2 of its 6 runs are gone, 0 are new"):
        extend(make_plan(large, device()), small, lambda new, of: make_plan(new, device(), continues=of), "DIR")
