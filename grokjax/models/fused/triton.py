"""The kernels for GPUs (Pallas, compiled by Triton).

All programs of a kernel run at once, so none waits for another's sums, and nothing is added with atomics: bits are
those of the program. A program has some examples and goes through the neurons, some at a time. Backward, the gradients
of their weights stay in registers and are written for each part of the examples, to be added afterwards; dx is added to
where it lies, which no other program touches. Examples lie one after the other, as GPUs have them (`one_layer.py`).
Tiles have powers of 2 as sides, and what lies outside is read as 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as gpu
from jaxtyping import Array, Float

from grokjax.models.fused import tile

SMALLEST = 16  # side of a matmul's tile
WEIGHTS = 128 * 32  # numbers of one side's weights in a tile
PART = 2048  # examples of a program backward


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


class Layer(NamedTuple):
    """A hidden layer of m neurons that reads i numbers and writes o, of n examples. adds: to what it reads."""

    activation: str
    adds: bool
    i: int
    m: int
    o: int
    n: int

    @property
    def sizes(self) -> Sizes:
        """As large as registers hold. Products of float32 have both factors there, for the whole sum."""
        i, m, o = (max(SMALLEST, pl.next_power_of_2(side)) for side in (self.i, self.m, self.o))
        widest = max(i, o)
        m = min(m, max(SMALLEST, WEIGHTS // widest), 64)
        return Sizes(i, m, o, n=32 if widest <= 256 else 16, warps=4 if widest <= 64 else 8)

    @property
    def inputs(self) -> Span:
        return Span(0, self.sizes.i, self.i)

    @property
    def outputs(self) -> Span:
        return Span(0, self.sizes.o, self.o)

    def neurons(self, at: Any) -> Span:
        return Span(at * self.sizes.m, self.sizes.m, self.m)

    def examples(self, first: Any, at: Any) -> Span:
        return Span(first + at * self.sizes.n, self.sizes.n, self.n)


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
    layer = _layer(activation, adds, x, W_out)
    y = pl.pallas_call(
        partial(_forward_kernel, layer),
        out_shape=jax.ShapeDtypeStruct((layer.n, layer.o), x.dtype),
        grid=(pl.cdiv(layer.n, layer.sizes.n),),
        compiler_params=gpu.CompilerParams(num_warps=layer.sizes.warps, num_stages=1),
        interpret=interpret,
        name="neurons_forward",
        metadata=_work(tile.flops(None, x, W_out), layer.o * layer.n),
    )(x.T, W_in, b_in, W_out, b_out)
    return y.T


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
    layer, parts = _layer(activation, adds, x, W_out), pl.cdiv(x.shape[1], PART)
    weights = W_in.shape, b_in.shape, W_out.shape, (layer.o, 1)
    of_part = [pl.BlockSpec((None, *shape), lambda part: (part, 0, 0)) for shape in weights]
    shapes = [*((parts, *shape) for shape in weights), *([x.shape[::-1]] if with_dx else [])]
    found = pl.pallas_call(
        partial(_backward_kernel, layer, not interpret),
        out_shape=[jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        grid=(parts,),
        out_specs=[*of_part, *([pl.BlockSpec()] if with_dx else [])],
        compiler_params=gpu.CompilerParams(num_warps=layer.sizes.warps, num_stages=1),
        interpret=interpret,
        name="neurons_backward",
        metadata=_work(tile.flops(with_dx, x, W_out), parts * W_in.size),
    )(x.T, W_in, b_in, W_out, dy.T)
    dW_in, db_in, dW_out, db_out = (of_parts.sum(0) for of_parts in found[:4])
    dx = found[4].T if with_dx else None
    return tile.Gradients(dx, dW_in, db_in, dW_out, db_out)


def _layer(activation: str, adds: bool, x: Float[Array, "i n"], W_out: Float[Array, "m o"]) -> Layer:
    (i, n), (m, o) = x.shape, W_out.shape
    return Layer(activation, adds, i, m, o, n)


def _work(flops: int, numbers: int) -> dict[str, str]:
    """FLOPs of one lane, and the numbers of its first result, from which a compiled program's lanes are told."""
    return {"flops": str(flops), "numbers": str(numbers)}


