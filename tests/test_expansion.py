"""What a sweep file means: its runs, their values, and what wins over what."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from grokjax.spec.constraints import FixedNorm
from grokjax.spec.optimizers import SGD, Adam, AdamW
from grokjax.sweep.expand import expand, load_sweep
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.settings import parse_overrides

# DESIGN.md's example, word for word
COMPLETE = """\
name: weight-decay-by-seed
base:                                   # one run; every field has a default and a documented unit
  seed: 0
  task:       {name: modular, op: add, p: 113, train_fraction: 0.3, split: {method: numpy, seed: null}}
                                        # op: add | subtract | multiply | divide | quadratic (x^2+xy+y^2) | random
  model:      {name: transformer, layers: 1, d_model: 128, heads: 4, d_head: null, d_mlp: 512, activation: relu, \
layernorm: none, logit_scale: 1.0}
                                        # or {name: mlp, widths: [200, 200], input: one_hot | embedded, bias: true}
  init:       {scheme: paper, scale: 1.0, scale_by_matrix: {}, from_file: null, from_run: null}
                                        # scheme: paper (the transformer of SCIENCE.md) | fan_in (N(0, 1/fan_in))
  loss:       {name: cross_entropy, precision: exact}          # exact | float32 | float64 ; or {name: mse}
  optimizer:  {name: adamw, lr: 1e-3, b1: 0.9, b2: 0.98, eps: 1e-8, weight_decay: 1.0, warmup_steps: 10, \
clip_norm: null, lr_by_matrix: {}, weight_decay_by_matrix: {}}
                                        # adam (decay coupled) | adamw | sgd: {lr, momentum: 0, nesterov, ...}
  constraint: {name: none}              # {name: fixed_norm, scope: global | matrix, radius: null}
  train:      {steps: 40000, batch: null}                      # null is the full batch
  stop:       {after_generalization: null}                     # further steps once test accuracy has held
  numerics:   {params: float32, matmul: highest}
log:    {every: 10, eval_every: 100, dense_first: 0, snapshot_every: 10000, probes: []}
events: {fit: 0.99, generalization: 0.99, hold: 1}
engine: {lanes: auto}
method: grid                            # grid | random (with run_cap and random_seed): W&B's own words
parameters:                             # W&B's own words: value, values, distribution, min, max, mu, sigma, q
  seed: {min: 0, max: 63}               # an integer range is a grid axis
  optimizer.weight_decay: {values: [0.3, 1.0, 3.0]}
