"""Optimizers, built from a run's hyperparameters inside the traced step: one compilation for all values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from grokjax.models.params import Params
from grokjax.spec import optimizers as spec
from grokjax.spec.hypers import Hyper
from grokjax.spec.section import implementation
from grokjax.train.filters import gradient_filter
from grokjax.train.schedules import factor

Numbers = dict[str, Any]


def adam(family: spec.Adam | spec.AdamW, numbers: Numbers) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"], eps=numbers["eps"])


def sgd(family: spec.SGD, numbers: Numbers) -> optax.GradientTransformation:
    return optax.trace(numbers["momentum"], nesterov=family.nesterov)


# The direction of a step, of a gradient that is clipped and filtered; decay and rate are the same for all.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {"adamw": adam, "adam": adam, "sgd": sgd}


def optimizer(family: spec.Optimizer, hyper: Hyper, step: Int[Array, ""]) -> optax.GradientTransformation:
    """clip -> filters -> coupled decay -> direction -> decoupled decay -> learning rate, each matrix with its factors.

    step: that the schedule and the warm-up see.
    """
    numbers = hyper["optimizer"]
    clip = [optax.clip_by_global_norm(numbers["clip_norm"])] if "clip_norm" in numbers else []
    filters = [
        gradient_filter(one, of_filter)
        for one, of_filter in zip(family.filters, numbers.get("filters", []), strict=True)
    ]
    direction = implementation(OPTIMIZERS, family)(family, numbers)
    decay = _decay(numbers)
    order = [decay, direction] if family.decays == "coupled" else [direction, decay]
    return optax.chain(*clip, *filters, *order, _scale(family, hyper, step))


def _decay(numbers: Numbers) -> optax.GradientTransformation:
    factors = numbers["weight_decay_by_matrix"]

    def add(updates: Params, params: Params | None) -> Params:
        assert params is not None
        return {name: u + numbers["weight_decay"] * factors[name] * params[name] for name, u in updates.items()}

    return optax.stateless(add)  # pyright: ignore[reportArgumentType]


def learning_rate(family: spec.Optimizer, hyper: Hyper, step: Int[Array, ""]) -> Float[Array, ""]:
    """lr * min(step / warmup_steps, 1) * the schedule's factor: with a warm-up, step 0 changes nothing (Nanda et al.
    2023)."""
    numbers = hyper["optimizer"]
    lr, warmup_steps = numbers["lr"], numbers["warmup_steps"]
    warm = jnp.minimum(step / jnp.maximum(warmup_steps, 1), 1)
    steps = hyper["prior_steps"] + hyper["train"]["steps"]
    scheduled = factor(family.schedule, numbers.get("schedule", {}), step, steps)
    return (lr * jnp.where(warmup_steps > 0, warm, 1) * scheduled).astype(lr.dtype)


def _scale(family: spec.Optimizer, hyper: Hyper, step: Int[Array, ""]) -> optax.GradientTransformation:
    lr, factors = learning_rate(family, hyper, step), hyper["optimizer"]["lr_by_matrix"]

    def scale(updates: Params, params: Params | None) -> Params:
        return {name: -lr * factors[name] * u for name, u in updates.items()}

    return optax.stateless(scale)  # pyright: ignore[reportArgumentType]


def corrected_moments(hyper: Hyper, opt_state: Any) -> tuple[Params, Params]:
    """First and second moments, corrected for their start at 0, of an optimizer that has them (optax's mu, nu)."""
    numbers = hyper["optimizer"]
    mean, squared, count = (optax.tree.get(opt_state, name) for name in ("mu", "nu", "count"))
    return (
        optax.tree.bias_correction(mean, numbers["b1"], count),
        optax.tree.bias_correction(squared, numbers["b2"], count),
    )


def apply(params: Params, updates: Params) -> Params:
    return jax.tree.map(jnp.add, params, updates)
