"""Two small sweeps that use all there is to lose, and all of theirs that must survive any fault, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grokjax
from grokjax.results.snapshots import StoredSnapshot, read_row

BASE: dict[str, Any] = {
    "task": {"p": 7, "train_fraction": 0.6},
    "model": {"name": "mlp", "widths": [16]},
    "optimizer": {"name": "adamw", "lr": 0.01},
    "train": {"steps": 60},
}
LOG = {"every": 5, "eval_every": 10, "snapshot_every": 20, "snapshot_steps": "log:5"}
PROBES = {"probes": ["drift"]}  # needs what a run started with
RECYCLED = {  # 8 runs of several lengths on 4 lanes: a queue, a run that diverges, one that stops by the rule
    "base": BASE,
    "log": LOG | PROBES,
    "engine": {"lanes": 4},
    "arms": {
        "some": {"parameters": {"seed": {"min": 0, "max": 1}, "train.steps": {"values": [60, 25, 40]}}},
        "diverges": {"base": {"optimizer": {"lr": 1e30, "lr_by_matrix": {"W.1": 1e30}}}},
        "stops": {"base": {"stop": {"after_generalization": 7}, "events": {"generalization": 0.02}}},
    },
}
PLAIN = {"base": BASE, "log": LOG, "engine": {"lanes": 4}, "parameters": {"seed": {"min": 0, "max": 3}}}


@contextmanager
def often() -> Iterator[None]:
    """A file for each segment, a checkpoint after each that is waited for, segments of one round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.results.write.FLUSH_SECONDS", -1.0)
        patch.setattr("grokjax.results.write.CHECKPOINT_SECONDS", -1.0)
        patch.setattr("grokjax.results.checkpoints.Checkpoints.is_busy", lambda self: False)
        patch.setattr("grokjax.plan.plan.SHORT_SEGMENT_SECONDS", 1e-9)
        patch.setattr("grokjax.plan.plan.SEGMENT_SECONDS", 3e-3)
        yield


@contextmanager
def often_in_short_chunks() -> Iterator[None]:
    """The same with chunks of as many runs as lanes."""
    with often(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.plan.plan.QUEUE", 1)
        yield


def write(folder: Path, sweep: dict[str, Any]) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(json.dumps({"name": "durable"} | sweep))
    return path


def bits(out: Path) -> dict[str, Any]:
    """Curves, events, runs, and every snapshot."""
    results = grokjax.open_results(out)
    curves = results.curves()
    found = {name: curves[name].to_numpy().tobytes() for name in curves.columns if name != "run_id"}
    snapshots = {
        (run_id, step): {name: value.tobytes() for name, value in read(row).items()}
        for run_id in results.run_ids
        for step, row in results.snapshots(run_id, replays=False).items()
    }
    return {
        "ids": list(curves["run_id"]),
        "curves": found,
        "events": results.events().to_json(),
        "runs": results.runs().to_json(),
        "snapshots": snapshots,
    }


def read(row: StoredSnapshot) -> dict[str, np.ndarray]:
    """A snapshot's tensors and numbers."""
    numbers = {"end": row.end, "held": row.held, "finite": row.finite, "loss_max": row.loss_max}
    return read_row(row) | {name: np.asarray(value) for name, value in numbers.items()}
