"""The chunk loop: segment after segment, records handed to a writer, until every run of the queue has ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.engine.book import Book, new_book, stored_book
from grokjax.engine.devices import lane_mesh, over_lanes
from grokjax.engine.inputs import Starts, stack_hyper, stack_indices
from grokjax.engine.lanes import (
    Board,
    Close,
    Queue,
    Records,
    close_program,
    empty_board,
    refill_program,
    segment_program,
)
from grokjax.engine.records import Lanes, run_ends, segment_rows, with_close
from grokjax.engine.states import Flat, as_snapshots, flatten, unflatten
from grokjax.plan.plan import Bucket, Chunk
from grokjax.results.segment import Segment
from grokjax.tasks.all import table
from grokjax.train.step import precision


@runtime_checkable
class Writer(Protocol):
    """Where the loop hands what it observed."""

    def segment(self, segment: Segment) -> None: ...

    def is_due(self) -> bool:
        """Whether a checkpoint is wanted before the next segment."""
        ...

    def checkpoint(self, segment: int, arrays: Flat) -> None:
        """All that continues after a segment; what was handed over up to it counts from then on."""
        ...

    def flush(self) -> None:
        """Everything that was handed over must be durable when this returns."""
        ...


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
        self.width = -(-self.bucket.width // self.devices) * self.devices
        self.segment = segment_program(spec, self.bucket.schedule, self.mesh)
        self.refill = refill_program(spec, self.mesh)
        self.close = close_program(spec, self.mesh)

    def precision(self) -> AbstractContextManager[None]:
        return precision(self.bucket.spec)

    def put(self, tree: Any) -> Any:
        """On the devices, spread over the first axis."""
        return jax.tree.map(lambda value: jax.device_put(value, over_lanes(self.mesh)), tree)

    def advance(self, board: Board, queue: Queue, clock: int, steps: int, every: int) -> tuple[Board, Records]:
        """Take a segment's steps; returns before the device has."""
        trained = queue._replace(starts={})  # of whichever kind starts are, the program is one
        return self.segment(board, trained, self.table, np.int32(clock), np.int32(steps), np.int32(every))


@dataclass
class _Observed:
    """A segment that the device has finished: what is still to be fetched and written while it runs the next."""

    index: int
    clock: int
    every: int
    before: np.ndarray  # [B] the step of each lane at its start
    records: Records
    lanes: Lanes
    close: Close | None
    kept: np.ndarray  # [B] lanes of which a snapshot is kept
    flat: Flat  # their states, [kept lanes, ...]


def train_chunk(
    program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool], stored: Flat | None = None
) -> bool:
    """Train a chunk, from step 0 or from what a checkpoint stored. Returns False if `stop()` asked for an end before
    every run had ended; all that continues is then with the writer."""
    with program.precision():
        return _train_chunk(program, chunk, writer, stop, stored)


def _train_chunk(program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool], stored: Flat | None) -> bool:
    turn, observed = chunk.bucket.schedule.round, None
    board, queue, book = resume_chunk(program, chunk, stored) if stored else begin_chunk(program, chunk)
    while not book.ended.all():
        stops = stop()
        if stops or writer.is_due():
            observed = _write(observed, book, program, writer)
            if book.segment:
                writer.checkpoint(book.segment - 1, checkpoint_arrays(board, queue, book))
            if stops:
                break
        if book.clock % turn == 0 and book.refills(board):
            board = program.refill(board, queue)
            book.begin()
        steps, before = book.next_steps(board), np.array(board.state.step)
        board, records = program.advance(board, queue, book.clock, steps, book.every)
        _write(observed, book, program, writer)  # while the device is at work
        lanes = book.look(board)  # waits for the device
        close = None
        if lanes.closing.any():  # before another run takes the lane
            close = jax.device_get(program.close(board, queue, program.table))
        kept = book.kept(lanes, before)
        flat = flatten(board.state, np.nonzero(kept)[0]) if kept.any() else {}
        observed = _Observed(book.segment, book.clock, book.every, before, records, lanes, close, kept, flat)
        book.clock += steps
        book.segment += 1
    _write(observed, book, program, writer)
    writer.flush()
    return bool(book.ended.all())


