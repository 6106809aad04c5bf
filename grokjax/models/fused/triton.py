"""The kernels for GPUs (Pallas, compiled by Triton).

All programs of a kernel run at once, so none waits for another's sums, and nothing is added with atomics: bits are
those of the program. Forward, a program has some examples and goes through the neurons. Backward, it has some neurons
and goes through the examples, with the gradients of its weights in registers; what its neurons add to dx is a part of
its own, and the parts are added afterwards. Tiles have powers of 2 as sides, and what lies outside is read as 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as gpu
from jaxtyping import Array, Float

from grokjax.models.fused import tile

SMALLEST = 16  # side of a matmul's tile
TILE = 128 * 128  # numbers of the weights of one side that a program holds, for all threads
EXAMPLES = 32  # of a tile


class Span(NamedTuple):
    """Part of an axis: `size` places from `start`, of which those below `end` are there."""

    start: Any
    size: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there, wherever it starts (at multiples of its size)."""
        return self.end % self.size == 0


class Sizes(NamedTuple):
    """Of tiles. i, o: all inputs and outputs; m, n: some neurons and examples."""

    i: int
    m: int
    o: int
    n: int
    warps: int


def forward(
    activation: str,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Float[Array, "m 1"],
    W_out: Float[Array, "m o"],
    interpret: bool = False,
) -> Float[Array, "o n"]:
    (i, n), (m, o) = x.shape, W_out.shape
    sizes = sizes_for(i, m, o)

    def kernel(x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, y_ref: Any) -> None:
        inputs, outputs, examples = Span(0, sizes.i, i), Span(0, sizes.o, o), Span(pl.program_id(0) * sizes.n, sizes.n, n)
        x = _read(x_ref, inputs, examples)

        def add(at: Array, y: Array) -> Array:
            neurons = Span(at * sizes.m, sizes.m, m)
            weights = _weights(W_in_ref, b_in_ref, W_out_ref, inputs, neurons, outputs)
            return y + tile.outputs(activation, x, *weights)

        y = jax.lax.fori_loop(0, pl.cdiv(m, sizes.m), add, jnp.zeros((sizes.o, sizes.n), jnp.float32))
        _write(y_ref, y, outputs, examples)

    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((o, n), x.dtype),
        grid=(pl.cdiv(n, sizes.n),),
        compiler_params=gpu.CompilerParams(num_warps=sizes.warps, num_stages=1),
        interpret=interpret,
        name="neurons_forward",
    )(x, W_in, b_in, W_out)


def backward(
    activation: str,
    with_dx: bool,
    x: Float[Array, "i n"],
    W_in: Float[Array, "i m"],
    b_in: Float[Array, "m 1"],
    W_out: Float[Array, "m o"],
    dy: Float[Array, "o n"],
    interpret: bool = False,
) -> tile.Gradients:
    (i, n), (m, o) = x.shape, W_out.shape
    sizes = sizes_for(i, m, o)
    slices = pl.cdiv(m, sizes.m)

    def kernel(x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, dy_ref: Any, *results: Any) -> None:
        dW_in_ref, db_in_ref, dW_out_ref, *dx_ref = results
        part = pl.program_id(0)
        inputs, outputs, neurons = Span(0, sizes.i, i), Span(0, sizes.o, o), Span(part * sizes.m, sizes.m, m)
        weights = _weights(W_in_ref, b_in_ref, W_out_ref, inputs, neurons, outputs)

        def add(at: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            examples = Span(at * sizes.n, sizes.n, n)
            x, dy = _read(x_ref, inputs, examples), _read(dy_ref, outputs, examples)
            found = tile.gradients(activation, x, *weights, dy, with_dx)
            for ref in dx_ref:
                _write(ref, found.x, inputs, examples)
            return sums[0] + found.W_in, sums[1] + found.b_in, sums[2] + found.W_out

        blank = [jnp.zeros(shape, jnp.float32) for shape in ((sizes.i, sizes.m), (sizes.m, 1), (sizes.m, sizes.o))]
        dW_in, db_in, dW_out = jax.lax.fori_loop(0, pl.cdiv(n, sizes.n), add, tuple(blank))
        _write(dW_in_ref, dW_in, inputs, neurons)
        _write(db_in_ref, db_in, neurons, ONE)
        _write(dW_out_ref, dW_out, neurons, outputs)

    whole, of_part = pl.BlockSpec(), pl.BlockSpec((None, i, n), lambda part: (part, 0, 0))
    shapes = [W_in.shape, b_in.shape, W_out.shape, *([(slices, i, n)] if with_dx else [])]
    dW_in, db_in, dW_out, *dx = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        grid=(slices,),
        out_specs=[whole, whole, whole, *([of_part] if with_dx else [])],
        compiler_params=gpu.CompilerParams(num_warps=sizes.warps, num_stages=1),
        interpret=interpret,
        name="neurons_backward",
    )(x, W_in, b_in, W_out, dy)
    return tile.Gradients(dx[0].sum(0) if dx else None, dW_in, db_in, dW_out)


def sizes_for(i: int, m: int, o: int) -> Sizes:
    """Of the tiles of a layer of m neurons that reads i numbers and writes o."""
    i, o = (max(SMALLEST, pl.next_power_of_2(side)) for side in (i, o))
    most = max(SMALLEST, TILE // max(i, o))
    m = min(max(SMALLEST, pl.next_power_of_2(m)), most, 128)
    return Sizes(i, m, o, EXAMPLES, warps=16 if m * max(i, o) > TILE // 4 else 8)


ONE = Span(0, 1, 1)


def _weights(W_in: Any, b_in: Any, W_out: Any, inputs: Span, neurons: Span, outputs: Span) -> tuple[Array, Array, Array]:
    return _read(W_in, inputs, neurons), _read(b_in, neurons, ONE), _read(W_out, neurons, outputs)


def _read(ref: Any, rows: Span, columns: Span) -> Array:
    return gpu.load(_at(ref, rows, columns), mask=_there(rows, columns), other=0.0)


def _write(ref: Any, value: Array, rows: Span, columns: Span) -> None:
    gpu.store(_at(ref, rows, columns), value, mask=_there(rows, columns))


def _at(ref: Any, rows: Span, columns: Span) -> Any:
    return ref.at[pl.ds(rows.start, rows.size), pl.ds(columns.start, columns.size)]


def _there(rows: Span, columns: Span) -> Array | None:
    """Which places are not outside; None: all."""
    masks = []
    for axis, span in enumerate((rows, columns)):
        if not span.is_whole:
            place = span.start + jax.lax.broadcasted_iota(jnp.int32, (rows.size, columns.size), axis)
            masks.append(place < span.end)
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] & masks[1]
