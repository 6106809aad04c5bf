"""Going back: one run of a chunk, step by step, in the program that trained it, at the width that it was trained at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.engine.inputs import stack_hyper
from grokjax.engine.lanes import Lanes, Queue
from grokjax.engine.loop import Program, begin_chunk
from grokjax.engine.progress import Progress
from grokjax.engine.records import segment_rows, with_close
from grokjax.engine.states import Flat, flatten, named
from grokjax.plan.plan import Chunk
from grokjax.probes.all import at_evaluation, at_record
from grokjax.probes.core import Metrics
from grokjax.results.segment import Rows
from grokjax.spec.probes import Probe
from grokjax.tasks.all import chosen_examples
from grokjax.train.step import evaluate, step, tested_params

Record = dict[str, Any]
NOTHING = Rows(np.zeros(0, np.int32), np.zeros(0, np.int32), {}, {})


@dataclass(frozen=True)
class Moment:
    """A run before an update: its parameters by name, its optimizer state (`mu/W_E`, `nu/W_E`, `count`, ...), and the
    record of that step, with the probes asked for."""

    step: int
    params: dict[str, np.ndarray]
    opt: dict[str, np.ndarray]
    record: dict[str, float]
    flat: Flat  # all that continues, as it is stored


@dataclass(frozen=True)
class Leg:
    """What one call of the program gave: rows as training records them, and the moment at its start if asked for."""

    rows: Rows
    moment: Moment | None


@dataclass
class _Track:
    """The run on its way."""

    program: Program
    lanes: Lanes
    queue: Queue
    progress: Progress
    seen: Record = field(default_factory=dict)  # the record at the first step of the newest call
    last: Record = field(default_factory=dict)  # the record at the end

    @property
    def at(self) -> int:
        return int(np.asarray(self.lanes.state.step)[0])

    def advance(self, steps: int, every: int) -> Rows:
        """Take so many steps, fewer where the run ends; the records that training would keep of them."""
        clock = self.at
        self.lanes, stacked = self.program.advance(self.lanes, self.queue, clock, steps, every)
        records = jax.device_get(stacked)
        status = self.progress.update(self.lanes)
        rows = segment_rows(records, status, clock, every, self.program.bucket, self.progress.carried)
        if records.counts[0, 0] and int(records.step[0, 0]) == clock:
            self.seen = {name: values[0, 0] for name, values in records.train.items()}
            if clock % self.program.bucket.schedule.round == 0:
                self.seen |= {name: values[0, 0] for name, values in records.test.items()}
        if status.closing.any():
            close = jax.device_get(self.program.close(self.lanes, self.queue, self.program.table))
            rows = with_close(rows, close, status, self.progress.carried)
            self.last = {name: values[-1] for name, values in rows.metrics.items() if _is_recorded(rows, name)}
        return rows


def replay_run(program: Program, chunk: Chunk, asked: Sequence[int], probes: Sequence[Probe]) -> Iterator[Leg]:
    """Legs from where `program.starts` has the run, the only one of `chunk`, to the last step asked for; with a moment
    at each of them, and at the run's end if it comes first."""
    with program.precision():
        lanes, queue, progress = begin_chunk(program, chunk)
        track = _Track(program, program.refill(lanes, queue), queue, progress)
        needs_start = any(probe.needs_start for probe in probes)
        first = program.starts.first(chunk.runs, stack_hyper(chunk.runs, [True])) if needs_start else {}
        measure = jax.jit(partial(_measure_separately, program, tuple(probes), first))
    for target in asked:
        over = False
        while not over:
            with program.precision():
                over = track.at >= target or bool(progress.ended.all())
                leg = _moment(track, measure) if over else Leg(track.advance(*_stride(track, target)), None)
            yield leg
        if track.at < target:  # the run ended sooner
            return


def _stride(track: _Track, target: int) -> tuple[int, int]:
    """(steps, every) towards the target, with records where training has them."""
    schedule, spec = track.program.bucket.schedule, track.program.bucket.spec
    if track.at < spec.log.dense_first:
        return min(target - track.at, schedule.dense_steps), 1
    return min(target - track.at, schedule.steps), schedule.every


def _moment(track: _Track, measure: Any) -> Leg:
    """The run where it is, and the rows of its next step, whose record that is."""
    flat = {name: np.asarray(value[0]) for name, value in flatten(track.lanes.state, np.arange(1)).items()}
    observed = jax.device_get(measure(track.lanes, track.queue))
    over = bool(track.progress.ended.all())
    rows = NOTHING if over else track.advance(1, 1)
    record = {} if over or not track.seen else track.seen
    if track.last and track.at == int(flat["step"]):  # there is no step after the end
        record = track.last
    record = {name: float(value) for name, value in (observed | record).items()}
    return Leg(rows, Moment(int(flat["step"]), named(flat, "params/"), named(flat, "opt/"), record, flat))


def _is_recorded(rows: Rows, name: str) -> bool:
    return len(rows.step) > 0 and (name not in rows.recorded or bool(rows.recorded[name][-1]))


def _measure_separately(
    program: Program, probes: tuple[Probe, ...], first: dict[str, Any], lanes: Lanes, queue: Queue
) -> Metrics:
    """Test metrics of the first lane, and probes of its next step, in a program of their own: the trajectory does not
    know of them."""
    spec = program.bucket.spec
    hyper, choice, state = jax.tree.map(lambda value: value[0], (queue.hyper, queue.examples, lanes.state))
    train, test = chosen_examples(program.table, choice)
    _, view = step(spec, state, hyper, train)
    view = view._replace(first={name: jnp.asarray(value[0]) for name, value in first.items()})
    tested = tested_params(spec, state, hyper)
    metrics = evaluate(spec, tested, train, test, hyper)
    for probe in probes:
        if probe.at_evaluation:
            metrics |= at_evaluation(probe, spec, tested, train, hyper)
        else:
            metrics |= at_record(probe, spec, view)
    return metrics
