"""Optimizers, built from a run's hyperparameters inside the traced step: one compilation for all values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from grokjax.models.params import Params
from grokjax.spec import optimizers as spec
from grokjax.spec.hypers import Hyper
from grokjax.spec.section import implementation
from grokjax.train.filters import gradient_filter
from grokjax.train.optax_optimizers import EVALUATED, OF_OPTAX
from grokjax.train.parts import by_parts
from grokjax.train.rates import Numbers, decay, numbers_at, scale

REST = "rest"  # the part of all parameters that are in no group


def adam(family: spec.Adam | spec.AdamW, numbers: Numbers) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"], eps=numbers["eps"])


def sgd(family: spec.SGD, numbers: Numbers) -> optax.GradientTransformation:
    return optax.trace(numbers["momentum"], nesterov=family.nesterov)


# The direction of a step, of a gradient that is clipped and filtered; decay and rate are the same for all. Families
# with `takes_rate` make the whole step.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adamw": adam,
    "adam": adam,
    "sgd": sgd,
    **OF_OPTAX,
}


def optimizer(family: spec.Optimizer, hyper: Hyper, step: Int[Array, ""]) -> optax.GradientTransformationExtraArgs:
    """clip -> filters -> coupled decay -> direction -> decoupled decay -> learning rate, each matrix with its factors;
    after clipping, groups of matrices by their own.

    step: that the schedule and the warm-up see.
    """
    numbers = hyper["optimizer"]
    clip = [optax.clip_by_global_norm(numbers["clip_norm"])] if "clip_norm" in numbers else []
    own = _unclipped(family, numbers, hyper, step)
    if family.groups:
        grouped = numbers["groups"]
        parts = {key: _unclipped(group, grouped[key], hyper, step) for key, group in family.groups.items()}
        own = by_parts(parts | {REST: own}, lambda name: family.group_of(name) or REST)
    return _steady(optax.chain(*clip, own))


def _unclipped(
    family: spec.Optimizer, numbers: Numbers, hyper: Hyper, step: Int[Array, ""]
) -> optax.GradientTransformation:
    numbers = numbers_at(family, numbers, hyper, step)
    filters = [
        gradient_filter(one, of_filter)
        for one, of_filter in zip(family.filters, numbers.get("filters", []), strict=True)
    ]
    coupled = [decay(family, numbers)] if family.decays == "coupled" else []
    direction = implementation(OPTIMIZERS, family)(family, numbers)
    if family.takes_rate:
        return optax.chain(*filters, *coupled, direction)
    decoupled = [decay(family, numbers)] if family.decays == "decoupled" else []
    return optax.chain(*filters, *coupled, direction, *decoupled, scale(numbers))


def _steady(transform: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """Steps and states in the precisions that they have at the start: optax counts in others under x64."""

    def update(updates: Params, state: Any, params: Params, **extra: Any) -> tuple[Params, Any]:
        steps, after = transform.update(updates, state, params, **extra)  # pyright: ignore[reportArgumentType]
        return jax.tree.map(_as, steps, params), jax.tree.map(_as, after, state)

    return optax.GradientTransformationExtraArgs(transform.init, update)  # pyright: ignore[reportArgumentType]


def _as(value: Any, like: Array) -> Array:
    return jnp.asarray(value, like.dtype)


def evaluated(family: spec.Optimizer, hyper: Hyper, params: Params, opt_state: Any) -> Params:
    """The parameters that test metrics are of: the optimizer's average, where it keeps one."""
    numbers = hyper["optimizer"]
    if not family.groups:
        return _evaluated(family, numbers, params, opt_state)
    parts = opt_state[-1]
    groups = [(key, group, numbers["groups"][key]) for key, group in family.groups.items()]
    found = dict(params)
    for key, group, of_group in [*groups, (REST, family, numbers)]:
        inside = {name: value for name, value in params.items() if (family.group_of(name) or REST) == key}
        found |= _evaluated(group, of_group, inside, parts[key]) if inside else {}
    return found


def _evaluated(family: spec.Optimizer, numbers: Numbers, params: Params, opt_state: Any) -> Params:
    average = EVALUATED.get(family.name)
    return average(numbers, params, opt_state) if average else params


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
