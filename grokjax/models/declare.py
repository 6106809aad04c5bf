"""Starting values: one draw a parameter, keyed by (seed, name), so a seed means the same start everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt32

from grokjax.models.params import Params
from grokjax.spec.shapes import Shapes, is_matrix
from grokjax.tasks.keys import named, seed_key

Declare = Callable[[str], nnx.Param]
Numbers = dict[str, Float[Array | np.ndarray, ""]]


class Draw(NamedTuple):
    """How a parameter is drawn: see `values`."""

    kind: str
    number: Any  # float32 scalar
    factor: float = 1.0  # of the number, compiled in, as XLA may multiply such constants first


def declare_with(seed: UInt32[Array, ""], scheme: str, shapes: Shapes) -> Declare:
    """A function that declares a parameter by name. Draws are float32 whatever the precision of training."""

    def declare(name: str) -> nnx.Param:
        return nnx.Param(values(named(seed_key(seed), name), of_scheme(name, scheme, shapes), shapes[name]))

    return declare


def distributed(seed: UInt32[Array, ""], kinds: dict[str, str], numbers: Numbers, shapes: Shapes) -> Params:
    """The parameters that have a distribution of their own (`init.distribution`).

    kinds: of these distributions, by parameter; numbers: theirs, which so are compiled once for all values.
    """
    return {
        name: values(named(seed_key(seed), name), of_distribution(name, kind, numbers[name], shapes), shapes[name])
        for name, kind in kinds.items()
    }


def values(key: Array, draw: Draw, shape: tuple[int, ...]) -> Array:
    """float32 of a shape. fill: the number. normal: N(0, (number factor)^2). uniform: number U(-1, 1). between:
    U(-number, number). line: see `_along_a_line`; all others give a value by its place in row-major order alone."""
    if draw.kind == "fill":
        return jnp.full(shape, draw.number, jnp.float32)
    if draw.kind == "uniform":
        return jax.random.uniform(key, shape, jnp.float32, -1, 1) * draw.number
    if draw.kind == "between":
        return jax.random.uniform(key, shape, jnp.float32, -draw.number, draw.number)
    if draw.kind == "line":
        return _along_a_line(key, shape, draw.number)
    return jax.random.normal(key, shape, jnp.float32) * (draw.number * np.float32(draw.factor))


def _along_a_line(key: Array, shape: tuple[int, ...], mixed: Float[Array | np.ndarray, ""]) -> Array:
    """mixed U(-1, 1) + (1 - mixed) line, whose rows have -1 to 1 in the first column, in equal steps, and U(-0.3, 0.3)
    in the others: the latents of Omnigrok's landscape. mixed: 0 is the line."""
    cloud = jax.random.uniform(key, shape, jnp.float32, -1, 1)
    beside = jax.random.uniform(jax.random.fold_in(key, 1), shape, jnp.float32, -0.3, 0.3)
    places = jnp.linspace(-1, 1, shape[-2], dtype=jnp.float32)
    line = beside.at[..., 0].set(jnp.broadcast_to(places, shape[:-1]))
    return jnp.asarray(mixed * cloud + (1 - mixed) * line)


def of_distribution(name: str, kind: str, number: Any, shapes: Shapes) -> Draw:
    """By a kind of `init.distribution`, and its number (a float32 scalar)."""
    if kind in ("constant", "uniform", "line"):
        return Draw("fill" if kind == "constant" else kind, number)
    inputs = {"normal": 1.0, "he": _summed(name, shapes) / 2, "fan_in": float(_summed(name, shapes))}[kind]
    return Draw("normal", number, inputs**-0.5)


def _summed(name: str, shapes: Shapes) -> int:
    """`fan_in`, also of embeddings, which count their width, and of vectors, which count their matrix's."""
    if is_embedding(name):
        return shapes[name][1]
    matrix = "W" + name[1:]
    return fan_in(name if is_matrix(name) else matrix, shapes) if matrix in shapes else shapes[name][-1]


def of_scheme(name: str, scheme: str, shapes: Shapes) -> Draw:
    """Schemes: paper (Nanda et al. 2023): N(0, 1/d_model), W_U N(0, 1/d_vocab). fan_in: N(0, 1/fan_in).
    torch_linear: `torch.nn.Linear`'s U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too; `torch.nn.Embedding`'s
    N(0, 1) for W_E and W_pos. Embeddings are look-ups without a sum, so fan_in gives them 1/d_model."""
    if name.startswith("ln"):
        return Draw("fill", np.float32("_w" in name))
    is_torch, embedding = scheme == "torch_linear", is_embedding(name)
    if not is_matrix(name):
        bound = fan_in("W" + name[1:], shapes) ** -0.5 if is_torch else 0.0
        return Draw("between" if is_torch else "fill", np.float32(bound))
    if is_torch:
        return Draw("normal", np.float32(1)) if embedding else Draw("between", np.float32(fan_in(name, shapes) ** -0.5))
    if scheme == "paper":
        variance = 1 / shapes["W_U"][1] if name == "W_U" else 1 / shapes["W_U"][0]
    else:
        variance = 1 / shapes[name][1] if embedding else 1 / fan_in(name, shapes)
    return Draw("normal", np.float32(math.sqrt(variance)))


def is_embedding(name: str) -> bool:
    """Whether rows are looked up in it."""
    return name.partition(".")[0] in ("W_E", "W_pos")


def fan_in(name: str, shapes: Shapes) -> int:
    """Number of inputs that one output sums over. W_Q, W_K, W_V: d_model; W_O: heads * d_head."""
    shape = shapes[name]
    if name.startswith("W_O."):
        return shape[0] * shape[1]
    return shape[-2]
