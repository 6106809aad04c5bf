"""Each kind of optimizer state goes through lanes, kills, forks and replays without a changed bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bits import bits
from faults import Killed, dies

import grokjax
from grokjax.analysis.stored import specs_of
from grokjax.launch import train
from grokjax.models.network import forward
from grokjax.results.read import Results
from grokjax.results.snapshots import read_row
from grokjax.sweep.expand import load_sweep
from grokjax.tasks.all import table
from grokjax.tasks.examples import split
from grokjax.train.losses import mean_loss

MA = {"name": "grokfast_ma", "window": 7, "lamb": 0.5}
ARMS: dict[str, dict[str, Any]] = {
    "groups": {  # of each kind of state: a pull, a ring buffer, an average, matrices' and vectors' own, noise by step
        "name": "sgd",
        "decay_to": "init",
        "weight_decay": 0.1,
        "clip_norm": 1.0,
        "groups": {
            "W_E": {"name": "muon", "lr": 0.01, "filters": [MA]},
            "W.0": {"name": "schedule_free_sgd", "lr": 0.3},
            "b.0": {"name": "noisy_sgd", "lr": 0.1, "eta": 0.1},
        },
    },
    "average": {"name": "schedule_free_adamw", "lr": 0.03, "filters": [MA]},
}
STEPS = 40
BASE: dict[str, Any] = {
    "task": {"p": 5, "train_fraction": 0.6},
    "model": {"name": "mlp", "widths": [8], "input": "embedded"},
    "train": {"steps": STEPS, "batch": 8},
}
SEEDS = [0, 1, 2, 3]


def sweep(folder: Path, seeds: list[int], lanes: int, **more: Any) -> Path:
    """All arms, each with these seeds; more: of every run."""
    arms = {name: {"base": {"optimizer": optimizer}} for name, optimizer in ARMS.items()}
    values = {
        "name": "states",
        "base": BASE | more,
        "log": {"every": 5, "eval_every": 10, "snapshot_every": 20},
        "engine": {"lanes": lanes},
        "parameters": {"seed": {"values": seeds}},
        "arms": arms,
    }
    folder.mkdir(exist_ok=True)
    (folder / "sweep.yaml").write_text(json.dumps(values))
    return folder / "sweep.yaml"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("states")
    return grokjax.run(sweep(folder, SEEDS, 4), out=folder / "out")


def run_of(results: Results, arm: str, seed: int) -> str:
    runs = results.runs()
    return str(runs["run_id"][(runs["arm"] == arm) & (runs["seed"] == seed)].iloc[0])


def state_at(results: Results, run_id: str, step: int) -> dict[str, np.ndarray]:
    return read_row(results.snapshot(run_id, step))


def test_permuted_lanes_have_the_same_bits_and_a_lane_alone_nearly_so(together: Results, tmp_path: Path):
    permuted = grokjax.run(sweep(tmp_path / "permuted", [2, 0, 3, 1], 4), out=tmp_path / "permuted/out")
    alone = grokjax.run(sweep(tmp_path / "alone", [2], 1), out=tmp_path / "alone/out")
    for arm in ARMS:
        for seed in SEEDS:
            run_id = run_of(together, arm, seed)
            assert run_id == run_of(permuted, arm, seed)
            one, other = (state_at(results, run_id, STEPS) for results in (together, permuted))
            assert {name: value.tobytes() for name, value in one.items()} == {
                name: value.tobytes() for name, value in other.items()
            }
        run_id = run_of(together, arm, 2)
        for name, value in state_at(alone, run_id, STEPS).items():
            np.testing.assert_allclose(value, state_at(together, run_id, STEPS)[name], rtol=2e-3, atol=2e-4)


def test_a_kill_changes_no_bit(together: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("grokjax.results.write.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("grokjax.results.checkpoints.Checkpoints.is_busy", lambda self: False)
    loaded = load_sweep(sweep(tmp_path / "killed", SEEDS, 4))
    out = tmp_path / "killed/out"
    for at in (15, 25):
        with dies(out, at), pytest.raises(Killed):
            train(loaded, out)
    train(loaded, out)
    assert bits(out) == bits(together.path)


@pytest.mark.parametrize("arm", ARMS)
def test_a_replay_meets_every_record_and_state_to_the_bit(together: Results, arm: str):
    run_id = run_of(together, arm, 1)
    states = {state.step: state for state in grokjax.replay(together, run_id, 20, STEPS)}
    curves = together.curves(["train/loss", "test/loss"], runs=[run_id]).set_index("step")
    stored = state_at(together, run_id, STEPS)
    for name, value in states[STEPS].params.items():
        assert value.tobytes() == stored[f"params/{name}"].tobytes()
    for name, value in states[STEPS].opt.items():
        assert value.tobytes() == stored[f"opt/{name}"].tobytes()
    assert states[30].record["test/loss"] == curves["test/loss"][30]


def test_a_fork_that_keeps_its_optimizer_goes_on_as_the_run_would_have(together: Results, tmp_path: Path):
    for arm, optimizer in ARMS.items():
        parent = run_of(together, arm, 3)
        values = {
            "name": "fork",
            "base": BASE | {"optimizer": optimizer, "train": {"steps": STEPS - 20, "batch": 8}},
            "engine": {"lanes": 4},
            "parameters": {"seed": {"values": SEEDS}, "init.from_run": {"value": {
                "results": str(together.path), "run": parent, "step": 20}}},
        }  # fmt: skip
        (tmp_path / f"{arm}.yaml").write_text(json.dumps(values))
        forked = grokjax.run(tmp_path / f"{arm}.yaml", out=tmp_path / arm)
        child, wanted = (
            state_at(forked, run_of(forked, arm="main", seed=3), STEPS - 20),
            state_at(together, parent, STEPS),
        )
        assert child.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(child[name], value, err_msg=f"{arm}: {name}")


@pytest.mark.parametrize("arm", ARMS)
def test_what_is_tested_is_the_average_where_the_optimizer_keeps_one(together: Results, arm: str):
    run_id = run_of(together, arm, 0)
    state, spec = state_at(together, run_id, STEPS), specs_of(together)[run_id]
    named = "opt/z/" if arm == "average" else "opt/W.0/z/"
    x = dict(together.params(run_id))
    for name in x:
        if f"{named}{name}" in state:
            x[name] = (x[name] - (1 - np.float32(0.9)) * state[f"{named}{name}"]) / np.float32(0.9)
    examples = table(spec.task)
    test = split(spec.task, len(examples.targets), spec.task.train_size).test
    inputs, targets = jnp.asarray(examples.inputs[test]), jnp.asarray(examples.targets[test])
    losses = {
        at: float(mean_loss(spec.loss, forward(spec, jax.tree.map(jnp.asarray, params), inputs), targets))
        for at, params in (("x", x), ("y", together.params(run_id)))
    }
    curves = together.curves(["test/loss"], runs=[run_id]).set_index("step")["test/loss"]
    assert curves[STEPS] == pytest.approx(losses["x"], rel=1e-4)
    assert abs(losses["x"] - losses["y"]) > 1e-3
