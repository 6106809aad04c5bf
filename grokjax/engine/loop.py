"""The chunk loop: segment after segment, records handed to a writer, until every run of the queue has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from grokjax.engine.devices import lane_mesh, over_lanes
from grokjax.engine.inputs import Starts, dealt, stack_hyper, stack_indices
from grokjax.engine.lanes import Board, Close, Queue, Records, close_program, empty_board, segment_program
from grokjax.engine.records import Lanes, run_ends, segment_rows, with_close
from grokjax.results.segment import End, Segment
from grokjax.sweep.plan import Bucket, Chunk
from grokjax.tasks.modular import table


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
        self.segment = segment_program(spec, self.bucket.schedule, self.mesh)
        self.close = close_program(spec, self.mesh)

    @contextlib.contextmanager
    def precision(self):
        """float64 programs are traced and called under x64; float32 ones of the same sweep never are."""
        spec = self.bucket.spec
        wide = spec.numerics.params == "float64" or getattr(spec.loss, "precision", "") == "float64"
        with jax.enable_x64(wide), jax.default_matmul_precision(spec.numerics.matmul):
            yield

    def advance(self, board: Board, queue: Queue, clock: int, steps: int, every: int) -> tuple[Board, Records]:
        """Take a segment's steps; returns before the device has."""
        return self.segment(board, queue, self.table, np.int32(clock), np.int32(steps), np.int32(every))


@dataclass
class _Observed:
    """A segment that the device has finished: what is still to be fetched and written while it runs the next."""

    index: int
    records: Records
    lanes: Lanes
    every: int
    close: Close | None
    params: dict[str, np.ndarray]  # of the runs that ended, [runs, ...]


def train_chunk(program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool]) -> bool:
    """Train a chunk from step 0. Returns False if `stop()` asked for an end before every run had ended."""
    with program.precision():
        return _train_chunk(program, chunk, writer, stop)


def _train_chunk(program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool]) -> bool:
    schedule, spec = program.bucket.schedule, program.bucket.spec
    board, queue = begin_chunk(program, chunk)
    book = _Book(chunk, program.devices)
    clock, young_until, observed = 0, schedule.dense, None
    for index in range(2**31):
        if book.ended.all() or stop():
            break
        if clock % schedule.round == 0 and book.refills(board):
            young_until = clock + schedule.dense  # a run has just begun; its first steps are all recorded
        dense = clock < young_until
        steps, every = (schedule.dense_steps, 1) if dense else (schedule.steps, schedule.every)
        board, records = program.advance(board, queue, clock, steps, every)
        if observed:  # while the device is at work
            book.write(observed, program, writer, spec.log)
        lanes = book.look(board)  # waits for the device
        close, params = None, {}
        if lanes.closing.any():  # before another run takes the lane
            close = jax.device_get(program.close(board, queue, program.table))
            params = {name: np.asarray(value)[lanes.closing] for name, value in board.state.params.items()}
        observed = _Observed(index, records, lanes, every, close, params)
        clock += steps
    if observed:
        book.write(observed, program, writer, spec.log)
    return bool(book.ended.all())


class _Book:
    """What the host knows of a chunk: how far its runs are, which have ended, and what their next record covers."""

    def __init__(self, chunk: Chunk, devices: int):
        self.chunk = chunk
        self.run_ids = tuple(run.run_id for run in chunk.runs)
        self.place = dealt(len(chunk.runs), chunk.bucket.queue, devices)  # which run stands where
        self.step = np.zeros(len(chunk.runs), np.int32)
        self.ended = np.zeros(len(chunk.runs), bool)
        self.carried = np.full(len(chunk.runs), -np.inf, np.float32)

    def look(self, board: Board) -> Lanes:
        """Where each lane is after a segment."""
        state = board.state
        run, step, finite, end = (np.asarray(value) for value in (board.run, state.step, state.finite, state.end))
        device = np.repeat(np.arange(len(self.place)), len(run) // len(self.place))
        run = np.where(run < 0, -1, self.place[device, run])
        closing = (run >= 0) & ~self.ended[run] & ((step >= end) | ~finite)
        self.ended[run[closing]] = True
        return Lanes(run, step, finite, closing)

    def refills(self, board: Board) -> bool:
        """Whether the next segment begins with a run that some lane takes."""
        waits = np.asarray(board.next) < self.place.shape[1]
        free = ~(np.asarray(board.state.finite) & (np.asarray(board.state.step) < np.asarray(board.state.end)))
        return bool((free.reshape(len(waits), -1).any(1) & waits).any())

    def write(self, observed: _Observed, program: Program, writer: Writer, log: Any) -> None:
        """Hand a segment's records, and the runs that ended in it, to the writer."""
        lanes, records = observed.lanes, jax.device_get(observed.records)
        rows = segment_rows(records, lanes, observed.every, program.bucket.schedule, log, self.carried)
        ends: tuple[End, ...] = ()
        if observed.close:
            ends = run_ends(observed.close, self.run_ids, lanes)
            rows = with_close(rows, observed.close, lanes, self.carried)
            writer.params(self.chunk.index, observed.index, [end.run_id for end in ends], observed.params)
        there = lanes.run >= 0
        took = int((lanes.step - self.step[lanes.run])[there].sum())
        self.step[lanes.run[there]] = lanes.step[there]
        lane_steps = int(records.taken.sum()) * len(lanes.run) // len(records.taken)
        writer.segment(Segment(self.chunk.index, observed.index, self.run_ids, rows, ends, took, lane_steps))


def begin_chunk(program: Program, chunk: Chunk) -> tuple[Board, Queue]:
    """An empty board, and the runs of a chunk on its devices, dealt out in order."""
    bucket, devices, sharding = program.bucket, program.devices, over_lanes(program.mesh)
    place = dealt(len(chunk.runs), bucket.queue, devices).ravel()
    runs = [chunk.runs[max(at, 0)] for at in place]

    def put(tree: Any) -> Any:
        return jax.tree.map(lambda value: jax.device_put(value, sharding), tree)

    hyper = stack_hyper(runs, place >= 0)
    indices, starts = stack_indices(runs, len(program.table.labels)), program.starts.stack(runs)
    queue = Queue(put(hyper), put(indices), put(starts))
    shapes = empty_board(bucket.spec, queue, bucket.width, devices)
    board = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return put(board._replace(run=np.full(bucket.width, -1, np.int32))), queue
