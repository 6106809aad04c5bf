"""Teacher and student: the outputs of a random network on inputs N(0, 1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grokjax.spec.drawn_tasks import TeacherStudent
from grokjax.tasks.examples import Examples

BENDS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def rule(task: TeacherStudent, key: Array) -> list[tuple[Array, Array]]:
    """The teacher's weights [inputs, outputs] and biases, layer by layer, as `torch.nn.Linear` draws them."""
    layers = []
    for index, (fan_in, fan_out) in enumerate(pairwise([task.inputs, *task.widths, task.targets])):
        bound = fan_in**-0.5
        of_weights, of_biases = jax.random.split(jax.random.fold_in(key, index))
        W = jax.random.uniform(of_weights, (fan_in, fan_out), jnp.float32, -bound, bound)
        b = jax.random.uniform(of_biases, (fan_out,), jnp.float32, -bound, bound)
        layers.append((W * task.teacher_scale, b * task.teacher_scale))
    return layers


def draw(task: TeacherStudent, rule: Any, key: Array, n: int) -> Examples:
    inputs = jax.random.normal(key, (n, task.inputs), jnp.float32)
    x = inputs
    for index, (W, b) in enumerate(rule):
        x = x if index == 0 else BENDS[task.activation](x)
        x = x @ W + b
    return Examples(inputs, x, rule=rule)
