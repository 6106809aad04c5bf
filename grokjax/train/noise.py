"""Noise in a step, drawn from (seed, step) alone, so that resume, lane and width never change it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from grokjax.models.params import Params
from grokjax.models.textbook import Drop
from grokjax.spec.hypers import Hyper
from grokjax.spec.run import RunSpec
from grokjax.tasks.examples import Examples
from grokjax.tasks.keys import NOISE, key_for, named
from grokjax.train.rates import rates

KINDS = {"labels": 0, "weights": 1, "update": 2, "dropout": 3}


def noise_key(kind: str, hyper: Hyper, step: Int[Array, ""]) -> Array:
    return jax.random.fold_in(jax.random.fold_in(key_for(NOISE, hyper["seed"]), KINDS[kind]), step)


def with_label_noise(spec: RunSpec, examples: Examples, hyper: Hyper, step: Int[Array, ""]) -> Examples:
    """Each label is replaced, with the probability of noise.labels, by one drawn from all."""
    if spec.noise.labels is None:
        return examples
    of_choice, of_label = jax.random.split(noise_key("labels", hyper, step))
    targets = examples.targets
    is_replaced = jax.random.uniform(of_choice, targets.shape, jnp.float32) < hyper["noise"]["labels"]
    drawn = jax.random.randint(of_label, targets.shape, 0, spec.task.classes, targets.dtype)
    return examples._replace(targets=jnp.where(is_replaced, drawn, targets))


def with_weight_noise(spec: RunSpec, params: Params, hyper: Hyper, step: Int[Array, ""]) -> Params:
    """The parameters that a step's gradient is taken at: each with N(0, noise.weights^2) added."""
    if spec.noise.weights is None:
        return params
    draws = normal_like(params, noise_key("weights", hyper, step))
    return {name: value + hyper["noise"]["weights"] * draws[name] for name, value in params.items()}


def with_update_noise(spec: RunSpec, updates: Params, hyper: Hyper, step: Int[Array, ""]) -> Params:
    """An optimizer's updates with N(0, noise.update^2) in their direction, before the learning rate (openai/grok), that
    of a matrix's own optimizer where it has one."""
    if spec.noise.update is None:
        return updates
    draws = normal_like(updates, noise_key("update", hyper, step))
    size, of_each = hyper["noise"]["update"], rates(spec.optimizer, hyper, step, list(updates))
    return {name: value - size * of_each[name] * draws[name] for name, value in updates.items()}


def dropping(spec: RunSpec, hyper: Hyper, step: Int[Array, ""]) -> Drop | None:
    """What a training step drops: each number with the probability of noise.dropout; what stays is divided by the
    probability to stay, so that its mean is kept (Srivastava et al. 2014)."""
    if spec.noise.dropout is None:
        return None
    rate, key = hyper["noise"]["dropout"], noise_key("dropout", hyper, step)

    def drop(x: Array, layer: int) -> Array:
        stays = jax.random.uniform(jax.random.fold_in(key, layer), x.shape, jnp.float32) >= rate
        return jnp.where(stays, x / (1 - rate).astype(x.dtype), 0)

    return drop


def normal_like(params: Params, key: Array) -> Params:
    """N(0, 1) for every number; one key a parameter, drawn in float32 whatever the precision of training."""
    return {
        name: jax.random.normal(named(key, name), value.shape, jnp.float32).astype(value.dtype)
        for name, value in params.items()
    }
