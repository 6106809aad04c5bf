"""The chunk loop: segment after segment, records handed to a writer, until every run of the queue has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.engine.devices import mesh_of, over_lanes
from grokjax.engine.inputs import Starts, stack_examples, stack_hyper
from grokjax.engine.lanes import (
    Close,
    Lanes,
    Queue,
    Records,
    close_program,
    empty_lanes,
    refill_program,
    segment_program,
)
from grokjax.engine.progress import Progress, new_progress, stored_progress
from grokjax.engine.records import LaneStatus, run_ends, segment_rows, with_close
from grokjax.engine.states import Flat, as_snapshots, flatten, named, unflatten
from grokjax.models.forms import traced_for
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
    elsewhere: Sequence[Any] = ()  # devices that it is compiled for, where those are not of this machine

    def __post_init__(self) -> None:
        spec = self.bucket.spec
        self.mesh = mesh_of(self.elsewhere or jax.local_devices()[: self.devices])
        self.table = table(spec.task)
        self.width = -(-self.bucket.width // self.devices) * self.devices
        self.segment = segment_program(spec, self.bucket.schedule, self.mesh)
        self.refill = refill_program(spec, self.mesh)
        self.close = close_program(spec, self.mesh)

    @contextmanager
    def precision(self) -> Iterator[None]:
        """In which its programs are traced and called."""
        with precision(self.bucket.spec), traced_for(self.mesh.devices.flat[0].platform):
            yield

    def put(self, tree: Any) -> Any:
        """On the devices, spread over the first axis."""
        return jax.tree.map(lambda value: jax.device_put(value, over_lanes(self.mesh)), tree)

    def advance(self, lanes: Lanes, queue: Queue, clock: int, steps: int, every: int) -> tuple[Lanes, Records]:
        """Take a segment's steps; returns before the device has."""
        trained = queue._replace(starts={})  # of whichever kind starts are, the program is one
        return self.segment(lanes, trained, self.table, np.int32(clock), np.int32(steps), np.int32(every))


@dataclass
class _Unwritten:
    """A segment that the device has finished: what is still to be fetched and written while it runs the next."""

    index: int
    clock: int
    every: int
    step_before: np.ndarray  # [B] the step of each lane at its start
    records: Records
    status: LaneStatus
    close: Close | None
    snapshot_lanes: np.ndarray  # numbers of the lanes of which a snapshot is kept
    states: Flat  # theirs, [snapshot_lanes, ...]


def train_chunk(
    program: Program, chunk: Chunk, writer: Writer, stop: Callable[[], bool], stored: Flat | None = None
) -> bool:
    """Train a chunk, from step 0 or from what a checkpoint stored. Returns False if `stop()` asked for an end before
    every run had ended; all that continues is then with the writer."""
    schedule, unwritten = chunk.bucket.schedule, None
    with program.precision():
        lanes, queue, progress = resume_chunk(program, chunk, stored) if stored else begin_chunk(program, chunk)
        while not progress.ended.all():
            stops = stop()
            if stops or writer.is_due():
                unwritten = _write(unwritten, progress, program, writer)
                if progress.segment:
                    writer.checkpoint(progress.segment - 1, checkpoint_arrays(lanes, queue, progress))
                if stops:
                    break
            if progress.clock % schedule.round == 0 and progress.can_refill(lanes):
                lanes = program.refill(lanes, queue)
                progress.start_dense()
            steps, step_before = progress.next_steps(lanes), np.array(lanes.state.step)
            lanes, records = program.advance(lanes, queue, progress.clock, steps, progress.every)
            _write(unwritten, progress, program, writer)  # while the device is at work
            unwritten = _finish_segment(program, progress, lanes, queue, step_before, records)
            progress.clock += steps
            progress.segment += 1
        _write(unwritten, progress, program, writer)
        writer.flush()
    return bool(progress.ended.all())


def _finish_segment(
    program: Program, progress: Progress, lanes: Lanes, queue: Queue, step_before: np.ndarray, records: Records
) -> _Unwritten:
    """Wait for the device, and take from it what another run in the same lane would overwrite."""
    status = progress.update(lanes)
    close = None
    if status.closing.any():
        close = jax.device_get(program.close(lanes, queue, program.table))
    due = np.nonzero(progress.snapshots_due(status, step_before))[0]
    states = flatten(lanes.state, due) if len(due) else {}
    return _Unwritten(
        progress.segment, progress.clock, progress.every, step_before, records, status, close, due, states
    )