zip: []                                 # axes that move together: [{optimizer.lr: [...], constraint.radius: [...]}]
arms: {}                                # optional: NAME: {base, parameters, zip}
"""


def sweep(text, overrides=None, folder=Path(".")):
    return expand(parse_sweep(text, "sweep.yaml", folder), overrides)


def values(made, *keys):
    """Rows of the values of `keys`, one a run."""

    def read(spec, key):
        for part in key.split("."):
            spec = getattr(spec, part)
        return spec

    return [tuple(read(run.spec, key) for key in keys) for run in made.runs]


def test_the_complete_example_is_64_seeds_at_three_weight_decays():
    made = sweep(COMPLETE)
    assert made.name == "weight-decay-by-seed"
    assert made.axes == {"main": ("seed", "optimizer.weight_decay")}
    expected = [(seed, decay) for seed in range(64) for decay in (0.3, 1.0, 3.0)]
    assert values(made, "seed", "optimizer.weight_decay") == expected
    assert all(run.arms == ("main",) for run in made.runs)
    assert made.warnings == ()


def test_the_complete_example_says_what_the_defaults_are():
    bare = sweep("parameters: {seed: {min: 0, max: 63}, optimizer.weight_decay: {values: [0.3, 1.0, 3.0]}}\n")
    assert [run.spec for run in bare.runs] == [run.spec for run in sweep(COMPLETE).runs]


def test_the_resolved_values_follow_from_others():
    (run,) = sweep("base: {seed: 7, model: {heads: 2}, log: {every: 30}}\n").runs
    assert run.spec.model.d_head == 64
    assert run.spec.init.scheme == "paper"
    assert run.spec.task.split.seed == 7
    assert run.spec.log.eval_every == 120


@pytest.mark.parametrize(
    "base",
    [
        "task: {op: divide, p: 97, split: {method: python, seed: 3}}",
        "task: {op: quadratic, p: 12}",
        "model: {name: mlp, widths: [200, 200], input: embedded, activation: gelu, bias: false}",
        "model: {layers: 2, d_head: 5, heads: 3, d_mlp: 0, layernorm: pre, activation: identity}",
        "init: {scheme: torch_linear, scale: 8, scale_by_matrix: {W_E: 0.1, W_O.0: 2}}",
        "loss: {name: mse}",
        "loss: {precision: float64}",
        "optimizer: {name: sgd, lr: 0.1, momentum: 0, nesterov: true, weight_decay: 0, decay: decoupled}",
        "optimizer: {name: adam, lr: 1e-3, clip_norm: 1, lr_by_matrix: {W_U: 0}}",
        "constraint: {name: fixed_norm, scope: matrix, radius: 3}",
        "train: {steps: 4e4, batch: 512}",
        "stop: {after_generalization: 0}",
        "numerics: {params: float64, matmul: default}",
        "log: {snapshot_every: null, snapshot_steps: log:100}",
        "log: {every: 5}\n  events: {hold: 3}\n  engine: {lanes: 8}",
        "optimizer.lr: 0.1\n  task.split.seed: 3\n  optimizer.lr_by_matrix.W_O.0: 2",
        "<<: {seed: 3}",
    ],
)
def test_every_documented_form_is_legal(base):
    assert len(sweep(f"base:\n  {base}  # comment\n").runs) == 1


def test_log_events_and_engine_mean_the_same_inside_base():
    text = "log: {every: 5}\nevents: {hold: 3}\nengine: {lanes: 8}\n"
    inside = "base: {log: {every: 5}, events: {hold: 3}, engine: {lanes: 8}}\n"
    assert sweep(text).runs == sweep(inside).runs
    assert sweep(text).runs[0].spec.events.hold == 3


def test_nested_parameters_are_dotted_ones():
    nested = """\
parameters:
  optimizer:
    parameters:
      lr: {values: [0.1, 0.2]}
      lr_by_matrix: {parameters: {W_O.0: {values: [1, 2]}}}
  task: {parameters: {split: {parameters: {seed: {min: 1, max: 2}}}}}
"""
    dotted = """\
parameters:
  optimizer.lr: {values: [0.1, 0.2]}
  optimizer.lr_by_matrix.W_O.0: {values: [1, 2]}
  task.split.seed: {min: 1, max: 2}
"""
    assert sweep(nested).runs == sweep(dotted).runs
    assert len(sweep(nested).runs) == 8


def test_an_integer_range_is_a_grid_axis_with_both_ends():
    assert values(sweep("parameters: {seed: {min: 3, max: 6}}\n"), "seed") == [(3,), (4,), (5,), (6,)]


def test_a_quantized_range_is_a_grid_axis_without_rounding_dust():
    made = sweep("parameters: {optimizer.lr: {distribution: q_uniform, min: 0.1, max: 0.7, q: 0.1}}\n")
    assert values(made, "optimizer.lr") == [(0.1,), (0.2,), (0.3,), (0.4,), (0.5,), (0.6,), (0.7,)]


def test_the_axes_of_a_zip_move_together_and_cross_the_others():
    made = sweep("zip: [{optimizer.lr: [0.1, 0.2], optimizer.b1: [0.8, 0.7]}]\nparameters: {seed: {values: [5, 6]}}\n")
    assert values(made, "seed", "optimizer.lr", "optimizer.b1") == [
        (5, 0.1, 0.8),
        (5, 0.2, 0.7),
        (6, 0.1, 0.8),
        (6, 0.2, 0.7),
    ]


ARMS = """\
base: {optimizer: {lr: 0.5, b2: 0.95}, train: {steps: 100}}
parameters: {seed: {min: 0, max: 1}}
zip: [{train.steps: [10, 20], log.every: [5, 10]}]
arms:
  adam: {base: {optimizer: {name: adam}}}
  sgd:
    base: {optimizer: {name: sgd}, train: {steps: 30}}
    parameters: {seed: {values: [7]}, optimizer.momentum: {values: [0, 0.9]}}
