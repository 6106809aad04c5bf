"""The kernels for TPUs (Pallas, compiled by Mosaic).

The programs of a kernel run one after the other, each with the next examples and all neurons: the gradients of the
weights stay on the chip until the last one has added its own. The last tile reaches past the last example; what lies
there is read as 0, and what is written there is dropped.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu
from jaxtyping import Array, Float

from grokjax.models.fused import tile

EXAMPLES = 512  # of a tile, fewer where there are many neurons
NEURONS = 2**18  # numbers of a hidden layer in a tile, at most
VMEM = 64 * 2**20  # bytes on the chip that a kernel may take; v5e and v6e have twice that


def forward(
    activation: str,
    adds: bool,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Float[Array, "m 1"],
    W_out: Float[Array, "m o"],
    b_out: Float[Array, "o 1"],
    interpret: bool = False,
) -> Float[Array, "o n"]:
    (i, n), (m, o) = x.shape, W_out.shape
    size = _examples(m, n)

    def kernel(x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, b_out_ref: Any, y_ref: Any) -> None:
        weights, x = (W_in_ref[...], b_in_ref[...], W_out_ref[...]), _there(x_ref[...], pl.program_id(0), n)
        y = tile.outputs(activation, x, *weights) + b_out_ref[...]
        y_ref[...] = y + x if adds else y

    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((o, n), x.dtype),
        grid=(pl.cdiv(n, size),),
        in_specs=[_some(i, size), _all(i, m), _all(m, 1), _all(m, o), _all(o, 1)],
        out_specs=_some(o, size),
        compiler_params=tpu.CompilerParams(vmem_limit_bytes=VMEM),
        interpret=interpret,
        name="neurons_forward",
        cost_estimate=_cost(None, x, W_out),
    )(x, W_in, b_in, W_out, b_out)


def backward(
    activation: str,
    adds: bool,
    with_dx: bool,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Float[Array, "m 1"],
    W_out: Float[Array, "m o"],
    dy: Float[Array, "o n"],
    interpret: bool = False,
) -> tile.Gradients:
    (i, n), (m, o) = x.shape, W_out.shape
    size = _examples(m, n)

    def kernel(x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, dy_ref: Any, *results: Any) -> None:
        *sums, dx_ref = results if with_dx else (*results, None)
        at = pl.program_id(0)
        x, dy = _there(x_ref[...], at, n), _there(dy_ref[...], at, n)
        found = tile.gradients(activation, x, W_in_ref[...], b_in_ref[...], W_out_ref[...], dy, with_dx)
        if dx_ref is not None and found.x is not None:
            dx_ref[...] = found.x + dy if adds else found.x

        @pl.when(at == 0)
        def _() -> None:
            for ref in sums:
                ref[...] = jnp.zeros_like(ref)

        for ref, value in zip(sums, (found.W_in, found.b_in, found.W_out, found.b_out), strict=True):
            ref[...] += value

    shapes = [W_in.shape, b_in.shape, W_out.shape, (o, 1), *([x.shape] if with_dx else [])]
    dW_in, db_in, dW_out, db_out, *dx = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        grid=(pl.cdiv(n, size),),
        in_specs=[_some(i, size), _all(i, m), _all(m, 1), _all(m, o), _some(o, size)],
        out_specs=[_all(i, m), _all(m, 1), _all(m, o), _all(o, 1), *([_some(i, size)] if with_dx else [])],
        compiler_params=tpu.CompilerParams(vmem_limit_bytes=VMEM),
        interpret=interpret,
        name="neurons_backward",
        cost_estimate=_cost(with_dx, x, W_out),
    )(x, W_in, b_in, W_out, dy)
    return tile.Gradients(dx[0] if dx else None, dW_in, db_in, dW_out, db_out)


def _examples(m: int, n: int) -> int:
    """Of a tile: all, or a multiple of what one row of the chip's vectors holds."""
    return min(EXAMPLES, n, max(128, NEURONS // m // 128 * 128))


def _cost(with_dx: bool | None, x: Array, W_out: Array) -> pl.CostEstimate:
    weights = W_out.shape[0] * (x.shape[0] + W_out.shape[1])
    moved = x.size * (1 if with_dx is None else 2) + x.shape[1] * W_out.shape[1] + 2 * weights
    return pl.CostEstimate(flops=tile.flops(with_dx, x, W_out), transcendentals=0, bytes_accessed=4 * moved)


def _some(rows: int, examples: int) -> pl.BlockSpec:
    return pl.BlockSpec((rows, examples), lambda at: (0, at))


def _all(rows: int, columns: int) -> pl.BlockSpec:
    return pl.BlockSpec((rows, columns), lambda at: (0, 0))


def _there(values: Float[Array, "_ size"], at: Array, n: int) -> Float[Array, "_ size"]:
    """0 in place of what lies past the last example."""
    size = values.shape[1]
    if n % size == 0:
        return values
    place = at * size + jax.lax.broadcasted_iota(jnp.int32, values.shape, 1)
    return jnp.where(place < n, values, 0)
