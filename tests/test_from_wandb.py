"""`grokjax init --from wandb FILE`: sweeps of grokking scripts, written as such projects write them, become ours."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.from_wandb import translate
from grokjax.sweep.key_words import KEYS
from grokjax.sweep.load import SweepError, parse_sweep

NANDA = """\
program: train.py
method: grid
metric: {name: test_loss, goal: minimize}
parameters:
  lr: {value: 0.001}
  weight_decay: {values: [0.1, 0.3, 1.0]}
  p: {value: 113}
  d_model: {value: 128}
  fn_name: {values: [add, subtract, x2xyy2]}
  frac_train: {value: 0.3}
  num_epochs: {value: 50000}
  save_models: {value: false}
  save_every: {value: 100}
  stopping_thresh: {value: -1}
  seed: {values: [0, 1, 2]}
  num_layers: {value: 1}
  d_vocab: {value: 114}
  n_ctx: {value: 3}
  d_mlp: {value: 512}
  num_heads: {value: 4}
  act_type: {value: ReLU}
  use_ln: {value: false}
"""
POWER = """\
program: ./scripts/train.py
name: openai-grok
method: random
parameters:
  math_operator: {values: ["+", "-", "*", "/", "x**2+x*y+y**2_mod_97"]}
  train_data_pct: {values: [20, 30, 50]}
  max_lr: {value: 0.001}
  weight_decay: {values: [0, 1]}
  n_layers: {value: 2}
  n_heads: {value: 4}
  d_model: {value: 128}
  dropout: {values: [0.0, 0.1]}
  betas: {values: [[0.9, 0.98], [0.9, 0.999]]}
  warmup_steps: {value: 10}
  batchsize: {value: 512}
  max_steps: {value: 100000}
  random_seed: {min: 0, max: 9}
"""
OMNIGROK = """\
method: bayes
run_cap: 30
metric: {name: val_acc, goal: maximize}
early_terminate: {type: hyperband, min_iter: 10}
parameters:
  alpha: {distribution: log_uniform_values, min: 0.3, max: 30}
  learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  wd: {distribution: q_log_uniform_values, min: 0.1, max: 10, q: 0.1}
  optimizer: {values: [AdamW, Adam, SGD]}
  batch_size: {value: 200}
  depth: {value: 3}
  optimization_steps: {value: 100000}
  train_points: {value: 1000}
  loss_function: {value: MSE}
  activation: {value: relu}
"""
LIU = """\
project: effective-theory
entity: someone
method: grid
description: where does the phase of grokking lie?
parameters:
  seed: {min: 0, max: 4}
  model:
    parameters:
      embed_dim: {value: 16}
      dim_feedforward: {value: 64}
      nhead: {value: 2}
      hidden_dim: {values: [50, 200]}
  optim:
    parameters:
      eta: {values: [1e-4, 1e-3, 1e-2]}
      weight_decay: {values: [0.0, 1.0, 5.0]}
      beta_2: {value: 0.98}
  prime: {value: 59}
  train_fraction: {values: [0.45, 0.8]}
  device: {value: cuda}
"""
NANOGPT = """\
program: train.py
method: random
run_cap: 8
parameters:
  n_layer: {values: [1, 2]}
  n_head: {value: 4}
  n_embd: {value: 128}
  block_size: {value: 3}
  learning_rate: {distribution: log_uniform, min: -9.2, max: -4.6}
  beta1: {distribution: uniform, min: 0.8, max: 0.95}
  grad_clip: {value: 1.0}
  max_iters: {value: 20000}
  eval_interval: {value: 200}
  bias: {value: false}
  dtype: {value: float32}
  momentum: {values: [0.0, 0.9]}
  compile: {value: true}
  vocab: [1, 2]
