"""How runs end, and what is evaluated with minibatches: one end everywhere, and fit is that of the whole train set."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import grokjax
from grokjax.analysis.stored import examples_of, logit_scale
from grokjax.launch import verify_results
from grokjax.models.network import forward
from grokjax.plan import cost
from grokjax.spec.hypers import hyper_of
from grokjax.spec.models import MLP
from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Modular
from grokjax.train.step import evaluate

SWEEP = """
name: ends
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [16]}
  optimizer: {lr: 1e-2}
  train: {steps: 45, batch: 8}
log: {every: 10, eval_every: 20}
arms:
  batches: {parameters: {seed: {values: [0, 1]}, train.batch: {values: [8, null]}}}
  diverges: {base: {optimizer: {name: sgd, lr: 1.0e+3}, loss: {name: mse}, train: {steps: 45, batch: null}}}
  at_once: {base: {optimizer: {lr: 1.0e+30}, train: {steps: 45, batch: null}}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ends")
    (folder / "ends.yaml").write_text(SWEEP)
    return grokjax.run(folder / "ends.yaml", folder / "out")


def on_device(params: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in params.items()}


def accuracy(results: Any, run_id: str, of: int) -> float:
    """Of a run's last parameters on its train (0) or test (1) set."""
    spec = results.manifest.run(run_id).spec
    examples = examples_of(spec)[of]
    logits = forward(spec, on_device(results.params(run_id)), jnp.asarray(examples.inputs)) * logit_scale(spec)
    return float((logits.argmax(0) == examples.targets).mean())


def test_with_minibatches_the_whole_train_set_is_evaluated(results):
    runs = results.runs().query("arm == 'batches' and batch_size == 8")
    curves = results.curves(["train/accuracy", "train_set/accuracy", "train_set/loss"], runs["run_id"])
    evaluated = curves.dropna(subset="train_set/accuracy")
    assert evaluated.groupby("run_id")["step"].apply(list).tolist() == [[0, 20, 40, 45]] * 2
    for run in runs.to_dict("records"):
        assert run["final/train_set/accuracy"] == pytest.approx(accuracy(results, run["run_id"], 0))
        assert run["final/test/accuracy"] == pytest.approx(accuracy(results, run["run_id"], 1))


def test_the_full_batch_has_its_size_and_needs_no_second_evaluation(results):
    runs = results.runs().query("arm == 'batches' and batch_size != 8")
    assert runs["batch_size"].tolist() == [29, 29]
    assert runs["train.batch"].isna().all()
    assert runs["final/train_set/accuracy"].isna().all()


@pytest.mark.parametrize("arm", ["diverges", "at_once"])
def test_a_diverged_run_has_one_end_everywhere(results, arm: str):
    """Its last record, its final values and its parameters are of the same step."""
    (run,) = results.runs().query("arm == @arm").to_dict("records")
    assert run["status"] == "diverged"
    curves = results.curves(runs=run["run_id"])
    assert run["last_step"] == curves["step"].iloc[-1] == results.ends[run["run_id"]]["step"] < 45
    params = results.params(run["run_id"])
    norm = np.sqrt(sum(float(np.square(value.astype(np.float64)).sum()) for value in params.values()))
    recorded = run["final/norm/total"]
    is_too_large = norm > 1e18  # its square is more than a float32 can be
    assert np.isinf(recorded) if is_too_large else recorded == pytest.approx(norm, rel=1e-5)
    assert not pd.isna(curves["test/accuracy"].iloc[-1])
    assert len(curves["step"].unique()) == len(curves)


def test_runs_say_their_last_step(results):
    ended = results.runs().query("status == 'ended'")
    assert ended["last_step"].tolist() == [45] * len(ended)


def test_what_ended_so_is_intact(results):
    assert not verify_results(results.path).damaged


@pytest.mark.parametrize("block", [1, 7, 29, 1000])
def test_an_evaluation_in_blocks_is_that_of_all_at_once(results, block: int, monkeypatch: pytest.MonkeyPatch):
    run_id = results.runs().query("batch_size == 8")["run_id"].iloc[0]
    spec = results.manifest.run(run_id).spec
    train, test = (jax.tree.map(jnp.asarray, examples) for examples in examples_of(spec))
    hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
    given = (on_device(results.params(run_id)), train, test, hyper)
    whole = jax.device_get(evaluate(spec, *given))
    monkeypatch.setattr(cost, "BLOCK", block * spec.model.activations(spec.task))
    assert cost.evaluation_block(spec) == block
    blocks = jax.device_get(evaluate(spec, *given))
    assert set(whole) == {"test/loss", "test/accuracy", "train_set/loss", "train_set/accuracy"}
    for name, value in whole.items():
        np.testing.assert_allclose(blocks[name], value, rtol=1e-5)


def test_memory_of_a_large_task_does_not_grow_with_its_test_set():
    """p = 1009 at 2 % with a narrow MLP has a million test pairs."""
    task, model = Modular(p=1009, train_fraction=0.02), MLP(widths=[8]).resolved()
    spec = RunSpec(task=task, model=model)
    assert task.test_size > 990_000
    assert cost.lane_bytes(spec) < 1e9
