"""A bucket's segment program, compiled for an accelerator that is not here, and what can be read of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from grokjax.aot.hlo import Cost, Instruction, cost_of, loop_body, parse, reached
from grokjax.aot.targets import Target
from grokjax.engine.ahead import shapes_of
from grokjax.engine.devices import alike
from grokjax.engine.lanes import EVALUATION, RECORD
from grokjax.engine.loop import Program
from grokjax.engine.matmuls import missing_elsewhere
from grokjax.plan.plan import Bucket, Chunk


@dataclass(frozen=True)
class Memory:
    """Of a device, in bytes. arguments: lanes, queue and table; temporary: what a step holds besides; donated: of the
    arguments, what the results take the place of."""

    arguments: int
    temporary: int
    results: int
    donated: int

    @property
    def total(self) -> int:
        return self.arguments + self.temporary + self.results - self.donated


@dataclass(frozen=True)
class Compiled:
    """trace, compile: seconds that they took here. step: of one step of all lanes, with evaluations and records at the
    rate of their steps. lanes: bytes of what should be donated. callbacks, scatters, loops: in a step, calls of the
    host, scatters, and loops whose end the host must ask for; there should be none."""

    bucket: Bucket
    target: Target
    trace: float
    compile: float
    memory: Memory
    lanes: int
    step: Cost
    callbacks: int
    scatters: int
    loops: int

    @property
    def run_step(self) -> Cost:
        """Of one lane's step; its kernels are those of all lanes."""
        share = 1 / self.bucket.width
        return Cost(self.step.kernels, self.step.bytes * share, self.step.flops * share)

    @property
    def least_seconds(self) -> float:
        """What a run-step cannot take less than, by the memory's bandwidth and by the peak of matmuls."""
        return max(self.run_step.bytes / self.target.bandwidth, self.run_step.flops / self.peak)

    @property
    def peak(self) -> float:
        """FLOPs a second of the target's matmuls, as the bucket asks for them."""
        return self.target.flops(self.bucket.spec.numerics.matmul)

    @property
    def most_lanes(self) -> int:
        """That would fit, if what a lane needs stays what it is."""
        return int(self.target.memory / (self.memory.total / self.bucket.width))


def compile_for(target: Target, device: Any, chunk: Chunk) -> Compiled:
    """Trace and compile the program that trains a chunk. device: of `compile_device(target)`. Raises ValueError where
    it has not the dot algorithm that is asked for."""
    if why := missing_elsewhere(chunk.bucket.spec.numerics.matmul, device):
        raise ValueError(f"numerics.matmul: {target.kind} {why}")
    program = Program(chunk.bucket, 1, elsewhere=(device,))
    everywhere = alike(program.mesh)

    def placed(value: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(value), np.asarray(value).dtype, sharding=everywhere)

    number = jax.ShapeDtypeStruct((), np.int32, sharding=everywhere)
    with program.precision():
        lanes, queue = shapes_of(program, chunk)
        table = jax.tree.map(placed, program.table)
        segment: Any = program.segment
        begun = time.perf_counter()
        lowered = segment.lower(lanes, queue._replace(starts={}), table, number, number, number)
        traced = time.perf_counter()
        compiled = lowered.compile()
        ended = time.perf_counter()
    stats = compiled.memory_analysis()
    memory = Memory(
        stats.argument_size_in_bytes,
        stats.temp_size_in_bytes,
        stats.output_size_in_bytes,
        stats.alias_size_in_bytes,
    )
    donated = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(lanes))
    read = read_step(compiled.as_text(), chunk.bucket)
    return Compiled(chunk.bucket, target, traced - begun, ended - traced, memory, donated, *read)


def read_step(text: str, bucket: Bucket) -> tuple[Cost, int, int, int]:
    """(cost of a step, callbacks, scatters, loops of unknown length) of a compiled segment program."""
    schedule, computations = bucket.schedule, parse(text)
    body = loop_body(computations)
    rates = {EVALUATION: 1 / schedule.round, RECORD: 1 / schedule.every}
    lines = list(reached(computations, body))
    callbacks = sum(_is_callback(line) for line in lines)
    scatters = sum(line.opcode == "scatter" for line in lines)
    loops = sum(line.opcode == "while" and line.trips is None for line in lines)
    return cost_of(computations, body, rates), callbacks, scatters, loops


def _is_callback(line: Instruction) -> bool:
    return line.opcode == "custom-call" and "callback" in line.rest
