"""Optimizers, built from a run's hyperparameters inside the traced step: one compilation for all values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from grokjax.sweep.spec import SGD, Adam, RunSpec
from grokjax.train.state import Hyper, Params


def optimizer(spec: RunSpec, hyper: Hyper, step: Array) -> optax.GradientTransformation:
    """clip -> coupled decay -> moments -> decoupled decay -> learning rate, each matrix with its factors."""
    family = spec.optimizer
    decay = _decay(hyper)
    coupled = isinstance(family, Adam) or (isinstance(family, SGD) and family.decay == "coupled")
    if isinstance(family, SGD):
        moments = optax.trace(hyper.momentum, nesterov=family.nesterov)
    else:
        moments = optax.scale_by_adam(b1=hyper.b1, b2=hyper.b2, eps=hyper.eps)  # pyright: ignore[reportArgumentType]
    clip = [optax.clip_by_global_norm(hyper.clip_norm)] if family.clip_norm is not None else []  # pyright: ignore[reportArgumentType]
    order = [decay, moments] if coupled else [moments, decay]
    return optax.chain(*clip, *order, _scale(hyper, step))


def _decay(hyper: Hyper) -> optax.GradientTransformation:
    def add(updates: Params, params: Params | None) -> Params:
        assert params is not None
        factor = hyper.weight_decay_factor
        return {name: u + hyper.weight_decay * factor[name] * params[name] for name, u in updates.items()}

    return optax.stateless(add)  # pyright: ignore[reportArgumentType]


def learning_rate(hyper: Hyper, step: Array) -> Float[Array, ""]:
    """lr * min(step / warmup_steps, 1): with a warm-up, step 0 changes nothing (Nanda et al. 2023)."""
    warm = jnp.minimum(step / jnp.maximum(hyper.warmup_steps, 1), 1)
    return (hyper.lr * jnp.where(hyper.warmup_steps > 0, warm, 1)).astype(hyper.lr.dtype)


def _scale(hyper: Hyper, step: Array) -> optax.GradientTransformation:
    lr = learning_rate(hyper, step)

    def scale(updates: Params, params: Params | None) -> Params:
        return {name: -lr * hyper.lr_factor[name] * u for name, u in updates.items()}

    return optax.stateless(scale)  # pyright: ignore[reportArgumentType]


def apply(params: Params, updates: Params) -> Params:
    return jax.tree.map(jnp.add, params, updates)
