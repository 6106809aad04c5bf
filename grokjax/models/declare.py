"""Starting values: one draw a parameter, keyed by (seed, name), so a seed means the same start everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

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


def declare_with(seed: UInt32[Array, ""], scheme: str, shapes: Shapes) -> Declare:
    """A function that declares a parameter by name. Draws are float32 whatever the precision of training."""

    def declare(name: str) -> nnx.Param:
        return nnx.Param(_draw(_key(seed, name), name, scheme, shapes))

    return declare


def distributed(seed: UInt32[Array, ""], kinds: dict[str, str], numbers: Numbers, shapes: Shapes) -> Params:
    """The parameters that have a distribution of their own (`init.distribution`).

    kinds: of these distributions, by parameter; numbers: theirs, which so are compiled once for all values.
    """
    return {name: _draw_of_kind(_key(seed, name), name, kind, numbers[name], shapes) for name, kind in kinds.items()}


def _key(seed: UInt32[Array, ""], name: str) -> Array:
    return named(seed_key(seed), name)


def _draw_of_kind(key: Array, name: str, kind: str, number: Float[Array | np.ndarray, ""], shapes: Shapes) -> Array:
    shape = shapes[name]
    if kind == "constant":
        return jnp.full(shape, number, jnp.float32)
    if kind == "uniform":
        return jax.random.uniform(key, shape, jnp.float32, -1, 1) * number
    if kind == "line":
        return _along_a_line(key, shape, number)
    inputs = {"normal": 1.0, "he": _summed(name, shapes) / 2, "fan_in": float(_summed(name, shapes))}[kind]
    return jax.random.normal(key, shape, jnp.float32) * (number * jnp.float32(inputs**-0.5))


def _along_a_line(key: Array, shape: tuple[int, ...], mixed: Float[Array | np.ndarray, ""]) -> Array:
    """mixed U(-1, 1) + (1 - mixed) line, whose rows have -1 to 1 in the first column, in equal steps, and U(-0.3, 0.3)
    in the others: the latents of Omnigrok's landscape. mixed: 0 is the line."""
    cloud = jax.random.uniform(key, shape, jnp.float32, -1, 1)
    beside = jax.random.uniform(jax.random.fold_in(key, 1), shape, jnp.float32, -0.3, 0.3)
    places = jnp.linspace(-1, 1, shape[-2], dtype=jnp.float32)
    line = beside.at[..., 0].set(jnp.broadcast_to(places, shape[:-1]))
    return jnp.asarray(mixed * cloud + (1 - mixed) * line)


def _summed(name: str, shapes: Shapes) -> int:
    """`fan_in`, also of embeddings, which count their width, and of vectors, which count their matrix's."""
    if is_embedding(name):
        return shapes[name][1]
    matrix = "W" + name[1:]
    return fan_in(name if is_matrix(name) else matrix, shapes) if matrix in shapes else shapes[name][-1]


def _draw(key: Array, name: str, scheme: str, shapes: Shapes) -> Array:
    """Schemes: paper (Nanda et al. 2023): N(0, 1/d_model), W_U N(0, 1/d_vocab). fan_in: N(0, 1/fan_in).
    torch_linear: `torch.nn.Linear`'s U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too; `torch.nn.Embedding`'s
    N(0, 1) for W_E and W_pos. Embeddings are look-ups without a sum, so fan_in gives them 1/d_model."""
    shape, normal = shapes[name], jax.random.normal
    if name.startswith("ln"):
        fill = jnp.ones if "_w" in name else jnp.zeros
        return fill(shape, jnp.float32)
    if not is_matrix(name):
        if scheme != "torch_linear":
            return jnp.zeros(shape, jnp.float32)
        bound = fan_in("W" + name[1:], shapes) ** -0.5
        return jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    embedding = is_embedding(name)
    if scheme == "torch_linear" and not embedding:
        bound = fan_in(name, shapes) ** -0.5
        return jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    if scheme == "torch_linear":
        return normal(key, shape, jnp.float32)
    if scheme == "paper":
        variance = 1 / shapes["W_U"][1] if name == "W_U" else 1 / shapes["W_U"][0]
    else:
        variance = 1 / shape[1] if embedding else 1 / fan_in(name, shapes)
    return normal(key, shape, jnp.float32) * jnp.float32(math.sqrt(variance))


def is_embedding(name: str) -> bool:
    """Whether rows are looked up in it."""
    return name.partition(".")[0] in ("W_E", "W_pos")


def fan_in(name: str, shapes: Shapes) -> int:
    """Number of inputs that one output sums over. W_Q, W_K, W_V: d_model; W_O: heads * d_head."""
    shape = shapes[name]
    if name.startswith("W_O."):
        return shape[0] * shape[1]
    return shape[-2]