"""
SCRIPTS = {"nanda": NANDA, "power": POWER, "omnigrok": OMNIGROK, "liu": LIU, "nanogpt": NANOGPT}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(name):
    Path(f"{name}-wandb.yaml").write_text(SCRIPTS[name])
    done = CliRunner().invoke(app, ["init", name, "--from", "wandb", f"{name}-wandb.yaml"])
    assert done.exit_code == 0, done.output
    return load_sweep(f"{name}.yaml"), Path(f"{name}.yaml").read_text()


def values(sweep, *keys):
    """The distinct values of keys over all runs."""
    rows = set()
    for run in sweep.runs:
        row = []
        for key in keys:
            value = run.spec
            for part in key.split("."):
                value = getattr(value, part)
            row.append(value)
        rows.add(tuple(row))
    return rows


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_becomes_of_a_script_s_sweep_is_accepted_and_nothing_is_lost(name):
    sweep, text = made(name)
    assert len(sweep.runs) >= 8
    data = parse_sweep(SCRIPTS[name], "s.yaml", Path()).data["parameters"]
    words: list[str] = []
    for key, entry in data.items():
        words += entry["parameters"] if isinstance(entry, dict) and "parameters" in entry else [key]
    for word in words:
        assert f"# {word}, line " in text or f"#   {word}: " in text, word


def test_nanda_s_keys_are_understood():
    sweep, text = made("nanda")
    assert values(sweep, "task.p", "task.train_fraction", "train.steps", "model.heads", "model.layers") == {
        (113, 0.3, 50000, 4, 1)
    }
    assert values(sweep, "task.op") == {("add",), ("subtract",), ("quadratic",)}
    assert values(sweep, "model.activation", "log.snapshot_every") == {("relu", 100)}
    assert len(sweep.runs) == 27
    assert "train.steps: 50000  # num_epochs, line 11: the batch is full, so an epoch is one step" in text
    assert "#   d_vocab: {value: 114}  (line 17: task.p: it follows from the task" in text
    assert "#   save_models: {value: false}  (line 12: log.snapshot_every: steps between two snapshots)" in text


def test_percentages_pairs_and_operators_of_power_et_al_become_ours():
    sweep, text = made("power")
    assert values(sweep, "task.op") <= {("add",), ("subtract",), ("multiply",), ("divide",), ("quadratic",)}
    assert values(sweep, "task.train_fraction") <= {(0.2,), (0.3,), (0.5,)}
    assert values(sweep, "optimizer.b1", "optimizer.b2") <= {(0.9, 0.98), (0.9, 0.999)}
    assert values(sweep, "train.batch", "train.steps") == {(512, 100000)}
    assert "run_cap: 50  # draws in all; W&B's had no end" in text
    assert "noise.dropout: {values: [0.0, 0.1]}  # dropout, line 12" in text


def test_a_search_becomes_a_random_one_and_says_so():
    sweep, text = made("omnigrok")
    assert "method: random  # it was bayes: a search by earlier losses misleads where a loss is flat" in text
    assert values(sweep, "optimizer.name") <= {("adamw",), ("adam",), ("sgd",)}
    assert values(sweep, "loss.name", "model.layers") == {("mse", 3)}
    assert all(0.3 <= scale <= 30 for (scale,) in values(sweep, "init.scale"))
    assert "# Of W&B, without a meaning here: metric, early_terminate" in text


def test_nested_parameters_are_read_by_their_last_word():
    sweep, text = made("liu")
    assert values(sweep, "model.d_model", "model.d_mlp", "model.heads", "optimizer.b2", "task.p") == {
        (16, 64, 2, 0.98, 59)
    }
    assert sweep.description == "where does the phase of grokking lie?"
    assert "hidden_dim: {values: [50, 200]}  (line 12: model.widths or model.d_mlp: widths is a list" in text


def test_an_axis_that_our_checks_refuse_is_left_out_with_the_reason():
    sweep, text = made("nanogpt")
    assert "#   momentum: {values: [0.0, 0.9]}" in text
    assert "an axis without effect: optimizer adamw has no key momentum" in text
    assert all(1e-4 < lr < 1.01e-2 for (lr,) in values(sweep, "optimizer.lr"))


def test_the_w_and_b_file_is_never_written_over():
    Path("sweep.yaml").write_text(NANDA)
    done = CliRunner().invoke(app, ["init", "--from", "wandb", "sweep.yaml", "--force"])
    assert done.exit_code == 0, done.output
    assert Path("sweep.yaml").read_text() == NANDA
    assert load_sweep("sweep-grokjax.yaml").name == "sweep-grokjax"
    refused = CliRunner().invoke(app, ["init", "sweep", "--from", "wandb", "sweep.yaml", "--force"])
    assert (refused.exit_code, Path("sweep.yaml").read_text()) == (2, NANDA)


def test_a_file_that_is_no_w_and_b_sweep_is_refused():
    with pytest.raises(SweepError, match=r"s\.yaml: is no W&B sweep: it has no `parameters`"):
        translate(parse_sweep("lr: 1\n", "s.yaml", Path()), "s")


ENTRIES = st.sampled_from(
    ["{value: 3}", "{values: [1, 2]}", "{min: 0, max: 3}", "{min: 0.1, max: 0.5}", "{values: []}", "{}", "5", "[1]",
     "{distribution: beta}", "{value: {a: 1}}", "{values: [adam, 'x # y', null]}", "{min: a}", "{probabilities: [1]}"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYS, "lr", "seed", "task", "x y", "a.b"]), ENTRIES, min_size=1, max_size=6),
       st.sampled_from(["grid", "random", "bayes", "5"]))  # fmt: skip
def test_whatever_the_parameters_are_the_sweep_is_accepted(parameters, method):
    lines = [f"  {word!r}: {entry}" for word, entry in parameters.items()]
    document = parse_sweep("\n".join([f"method: {method}", "run_cap: 3", "parameters:", *lines, ""]), "s.yaml", Path())
    Path("out.yaml").write_text(translate(document, "out"))
    assert load_sweep("out.yaml").runs
