"""The kernels for GPUs (Pallas, compiled by Triton).

All programs of a kernel run at once, so none waits for another's sums, and nothing is added with atomics: bits are
those of the program. A program has some examples and goes through the neurons, some at a time. Backward, the gradients
of their weights stay in registers and are written for each part of the examples, to be added afterwards; dx is added to
where it lies, which no other program touches. Tiles have powers of 2 as sides, and what lies outside is read as 0.
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
WEIGHTS = 128 * 32  # numbers of one side's weights in a tile
PART = 512  # examples of a program backward


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
        metadata=_work(None, x, W_out, n * o),
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
    sizes, parts = sizes_for(i, m, o), pl.cdiv(n, PART)
    inputs, outputs = Span(0, sizes.i, i), Span(0, sizes.o, o)

    def kernel(x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, dy_ref: Any, *results: Any) -> None:
        *sums_ref, dx_ref = results if with_dx else (*results, None)
        part = pl.program_id(0)
        tiles = pl.cdiv(jnp.minimum(PART, n - part * PART), sizes.n)

        def through(at: Array, _: None) -> None:
            neurons = Span(at * sizes.m, sizes.m, m)
            weights = _weights(W_in_ref, b_in_ref, W_out_ref, inputs, neurons, outputs)

            def add(tile_at: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
                examples = Span(part * PART + tile_at * sizes.n, sizes.n, n)
                x, dy = _read(x_ref, inputs, examples), _read(dy_ref, outputs, examples)
                found = tile.gradients(activation, x, *weights, dy, with_dx)
                if dx_ref is not None:
                    _write(dx_ref, _read(dx_ref, inputs, examples, at > 0) + found.x, inputs, examples)
                return tuple(map(jnp.add, sums, (found.W_in, found.b_in, found.W_out)))

            shapes = (sizes.i, sizes.m), (sizes.m, 1), (sizes.m, sizes.o)
            blank = tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)
            sums = jax.lax.fori_loop(0, tiles, add, blank)
            for ref, value, of in zip(sums_ref, sums, ((inputs, neurons), (neurons, ONE), (neurons, outputs)), strict=True):
                _write(ref, value, *of)
            if with_dx and not interpret:
                gpu.debug_barrier()  # the next neurons add to what these have written, other threads of the program too

        jax.lax.fori_loop(0, pl.cdiv(m, sizes.m), through, None)

    of_part = [pl.BlockSpec((None, *shape), lambda part: (part, 0, 0)) for shape in (W_in.shape, b_in.shape, W_out.shape)]
    shapes = [(parts, *W_in.shape), (parts, *b_in.shape), (parts, *W_out.shape), *([x.shape] if with_dx else [])]
    dW_in, db_in, dW_out, *dx = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        grid=(parts,),
        out_specs=[*of_part, *([pl.BlockSpec()] if with_dx else [])],
        compiler_params=gpu.CompilerParams(num_warps=sizes.warps, num_stages=1),
        interpret=interpret,
        name="neurons_backward",
        metadata=_work(with_dx, x, W_out, parts * W_in.size),
    )(x, W_in, b_in, W_out, dy)
    return tile.Gradients(dx[0] if dx else None, *(of_parts.sum(0) for of_parts in (dW_in, db_in, dW_out)))


def sizes_for(i: int, m: int, o: int) -> Sizes:
    """Of the tiles of a layer of m neurons that reads i numbers and writes o: as large as registers hold. Products of
    float32 have both factors there, for the whole sum."""
    i, o = (max(SMALLEST, pl.next_power_of_2(side)) for side in (i, o))
    widest = max(i, o)
    m = min(max(SMALLEST, pl.next_power_of_2(m)), max(SMALLEST, WEIGHTS // widest), 64)
    return Sizes(i, m, o, n=32 if widest <= 256 else 16, warps=4 if widest <= 64 else 8)


def _work(with_dx: bool | None, x: Array, W_out: Array, numbers: int) -> dict[str, str]:
    """FLOPs of one lane, and the numbers of its first result, from which a compiled program's lanes are told."""
    return {"flops": str(tile.flops(with_dx, x, W_out)), "numbers": str(numbers)}


ONE = Span(0, 1, 1)


def _weights(W_in: Any, b_in: Any, W_out: Any, inputs: Span, neurons: Span, outputs: Span) -> tuple[Array, Array, Array]:
    return _read(W_in, inputs, neurons), _read(b_in, neurons, ONE), _read(W_out, neurons, outputs)


def _read(ref: Any, rows: Span, columns: Span, any_of_it: Array | None = None) -> Array:
    """any_of_it: whether there is anything; None: there is."""
    mask = _there(rows, columns)
    if any_of_it is not None:
        mask = jnp.broadcast_to(any_of_it, (rows.size, columns.size)) if mask is None else mask & any_of_it
    return gpu.load(_at(ref, rows, columns), mask=mask, other=None if mask is None else 0.0)


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
