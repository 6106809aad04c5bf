"""Whether a device has a dot algorithm: a small product is compiled for it, and where it is here multiplied and looked
at, as XLA's CPU takes the name of some and then multiplies in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.engine.devices import alike, mesh_of
from grokjax.engine.memory import is_out_of_memory
from grokjax.spec.matmuls import ALGORITHMS, PRECISIONS, jax_name

SHAPES = (2, 48, 64), (2, 64, 80)


@cache
def missing(matmul: str) -> str:
    """Why this machine's devices cannot multiply so, in words; "" where they can. Tried once a process."""
    device = jax.local_devices()[0]
    return _said(matmul, lambda one: _why_not(one, device) or _why_not_seen(one, device))


def missing_elsewhere(matmul: str, device: Any) -> str:
    """The same of a device that programs can be compiled for, and no more."""
    return _said(matmul, lambda one: _why_not(one, device))


def available() -> tuple[str, ...]:
    """The dot algorithms that this machine's devices have."""
    return tuple(name for name in ALGORITHMS if not missing(name))


def _said(matmul: str, why_not: Callable[[str], str]) -> str:
    why = why_not(matmul) if matmul in ALGORITHMS else ""
    if not why:
        return ""
    there = [name for name in ALGORITHMS if name != matmul and not why_not(name)]
    return f"has no {matmul} ({why}); it has {', '.join([*PRECISIONS, *there])}"


def _why_not(matmul: str, device: Any) -> str:
    """What JAX or XLA says of a product and its gradients, "" where they compile."""
    try:
        _compiled(matmul, device)
    except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return str(error).splitlines()[0].rstrip(".")
    return ""


def _why_not_seen(matmul: str, device: Any) -> str:
    """Whether a device multiplies alike, to the bit, whatever it is asked for. One whose `highest` is such an algorithm
    has others beside it."""
    asked, full, fast = (_products(name, device) for name in (matmul, "highest", "default"))
    if asked == full == fast:
        return "its products are those of highest, bit for bit"
    return ""


def _products(matmul: str, device: Any) -> bytes:
    draw = np.random.default_rng(0)
    sides = [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]
    placed = jax.device_put(sides, alike(mesh_of([device])))
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(_compiled(matmul, device)(*placed)))


def _compiled(matmul: str, device: Any) -> jax.stages.Compiled:
    """A product of batches, and its gradients by both sides."""

    def product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        c = a @ b
        return jnp.square(c).sum(), c

    everywhere = alike(mesh_of([device]))
    shapes = [jax.ShapeDtypeStruct(shape, np.float32, sharding=everywhere) for shape in SHAPES]
    with jax.default_matmul_precision(jax_name(matmul)):
        return jax.jit(jax.vmap(jax.value_and_grad(product, (0, 1), has_aux=True))).lower(*shapes).compile()
