"""Wiring: a sweep file to a trained results directory, and a directory to its results."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from grokjax.sweep.expand import Sweep, load_sweep
from grokjax.sweep.plan import Bucket, Device, Plan, make_plan
from grokjax.sweep.tuning import cache_folder, read_tuning, tuned_from

if TYPE_CHECKING:
    from grokjax.results.read import Results
    from grokjax.results.segment import Segment


class Interrupted(Exception):
    """Training was asked to stop (SIGINT or SIGTERM); what is recorded is whole, the same command goes on."""


class Screen(Protocol):
    """What watches a sweep train (see `grokjax.live`)."""

    def started(self, plan: Plan, done: set[int]) -> None: ...
    def compiling(self, bucket: Bucket) -> None: ...
    def segment(self, bucket: Bucket, segment: Segment) -> None: ...
    def finished(self) -> None: ...


def prepare_jax() -> None:
    """Settings that JAX reads when it starts.

    No GPU kernel may depend on timing or atomics. Each CPU core is a device: small matmuls of one lane run faster on
    one core than divided over several. What was compiled is kept for this user, by kind of machine.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = {"xla_gpu_deterministic_ops": "true", "xla_force_host_platform_device_count": str(cores)}
    missing = [f"--{name}={value}" for name, value in wanted.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([*flags.split(), *missing])
    from grokjax.engine.devices import keep_compiled

    keep_compiled(cache_folder())


def plan_sweep(sweep: Sweep, out: Path | None = None) -> Plan:
    """The plan of a sweep on this machine's devices, by the tuning table of this user; where `out` already holds
    results, by what they were planned with."""
    prepare_jax()
    from grokjax.engine.devices import describe_device

    device = describe_device()
    if out and (out / "plan.json").exists():
        from grokjax.results.manifest import read_manifest

        tuning = tuned_from(read_manifest(out)["tuning"])
    else:
        tuning = read_tuning(device.text)
    return make_plan(sweep, device, tuning)


def run(
    sweep: str | Path,
    out: str | Path | None = None,
    set: dict[str, Any] | None = None,
    screen: Screen | None = None,
) -> Results:
    """Train every run of a sweep file and return its results; the same call again goes on where it stopped.

    out: results directory, default runs/NAME. set: dotted keys that win over the file, as in --set.
    Raises SweepError for bad input (nothing is written), Interrupted after SIGINT or SIGTERM.
    """
    loaded = load_sweep(sweep, set)
    where = Path(out) if out else Path("runs") / loaded.name
    return train(plan_sweep(loaded, where), where, screen)


def train(plan: Plan, out: Path, screen: Screen | None = None) -> Results:
    """Train what a plan still lacks in `out`."""
    from grokjax.results.manifest import settle

    settle(plan, out)
    done = finished_chunks(plan, out)
    if screen:
        screen.started(plan, done)
    try:
        with _stop_on_signal() as stop:
            _train_chunks(plan, done, out, screen, stop)
    finally:
        if screen:
            screen.finished()
    results = open_results(out)
    results.runs()  # writes the derived tables
    return results


def _train_chunks(plan: Plan, done: set[int], out: Path, screen: Screen | None, stop: Callable[[], bool]) -> None:
    from grokjax.engine.loop import Program, train_chunk
    from grokjax.results.write import DirectoryWriter, drop_chunk

    program: Program | None = None
    for chunk in plan.chunks:
        if chunk.index in done:
            continue
        drop_chunk(out, chunk.index)
        if program is None or program.bucket is not chunk.bucket:
            program = Program(chunk.bucket, plan.device.count)
            if screen:
                screen.compiling(chunk.bucket)
        writer = _Watched(DirectoryWriter(out), chunk.bucket, screen)
        if not train_chunk(program, chunk, writer, stop):
            raise Interrupted(str(out))


def finished_chunks(plan: Plan, out: Path) -> set[int]:
    """Chunks all of whose runs have ended."""
    from grokjax.results.write import ends_of

    ends = ends_of(out)
    return {chunk.index for chunk in plan.chunks if len(ends.get(chunk.index, {})) == len(chunk.runs)}


def device_warning(device: Device) -> list[str]:
    """A warning if an accelerator is there that the installed JAX cannot use."""
    from grokjax.engine.devices import idle_accelerator

    warning = idle_accelerator(device)
    return [warning] if warning else []


def measure_plan(plan: Plan) -> dict[int, float]:
    """bucket -> seconds a run-step, from a short segment of its first chunk at the plan's width."""
    from grokjax.engine.measure import run_step_seconds

    chunks = {chunk.bucket.index: chunk for chunk in reversed(plan.chunks)}
    return {index: run_step_seconds(chunk, plan.device.count) for index, chunk in sorted(chunks.items())}


def export_table(results: Results, table: str, out: Path | None, format: str | None, metrics: list[str] | None) -> Path:
    """Write curves, runs or events as CSV or Parquet. Raises ValueError for an unknown table, format or metric."""
    import pyarrow.parquet as pq
    from pyarrow import csv

    from grokjax.results.derived import to_arrow
    from grokjax.results.files import write_whole

    ending = out.suffix.lstrip(".") if out else ""
    format = format or (ending if ending in ("csv", "parquet") else "csv")
    if format not in ("csv", "parquet"):
        raise ValueError(f"format must be csv or parquet, got {format!r}")
    if table not in ("curves", "runs", "events"):
        raise ValueError(f"table must be curves, runs or events, got {table!r}")
    if metrics and table != "curves":
        raise ValueError("--metric chooses among curves only")
    if table == "curves":
        data = results.curves_table(metrics)
    else:
        data = to_arrow(results.runs() if table == "runs" else results.events(), lists=format == "parquet")
    path = out or results.path / f"{table}-export.{format}"
    write = csv.write_csv if format == "csv" else pq.write_table
    write_whole(path, lambda temporary: write(data, temporary))
    return path


def open_results(path: str | Path) -> Results:
    """Open a results directory, finished or not. Raises SweepError if it is none."""
    from grokjax.analysis.summary import derive
    from grokjax.results.derived import kept
    from grokjax.results.read import Results

    return Results(path, kept(derive))


@dataclass(frozen=True)
class _Watched:
    """A writer that also tells the screen."""

    writer: Any
    bucket: Bucket
    screen: Screen | None

    def params(self, chunk: int, segment: int, run_ids: Sequence[str], params: dict[str, Any]) -> None:
        self.writer.params(chunk, segment, run_ids, params)

    def segment(self, segment: Segment) -> None:
        self.writer.segment(segment)
        if self.screen:
            self.screen.segment(self.bucket, segment)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM lets the segment finish; a second SIGINT ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, _: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
