"""What a plan knows of probes: their names, which runs have them, how many metrics they record, and what they cost."""

from __future__ import annotations

from grokjax.sweep.load import did_you_mean
from grokjax.sweep.shapes import is_matrix, parameter_shapes
from grokjax.sweep.spec import MSE, SGD, RunSpec

PROBE_NAMES = ("margin", "radial", "drift", "softmax", "adam", "balance", "sharpness", "progress")


def probe_mistake(spec: RunSpec, name: str) -> str | None:
    """Why a run has no such probe, if it has not."""
    if name not in PROBE_NAMES:
        return f"unknown probe {name!r}{did_you_mean(name, PROBE_NAMES)}; there are {', '.join(PROBE_NAMES)}"
    if name == "adam" and isinstance(spec.optimizer, SGD):
        return "adam reads second moments, which sgd has not: leave it out"
    if name == "softmax" and isinstance(spec.loss, MSE):
        return "softmax is of cross_entropy, which mse is not: leave it out"
    return None


def probe_metrics(spec: RunSpec) -> int:
    """Columns that probes add to a record; `progress` has fewer for some tasks and models."""
    matrices = sum(is_matrix(name) for name in parameter_shapes(spec))
    counts = {
        "margin": 3,
        "radial": 9 * (matrices + 1),
        "drift": 2 * matrices,
        "softmax": 11,
        "adam": 1 + 6 * matrices,
        "balance": 1 + 2 * matrices,
        "sharpness": 2,
        "progress": 14 + matrices,
    }
    return sum(counts[name] for name in spec.log.probes)
