"""Learning rate and weight decay: the same for all optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from grokjax.models.params import Params
from grokjax.spec.hypers import Hyper
from grokjax.spec.optimizers import Optimizer
from grokjax.train.schedules import factor

Numbers = dict[str, Any]


def numbers_at(family: Optimizer, numbers: Numbers, hyper: Hyper, step: Int[Array, ""]) -> Numbers:
    """The numbers of an optimizer, and what else its function may use: `rate`, `of_lr` (its share of lr), `step` and
    `seed`."""
    lr, warmup_steps = numbers["lr"], numbers["warmup_steps"]
    warm = jnp.where(warmup_steps > 0, jnp.minimum(step / jnp.maximum(warmup_steps, 1), 1), 1)
    steps = hyper["prior_steps"] + hyper["train"]["steps"]
    scheduled = factor(family.schedule, numbers.get("schedule", {}), step, steps)
    rate = (lr * warm * scheduled).astype(lr.dtype)
    return numbers | {"rate": rate, "of_lr": warm * scheduled, "step": step, "seed": hyper["seed"]}


def learning_rate(family: Optimizer, hyper: Hyper, step: Int[Array, ""]) -> Float[Array, ""]:
    """lr * min(step / warmup_steps, 1) * the schedule's factor: with a warm-up, step 0 changes nothing (Nanda et al.
    2023)."""
    return numbers_at(family, hyper["optimizer"], hyper, step)["rate"]


def rates(family: Optimizer, hyper: Hyper, step: Int[Array, ""], names: Sequence[str]) -> dict[str, Float[Array, ""]]:
    """The learning rate of each parameter: of its group where it is in one, times its factor."""
    numbers = hyper["optimizer"]
    parts: dict[str | None, tuple[Optimizer, Numbers]] = {None: (family, numbers)}
    parts |= {key: (group, numbers["groups"][key]) for key, group in family.groups.items()}
    found = {key: numbers_at(part, of_part, hyper, step) for key, (part, of_part) in parts.items()}
    of_names = {name: found[family.group_of(name)] for name in names}
    return {name: of_part["rate"] * of_part["lr_by_matrix"][name] for name, of_part in of_names.items()}


class Origin(NamedTuple):
    """Where weight decay pulls to, if not to 0."""

    origin: Params


def decay(family: Optimizer, numbers: Numbers) -> optax.GradientTransformation:
    """Adds weight_decay * W, or with `decay_to: init` weight_decay * (W - W at the start), by the matrices' factors."""
    factors = numbers["weight_decay_by_matrix"]

    def init(params: Params) -> Origin | optax.EmptyState:
        return Origin(params) if family.decay_to == "init" else optax.EmptyState()

    def add(updates: Params, state: Origin | optax.EmptyState, params: Params) -> tuple[Params, Any]:
        away = {name: params[name] - state.origin[name] for name in updates} if isinstance(state, Origin) else params
        pulled = {name: u + numbers["weight_decay"] * factors[name] * away[name] for name, u in updates.items()}
        return pulled, state

    return optax.GradientTransformation(init, add)  # pyright: ignore[reportArgumentType]


def scale(numbers: Numbers) -> optax.GradientTransformation:
    """Times -rate, by the matrices' factors."""
    rate, factors = numbers["rate"], numbers["lr_by_matrix"]

    def times(updates: Params, params: Params | None) -> Params:
        return {name: -rate * factors[name] * u for name, u in updates.items()}

    return optax.stateless(times)  # pyright: ignore[reportArgumentType]


def whole_step(
    family: Optimizer,
    numbers: Numbers,
    step: optax.GradientTransformation,
    rate_of: Callable[[Any], Float[Array, ""]] | None = None,
) -> optax.GradientTransformation:
    """A step that has its rate already, with decay (unless that is coupled) and the matrices' factors.

    rate_of: its state before the step -> the rate that decay counts by; without it, that is the learning rate.
    """
    pull, factors = decay(family, numbers), numbers["lr_by_matrix"]
    decays = family.decays != "coupled"

    def init(params: Params) -> tuple[Any, ...]:
        return (step.init(params), pull.init(params)) if decays else (step.init(params),)  # pyright: ignore

    def update(updates: Params, state: tuple[Any, ...], params: Params) -> tuple[Params, tuple[Any, ...]]:
        steps, after = step.update(updates, state[0], params)  # pyright: ignore[reportArgumentType]
        if not decays:
            return {name: factors[name] * steps[name] for name in updates}, (after,)  # pyright: ignore
        zeros = {name: jnp.zeros_like(u) for name, u in updates.items()}
        pulls, pulled = pull.update(zeros, state[1], params)  # pyright: ignore[reportArgumentType]
        rate = rate_of(state[0]) if rate_of else numbers["rate"]
        out = {name: factors[name] * (steps[name] - rate * pulls[name]) for name in updates}  # pyright: ignore
        return out, (after, pulled)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