def _write(unwritten: _Unwritten | None, progress: Progress, program: Program, writer: Writer) -> None:
    """Hand a segment's records, the runs that ended in it and the snapshots to the writer."""
    if unwritten is None:
        return
    status, records = unwritten.status, jax.device_get(unwritten.records)
    rows = segment_rows(records, status, unwritten.clock, unwritten.every, program.bucket, progress.carried)
    ends, snapshots = (), ()
    if unwritten.close:
        ends = run_ends(unwritten.close, progress.run_ids, status)
        rows = with_close(rows, unwritten.close, status, progress.carried)
    if unwritten.states:
        run = status.run[unwritten.snapshot_lanes]
        loss_max = np.maximum(unwritten.states["loss_max"], progress.carried[run])
        run_ids = [progress.run_ids[index] for index in run]
        snapshots = (as_snapshots(run_ids, unwritten.states | {"loss_max": loss_max}),)
    is_filled = status.run >= 0
    run_steps = int((status.step - unwritten.step_before)[is_filled].sum())
    progress.step[status.run[is_filled]] = status.step[is_filled]
    lane_steps = int(records.taken.sum()) * len(status.run) // len(records.taken)
    writer.segment(
        Segment(progress.chunk.index, unwritten.index, progress.run_ids, rows, ends, run_steps, lane_steps, snapshots)
    )


def begin_chunk(program: Program, chunk: Chunk) -> tuple[Lanes, Queue, Progress]:
    """Lanes that hold nothing yet, and the runs of a chunk on its devices, distributed in order."""
    progress = new_progress(chunk, program.devices)
    queue = make_queue(program, chunk, progress.queues)
    shapes = empty_lanes(chunk.bucket.spec, queue, program.width, program.devices)
    lanes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return program.put(lanes._replace(run=np.full(program.width, -1, np.int32))), queue, progress


def make_queue(program: Program, chunk: Chunk, queues: np.ndarray) -> Queue:
    """What the runs of a chunk need to begin, on the devices.

    queues: [devices, length] the runs of each device's queue, by index; -1: none.
    """
    order = queues.ravel()
    runs = [chunk.runs[max(index, 0)] for index in order]
    hyper = stack_hyper(runs, order >= 0)
    examples, starts = stack_examples(runs, program.table), program.starts.of(runs, hyper)
    first = program.starts.first(runs, hyper) if chunk.bucket.spec.log.needs_start else {}
    return Queue(*program.put((hyper, examples, starts, first)))


def checkpoint_arrays(lanes: Lanes, queue: Queue, progress: Progress) -> Flat:
    """All that continues: the lanes, which run each holds, the queue's position and hyperparameters, and progress.

    Names in a checkpoint begin with board/ (lanes), hyper and book/ (progress), as in the first version.
    """
    flat = {f"board/{name}": value for name, value in flatten(lanes.state).items()}
    flat |= {"board/run": np.array(lanes.run), "board/next": np.array(lanes.next)}
    hyper = jax.tree_util.tree_flatten_with_path(queue.hyper)[0]
    flat |= {f"hyper{jax.tree_util.keystr(path)}": np.array(value) for path, value in hyper}
    return flat | {f"book/{name}": value for name, value in progress.arrays().items()}


def resume_chunk(program: Program, chunk: Chunk, stored: Flat) -> tuple[Lanes, Queue, Progress]:
    """Lanes, queue and progress as `checkpoint_arrays` had them; redistributed on another number of devices."""
    progress, flat = stored_progress(chunk, named(stored, "book/")), named(stored, "board/")
    run, upcoming = flat.pop("run"), flat.pop("next")
    if len(progress.queues) != program.devices or len(run) != program.width:
        run, upcoming, flat = progress.redistribute(run, upcoming, flat, program.devices, program.width)
    queue = make_queue(program, chunk, progress.queues)
    empty = empty_lanes(chunk.bucket.spec, queue, program.width, program.devices)
    lanes = Lanes(unflatten(flat, empty.state), jnp.asarray(run, jnp.int32), jnp.asarray(upcoming, jnp.int32))
    return program.put(lanes), queue, progress
