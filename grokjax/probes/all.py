"""Every probe by its name, and what a record and a test evaluation hold of those that a run logs."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Int

from grokjax.probes.adam import adam
from grokjax.probes.balance import balance
from grokjax.probes.core import Metrics, core
from grokjax.probes.drift import drift
from grokjax.probes.margin import margin
from grokjax.probes.progress import progress
from grokjax.probes.radial import radial
from grokjax.probes.sharpness import sharpness
from grokjax.probes.softmax import softmax
from grokjax.sweep.spec import RunSpec
from grokjax.train.state import Examples, Hyper, Params, View
from grokjax.train.step import evaluate

# evaluated at records
PROBES: dict[str, Callable[[RunSpec, View], Metrics]] = {
    "margin": margin,
    "radial": radial,
    "drift": drift,
    "softmax": softmax,
    "adam": adam,
    "balance": balance,
    "sharpness": sharpness,
}
# evaluated with the test set, at eval_every: of (spec, parameters, train tokens, logit scale)
AT_EVALUATION: dict[str, Callable[[RunSpec, Params, Int[Array, "n 3"], Float[Array, ""]], Metrics]] = {
    "progress": progress
}
OF_UPDATE = {"update_norm", "update", "proposed", "adam"}  # parts of names


def observe(spec: RunSpec, view: View) -> Metrics:
    """What a record holds: name -> float32 scalar."""
    view = jax.lax.optimization_barrier(view)
    found = core(spec, view)
    view = jax.lax.optimization_barrier(view)  # probes leave the bits of the other metrics as they are
    for name in spec.log.probes:
        if name in PROBES:
            found |= PROBES[name](spec, view)
    return found


def observe_evaluation(spec: RunSpec, params: Params, train: Examples, test: Examples, hyper: Hyper) -> Metrics:
    """What a test evaluation holds: name -> scalar."""
    found = evaluate(spec, params, test, hyper)
    for name in spec.log.probes:
        if name in AT_EVALUATION:
            found |= AT_EVALUATION[name](spec, params, train.tokens, hyper.logit_scale)
    return found


def is_of_update(name: str) -> bool:
    """Whether a metric describes the update that follows, which there is none of at a run's end."""
    return not OF_UPDATE.isdisjoint(name.split("/"))
