"""What one run carries from step to step, and what it is given."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

Params = dict[str, Array]
Either = Array | np.ndarray  # on the device, or on its way there


class Hyper(NamedTuple):
    """Every number of a run that a program takes as an array; none is baked into it."""

    seed: UInt32[Either, ""]
    steps: Int[Either, ""]
    lr: Float[Either, ""]
    b1: Float[Either, ""]
    b2: Float[Either, ""]
    eps: Float[Either, ""]
    momentum: Float[Either, ""]
    weight_decay: Float[Either, ""]
    warmup_steps: Float[Either, ""]
    clip_norm: Float[Either, ""]
    logit_scale: Float[Either, ""]
    radius: Float[Either, ""]  # nan: the norm at the start
    scale: dict[str, Float[Either, ""]]  # initial scale, one factor a parameter
    lr_factor: dict[str, Float[Either, ""]]
    weight_decay_factor: dict[str, Float[Either, ""]]
    stop_accuracy: Float[Either, ""]  # test accuracy that counts as generalized
    stop_hold: Int[Either, ""]  # evaluations for which it must hold
    stop_after: Int[Either, ""]  # further steps then; -1: never stop early


class Examples(NamedTuple):
    """Rows of the task's table."""

    tokens: Int[Either, "n 3"]
    labels: Int[Either, " n"]


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
    logits: Float[Array, "n v"]
    labels: Int[Array, " n"]
    params: Params
    grads: Params
    proposed: Params  # parameters after the optimizer, before the constraint
    updated: Params  # parameters after the step
