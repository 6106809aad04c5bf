"""A run's id: equal for what trains alike, different for every change that decides the trajectory."""

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from grokjax.spec.identity import program_key
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep


def run(base="", folder=Path("."), **overrides):
    """The one run of a base, with dotted keys set (`__` for a dot)."""
    text = f"base: {{{base}}}\n"
    made = expand(parse_sweep(text, "s.yaml", folder), {key.replace("__", "."): v for key, v in overrides.items()})
    (only,) = made.runs
    return only


# base of the run, key, another value of it: every key that decides the trajectory
CHANGES = [
    ("", "seed", 1),
    ("", "task.op", "subtract"),
    ("", "task.p", 97),
    ("", "task.train_fraction", 0.4),
    ("", "task.split.method", "python"),
    ("", "task.split.seed", 1),
    ("", "model.layers", 2),
    ("", "model.d_model", 64),
    ("", "model.heads", 2),
    ("", "model.d_head", 16),
    ("", "model.d_mlp", 256),
    ("", "model.activation", "gelu"),
    ("", "model.layernorm", "pre"),
    ("", "model.logit_scale", 2),
    ("", "init.scheme", "fan_in"),
    ("", "init.scale", 2),
    ("", "init.scale_by_matrix.W_E", 2),
    ("", "loss.precision", "float32"),
    ("", "loss.name", "mse"),
    ("", "loss.center_gradient", True),
    ("", "optimizer.name", "adam"),
    ("", "optimizer.lr", 2e-3),
    ("", "optimizer.b1", 0.8),
    ("", "optimizer.b2", 0.99),
    ("", "optimizer.eps", 1e-7),
    ("", "optimizer.weight_decay", 0.5),
    ("", "optimizer.warmup_steps", 0),
    ("", "optimizer.clip_norm", 1),
    ("", "optimizer.lr_by_matrix.W_E", 0),
    ("", "optimizer.weight_decay_by_matrix.W_E", 0),
    ("", "constraint.name", "fixed_norm"),
    ("", "train.steps", 39_999),
    ("", "train.batch", 64),
    ("", "stop.after_generalization", 100),
    ("", "numerics.params", "float64"),
    ("", "numerics.matmul", "default"),
    ("", "numerics.matmul", "bf16_x6"),
    ("numerics: {matmul: bf16_x6}", "numerics.matmul", "bf16_x9"),
    ("optimizer: {name: sgd}", "optimizer.momentum", 0.9),
    ("optimizer: {name: sgd, momentum: 0.9}", "optimizer.nesterov", True),
    ("optimizer: {name: sgd, weight_decay: 1}", "optimizer.decay", "decoupled"),
    ("constraint: {name: fixed_norm}", "constraint.scope", "matrix"),
    ("constraint: {name: fixed_norm}", "constraint.radius", 5),
    ("model: {name: mlp}", "model.widths", [200]),
    ("model: {name: mlp}", "model.input", "embedded"),
    ("model: {name: mlp}", "model.bias", False),
    ("model: {name: mlp, input: embedded}", "model.d_model", 64),
    ("stop: {after_generalization: 100}", "events.generalization", 0.9),
    ("stop: {after_generalization: 100}", "events.hold", 2),
    ("stop: {after_generalization: 100}", "log.eval_every", 50),
]


@pytest.mark.parametrize(("base", "key", "value"), CHANGES, ids=[f"{key} {base}".strip() for base, key, _ in CHANGES])
def test_a_change_that_decides_the_trajectory_changes_the_id(base, key, value):
    assert run(base).run_id != run(base, **{key: value}).run_id


