"""Whether a chunk fits into the device's memory, found by trying: estimates are within a factor of two."""

from __future__ import annotations

import jax

from grokjax.engine.loop import Program
from grokjax.engine.measure import stepper
from grokjax.plan.plan import Chunk, Device

TRIED_FROM = 0.1  # share of the memory; what is estimated to need less surely fits


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the host, has no memory left."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def fits(chunk: Chunk, device: Device) -> bool:
    """Compiles a bucket's program and takes one step at its width, where that may be too much."""
    if chunk.bucket.memory < TRIED_FROM * device.memory:
        return True
    try:
        stepper(Program(chunk.bucket, device.count), chunk)(1)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if is_out_of_memory(error):
            return False
        raise
    return True
