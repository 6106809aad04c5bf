"""Schedules: factors on the learning rate at a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.spec.schedules import Schedule
from grokjax.spec.section import implementation

Numbers = dict[str, Any]
Factor = Float[Array, ""] | float


def constant(numbers: Numbers, part: Float[Array, ""]) -> Factor:
    return 1.0


def cosine(numbers: Numbers, part: Float[Array, ""]) -> Factor:
    """Half a cosine from 1 to `final`."""
    return numbers["final"] + (1 - numbers["final"]) * (1 + jnp.cos(jnp.pi * part)) / 2


def linear(numbers: Numbers, part: Float[Array, ""]) -> Factor:
    """A line from 1 to `final`."""
    return 1 + (numbers["final"] - 1) * part


def steps(numbers: Numbers, part: Float[Array, ""]) -> Factor:
    """factor^k after k times `every` steps."""
    return numbers["factor"] ** (numbers["step"] // numbers["every"])


def exponential(numbers: Numbers, part: Float[Array, ""]) -> Factor:
    """rate^(step / every)"""
    return numbers["rate"] ** (numbers["step"] / numbers["every"])


SCHEDULES: dict[str, Callable[[Numbers, Float[Array, ""]], Factor]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "steps": steps,
    "exponential": exponential,
}


def factor(schedule: Schedule, numbers: Numbers, step: Int[Array, ""], steps: Int[Array, ""]) -> Factor:
    """steps: of the whole run; the schedule sees which part of them is behind, and `numbers["step"]`."""
    return implementation(SCHEDULES, schedule)(numbers | {"step": step}, jnp.minimum(step / steps, 1))
