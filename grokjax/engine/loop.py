"""The chunk loop: segment after segment, records handed to a writer, until every lane has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from grokjax.engine.devices import lane_mesh, over_lanes
from grokjax.engine.inputs import Starts, stack_hyper, stack_indices
from grokjax.engine.lanes import close_program, segment_program, start_program
from grokjax.engine.records import run_ends, segment_rows, with_close
from grokjax.results.segment import End, Segment
from grokjax.sweep.plan import Bucket, Chunk
from grokjax.tasks.modular import Indices, table
from grokjax.train.state import Hyper, State


@runtime_checkable
class Writer(Protocol):
    """Where the loop hands what it observed. Everything of a call must be durable when it returns."""

    def params(self, chunk: int, segment: int, run_ids: Sequence[str], params: dict[str, np.ndarray]) -> None:
        """Final parameters [runs, ...] of the runs that ended in a segment; called before `segment`."""
        ...

    def segment(self, segment: Segment) -> None: ...


@dataclass
class Program:
    """The compiled programs of one bucket, reused by every chunk of it."""

    bucket: Bucket
    devices: int
    starts: Starts = field(default_factory=Starts)

    def __post_init__(self) -> None:
        spec = self.bucket.spec
        self.mesh = lane_mesh(self.devices)
        self.table = table(spec.task)
        self.start = start_program(spec, self.mesh)
        self.segments = {
            schedule: segment_program(spec, schedule, self.mesh)
            for schedule in (self.bucket.schedule, self.bucket.dense)
            if schedule
        }
        self.close = close_program(spec, self.mesh)

    @contextlib.contextmanager
    def precision(self):
        """float64 programs are traced and called under x64; float32 ones of the same sweep never are."""
        spec = self.bucket.spec
        wide = spec.numerics.params == "float64" or getattr(spec.loss, "precision", "") == "float64"
        with jax.enable_x64(wide), jax.default_matmul_precision(spec.numerics.matmul):
            yield


def train_chunk(program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool]) -> bool:
    """Train a chunk from step 0. Returns False if `stop()` asked for an end before every run had ended."""
    with program.precision():
        return _train_chunk(program, chunk, writer, stop)


def _train_chunk(program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool]) -> bool:
    bucket, lanes = chunk.bucket, len(chunk.runs)
    run_ids = tuple(run.run_id for run in chunk.runs)
    state, hyper, indices = begin_chunk(program, chunk)
    first_norms = _norms(state, lanes)
    training = np.ones(lanes, bool)
    step = np.zeros(lanes, np.int32)
    carried = np.full(lanes, -np.inf, np.float32)
    index = 0
    while training.any():
        if stop():
            return False
        schedule = bucket.dense if bucket.dense and index < bucket.dense_segments else bucket.schedule
        state, records = program.segments[schedule](state, hyper, indices, program.table)
        rows = segment_rows(jax.device_get(records), schedule, bucket.spec.log, carried, lanes)
        now, finite, end = (np.asarray(value)[:lanes] for value in (state.step, state.finite, state.end))
        closing = training & ((now >= end) | ~finite)
        ends: tuple[End, ...] = ()
        if closing.any():
            close = jax.device_get(program.close(state, hyper, indices, program.table))
            ends = run_ends(close, run_ids, closing, now, finite, _growth(first_norms, _norms(state, lanes)))
            rows = with_close(rows, close, closing & finite, now, carried)
            last = {name: np.asarray(value)[:lanes][closing] for name, value in state.params.items()}
            writer.params(chunk.index, index, [end.run_id for end in ends], last)
        writer.segment(Segment(chunk.index, index, run_ids, rows, ends, int((now - step).sum())))
        step, index, training = now, index + 1, training & ~closing
    return True


def begin_chunk(program: Program, chunk: Chunk) -> tuple[State, Hyper, Indices]:
    """Everything of a chunk that is stacked over lanes, on its devices: state at step 0, hyper, indices."""
    width, sharding = program.bucket.width, over_lanes(program.mesh)

    def put(tree: Any) -> Any:
        return jax.tree.map(lambda value: jax.device_put(value, sharding), tree)

    hyper = put(stack_hyper(chunk.runs, width))
    indices = put(stack_indices(chunk.runs, width, len(program.table.labels)))
    return program.start(put(program.starts.stack(chunk.runs, width)), hyper), hyper, indices


def _norms(state: State, lanes: int) -> dict[str, np.ndarray]:
    """Norms [lanes] of every parameter."""
    rows = {name: np.asarray(value)[:lanes].reshape(lanes, -1) for name, value in state.params.items()}
    return {name: np.linalg.norm(row.astype(np.float64), axis=1) for name, row in rows.items()}


def _growth(first: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Norm over initial norm [lanes]; 0 for what started at 0, which has no scale to grow against."""
    return {name: np.divide(now[name], norm, out=np.zeros_like(norm), where=norm > 0) for name, norm in first.items()}
