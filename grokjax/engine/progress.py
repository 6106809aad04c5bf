"""What the host knows of a chunk: how far its runs are, where they stand in the queue, and when to stop for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from grokjax.engine.inputs import distribute
from grokjax.engine.lanes import Lanes
from grokjax.engine.records import LaneStatus
from grokjax.plan.plan import Chunk
from grokjax.plan.snapshots import snapshot_steps

STORED = {  # field -> its name in a checkpoint, which stays as it was, so that older directories resume
    "segment": "segment",
    "clock": "clock",
    "dense_until": "young_until",
    "segment_end": "boundary",
    "every": "every",
    "queues": "place",
    "step": "step",
    "ended": "ended",
    "carried": "carried",
}
NEVER = 2**62  # a step that no run comes to


@dataclass
class Progress:
    """Together with the lanes this is all that continues in a chunk."""

    chunk: Chunk
    segment: int  # the next one
    clock: int  # steps of the chunk so far
    dense_until: int  # clock until which every step is recorded: a run has just begun
    segment_end: int  # clock at which the segment that is under way ends; a snapshot ends it sooner
    every: int  # steps between its records
    queues: np.ndarray  # [devices, length] the runs of each device's queue, in order; -1: none
    step: np.ndarray  # [runs]
    ended: np.ndarray  # [runs]
    carried: np.ndarray  # [runs] the largest train loss of computed rows that were no records

    def __post_init__(self) -> None:
        self.run_ids = tuple(run.run_id for run in self.chunk.runs)
        index_of: dict[bytes, int] = {}  # the steps of snapshots -> their index in `_snapshot_steps`
        steps_of_runs = [snapshot_steps(run.spec).tobytes() for run in self.chunk.runs]
        self._steps_index = np.array([index_of.setdefault(steps, len(index_of)) for steps in steps_of_runs])
        self._snapshot_steps = [np.append(np.frombuffer(steps, np.int64), NEVER) for steps in index_of]

    def arrays(self) -> dict[str, np.ndarray]:
        """All fields by the names that a checkpoint has for them."""
        return {stored: np.array(getattr(self, field)) for field, stored in STORED.items()}

    def update(self, lanes: Lanes) -> LaneStatus:
        """Where each lane is after a segment; runs that are at their end or diverged are marked as ended."""
        state = lanes.state
        run = self._run_in_lane(np.asarray(lanes.run))
        step, finite, end = (np.asarray(value) for value in (state.step, state.finite, state.end))
        closing = (run >= 0) & ~self.ended[run] & ((step >= end) | ~finite)
        self.ended[run[closing]] = True
        return LaneStatus(run, step.copy(), finite.copy(), closing)

    def can_refill(self, lanes: Lanes) -> bool:
        """Whether some lane is free, and some run waits for it."""
        state = lanes.state
        is_waiting = np.asarray(lanes.next) < self.queues.shape[1]
        is_free = ~(np.asarray(state.finite) & (np.asarray(state.step) < np.asarray(state.end)))
        return bool((is_free.reshape(len(is_waiting), -1).any(1) & is_waiting).any())

    def start_dense(self) -> None:
        """Lanes have just taken runs: a new dense start and a new segment begin."""
        self.dense_until, self.segment_end = self.clock + self.chunk.bucket.schedule.dense, self.clock

    def next_steps(self, lanes: Lanes) -> int:
        """Steps of the next segment: to its end, or to the first snapshot of a run that some lane holds."""
        schedule = self.chunk.bucket.schedule
        if self.clock >= self.segment_end:
            is_dense = self.clock < self.dense_until
            self.every = 1 if is_dense else schedule.every
            self.segment_end = self.clock + (schedule.dense_steps if is_dense else schedule.steps)
        run, step = self._run_in_lane(np.asarray(lanes.run)), np.asarray(lanes.state.step)
        training = (run >= 0) & ~self.ended[run]
        run, step = run[training], step[training].astype(np.int64)
        return int(min([self.segment_end - self.clock, *(self._next_snapshot(run, step) - step)]))

    def snapshots_due(self, status: LaneStatus, step_before: np.ndarray) -> np.ndarray:
        """[B] whether a lane's run has come to a step where a snapshot is kept, or to its end.

        step_before: [B] of each lane at the start of the segment.
        """
        due = (status.run >= 0) & (status.step > step_before)
        due[due] = self._next_snapshot(status.run[due], status.step[due] - 1) == status.step[due]
        return due | status.closing

    def redistribute(
        self, run: np.ndarray, upcoming: np.ndarray, state: dict[str, np.ndarray], devices: int, width: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Lanes and queues on another number of devices: (run, upcoming, state) for `width` lanes.

        Runs in training come first in each device's queue, then those that wait, distributed round.
        """
        run_in_lane = self._run_in_lane(run)
        training = np.nonzero((run_in_lane >= 0) & ~self.ended[run_in_lane])[0]
        waiting = np.concatenate([queue[first:] for queue, first in zip(self.queues, upcoming, strict=True)])
        waiting = np.sort(waiting[waiting >= 0])
        old_lanes = [training[device::devices] for device in range(devices)]  # that each device goes on with
        queues = [
            np.concatenate([run_in_lane[lanes], waiting[device::devices]]) for device, lanes in enumerate(old_lanes)
        ]
        length = -(-max(self.chunk.bucket.queue, devices * max(map(len, queues))) // devices)
        self.queues = np.array([_padded(queue, length) for queue in queues])
        source = np.concatenate([_padded(lanes, width // devices) for lanes in old_lanes])
        run = np.concatenate([_padded(np.arange(len(lanes)), width // devices) for lanes in old_lanes])
        moved = {}
        for name, value in state.items():
            is_empty = (source < 0).reshape(-1, *[1] * (value.ndim - 1))
            moved[name] = np.where(is_empty, 0, value[source])
        return run, np.array([len(lanes) for lanes in old_lanes]), moved

    def _run_in_lane(self, run: np.ndarray) -> np.ndarray:
        """[B] run of the chunk in each lane, from its position in the device's queue; -1: none."""
        device = np.repeat(np.arange(len(self.queues)), len(run) // len(self.queues))
        return np.where(run < 0, -1, self.queues[device, run])

    def _next_snapshot(self, run: np.ndarray, step: np.ndarray) -> np.ndarray:
        """For each run its first step after `step` at which a snapshot is kept."""
        following = np.full(len(run), NEVER)
        for index, steps in enumerate(self._snapshot_steps):
            rows = self._steps_index[run] == index
            following[rows] = steps[np.searchsorted(steps, step[rows], side="right")]
        return following


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, (0, length - len(values)), constant_values=-1)


def new_progress(chunk: Chunk, devices: int) -> Progress:
    """That of a chunk of which no run has begun."""
    runs = len(chunk.runs)
    queues = distribute(runs, chunk.bucket.queue, devices)
    step, ended = np.zeros(runs, np.int32), np.zeros(runs, bool)
    carried = np.full(runs, -np.inf, np.float32)
    return Progress(chunk, 0, 0, 0, 0, chunk.bucket.schedule.every, queues, step, ended, carried)


def stored_progress(chunk: Chunk, arrays: dict[str, np.ndarray]) -> Progress:
    """The progress that a checkpoint holds."""
    values: dict[str, Any] = {}
    for field, stored in STORED.items():
        value = np.array(arrays[stored])
        values[field] = int(value) if value.ndim == 0 else value
    return Progress(chunk, **values)