"""


def test_the_top_level_applies_to_every_arm_and_an_arm_replaces_equal_keys():
    made = sweep(ARMS)
    adam = [run.spec for run in made.runs if run.arms == ("adam",)]
    sgd = [run.spec for run in made.runs if run.arms == ("sgd",)]
    assert [(spec.seed, spec.train.steps, spec.log.every) for spec in adam] == [
        (0, 10, 5),
        (0, 20, 10),
        (1, 10, 5),
        (1, 20, 10),
    ]
    assert {(type(spec.optimizer), spec.optimizer.lr, spec.optimizer.b2) for spec in adam} == {(Adam, 0.5, 0.95)}
    assert [(spec.seed, spec.train.steps, spec.optimizer.momentum) for spec in sgd] == [(7, 30, 0.0), (7, 30, 0.9)]
    assert {(type(spec.optimizer), spec.optimizer.lr) for spec in sgd} == {(SGD, 0.5)}


def test_an_axis_that_only_one_arm_feels_is_still_refused_in_the_other():
    with pytest.raises(SweepError, match=r"optimizer\.b2: an axis without effect: optimizer sgd has no key b2"):
        sweep(ARMS.replace("parameters: {seed: {min", "parameters: {optimizer.b2: {values: [0.9, 0.8]}, seed: {min"))


def test_a_setting_fixes_a_key_in_the_arms_that_have_it():
    made = sweep(ARMS, {"seed": 3, "train.steps": 50, "optimizer.momentum": 0.5})
    assert [type(run.spec.optimizer) for run in made.runs] == [Adam, SGD]
    assert made.runs[1].spec.optimizer.momentum == 0.5
    with pytest.raises(SweepError, match=r"--set: loss.precision: unknown key: no run's loss has precision"):
        sweep("base: {loss: {name: mse}}\n", {"loss.precision": "exact"})


def test_settings_win_over_everything_and_fix_what_was_swept():
    made = sweep(ARMS, {"seed": 3, "train.steps": 50, "log.every": 5, "optimizer.lr": 2})
    assert set(values(made, "seed", "train.steps", "optimizer.lr")) == {(3, 50, 2.0)}
    assert made.axes == {"adam": (), "sgd": ("optimizer.momentum",)}
    assert len(made.runs) == 3


def test_a_setting_takes_one_key_out_of_a_zip_and_leaves_the_rest_once_each():
    text = "zip: [{optimizer.lr: [1, 2, 3], optimizer.weight_decay: [1, 1, 2]}]\n"
    made = sweep(text, {"optimizer.lr": 9})
    assert values(made, "optimizer.lr", "optimizer.weight_decay") == [(9.0, 1.0), (9.0, 2.0)]


def test_a_setting_of_a_whole_section_or_table_is_taken_apart():
    text = "base: {train: {batch: 7}, optimizer: {lr_by_matrix: {W_E: 2}}}\n"
    made = sweep(text, parse_overrides(["train={steps: 5}"]))
    assert values(made, "train.steps", "train.batch", "optimizer.lr_by_matrix") == [(5, 7, {"W_E": 2.0})]
    swept = "parameters: {optimizer.lr_by_matrix.W_E: {values: [1, 2]}, seed: {values: [0, 1]}}\n"
    made = sweep(swept, {"optimizer.lr_by_matrix": {"W_U": 3}})
    assert values(made, "seed", "optimizer.lr_by_matrix") == [(0, {"W_U": 3.0}), (1, {"W_U": 3.0})]


def test_a_setting_of_the_family_drops_what_only_the_other_family_has():
    (run,) = sweep("base: {optimizer: {b2: 0.5, lr: 4}}\n", {"optimizer.name": "sgd"}).runs
    assert run.spec.optimizer == SGD(lr=4.0)


def test_settings_from_python_may_be_numpy_scalars_tuples_and_paths():
    given = {"seed": np.int64(4), "optimizer.lr": np.float32(0.5), "model": {"name": "mlp", "widths": (3, 4)}}
    (run,) = sweep("name: x\n", given).runs
    assert (run.spec.seed, run.spec.optimizer.lr, run.spec.model.widths) == (4, 0.5, [3, 4])


def test_equal_runs_of_two_arms_are_one_run_that_belongs_to_both():
    made = sweep("arms: {a: {parameters: {seed: {min: 0, max: 2}}}, b: {parameters: {seed: {min: 2, max: 3}}}}\n")
    assert [(run.spec.seed, run.arms) for run in made.runs] == [
        (0, ("a",)),
        (1, ("a",)),
        (2, ("a", "b")),
        (3, ("b",)),
    ]


def test_a_matrix_without_a_layer_means_every_layer_and_factors_multiply():
    text = "base: {{model: {{layers: 2}}, init: {{scale_by_matrix: {{{table}}}}}}}\n"
    both = sweep(text.format(table="W_O: 2, W_O.1: 3")).runs[0]
    spelled = sweep(text.format(table="W_O.0: 2, W_O.1: 6")).runs[0]
    assert both.run_id == spelled.run_id != sweep(text.format(table="W_O: 2")).runs[0].run_id


def test_a_fixed_norm_has_no_weight_decay_unless_it_is_given():
    text = "base: {constraint: {name: fixed_norm}}\n"
    assert isinstance(sweep(text).runs[0].spec.constraint, FixedNorm)
    assert sweep(text).runs[0].spec.optimizer.weight_decay == 0
    given = sweep(text, {"optimizer.weight_decay": 1})
    assert given.runs[0].spec.optimizer.weight_decay == 1
    assert any("fixed_norm with weight_decay 1" in note for note in given.warnings)
    assert not any("fixed_norm" in note for note in sweep(text).warnings)


def test_no_weight_decay_with_exact_loss_is_remarked_upon():
    note = "float32 is the one that slingshots"
    assert any(note in text for text in sweep("base: {optimizer: {name: adam}}\n").warnings)
    assert not sweep("base: {optimizer: {name: adam}, loss: {precision: float32}}\n").warnings
    assert not sweep("base: {optimizer: {name: sgd}}\n").warnings


def test_weights_are_found_beside_the_sweep_and_from_settings_in_the_working_directory(tmp_path, monkeypatch):
    start = {"W.0": (10, 4), "b.0": (4,), "W.1": (4, 5), "b.1": (5,)}
    for folder in ("sweeps", "here"):
        (tmp_path / folder).mkdir()
        save_file({k: np.zeros(shape, np.float32) for k, shape in start.items()}, tmp_path / folder / "w.safetensors")
    path = tmp_path / "sweeps" / "s.yaml"
    monkeypatch.chdir(tmp_path / "here")
    path.write_text("base: {task: {p: 5}, model: {name: mlp, widths: [4]}, init: {from_file: w.safetensors}}\n")
    assert load_sweep(path).runs[0].spec.init.from_file == str(tmp_path / "sweeps" / "w.safetensors")
    fixed = load_sweep(path, {"init.from_file": "w.safetensors"})
    assert fixed.runs[0].spec.init.from_file == str(tmp_path / "here" / "w.safetensors")


def test_a_date_is_a_name_and_a_byte_order_mark_is_not_seen(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: 2026-01-05\r\nbase: {seed: 1}\r\n")
    assert load_sweep(path).name == "2026-01-05"


def test_a_sweep_without_a_name_is_called_like_its_file(tmp_path):
    (tmp_path / "my sweep (2).yaml").write_text("base: {seed: 1}\n")
    assert load_sweep(tmp_path / "my sweep (2).yaml").name == "my-sweep-2"


def test_files_whose_names_lose_letters_do_not_share_a_folder(tmp_path):
    names = set()
    for stem in ("研究", "実験", "研究1", "実験1", "über", "ber", "(!)"):
        (tmp_path / f"{stem}.yaml").write_text("base: {seed: 1}\n")
        names.add(load_sweep(tmp_path / f"{stem}.yaml").name)
    assert len(names) == 7
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name) for name in names)
    assert "ber" in names


@pytest.mark.parametrize(("name", "quoted"), [("113", "'113'"), ("1.5", "'1.5'"), ("true", "'true'")])
def test_a_name_that_is_a_number_is_asked_for_in_quotes(name, quoted):
    with pytest.raises(SweepError, match=f"name: must be text, got .*: write it in quotes, as {quoted}"):
        sweep(f"name: {name}\nbase: {{seed: 1}}\n")
    assert sweep(f"name: {quoted}\n").name == name


# What W&B's sweep files have besides


def test_the_bookkeeping_of_wandb_is_remarked_upon_once_and_means_nothing():
    text = """\
