"""Every probe by its name, and what a record and a test evaluation hold of those that a run logs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from grokjax.models.params import Params
from grokjax.probes.adam import adam
from grokjax.probes.balance import balance
from grokjax.probes.circuits import circuits
from grokjax.probes.core import Metrics, core
from grokjax.probes.drift import drift
from grokjax.probes.embedding import circularity, rqi
from grokjax.probes.irreps import irreps
from grokjax.probes.logit_scale import logit_scale
from grokjax.probes.margin import margin
from grokjax.probes.neurons import neurons
from grokjax.probes.progress import progress
from grokjax.probes.radial import radial
from grokjax.probes.sharpness import sharpness
from grokjax.probes.softmax import softmax
from grokjax.spec.hypers import Hyper, with_numbers
from grokjax.spec.probes import Probe
from grokjax.spec.run import RunSpec
from grokjax.spec.section import implementation
from grokjax.train.state import Examples, View
from grokjax.train.step import evaluate

# Name -> metrics. At records: of (spec, view). At test evaluations: of (spec, parameters, train inputs, logit scale).
PROBES: dict[str, Callable[..., Metrics]] = {
    "margin": margin,
    "radial": radial,
    "drift": drift,
    "softmax": softmax,
    "adam": adam,
    "balance": balance,
    "sharpness": sharpness,
    "progress": progress,
    "logit_scale": logit_scale,
    "neurons": neurons,
    "circularity": circularity,
    "rqi": rqi,
    "circuits": circuits,
    "irreps": irreps,
}
OF_UPDATE = {"update_norm", "update", "proposed", "adam"}  # parts of names


def observe(spec: RunSpec, view: View) -> Metrics:
    """What a record holds: name -> float32 scalar."""
    view = jax.lax.optimization_barrier(view)
    spec = with_numbers(spec, view.hyper)
    metrics = core(spec, view)
    view = jax.lax.optimization_barrier(view)  # probes leave the bits of the other metrics as they are
    for probe in spec.log.probes:
        if not probe.at_evaluation:
            metrics |= at_record(probe, spec, view)
    return metrics


def observe_evaluation(spec: RunSpec, params: Params, train: Examples, test: Examples, hyper: Hyper) -> Metrics:
    """What a test evaluation holds: name -> scalar."""
    spec = with_numbers(spec, hyper)
    metrics = evaluate(spec, params, train, test, hyper)
    for probe in spec.log.probes:
        if probe.at_evaluation:
            metrics |= at_evaluation(probe, spec, params, train, hyper)
    return metrics


def at_record(probe: Probe, spec: RunSpec, view: View) -> Metrics:
    """Name -> float32 scalar of one probe, of the step that a record describes."""
    return _as_float32(implementation(PROBES, probe)(spec, view))


def at_evaluation(probe: Probe, spec: RunSpec, params: Params, train: Examples, hyper: Hyper) -> Metrics:
    """Name -> float32 scalar of one probe, at a test evaluation."""
    return _as_float32(implementation(PROBES, probe)(spec, params, train.inputs, hyper["model"]["logit_scale"]))


def _as_float32(metrics: Metrics) -> Metrics:
    return {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}


def is_of_update(name: str) -> bool:
    """Whether a metric describes the update that follows, which there is none of at a run's end."""
    return not OF_UPDATE.isdisjoint(name.split("/"))