@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        ("", "log.every", 5),
        ("", "log.eval_every", 50),
        ("", "log.dense_first", 100),
        ("", "log.snapshot_every", 7),
        ("", "log.snapshot_steps", "log:7"),
        ("", "events.fit", 0.5),
        ("", "events.generalization", 0.5),
        ("", "events.hold", 5),
        ("", "engine.lanes", 3),
        ("", "engine.kernel", "fused"),
        ("", "task.split.seed", 0),  # it follows the seed
        ("", "init.scheme", "paper"),
        ("", "model.d_head", 32),
        ("", "optimizer.lr_by_matrix.W_E", 1),
        ("", "init.scale_by_matrix.b_in", 3),  # starts at zero
        ("optimizer: {weight_decay: 0}", "optimizer.weight_decay_by_matrix.W_E", 3),
        ("optimizer: {name: sgd}", "optimizer.nesterov", True),
        ("optimizer: {name: sgd}", "optimizer.decay", "decoupled"),
        ("model: {d_mlp: 0}", "model.activation", "gelu"),
        ("model: {name: mlp}", "model.d_model", 7),
        ("constraint: {name: fixed_norm, radius: 3}", "init.scale", 8),
        ("constraint: {name: fixed_norm}", "optimizer.weight_decay", 0),
        ("stop: {after_generalization: 100}", "events.fit", 0.5),
    ],
)
def test_a_change_that_cannot_be_seen_in_the_trajectory_keeps_the_id(base, key, value):
    assert run(base).run_id == run(base, **{key: value}).run_id


def test_the_id_does_not_depend_on_name_arm_order_or_notation():
    plain = run("seed: 3, optimizer: {lr: 0.001, weight_decay: 1}").run_id
    assert run("optimizer: {weight_decay: 1.0, lr: 1e-3}, seed: 3").run_id == plain
    assert run("optimizer.lr: 1E-3, seed: 0x3, optimizer.weight_decay: 10.0e-1").run_id == plain
    text = "name: other\narms: {b: {base: {seed: 3}}}\n"
    assert expand(parse_sweep(text, "s.yaml", Path("."))).runs[0].run_id == plain


def test_an_id_is_twelve_hex_digits():
    assert len(run().run_id) == 12
    assert set(run().run_id) <= set(string.hexdigits.lower())


SMALL = "task: {p: 5}, model: {name: mlp, widths: [4]}"


def save(path, value=0.0):
    shapes = {"W.0": (10, 4), "b.0": (4,), "W.1": (4, 5), "b.1": (5,)}
    save_file({name: np.full(shape, value, np.float32) for name, shape in shapes.items()}, path)


def test_starting_weights_count_by_content_and_not_by_path(tmp_path):
    (tmp_path / "other").mkdir()
    save(tmp_path / "a.safetensors")
    save(tmp_path / "other" / "b.safetensors")
    save(tmp_path / "c.safetensors", 0.5)
    a, b, c = (run(SMALL, tmp_path, init__from_file=str(tmp_path / f)).run_id for f in
               ("a.safetensors", "other/b.safetensors", "c.safetensors"))  # fmt: skip
    assert a == b
    assert len({a, c, run(SMALL).run_id}) == 3


def test_a_file_of_starting_weights_that_was_rewritten_is_read_again(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path)
    before = run(SMALL, init__from_file=str(path)).run_id
    save(path, 0.5)
    assert run(SMALL, init__from_file=str(path)).run_id != before


def test_with_starting_weights_the_seed_counts_through_the_split_and_the_batches_only(tmp_path):
    path = str(tmp_path / "a.safetensors")
    save(Path(path))
    fixed = {"init__from_file": path, "task__split__seed": 0}
    assert run(SMALL, **fixed).run_id == run(SMALL, seed=1, **fixed).run_id
    assert run(SMALL, **fixed).run_id == run(SMALL, init__scheme="fan_in", **fixed).run_id
    assert run(SMALL, **fixed).run_id != run(SMALL, init__scale=2, **fixed).run_id
    assert run(SMALL, init__from_file=path).run_id != run(SMALL, seed=1, init__from_file=path).run_id
    assert run(SMALL, train__batch=3, **fixed).run_id != run(SMALL, train__batch=3, seed=1, **fixed).run_id


