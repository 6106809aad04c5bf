"""Replay: a stored run gone through again, compared with its records as it goes, and saved if asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokjax.analysis.summary import KINDS
from grokjax.engine.inputs import Find, Starts
from grokjax.engine.loop import Program
from grokjax.engine.replay import Leg, Moment, replay_run
from grokjax.engine.states import as_snapshots
from grokjax.plan.plan import Chunk, Plan
from grokjax.results.files import check_folder, write_sealed
from grokjax.results.follow import follow
from grokjax.results.layout import curves_file, snapshots_file
from grokjax.results.origins import find_origin, find_start, flat_of
from grokjax.results.read import Results
from grokjax.results.segment import Rows, Stored
from grokjax.results.snapshots import StoredSnapshot, write_snapshots
from grokjax.results.write import seal_table, write_parquet
from grokjax.spec.probes import PROBES, Probe
from grokjax.spec.run import RunSpec
from grokjax.sweep.run import Run
from grokjax.sweep.spelling import did_you_mean

SAVE_BYTES = 2**28  # of states in one file


@dataclass(frozen=True)
class Difference:
    """The first stored value that a replay does not meet to the bit."""

    step: int
    metric: str
    stored: float
    replayed: float


@dataclass
class Replay:
    """Iterate over it once; what it compared is complete after that."""

    run_id: str
    start: int
    stop: int
    every: int
    restarted_from: int  # step
    legs: Iterator[Leg]
    stored: dict[int, dict[str, Any]]  # step -> metric -> value
    compared: int = 0  # records
    difference: Difference | None = field(default=None)

    def __iter__(self) -> Iterator[Moment]:
        return follow(self._moments(), "steps", len(range(self.start, self.stop + 1, self.every)))

    def _moments(self) -> Iterator[Moment]:
        for leg in self.legs:
            self._compare(leg.rows)
            if leg.moment is not None:
                yield leg.moment

    def _compare(self, rows: Rows) -> None:
        for at, step in enumerate(rows.step):
            stored = self.stored.get(int(step))
            if stored is None or self.difference:
                continue
            self.compared += 1
            for name, values in rows.metrics.items():
                recorded = name not in rows.recorded or bool(rows.recorded[name][at])
                old, new = stored.get(name), np.float32(values[at])
                if recorded and old is not None and np.float32(old).tobytes() != new.tobytes():
                    self.difference = Difference(int(step), name, float(old), float(new))
                    break

    @property
    def verdict(self) -> str:
        """What the comparison found, in a sentence."""
        if self.difference:
            it = self.difference
            return f"first difference at step {it.step}: {it.metric} was {it.stored!r}, replayed it is {it.replayed!r}"
        return f"{self.compared} stored records compared, all equal to the bit"


def begin(
    results: Results,
    plan: Plan,
    run_id: str,
    start: int,
    stop: int,
    every: int,
    probes: tuple[str, ...],
    devices: int,
    open_results: Callable[[str], Results],
) -> Replay:
    """As `grokjax.replay` says."""
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    snapshots = results.snapshots(run_id, replays=False)
    measured = _probes(probes, _run_of(plan, run_id)[1].spec)
    last = int(results.ends.get(run_id, {}).get("step", _run_of(plan, run_id)[1].spec.train.steps))
    if not 0 <= start <= stop <= last:
        raise ValueError(f"steps must be within the run, 0 to {last}, and rising; got {start} to {stop}")
    asked = range(start, stop + 1, every)
    find, first_of = find_start(results.manifest, open_results), find_origin(open_results)
    phases = [
        _Phase(plan, stored, [step for step in asked if first <= step < below], below, snapshots, find, first_of)
        for stored, first, below in results.phases(run_id)
    ]
    phases = [phase for phase in phases if phase.asked]
    legs = (leg for phase in phases for leg in phase.legs(devices, measured))
    records = {record["step"]: record for record in results.curves_table(runs=run_id).to_pylist()}
    return Replay(run_id, start, stop, every, phases[0].restarts_from, legs, records)


def _probes(names: tuple[str, ...], spec: RunSpec) -> tuple[Probe, ...]:
    """Probes by their names. Raises ValueError for one that there is not, or not for such a run."""
    for name in names:
        if name not in PROBES:
            raise ValueError(f"unknown probe {name!r}{did_you_mean(name, PROBES)}; there are {', '.join(PROBES)}")
    probes = tuple(PROBES[name](name=name) for name in names)
    for probe in probes:
        if refusal := probe.refusal(spec):
            raise ValueError(refusal)
    return probes


@dataclass(frozen=True)
class _Phase:
    """The part of a replay that one chunk trained: a run that was given more steps has several."""

    plan: Plan
    run_id: str  # as it was then
    asked: list[int]
    below: int  # its records count below this step
    snapshots: dict[int, StoredSnapshot]
    find: Find
    find_first: Find

    @property
    def row(self) -> StoredSnapshot | None:
        """The newest snapshot to start from; None: where the run itself began."""
        usable = [step for step, row in self.snapshots.items() if step <= self.asked[0] and row.run_id == self.run_id]
        return self.snapshots[max(usable)] if usable else None

    @property
    def restarts_from(self) -> int:
        if self.row:
            return self.row.step
        start = self.find(_run_of(self.plan, self.run_id)[1])
        return int(start.flat["step"]) if start and start.how == "continue" else 0

    def legs(self, devices: int, probes: tuple[Probe, ...]) -> Iterator[Leg]:
        chunk, run = _run_of(self.plan, self.run_id)
        row, find = self.row, self.find
        if row is not None:
            stored = Stored("continue", flat_of(row, run.spec.train.steps))
            find = lambda _: stored  # noqa: E731
        program = Program(chunk.bucket, devices, Starts(find, self.find_first))
        for leg in replay_run(program, Chunk(chunk.index, chunk.bucket, (run,)), self.asked, probes):
            if len(leg.rows.step) and leg.rows.step[-1] >= self.below:  # the end of the shorter run is not the run's
                yield replace(leg, rows=_only(leg.rows, leg.rows.step < self.below))
            else:
                yield leg


def _only(rows: Rows, rows_kept: np.ndarray) -> Rows:
    metrics, recorded = ({name: of[name][rows_kept] for name in of} for of in (rows.metrics, rows.recorded))
    return Rows(rows.run[rows_kept], rows.step[rows_kept], metrics, recorded)


def _run_of(plan: Plan, run_id: str) -> tuple[Chunk, Run]:
    return next((chunk, run) for chunk in plan.chunks for run in chunk.runs if run.run_id == run_id)


def stretch(
    results: Results, run_id: str, start: int | None, stop: int | None, around: str | None, before: int, after: int
) -> tuple[int, int]:
    """(first, last) step asked for: by steps, or around the Nth event of a kind (`slingshot:3`). Raises ValueError."""
    if (around is None) == (start is None and stop is None):
        raise ValueError("give --from and --to, or --around KIND:N")
    if around is None:
        if start is None or stop is None:
            raise ValueError("give both --from and --to")
        return start, stop
    kind, _, number = around.partition(":")
    if kind not in KINDS or not number.isdigit() or int(number) < 1:
        raise ValueError(f"--around takes KIND:N, N from 1 on, and KIND one of {', '.join(KINDS)}; got {around!r}")
    results.snapshots(run_id)  # says if there is no such run
    events = results.events()
    steps = sorted(events[(events["run_id"] == run_id) & (events["kind"] == kind)]["step"])
    if len(steps) < int(number):
        raise ValueError(f"run {run_id} has {len(steps)} events of kind {kind}, so there is no {around}")
    at = int(steps[int(number) - 1])
    last = int(results.ends.get(run_id, {}).get("step", at))
    return max(0, at - before), min(last, at + after)


def save(replay: Replay, folder: Path) -> list[Path]:
    """Go through a replay and write its records (Parquet) and states (safetensors, as snapshots are stored). Raises
    ValueError where there can be no such folder."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held: list[Moment] = []
    paths: list[Path] = []
    for moment in replay:
        held.append(moment)
        if sum(value.nbytes for value in moment.flat.values()) * len(held) > SAVE_BYTES:
            paths += _write(replay.run_id, held, folder, len(paths) // 2)
            held = []
    return paths + (_write(replay.run_id, held, folder, len(paths) // 2) if held else [])


def _write(run_id: str, moments: list[Moment], folder: Path, part: int) -> list[Path]:
    flat = {name: np.stack([moment.flat[name] for moment in moments]) for name in moments[0].flat}
    states, records = snapshots_file(folder, 0, part), curves_file(folder, 0, part)
    write_snapshots(states, [as_snapshots([run_id] * len(moments), flat)])
    names = list(dict.fromkeys(name for moment in moments for name in moment.record))
    columns = {
        "run_id": pa.array([run_id] * len(moments), pa.string()),
        "step": pa.array([moment.step for moment in moments], pa.int64()),
    }
    columns |= {name: pa.array([moment.record.get(name) for moment in moments], pa.float32()) for name in names}
    table = seal_table(pa.table(columns), {})
    write_sealed(records, lambda temporary: write_parquet(table, temporary))
    return [states, records]
