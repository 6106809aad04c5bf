"""Starting values, drawn by programs that networks of other shapes share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32

from grokjax.models.declare import Draw, Numbers, values
from grokjax.models.network import starting_draws, starting_params
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.tasks.keys import name_number, numbered, seed_key

FEWEST = 16  # values of a program: whole vectors of any processor


def draw_params(spec: RunSpec) -> Callable[[np.uint32, Numbers], dict[str, np.ndarray]]:
    """(seed, numbers of distributions) -> starting parameters; one at a time, so that a seed's bits and the program
    depend on no other.

    What is drawn by its name alone is drawn as so many values of a kind, the next power of two, whatever it is a part
    of: a sweep over widths compiles this once. A model that draws in its own way has its own program.
    """
    by_itself = jax.jit(lambda seed, numbers: starting_params(seed, spec, numbers))

    def draw(seed: np.uint32, numbers: Numbers) -> dict[str, np.ndarray]:
        draws = starting_draws(spec, numbers)
        if draws is None:
            return jax.device_get(by_itself(seed, numbers))
        shapes = parameter_shapes(spec)
        drawn = {name: _begin(seed, name, draw, shapes[name]) for name, draw in draws.items()}
        return {name: _shaped(value, shapes[name]) for name, value in jax.device_get(drawn).items()}

    return draw


def _begin(seed: np.uint32, name: str, draw: Draw, shape: tuple[int, ...]) -> np.ndarray | Array:
    """The values of a parameter, or more than these, which a device may still be at."""
    if draw.kind == "fill":
        return np.full(shape, draw.number, np.float32)
    if draw.kind != "line":
        shape = (max(FEWEST, 1 << (math.prod(shape) - 1).bit_length()),)
    return _drawn(draw.kind, draw.factor, shape, seed, np.uint32(name_number(name)), draw.number)


def _shaped(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return value.ravel()[: math.prod(shape)].reshape(shape)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _drawn(
    kind: str,
    factor: float,
    shape: tuple[int, ...],
    seed: UInt32[Array, ""],
    name: UInt32[Array, ""],
    number: Float[Array, ""],
) -> Array:
    """Value after value, in row-major order, is the same in every shape: JAX counts so (`threefry_partitionable`)."""
    return values(numbered(seed_key(seed), name), Draw(kind, number, factor), shape)
