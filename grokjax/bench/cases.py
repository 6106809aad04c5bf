"""What is measured: networks that the field trains, at several numbers of lanes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.plan.plan import Chunk, Device, Plan, make_plan
from grokjax.shipped import shipped_sweeps
from grokjax.spec.run import RunSpec
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep, read_sweep
from grokjax.tasks.all import choice, chosen_examples, table, wanted
from grokjax.tasks.examples import Examples
from grokjax.train.batches import batch_at


@dataclass(frozen=True)
class Case:
    """A network that is timed, at several numbers of lanes."""

    name: str
    setup: dict[str, Any] | str  # the base of a sweep, or which sweep that comes with grokjax has it
    lanes: tuple[int, ...]

    @property
    def base(self) -> dict[str, Any]:
        """As in a sweep."""
        if isinstance(self.setup, dict):
            return self.setup
        return read_sweep(shipped_sweeps()[self.setup]).data["base"]


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
    Case("parity (40,3) mlp 1000", "papers/merrill", (1, 4, 32, 128)),
    Case("A5 two tables mlp 128", "papers/chughtai_a5", (1, 2, 8)),
    Case("two-layer p=31 d=64", "papers/power_operations", (1, 4, 32)),
)
FOREVER = 10**8  # steps: no lane ends while it is timed
BATCHES = 100  # mini-batches of a lane that other frameworks are given; they go round


def planned(base: dict[str, Any], lanes: int, device: Device, steps: int = FOREVER, log: Any = None) -> Plan:
    """A sweep of `lanes` seeds of a case, all in one chunk, one lane each."""
    sweep = {
        "name": "bench",
        "base": base | {"train": base.get("train", {}) | {"steps": steps}, "stop": {"after_generalization": None}},
        "engine": {"lanes": lanes},
        "parameters": {"seed": {"min": 0, "max": lanes - 1}},
    }
    text = json.dumps(sweep | ({"log": log} if log else {}))
    return make_plan(expand(parse_sweep(text, "bench", Path("."))), device)


class Data(NamedTuple):
    """The training examples of every lane, as a framework without a shared table is given them."""

    inputs: np.ndarray  # [lanes, n, L], or vectors [lanes, n, d]
    answers: np.ndarray  # [lanes, n], or [lanes, n, k] where k positions are scored
    rows: np.ndarray | None  # [lanes, BATCHES, size], the examples of each step; None: the full batch

    @staticmethod
    def of(chunk: Chunk) -> Data:
        specs: list[RunSpec] = [run.spec for run in chunk.runs]
        every = table(specs[0].task)
        train = [chosen_examples(every, choice(spec.task, every))[0] for spec in specs]
        answers = [wanted(spec.task, examples) for spec, examples in zip(specs, train, strict=True)]
        return Data(np.stack([examples.inputs for examples in train]), np.stack(answers), _rows(specs))


def _rows(specs: list[RunSpec]) -> np.ndarray | None:
    """The rows of the examples that the engine's first steps see."""
    n, size = specs[0].task.train_size, specs[0].train.batch
    if size is None:
        return None
    numbered = Examples(jnp.arange(n)[:, None], jnp.arange(n))
    at = jax.jit(jax.vmap(lambda seed, step: batch_at(numbered, seed, step, size).targets, (None, 0)))
    return np.stack([at(np.uint32(spec.seed), np.arange(BATCHES)) for spec in specs])