def _write(observed: _Observed | None, book: Book, program: Program, writer: Writer) -> None:
    """Hand a segment's records, the runs that ended in it and the snapshots to the writer."""
    if observed is None:
        return
    bucket, lanes, records = program.bucket, observed.lanes, jax.device_get(observed.records)
    rows = segment_rows(records, lanes, observed.clock, observed.every, bucket, book.carried)
    ends, snapshots = (), ()
    if observed.close:
        ends = run_ends(observed.close, book.run_ids, lanes)
        rows = with_close(rows, observed.close, lanes, book.carried)
    if observed.flat:
        run = lanes.run[observed.kept]
        loss_max = np.maximum(observed.flat["loss_max"], book.carried[run])
        snapshots = (as_snapshots([book.run_ids[at] for at in run], observed.flat | {"loss_max": loss_max}),)
    there = lanes.run >= 0
    took = int((lanes.step - observed.before)[there].sum())
    book.step[lanes.run[there]] = lanes.step[there]
    lane_steps = int(records.taken.sum()) * len(lanes.run) // len(records.taken)
    writer.segment(Segment(book.chunk.index, observed.index, book.run_ids, rows, ends, took, lane_steps, snapshots))


def begin_chunk(program: Program, chunk: Chunk) -> tuple[Board, Queue, Book]:
    """Lanes that hold nothing yet, and the runs of a chunk on its devices, dealt out in order."""
    book = new_book(chunk, program.devices)
    queue = make_queue(program, chunk, book.place)
    shapes = empty_board(chunk.bucket.spec, queue, program.width, program.devices)
    board = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return program.put(board._replace(run=np.full(program.width, -1, np.int32))), queue, book


def make_queue(program: Program, chunk: Chunk, place: np.ndarray) -> Queue:
    """What the runs of a chunk need to begin, on the devices, where `place` says."""
    order = place.ravel()
    runs = [chunk.runs[max(at, 0)] for at in order]
    hyper = stack_hyper(runs, order >= 0)
    indices, starts = stack_indices(runs, len(program.table.targets)), program.starts.of(runs, hyper)
    first = program.starts.first(runs, hyper) if chunk.bucket.spec.log.needs_start else {}
    return Queue(*program.put((hyper, indices, starts, first)))


def checkpoint_arrays(board: Board, queue: Queue, book: Book) -> Flat:
    """All that continues: the lanes, which run each holds, the queue's position and hyperparameters, and the book."""
    flat = {f"board/{name}": value for name, value in flatten(board.state).items()}
    flat |= {"board/run": np.array(board.run), "board/next": np.array(board.next)}
    hyper = jax.tree_util.tree_flatten_with_path(queue.hyper)[0]
    flat |= {f"hyper{jax.tree_util.keystr(path)}": np.array(value) for path, value in hyper}
    return flat | {f"book/{name}": value for name, value in book.arrays().items()}


def resume_chunk(program: Program, chunk: Chunk, stored: Flat) -> tuple[Board, Queue, Book]:
    """Board, queue and book as `checkpoint_arrays` had them; with another number of devices, dealt out anew."""
    parts = {prefix: _part(stored, prefix) for prefix in ("board", "book")}
    book, run, flat = stored_book(chunk, parts["book"]), parts["board"].pop("run"), parts["board"]
    upcoming = flat.pop("next")
    if len(book.place) != program.devices or len(run) != program.width:
        run, upcoming, flat = book.deal_anew(run, upcoming, flat, program.devices, program.width)
    queue = make_queue(program, chunk, book.place)
    like = empty_board(chunk.bucket.spec, queue, program.width, program.devices)
    board = Board(unflatten(flat, like.state), *map(jnp.asarray, (run.astype(np.int32), upcoming.astype(np.int32))))
    return program.put(board), queue, book


def _part(stored: Flat, prefix: str) -> Flat:
    return {name.removeprefix(f"{prefix}/"): value for name, value in stored.items() if name.startswith(f"{prefix}/")}
