"""What one run carries from step to step, and what it is given."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int

from grokjax.models.params import Params
from grokjax.spec.hypers import Hyper
from grokjax.tasks.examples import Examples


class State(NamedTuple):
    """All that continues. A run whose `step` has reached `end`, or that is not `finite`, no longer changes."""

    params: Params
    opt_state: Any
    radius: dict[str, Float[Array, ""]]  # of the fixed norm; empty without one
    step: Int[Array, ""]
    end: Int[Array, ""]  # the run's last step, brought forward by stop.after_generalization
    held: Int[Array, ""]  # evaluations in a row at or over the accuracy that counts as generalized
    finite: Bool[Array, ""]
    loss_max: Float[Array, ""]  # of the train losses since the last record


class View(NamedTuple):
    """One step as probes see it: parameters before the update, and what the update did."""

    loss: Float[Array, ""]
    loss_max: Float[Array, ""]  # over (previous record, this one]
    logits: Float[Array, "v m"]
    examples: Examples  # of the batch
    hyper: Hyper
    at: Int[Array, ""]  # step of batches and warm-up
    params: Params
    grads: Params
    proposed: Params  # parameters after the optimizer, before the constraint
    updated: Params  # parameters after the step
    opt_state: Any  # after the step
    first: Params  # parameters at the run's step 0, where a probe reads them; else empty
