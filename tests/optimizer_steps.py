"""Fifty steps of an optimizer as the engine makes it, in float64, on a loss that plain NumPy can differentiate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.spec.families import validate
from grokjax.spec.hypers import hyper_of
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.resolve import resolve
from grokjax.train.optimizers import evaluated, optimizer

STEPS = 50
Arrays = dict[str, np.ndarray]
MODEL = {
    "task": {"p": 5},
    "model": {"name": "transformer", "d_model": 4, "heads": 2, "d_mlp": 6},
    "numerics": {"params": "float64"},
    "train": {"steps": STEPS},
}


def spec_of(values: dict[str, Any]) -> RunSpec:
    """A run with this optimizer, without warm-up unless it is asked for."""
    return resolve(validate(MODEL | {"optimizer": {"warmup_steps": 0} | values}), {"optimizer.weight_decay"})


SHAPES = parameter_shapes(spec_of({}))
_RANDOM = np.random.Generator(np.random.PCG64(17))
START: Arrays = {name: _RANDOM.normal(size=shape) for name, shape in SHAPES.items()}
CURVED: Arrays = {name: _RANDOM.uniform(0.1, 2, size=shape) for name, shape in SHAPES.items()}
PULLS: list[Arrays] = [{name: _RANDOM.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]


def gradient(params: Arrays, step: int) -> Arrays:
    """Of sum(CURVED * W^2 / 2 + PULLS * W)"""
    return {name: CURVED[name] * params[name] + PULLS[step][name] for name in params}


def stepped(values: dict[str, Any], steps: int = STEPS, average: bool = False) -> Arrays:
    """The parameters after some steps of an optimizer; average: those that are tested."""
    spec = spec_of(values)
    with jax.enable_x64(True):
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        params = {name: jnp.asarray(value) for name, value in START.items()}
        pulls = {name: jnp.stack([one[name] for one in PULLS[:steps]]) for name in START}

        def one(carry: Any, at: Any) -> tuple[Any, None]:
            params, state = carry
            pull, step = at

            def loss(params: Any) -> Any:
                return sum((CURVED[name] * W**2 / 2 + pull[name] * W).sum() for name, W in params.items())

            made: Any = optimizer(spec.optimizer, hyper, step)
            updates, state = made.update(jax.grad(loss)(params), state, params, obj_fn=loss)
            return ({name: W + updates[name] for name, W in params.items()}, state), None

        def run(params: Any) -> Any:
            state = optimizer(spec.optimizer, hyper, jnp.int32(0)).init(params)
            (params, state), _ = jax.lax.scan(one, (params, state), (pulls, jnp.arange(steps)))
            return evaluated(spec.optimizer, hyper, params, state) if average else params

        return {name: np.asarray(value) for name, value in jax.jit(run)(params).items()}
