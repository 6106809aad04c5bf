"""Compiling what a chunk will call from shapes alone, so that nothing of it has to be on a device yet."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from grokjax.engine.devices import over_lanes
from grokjax.engine.inputs import stack_examples, stack_hyper
from grokjax.engine.lanes import Lanes, Queue, empty_lanes
from grokjax.engine.loop import Program
from grokjax.engine.progress import new_progress
from grokjax.plan.plan import Chunk


def compile_ahead(program: Program, chunk: Chunk) -> None:
    """Compile the programs of a bucket as its chunk will call them.

    JAX keeps what it compiled by function, shapes, placement and precision (which is a thread's own), so the calls find
    it. One that is called otherwise, as with runs that go on with their optimizer's state, compiles then.
    """
    with program.precision():
        lanes, queue = shapes_of(program, chunk)
        number = jax.ShapeDtypeStruct((), np.int32)
        calls: list[tuple[Any, tuple[Any, ...]]] = [
            (program.refill, (lanes, queue)),
            (program.segment, (lanes, queue._replace(starts={}), program.table, number, number, number)),
            (program.close, (lanes, queue, program.table)),
        ]
        for function, arguments in calls:
            function.lower(*arguments).compile()


def shapes_of(program: Program, chunk: Chunk) -> tuple[Lanes, Queue]:
    """Of a chunk's lanes and queue, from its first run. Its starting values are drawn, and with that compiled too."""
    spec, runs = chunk.bucket.spec, chunk.runs[:1]
    starts: Any = program.starts.stack(runs)
    one = Queue(stack_hyper(runs, [True]), stack_examples(runs, program.table), starts, {})
    lanes = empty_lanes(spec, one, program.width, program.devices)
    if spec.log.needs_start:
        one = one._replace(first=lanes.state.params)
    places = new_progress(chunk, program.devices).queues.size

    def placed(rows: int | None, value: Any) -> jax.ShapeDtypeStruct:
        shape = value.shape if rows is None else (rows, *value.shape[1:])
        dtype = jax.dtypes.canonicalize_dtype(value.dtype)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=over_lanes(program.mesh))

    queue = jax.tree.map(lambda value: placed(places, value), one)
    return jax.tree.map(lambda value: placed(None, value), lanes), queue