def _forward_kernel(
    layer: Layer, x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, b_out_ref: Any, y_ref: Any
) -> None:
    """Of a tile of examples."""
    sizes, examples = layer.sizes, layer.examples(0, pl.program_id(0))
    x = _read(x_ref, examples, layer.inputs).T

    def add(at: Array, y: Array) -> Array:
        weights = _weights(layer, at, W_in_ref, b_in_ref, W_out_ref)
        return y + tile.outputs(layer.activation, x, *weights)

    start = jnp.broadcast_to(_read(b_out_ref, layer.outputs, ONE), (sizes.o, sizes.n))
    y = jax.lax.fori_loop(0, pl.cdiv(layer.m, sizes.m), add, start + x if layer.adds else start)
    _write(y_ref, y.T, examples, layer.outputs)


def _backward_kernel(
    layer: Layer, waits: bool, x_ref: Any, W_in_ref: Any, b_in_ref: Any, W_out_ref: Any, dy_ref: Any, *results: Any
) -> None:
    """Of a part of the examples. waits: whether threads do for each other, which those that are interpreted need not.
    results: refs of the gradients of weights and biases, and of dx where it is asked for."""
    sums_refs, dx_refs = results[:4], results[4:]
    sizes, first = layer.sizes, pl.program_id(0) * PART
    tiles = pl.cdiv(jnp.minimum(PART, layer.n - first), sizes.n)

    def through(at: Array, _: None) -> None:
        neurons, weights = layer.neurons(at), _weights(layer, at, W_in_ref, b_in_ref, W_out_ref)

        def add(tile_at: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            examples = layer.examples(first, tile_at)
            x, dy = _read(x_ref, examples, layer.inputs).T, _read(dy_ref, examples, layer.outputs).T
            found = tile.gradients(layer.activation, x, *weights, dy, with_dx=bool(dx_refs))
            if found.x is not None:
                (dx_ref,) = dx_refs
                before = _read(dx_ref, examples, layer.inputs, at > 0)
                if layer.adds:
                    before = jnp.where(at > 0, before, dy.T)
                _write(dx_ref, before + found.x.T, examples, layer.inputs)
            return tuple(map(jnp.add, sums, (found.W_in, found.b_in, found.W_out, found.b_out)))

        # the outputs' bias is no neuron's: all add up the same, and write it to the same place
        places = (layer.inputs, neurons), (neurons, ONE), (neurons, layer.outputs), (layer.outputs, ONE)
        blank = tuple(jnp.zeros((rows.size, columns.size), jnp.float32) for rows, columns in places)
        sums = jax.lax.fori_loop(0, tiles, add, blank)
        for ref, value, place in zip(sums_refs, sums, places, strict=True):
            _write(ref, value, *place)
        if dx_refs and waits:
            gpu.debug_barrier()  # what these neurons wrote to dx the next ones add to, in other threads of the program

    jax.lax.fori_loop(0, pl.cdiv(layer.m, sizes.m), through, None)


ONE = Span(0, 1, 1)


def _weights(layer: Layer, at: Array, W_in: Any, b_in: Any, W_out: Any) -> tuple[Array, Array, Array]:
    """Of some neurons."""
    neurons = layer.neurons(at)
    return _read(W_in, layer.inputs, neurons), _read(b_in, neurons, ONE), _read(W_out, neurons, layer.outputs)


def _read(ref: Any, rows: Span, columns: Span, is_there: Array | None = None) -> Array:
    """is_there: whether anything is; None: it is."""
    mask = _mask(rows, columns)
    if is_there is not None:
        mask = jnp.broadcast_to(is_there, (rows.size, columns.size)) if mask is None else mask & is_there
    return gpu.load(_at(ref, rows, columns), mask=mask, other=None if mask is None else 0.0)


def _write(ref: Any, value: Array, rows: Span, columns: Span) -> None:
    gpu.store(_at(ref, rows, columns), value, mask=_mask(rows, columns))


def _at(ref: Any, rows: Span, columns: Span) -> Any:
    return ref.at[pl.ds(rows.start, rows.size), pl.ds(columns.start, columns.size)]


def _mask(rows: Span, columns: Span) -> Array | None:
    """Which places are not outside; None: all."""
    masks = []
    for axis, span in enumerate((rows, columns)):
        if not span.is_whole:
            place = span.start + jax.lax.broadcasted_iota(jnp.int32, (rows.size, columns.size), axis)
            masks.append(place < span.end)
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] & masks[1]