program: train.py
project: grokking
entity: someone
metric: {name: test_loss, goal: minimize}
early_terminate: {type: hyperband, min_iter: 3}
command: [python, train.py]
description: does it grok?
run_cap: 1
parameters: {seed: {values: [0, 1]}}
"""
    made = sweep(text)
    assert [run.spec.seed for run in made.runs] == [0, 1]
    assert made.warnings == (
        "W&B's program, project, entity, metric, early_terminate, command have no effect here",
        "run_cap has no effect with method grid: all runs of the grid are trained",
    )
    assert made.description == "does it grok?"


def test_a_search_by_earlier_losses_is_refused_with_the_reason():
    with pytest.raises(SweepError, match=r"method: bayes picks runs by what .* the loss is flat"):
        sweep("method: bayes\nparameters: {seed: {values: [0, 1]}}\n")
    with pytest.raises(SweepError, match="description: must be text, got 5"):
        sweep("description: 5\n")


# Random sweeps

RANDOM = """\
method: random
run_cap: 40
random_seed: 3
parameters:
  optimizer.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  seed: {min: 0, max: 1000000}
"""


def test_a_random_sweep_has_its_number_of_draws_and_is_the_same_each_time():
    assert len(sweep(RANDOM).runs) == 40
    assert sweep(RANDOM).runs == sweep(RANDOM).runs
    assert not {run.run_id for run in sweep(RANDOM.replace("seed: 3", "seed: 4")).runs} & {
        run.run_id for run in sweep(RANDOM).runs
    }


def test_more_draws_and_other_axes_leave_the_first_draws_as_they_were():
    more = sweep(RANDOM.replace("run_cap: 40", "run_cap: 60"))
    assert more.runs[:40] == sweep(RANDOM).runs
    wider = sweep(RANDOM + "  init.scale: {min: 1.0, max: 2.0}\n")
    assert values(wider, "optimizer.lr", "seed") == values(sweep(RANDOM), "optimizer.lr", "seed")


def test_draws_that_repeat_others_are_one_run_and_remarked_upon():
    made = sweep("method: random\nrun_cap: 30\nparameters: {seed: {values: [1, 2]}}\n")
    assert sorted(values(made, "seed")) == [(1,), (2,)]
    assert "28 of 30 draws repeat others" in made.warnings[0]


def test_a_random_sweep_may_weight_a_value_by_listing_it_twice():
    made = sweep("method: random\nrun_cap: 9\nparameters: {seed: {values: [1, 1, 2]}}\n")
    assert sorted(values(made, "seed")) == [(1,), (2,)]


def test_categorical_draws_each_value_alike_and_constant_only_its_own():
    text = "method: random\nrun_cap: 900\nparameters: {init.scale: {value: 2}, seed: {min: 0, max: 2147483646}, %s}\n"
    made = sweep(text % "optimizer.lr: {values: [0.1, 0.2, 0.3]}")
    counts = Counter(lr for (lr,) in values(made, "optimizer.lr"))
    assert all(abs(counts[lr] - 300) < 60 for lr in (0.1, 0.2, 0.3))
    assert set(values(made, "init.scale")) == {(2.0,)}


# Properties

NUMBERS = st.floats(1e-3, 10, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True),
    st.lists(NUMBERS, min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["add", "subtract", "multiply"]), min_size=1, max_size=3, unique=True),
)
def test_a_grid_has_every_combination_once(seeds, rates, ops):
    axes = f"seed: {{values: {seeds}}}, optimizer.lr: {{values: {rates}}}, task.op: {{values: [{', '.join(ops)}]}}"
    made = sweep(f"parameters: {{{axes}}}\n")
    expected = [(seed, rate, op) for seed in seeds for rate in rates for op in ops]
    assert values(made, "seed", "optimizer.lr", "task.op") == expected
    assert len({run.run_id for run in made.runs}) == len(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.permutations(["seed", "optimizer.lr", "init.scale"]))
def test_fixing_an_axis_by_a_setting_gives_the_runs_that_the_grid_had_there(seed, order):
    lists = {"seed": list(range(10)), "optimizer.lr": [0.1, 0.2], "init.scale": [1, 8]}
    text = "parameters: {" + ", ".join(f"{key}: {{values: {lists[key]}}}" for key in order) + "}\n"
    there = {run.run_id for run in sweep(text).runs if run.spec.seed == seed}
    assert {run.run_id for run in sweep(text, {"seed": seed}).runs} == there


def test_defaults_are_those_of_the_families():
    assert sweep("name: x\n").runs[0].spec.optimizer == AdamW()
