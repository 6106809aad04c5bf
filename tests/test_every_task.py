"""One run of every task, with the losses and kinds of noise, through lanes, kills, forks and replays, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits
from faults import Killed, dies

import grokjax
from grokjax.analysis.neurons import neurons
from grokjax.analysis.stored import examples_of, specs_of
from grokjax.analysis.time_axis import step_factors
from grokjax.launch import train
from grokjax.report import write_report
from grokjax.results.read import Results
from grokjax.results.snapshots import read_row
from grokjax.spec.run import RunSpec
from grokjax.sweep.expand import load_sweep

STEPS = 24
TINY = {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 8}
MLP = {"name": "mlp", "widths": [8]}
NOISE = {"labels": 0.1, "weights": 0.01, "update": 0.1, "dropout": 0.1}
ARMS: dict[str, dict[str, Any]] = {
    "openai": {
        "task": {"name": "group", "group": "S3", "op": "aba^-1", "format": "openai", "scores": "answer_and_end"},
        "model": TINY | {"layernorm": "post", "positions": "sinusoidal", "bias": False},
        "noise": NOISE,
    },
    "parity": {
        "task": {"name": "parity", "bits": 6, "k": 2, "examples": 30, "test_examples": 20},
        "model": MLP,
        "init": {"distribution": {"W.0": {"normal": 0.3}, "b": {"uniform": 0.1}}},
        "loss": {"name": "hinge"},
        "train": {"batch": 7},
    },
    "addition": {
        "task": {"name": "addition", "digits": 1, "online": True, "test_examples": 20},
        "model": TINY,
        "train": {"batch": 7},
    },
    "repeats": {
        "task": {"name": "repeats", "vocabulary": 5, "length": 8, "repeat": 2, "examples": 20, "test_examples": 9},
        "model": TINY | {"d_mlp": 0, "layers": 2, "direct_path": False},
        "loss": {"name": "stablemax", "precision": "float32"},
        "train": {"batch": 7},
    },
    "skip_trigrams": {
        "task": {"name": "skip_trigrams", "triggers": 3, "fillers": 3, "length": 5, "online": True},
        "model": TINY | {"mask": "none", "attention_mix": 0.5},
        "loss": {"precision": "float16"},
        "train": {"batch": 7},
    },
    "signal_pairs": {"task": {"name": "signal_pairs"}, "model": TINY | {"d_mlp": 0, "positions": "none"}},
    "teacher_student": {
        "task": {"name": "teacher_student", "widths": [6], "examples": 20, "test_examples": 9, "online": True},
        "model": MLP | {"activation": "leaky_relu", "bias": "last"},
        "loss": {"name": "mse", "reduction": "sum_classes"},
        "train": {"batch": 7},
    },
    "templates": {
        "task": {"name": "templates", "p": 5, "train_examples": 9, "d_template": 4},
        "model": MLP | {"input": "embedded", "combine": "sum", "d_model": 2},
        "loss": {"name": "mse"},
        "init": {"frozen": ["W_E"]},
        "train": {"batch": 7},
    },
    "arrays": {
        "task": {"name": "arrays", "file": "data.npz", "train_fraction": 0.5},
        "model": MLP,
        "train": {"batch": 7},
    },
}


def sweep(folder: Path, seeds: list[int], **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    random = np.random.Generator(np.random.PCG64(0))
    np.savez(folder / "data.npz", inputs=random.normal(size=(20, 3)), targets=np.arange(20) % 2)
    values = {
        "name": "tasks",
        "base": {"optimizer": {"lr": 0.01}, "train": {"steps": STEPS}},
        "log": {"every": 4, "eval_every": 8, "snapshot_every": 12},
        "engine": {"lanes": 2},
        "parameters": {"seed": {"values": seeds}},
        "arms": {name: {"base": base} for name, base in ARMS.items()},
    }
    (folder / "sweep.yaml").write_text(json.dumps(values | more))
    return folder / "sweep.yaml"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("tasks")
    return grokjax.run(sweep(folder, [0, 1]), out=folder / "out")


def run_of(results: Results, arm: str, seed: int) -> str:
    runs = results.runs()
    return str(runs["run_id"][(runs["arm"] == arm) & (runs["seed"] == seed)].iloc[0])


def state_at(results: Results, run_id: str, step: int) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in read_row(results.snapshot(run_id, step)).items()}


def test_each_task_is_a_program_whose_runs_differ_and_learn(together: Results):
    assert len(together.manifest.plan.buckets) == len(ARMS)
    runs = together.runs()
    assert (runs["status"] == "ended").all()
    curves = together.curves(["train/loss", "test/loss", "test/accuracy"])
    for arm in ARMS:
        one, other = (curves[curves["run_id"] == run_of(together, arm, seed)] for seed in (0, 1))
        assert one["test/loss"].iloc[0] != other["test/loss"].iloc[0]
        assert one["test/accuracy"].dropna().between(0, 1).all()
        assert one["train/loss"].tail(3).mean() < one["train/loss"].iloc[0], arm


def specs(results: Results) -> dict[str, RunSpec]:
    """Arm -> the spec of its first run."""
    of_runs = specs_of(results)
    return {arm: of_runs[run_of(results, arm, 0)] for arm in ARMS}


def test_what_needs_a_train_set_or_pairs_says_so_of_tasks_without(together: Results):
    runs = specs(together)
    with pytest.raises(ValueError, match="task addition has fresh examples at every step, and no train set"):
        examples_of(runs["addition"])
    with pytest.raises(ValueError, match="has fresh examples at every step, so x cannot be epoch"):
        step_factors(together, "epoch")
    factors = step_factors(together, "examples")
    assert factors[run_of(together, "addition", 0)] == 7
    with pytest.raises(ValueError, match="neurons are fitted over a table of all examples, and task parity has none"):
        neurons(together, run_of(together, "parity", 0), "last")


def test_a_report_shows_every_task(together: Results):
    page = write_report(together)
    assert page.stat().st_size > 10_000


def test_permuted_lanes_have_the_same_bits(together: Results, tmp_path: Path):
    permuted = grokjax.run(sweep(tmp_path / "permuted", [1, 0]), out=tmp_path / "permuted/out")
    assert set(permuted.run_ids) == set(together.run_ids)
    for run_id in together.run_ids:
        assert state_at(permuted, run_id, STEPS) == state_at(together, run_id, STEPS)


def test_a_kill_changes_no_bit(together: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("grokjax.results.write.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("grokjax.results.checkpoints.Checkpoints.is_busy", lambda self: False)
    loaded = load_sweep(sweep(tmp_path / "killed", [0, 1]))
    out = tmp_path / "killed/out"
    for at in (25, 60, 90):
        with dies(out, at), pytest.raises(Killed):
            train(loaded, out)
    train(loaded, out)
    found, wanted = bits(out), bits(together.path)
    assert found["curves"] == wanted["curves"]
    assert found["snapshots"] == wanted["snapshots"]
    assert found["events"] == wanted["events"]


@pytest.mark.parametrize("arm", ARMS)
def test_a_replay_meets_the_record_and_the_state_to_the_bit(together: Results, arm: str):
    run_id = run_of(together, arm, 1)
    states = {state.step: state for state in grokjax.replay(together, run_id, 12, STEPS)}
    stored = state_at(together, run_id, STEPS)
    for name, value in states[STEPS].params.items():
        assert value.tobytes() == stored[f"params/{name}"]
    curves = together.curves(["train/loss", "test/loss"], runs=[run_id]).set_index("step")
    assert states[16].record["test/loss"] == curves["test/loss"][16]
    assert states[20].record["train/loss"] == curves["train/loss"][20]


def test_a_fork_goes_on_as_the_run_would_have(together: Results, tmp_path: Path):
    arms = {
        name: {"base": base | {"init": base.get("init", {}) | {"from_run": {
            "results": str(together.path), "run": run_of(together, name, 1), "step": 12}}}}
        for name, base in ARMS.items()
    }  # fmt: skip
    path = sweep(tmp_path / "fork", [1], arms=arms)
    forked = grokjax.run(path, out=tmp_path / "fork/out", set={"train.steps": STEPS - 12, "engine.lanes": 2})
    for arm in ARMS:
        wanted = state_at(together, run_of(together, arm, 1), STEPS)
        assert state_at(forked, run_of(forked, arm, 1), STEPS - 12) == wanted, arm
