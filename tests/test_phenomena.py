"""The phenomena themselves, on the quickstart's tasks: who groks, who does not, and who slingshots."""

import pytest

import grokjax

SWEEP = """
base:
  model: {d_model: 32, heads: 4, d_mlp: 128}
log: {every: 10, eval_every: 100}
arms:
  grok:
    base:
      seed: 3
      task: {p: 31, train_fraction: 0.8}
      optimizer: {name: adamw, lr: 3e-3}
      train: {steps: 1200}
    parameters:
      optimizer.weight_decay: {values: [0, 1.0]}
  slingshot:
    base:
      task: {p: 23, train_fraction: 0.5}
      optimizer: {name: adam, lr: 1e-3, eps: 1e-8, weight_decay: 0}
      train: {steps: 6000}
    parameters:
      loss.precision: {values: [float32, exact]}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phenomena")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out").runs()


def test_weight_decay_1_generalizes_long_after_it_fits(runs):
    (run,) = runs[(runs["arm"] == "grok") & (runs["optimizer.weight_decay"] == 1.0)].to_dict("records")
    assert run["outcome"] == "generalized"
    assert run["fit_step"] <= 200
    assert run["delay"] >= 100


def test_without_weight_decay_the_same_run_fits_and_does_not_generalize(runs):
    (run,) = runs[(runs["arm"] == "grok") & (runs["optimizer.weight_decay"] == 0)].to_dict("records")
    assert run["outcome"] in ("memorized", "partly_generalized")  # x + y = y + x is a part of the rule
    assert run["final/train/accuracy"] == 1
    assert run["final/test/accuracy"] < 0.95


def test_a_float32_loss_with_a_small_eps_slingshots_at_least_4_times(runs):
    (run,) = runs[runs["loss.precision"].eq("float32")].to_dict("records")
    assert run["slingshots"] >= 4


def test_the_exact_loss_never_slingshots_without_weight_decay(runs):
    (run,) = runs[runs["arm"].eq("slingshot") & runs["loss.precision"].eq("exact")].to_dict("records")
    assert run["slingshots"] == 0
    assert run["final/train/loss"] < 1e-9