RATES = st.floats(1e-6, 1e3, allow_nan=False)
BASE = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 5),
        "optimizer.lr": RATES,
        "optimizer.weight_decay": st.sampled_from([0, 0.0, 1, 1.0, 0.5]),
        "init.scale": st.sampled_from([1, 1.0, 2, 2.0, 8]),
        "task.train_fraction": st.sampled_from([0.25, 0.5]),
    }
)


@settings(max_examples=150, deadline=None)
@given(BASE, BASE)
def test_two_runs_have_one_id_exactly_if_their_values_are_equal(one, other):
    same = run(**one).run_id == run(**other).run_id
    assert same == (one == other)


@settings(max_examples=60, deadline=None)
@given(RATES)
def test_the_smallest_change_of_a_number_changes_the_id(rate):
    nearby = float(np.nextafter(rate, 2e3))
    assert run(**{"optimizer.lr": rate}).run_id != run(**{"optimizer.lr": nearby}).run_id


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1000))
def test_a_whole_number_and_its_float_are_one_value(number):
    for key in ("optimizer.lr", "init.scale", "optimizer.lr_by_matrix.W_E", "train.steps", "optimizer.warmup_steps"):
        assert run(**{key: number}).run_id == run(**{key: float(number)}).run_id


DYNAMIC = {
    "seed": 1, "task.split.seed": 1, "task.split.method": "python", "model.logit_scale": 2, "init.scheme": "fan_in",
    "init.scale": 2, "init.scale_by_matrix.W_E": 2, "optimizer.lr": 0.1, "optimizer.b1": 0.8, "optimizer.b2": 0.8,
    "optimizer.eps": 1e-5, "optimizer.weight_decay": 0, "optimizer.warmup_steps": 0, "optimizer.lr_by_matrix.W_E": 0,
    "optimizer.weight_decay_by_matrix.W_E": 0, "train.steps": 7, "stop.after_generalization": 10, "events.hold": 3,
    "events.fit": 0.5, "log.snapshot_every": 7, "log.snapshot_steps": "log:7",
}  # fmt: skip
STATIC = {
    "task.op": "subtract", "task.p": 97, "task.train_fraction": 0.4, "model.layers": 2, "model.d_model": 64,
    "model.d_mlp": 64, "model.heads": 2, "model.activation": "gelu", "model.layernorm": "pre", "loss.name": "mse",
    "loss.precision": "float32", "optimizer.name": "adam", "constraint.name": "fixed_norm", "train.batch": 64,
    "numerics.params": "float64", "numerics.matmul": "default", "engine.kernel": "fused",
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), DYNAMIC.items())
def test_a_dynamic_value_keeps_the_program(key, value):
    assert program_key(run().spec) == program_key(run(**{key: value}).spec)


@pytest.mark.parametrize(("key", "value"), STATIC.items())
def test_a_static_value_is_another_program(key, value):
    assert program_key(run().spec) != program_key(run(**{key: value}).spec)


def test_momentum_norm_radius_clipping_norm_and_starting_weights_are_dynamic(tmp_path):
    save(tmp_path / "a.safetensors")
    pairs = [
        (run("optimizer: {name: sgd}"), run("optimizer: {name: sgd, momentum: 0.9}")),
        (run("constraint: {name: fixed_norm}"), run("constraint: {name: fixed_norm, radius: 3}")),
        (run("optimizer: {clip_norm: 1}"), run("optimizer: {clip_norm: 2}")),
        (run(SMALL), run(SMALL, init__from_file=str(tmp_path / "a.safetensors"))),
    ]
    for one, other in pairs:
        assert one.run_id != other.run_id
        assert program_key(one.spec) == program_key(other.spec)


def test_keys_that_came_later_leave_the_ids_of_runs_that_do_not_use_them():
    assert run().run_id == "2da26b0c1e1d"
