"""Killed at any point, a sweep that is run again ends with the same bits as one that never was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Killed, dies

import grokjax
from grokjax.launch import plan_sweep, train
from grokjax.results.verify import verify
from grokjax.sweep.expand import load_sweep

BASE: dict[str, Any] = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"name": "mlp", "widths": [16]},
    "optimizer": {"name": "adamw", "lr": 0.01},
    "train": {"steps": 60},
}
LOG = {"every": 5, "eval_every": 10, "snapshot_every": 20, "snapshot_steps": "log:5"}
RECYCLED = {  # 11 runs of several lengths on 4 lanes: a queue, a run that diverges, one that stops by the rule
    "base": BASE,
    "log": LOG,
    "engine": {"lanes": 4},
    "arms": {
        "some": {"parameters": {"seed": {"min": 0, "max": 2}, "train.steps": {"values": [60, 25, 40]}}},
        "diverges": {"base": {"optimizer": {"lr": 1e30, "lr_by_matrix": {"W.1": 1e30}}}},
        "stops": {"base": {"stop": {"after_generalization": 7}, "events": {"generalization": 0.02}}},
    },
}
PLAIN = {"base": BASE, "log": LOG, "engine": {"lanes": 4}, "parameters": {"seed": {"min": 0, "max": 3}}}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch):
    """A file for each segment, a checkpoint after each, and segments of one round."""
    monkeypatch.setattr("grokjax.results.write.FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("grokjax.results.write.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("grokjax.results.checkpoints.Checkpoints.is_busy", lambda self: False)  # waits: deterministic
    monkeypatch.setattr("grokjax.sweep.plan.SHORT_SEGMENT_SECONDS", 1e-9)
    monkeypatch.setattr("grokjax.sweep.plan.SEGMENT_SECONDS", 3e-3)


def write(folder: Path, sweep: dict[str, Any]) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(json.dumps({"name": "durable"} | sweep))
    return path


def bits(out: Path) -> dict[str, Any]:
    """All that a sweep promises: curves, events, runs, and every snapshot, to the bit."""
    results = grokjax.open_results(out)
    curves = results.curves()
    found = {name: curves[name].to_numpy().tobytes() for name in curves.columns if name != "run_id"}
    snapshots = {
        (run_id, step): {name: value.tobytes() for name, value in read(row).items()}
        for run_id in results.run_ids
        for step, row in results.snapshots(run_id).items()
    }
    return {
        "ids": list(curves["run_id"]),
        "curves": found,
        "events": results.events().to_json(),
        "runs": results.runs().to_json(),
        "snapshots": snapshots,
    }


def read(row: Any) -> dict[str, np.ndarray]:
    from grokjax.results.snapshots import read_row

    numbers = {"end": row.end, "held": row.held, "finite": row.finite, "loss_max": row.loss_max}
    return read_row(row) | {name: np.asarray(value) for name, value in numbers.items()}


@pytest.mark.parametrize("sweep", [PLAIN, RECYCLED], ids=["plain", "recycled"])
def test_a_kill_between_any_two_writes_changes_no_bit(tmp_path: Path, sweep: dict[str, Any]):
    plan = plan_sweep(load_sweep(write(tmp_path, sweep)))
    with dies(tmp_path / "clean", None) as counted:
        train(plan, tmp_path / "clean")
    wanted = bits(tmp_path / "clean")
    assert counted.seen > 50
    for at in range(0, counted.seen, 7):
        out = tmp_path / f"killed-{at}"
        with dies(out, at), pytest.raises(Killed):
            train(plan, out)
        train(plan, out)
        assert bits(out) == wanted, at
        assert not verify(out).damaged
