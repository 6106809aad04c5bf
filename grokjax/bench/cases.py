"""What is measured: networks that the field trains, at several numbers of lanes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.plan.plan import Chunk, Device, Plan, make_plan
from grokjax.spec.run import RunSpec
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep
from grokjax.tasks.all import table
from grokjax.tasks.examples import split


@dataclass(frozen=True)
class Case:
    """A network that is timed, at several numbers of lanes."""

    name: str
    base: dict[str, Any]  # as in a sweep
    lanes: tuple[int, ...]


CASES = (
    Case("nanda p=113 d=128", {"task": {"p": 113, "train_fraction": 0.3}}, (1, 2, 8, 32)),
    Case(
        "transformer p=31 d=32",
        {"task": {"p": 31, "train_fraction": 0.6}, "model": {"d_model": 32, "d_mlp": 128}},
        (1, 2, 4, 8, 32, 128, 512),
    ),
    Case(
        "mlp 200-200 p=97",
        {"task": {"p": 97, "train_fraction": 0.5}, "model": {"name": "mlp", "widths": [200, 200]}},
        (1, 8, 32),
    ),
    Case(
        "mlp 5x512 p=97",
        {"task": {"p": 97, "train_fraction": 0.5}, "model": {"name": "mlp", "widths": [512] * 5}},
        (1, 4),
    ),
)
FOREVER = 10**8  # steps: no lane ends while it is timed


def planned(base: dict[str, Any], lanes: int, device: Device, steps: int = FOREVER, log: Any = None) -> Plan:
    """A sweep of `lanes` seeds of a case, all in one chunk, one lane each."""
    sweep = {
        "name": "bench",
        "base": base | {"train": {"steps": steps} | base.get("train", {})},
        "engine": {"lanes": lanes},
        "parameters": {"seed": {"min": 0, "max": lanes - 1}},
    }
    text = json.dumps(sweep | ({"log": log} if log else {}))
    return make_plan(expand(parse_sweep(text, "bench", Path("."))), device)


@dataclass(frozen=True)
class Data:
    """The training examples of every lane, as a framework without a shared table is given them."""

    tokens: np.ndarray  # [lanes, n, 3]
    labels: np.ndarray  # [lanes, n]

    @staticmethod
    def of(chunk: Chunk) -> Data:
        examples = table(chunk.bucket.spec.task)
        tokens, labels = np.asarray(examples.inputs), np.asarray(examples.targets)
        specs: list[RunSpec] = [run.spec for run in chunk.runs]
        rows = np.stack([split(spec.task, len(labels), spec.task.train_size).train for spec in specs])
        return Data(tokens[rows], labels[rows])
