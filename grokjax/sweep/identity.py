"""What decides a run's trajectory (its id), and what decides its compiled program (its bucket)."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from grokjax.sweep.parents import Origin
from grokjax.sweep.shapes import is_matrix, matches, parameter_shapes
from grokjax.sweep.spec import FixedNorm, FromRun, RunSpec

# Keys that flow as arrays: values of these never make a new program.
DYNAMIC_OPTIMIZER = {
    "lr", "b1", "b2", "eps", "momentum", "weight_decay", "warmup_steps", "clip_norm",
    "lr_by_matrix", "weight_decay_by_matrix",
}  # fmt: skip


def run_id(spec: RunSpec, origin: Origin | None = None) -> str:
    """12 hex digits of the SHA-256 of everything that decides the trajectory of a resolved spec.

    origin: of a run with init.from_run.
    """
    return _digest(trajectory(spec, origin))[:12]


def steps_apart(spec: RunSpec, origin: Origin | None = None) -> str:
    """Digest of the trajectory without train.steps: runs with equal ones are one run, trained for other numbers of
    steps."""
    kept = trajectory(spec, origin)
    del kept["train"]["steps"]
    return _digest(kept)


def program_key(spec: RunSpec) -> str:
    """Runs with equal keys compile to the same program."""
    optimizer = spec.optimizer.model_dump()
    origin = spec.init.from_run
    program: dict[str, Any] = {
        "task": spec.task.model_dump(exclude={"split"}),
        "model": spec.model.model_dump(exclude={"logit_scale"}),
        "loss": _loss(spec),
        "optimizer": {key: value for key, value in optimizer.items() if key not in DYNAMIC_OPTIMIZER},
        "clips": spec.optimizer.clip_norm is not None,
        "constraint": spec.constraint.model_dump(exclude={"radius"}),
        "batch": spec.train.batch,
        "numerics": spec.numerics.model_dump(),
        "log": spec.log.model_dump(exclude={"snapshot_every", "snapshot_steps"}),
        "lanes": spec.engine.lanes,
    }
    if origin is not None and origin.optimizer == "keep":
        program["keeps"] = True  # such lanes start with states, others with parameters only
    return _digest(program)[:12]


def _loss(spec: RunSpec) -> dict[str, Any]:
    """Without center_gradient where it is off: ids and keys are what they were before there was such a key."""
    loss = spec.loss.model_dump()
    if not loss.get("center_gradient", True):
        del loss["center_gradient"]
    return loss


def trajectory(spec: RunSpec, origin: Origin | None = None) -> dict[str, Any]:
    """The resolved spec less every value that cannot change this run; where it starts from counts by content."""
    kept = spec.model_dump(exclude={"log", "events", "engine"})
    names = list(parameter_shapes(spec))
    model, init, optimizer, stop = kept["model"], kept["init"], kept["optimizer"], kept["stop"]
    kept["loss"] = _loss(spec)
    stored = spec.init.from_file is not None or spec.init.from_run is not None
    if stored:
        init["scheme"] = None
        if spec.train.batch is None:
            del kept["seed"]  # the split carries its own
    if spec.init.from_file is not None:
        init["from_file"] = file_digest(spec.init.from_file)
    if spec.init.from_run is not None:
        init["from_run"] = _from_run(spec.init.from_run, origin)
    starts_at_zero = not stored and init["scheme"] != "torch_linear"
    init["scale_by_matrix"] = {
        name: factor
        for name, factor in by_matrix(spec.init.scale_by_matrix, names).items()
        if not (starts_at_zero and is_bias(name))
    }
    if isinstance(spec.constraint, FixedNorm) and spec.constraint.scope == "global" and spec.constraint.radius:
        del init["scale"]  # the projection at step 0 undoes a common factor
    optimizer["lr_by_matrix"] = by_matrix(spec.optimizer.lr_by_matrix, names)
    optimizer["weight_decay_by_matrix"] = by_matrix(spec.optimizer.weight_decay_by_matrix, names)
    if spec.optimizer.weight_decay == 0:
        del optimizer["weight_decay_by_matrix"]
        optimizer.pop("decay", None)
    if optimizer.get("momentum") == 0:
        optimizer.pop("nesterov")
    if model.get("d_mlp") == 0:
        del model["activation"]
    if model.get("input") == "one_hot":
        del model["d_model"]
    if stop["after_generalization"] is not None:
        stop["rule"] = spec.events.model_dump(exclude={"fit"}) | spec.log.model_dump(include={"every", "eval_every"})
    return kept


def _from_run(wanted: FromRun, origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        raise ValueError(f"the run that starts from {wanted.run} is not known without its origin")
    kept = {"digest": origin.digest, "optimizer": wanted.optimizer}
    return kept | ({"begun": origin.begun} if wanted.optimizer == "keep" else {})


def by_matrix(factors: dict[str, float], names: list[str]) -> dict[str, float]:
    """Factors other than 1, one a parameter; entries that mean the same parameter multiply."""
    if not factors:
        return {}
    full = dict.fromkeys(names, 1.0)
    for key, factor in factors.items():
        for name in names:
            if matches(key, name):
                full[name] *= factor
    return {name: factor for name, factor in full.items() if factor != 1.0}


def is_bias(name: str) -> bool:
    return not is_matrix(name) and name.startswith("b")


@cache  # for one expansion: `expand` forgets it
def file_digest(path: str) -> str:
    return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
