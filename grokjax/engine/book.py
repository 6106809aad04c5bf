"""What the host knows of a chunk: how far its runs are, where they stand in the queue, and when to stop for what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grokjax.engine.inputs import dealt
from grokjax.engine.lanes import Board
from grokjax.engine.records import Lanes
from grokjax.plan.plan import Chunk
from grokjax.plan.snapshots import snapshot_steps

NAMES = ("segment", "clock", "young_until", "boundary", "every", "place", "step", "ended", "carried")
NEVER = 2**62  # a step that no run comes to


@dataclass
class Book:
    """Together with the board this is all that continues in a chunk."""

    chunk: Chunk
    segment: int  # the next one
    clock: int  # steps of the chunk so far
    young_until: int  # clock until which every step is recorded: a run has just begun
    boundary: int  # clock at which the segment that is under way ends; a snapshot ends it sooner
    every: int  # steps between its records
    place: np.ndarray  # [devices, places] which run stands where in each device's part of the queue; -1: none
    step: np.ndarray  # [runs]
    ended: np.ndarray  # [runs]
    carried: np.ndarray  # [runs] the largest train loss of computed rows that were no records

    def __post_init__(self) -> None:
        self.run_ids = tuple(run.run_id for run in self.chunk.runs)
        distinct: dict[bytes, int] = {}
        keeps = [snapshot_steps(run.spec) for run in self.chunk.runs]
        self._which = np.array([distinct.setdefault(steps.tobytes(), len(distinct)) for steps in keeps])
        self._keeps = [np.append(np.frombuffer(steps, np.int64), NEVER) for steps in distinct]

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.array(getattr(self, name)) for name in NAMES}

    def look(self, board: Board) -> Lanes:
        """Where each lane is after a segment."""
        state = board.state
        run = self._runs_of(board)
        step, finite, end = (np.asarray(value) for value in (state.step, state.finite, state.end))
        closing = (run >= 0) & ~self.ended[run] & ((step >= end) | ~finite)
        self.ended[run[closing]] = True
        return Lanes(run, step.copy(), finite.copy(), closing)

    def refills(self, board: Board) -> bool:
        """Whether some lane is free, and some run waits for it."""
        waits = np.asarray(board.next) < self.place.shape[1]
        free = ~(np.asarray(board.state.finite) & (np.asarray(board.state.step) < np.asarray(board.state.end)))
        return bool((free.reshape(len(waits), -1).any(1) & waits).any())

    def begin(self) -> None:
        """Lanes have just taken runs: a new dense start and a new segment begin."""
        self.young_until, self.boundary = self.clock + self.chunk.bucket.schedule.dense, self.clock

    def next_steps(self, board: Board) -> int:
        """Steps of the next segment: to its boundary, or to the first snapshot of a run that some lane holds."""
        schedule = self.chunk.bucket.schedule
        if self.clock >= self.boundary:
            dense = self.clock < self.young_until
            self.every = 1 if dense else schedule.every
            self.boundary = self.clock + (schedule.dense_steps if dense else schedule.steps)
        run, step = self._going(board)
        return int(min([self.boundary - self.clock, *(self._next_snapshot(run, step) - step)]))

    def _going(self, board: Board) -> tuple[np.ndarray, np.ndarray]:
        """Runs that the lanes are training, and the step of each."""
        run, step = self._runs_of(board), np.asarray(board.state.step)
        going = (run >= 0) & ~self.ended[run]
        return run[going], step[going].astype(np.int64)

    def _runs_of(self, board: Board) -> np.ndarray:
        """[B] the run in each lane; -1: none."""
        run = np.asarray(board.run)
        device = np.repeat(np.arange(len(self.place)), len(run) // len(self.place))
        return np.where(run < 0, -1, self.place[device, run])

    def _next_snapshot(self, run: np.ndarray, step: np.ndarray) -> np.ndarray:
        """For each run its first step after `step` at which a snapshot is kept."""
        found = np.full(len(run), NEVER)
        for which, keeps in enumerate(self._keeps):
            rows = self._which[run] == which
            found[rows] = keeps[np.searchsorted(keeps, step[rows], side="right")]
        return found

    def kept(self, lanes: Lanes, before: np.ndarray) -> np.ndarray:
        """[B] whether a lane's run has come to a step where a snapshot is kept, or to its end, from step `before`."""
        due = (lanes.run >= 0) & (lanes.step > before)
        due[due] = self._next_snapshot(lanes.run[due], lanes.step[due] - 1) == lanes.step[due]
        return due | lanes.closing

    def deal_anew(
        self, run: np.ndarray, upcoming: np.ndarray, board: dict[str, np.ndarray], devices: int, width: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Lanes and queue on another number of devices: (run, upcoming, board) for `width` lanes.

        Runs in training come first in each device's part of the queue, then, dealt round, those that wait.
        """
        old = np.repeat(np.arange(len(self.place)), len(run) // len(self.place))
        held = np.where(run < 0, -1, self.place[old, run])
        busy = np.nonzero((held >= 0) & ~self.ended[held])[0]
        waits = np.concatenate([part[first:] for part, first in zip(self.place, upcoming, strict=True)])
        waits = np.sort(waits[waits >= 0])
        lanes = width // devices
        mine = [busy[device::devices] for device in range(devices)]
        parts = [np.concatenate([held[mine[device]], waits[device::devices]]) for device in range(devices)]
        most = -(-max(self.chunk.bucket.queue, devices * max(map(len, parts))) // devices)
        self.place = np.array([np.pad(part, (0, most - len(part)), constant_values=-1) for part in parts])
        where = np.concatenate([np.pad(lane, (0, lanes - len(lane)), constant_values=-1) for lane in mine])
        run = np.concatenate(
            [np.pad(np.arange(len(lane)), (0, lanes - len(lane)), constant_values=-1) for lane in mine]
        )
        moved = {name: np.where(_column(where, value) < 0, 0, value[where]) for name, value in board.items()}
        return run, np.array([len(lane) for lane in mine]), moved


def _column(lanes: np.ndarray, value: np.ndarray) -> np.ndarray:
    return lanes.reshape(-1, *[1] * (value.ndim - 1))


def new_book(chunk: Chunk, devices: int) -> Book:
    runs = len(chunk.runs)
    place = dealt(runs, chunk.bucket.queue, devices)
    nothing = np.zeros(runs, np.int32), np.zeros(runs, bool), np.full(runs, -np.inf, np.float32)
    return Book(chunk, 0, 0, 0, 0, chunk.bucket.schedule.every, place, *nothing)


def stored_book(chunk: Chunk, arrays: dict[str, np.ndarray]) -> Book:
    """The book of a checkpoint."""
    segment, clock, young_until, boundary, every = (int(arrays[name]) for name in NAMES[:5])
    place, step, ended, carried = (np.array(arrays[name]) for name in NAMES[5:])
    return Book(chunk, segment, clock, young_until, boundary, every, place, step, ended, carried)
