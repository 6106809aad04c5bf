"""Filters: what is done to the gradient before the optimizer sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from grokjax.models.params import Params
from grokjax.spec.filters import Filter
from grokjax.spec.section import implementation
from grokjax.spec.walk import roles_of

Numbers = dict[str, Any]
TINY = 1e-30  # keeps a division by the norm of what is 0 finite


def orthograd(numbers: Numbers) -> optax.GradientTransformation:
    """g - (w.g / w.w) w of every parameter, rescaled to |g| (Prieto et al. 2025, arXiv 2501.04697)."""

    def turn(g: Array, w: Array) -> Array:
        tangent = g - ((w * g).sum() / ((w * w).sum() + TINY)) * w
        return tangent * (jnp.linalg.norm(g.ravel()) / (jnp.linalg.norm(tangent.ravel()) + TINY))

    return optax.stateless(lambda updates, params: jax.tree.map(turn, updates, params))


class RunningMean(NamedTuple):
    running_mean: Params
    has_mean: Bool[Array, ""]


def grokfast_ema(numbers: Numbers) -> optax.GradientTransformation:
    """h = alpha h + (1 - alpha) g, which starts at the first g; g + lamb h (Lee et al. 2024, arXiv 2405.20233)."""
    alpha, lamb = numbers["alpha"], numbers["lamb"]

    def init(params: Params) -> RunningMean:
        return RunningMean(jax.tree.map(jnp.zeros_like, params), jnp.bool_(False))

    def update(updates: Params, state: RunningMean, params: Params | None = None) -> tuple[Params, RunningMean]:
        def follow(h: Array, g: Array) -> Array:
            return jnp.where(state.has_mean, alpha * h + (1 - alpha) * g, g)

        mean = jax.tree.map(follow, state.running_mean, updates)
        amplified = jax.tree.map(lambda g, h: g + lamb * h, updates, mean)
        return amplified, RunningMean(mean, jnp.bool_(True))

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


class LastGradients(NamedTuple):
    ring: Params  # [window, ...] of each parameter; the oldest is written over
    taken: Int[Array, ""]  # gradients so far


def grokfast_ma(numbers: Numbers) -> optax.GradientTransformation:
    """g + lamb * the mean of the last `window` gradients, from the step on that there are so many (Lee et al. 2024)."""
    window, lamb = numbers["window"], numbers["lamb"]

    def init(params: Params) -> LastGradients:
        ring = {name: jnp.zeros((window, *value.shape), value.dtype) for name, value in params.items()}
        return LastGradients(ring, jnp.int32(0))

    def update(updates: Params, state: LastGradients, params: Params | None = None) -> tuple[Params, LastGradients]:
        ring = {name: state.ring[name].at[state.taken % window].set(g) for name, g in updates.items()}
        taken = state.taken + 1
        is_full = taken >= window
        added = {name: g + jnp.where(is_full, lamb, 0) * ring[name].mean(0) for name, g in updates.items()}
        return added, LastGradients(ring, taken)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


FILTERS: dict[str, Callable[[Numbers], optax.GradientTransformation]] = {
    "orthograd": orthograd,
    "grokfast_ema": grokfast_ema,
    "grokfast_ma": grokfast_ma,
}


def gradient_filter(spec: Filter, numbers: Numbers) -> optax.GradientTransformation:
    """numbers: those that flow; the filter's static fields stand beside them."""
    static = {name: getattr(spec, name) for name, role in roles_of(type(spec)).items() if not role.flows}
    return implementation(FILTERS, spec)(static | numbers)
