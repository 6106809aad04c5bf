"""What one run carries from step to step, and what it is given."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt32

Params = dict[str, Array]


class Hyper(NamedTuple):
    """Every number of a run that a program takes as an array; none is baked into it."""

    seed: UInt32[Array, ""]
    steps: Int[Array, ""]
    begun: Int[Array, ""]  # steps that its optimizer had behind it at step 0, where it goes on from another run
    lr: Float[Array, ""]
    b1: Float[Array, ""]
    b2: Float[Array, ""]
    eps: Float[Array, ""]
    momentum: Float[Array, ""]
    weight_decay: Float[Array, ""]
    warmup_steps: Float[Array, ""]
    clip_norm: Float[Array, ""]
    logit_scale: Float[Array, ""]
    radius: Float[Array, ""]  # nan: the norm at the start
    scale: dict[str, Float[Array, ""]]  # initial scale, one factor a parameter
    lr_factor: dict[str, Float[Array, ""]]
    weight_decay_factor: dict[str, Float[Array, ""]]
    stop_accuracy: Float[Array, ""]  # test accuracy that counts as generalized
    stop_hold: Int[Array, ""]  # evaluations for which it must hold
    stop_after: Int[Array, ""]  # further steps then; -1: never stop early


class Examples(NamedTuple):
    """Rows of the task's table."""

    tokens: Int[Array, "n 3"]
    labels: Int[Array, " n"]


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
    logits: Float[Array, "v n"]
    examples: Examples  # of the batch
    hyper: Hyper
    at: Int[Array, ""]  # step of batches and warm-up
    params: Params
    grads: Params
    proposed: Params  # parameters after the optimizer, before the constraint
    updated: Params  # parameters after the step
    opt_state: Any  # after the step
    first: Params  # parameters at the run's step 0, where a probe reads them; else empty
