"""Commands for many machines: work, gather, and `run --on`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokjax.cli.app import (
    FAULT,
    INTERRUPTED,
    Arms,
    Directory,
    Entity,
    OtherDevice,
    Place,
    Project,
    Settings,
    WandbMode,
    bad_value,
    explain,
    load_sweep,
    wandb_options,
)

if TYPE_CHECKING:
    from grokjax.cluster.on_slurm import Submitted
    from grokjax.sweep.run import Sweep

LOOK_SECONDS = 5.0  # from one look at a job to the next


def work(
    directory: Place,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Every Nth chunk from the Kth on; default: what a job array says, or all."),
    ] = None,
    chunk: Annotated[int | None, typer.Option(min=0, help="Only this chunk.")] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="SWEEP", help="Plan this sweep into DIR for devices as here; train nothing.")
    ] = None,
    settings: Settings = None,
    arm: Arms = None,
    workers: Annotated[int, typer.Option(min=1, help="With --plan: how many will train at once.")] = 1,
    other_device: OtherDevice = False,
) -> None:
    """Be one worker: train chunks of a directory.

    Any number of workers, on any hosts that see DIR, may run at once.
    """
    from grokjax.cluster.worker import Part, WorkerError, open_worker, parse_part, part_of_environment, train_one
    from grokjax.cluster.worker import work as work_on
    from grokjax.stopping import Interrupted, stop_on_signal

    if plan:
        plan_file(plan, settings, arm, directory, workers)
        return
    with bad_value():
        chosen = parse_part(part) if part else part_of_environment(dict(os.environ))
        worker = open_worker(directory, other_device, explained, typer.echo)
        if chunk is not None and chunk >= len(worker.manifest.chunks):
            raise ValueError(f"{directory} has chunks 0 to {len(worker.manifest.chunks) - 1}, no chunk {chunk}")
    interrupted = Interrupted(worker.out, f"grokjax work {directory}", directory)

    def is_idle() -> bool:
        return worker.trainer.is_compiling

    try:
        with stop_on_signal(typer.echo, _leaving(interrupted), is_idle, once=(signal.SIGTERM,)) as stop:
            if chunk is None:
                work_on(worker, chosen, stop)
            else:
                train_one(worker, chunk, stop)
    except WorkerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from None
    of_all = f"part {chosen.index}/{chosen.count}: " if chosen != Part() else ""
    typer.echo(f"{of_all}all chunks are done")


def explained(error: BaseException) -> str:
    """An error in one line, also one that nobody thought of."""
    known = explain(error)
    text = known[1] if known else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def _leaving(interrupted: BaseException) -> Callable[[], None]:
    """Ends the process at once: what is on disk is whole anyhow."""

    def leave() -> None:
        os.write(2, f"{explained(interrupted)}\n".encode())
        os._exit(INTERRUPTED)

    return leave


def plan_file(file: Path, settings: list[str] | None, arms: list[str] | None, out: str, workers: int) -> None:
    """Plan a sweep file into a directory, or a bucket, for devices as here."""
    from grokjax.launch import plan_into

    plan = plan_into(load_sweep(file, settings, arms), out, typer.echo, workers)
    runs = sum(len(chunk.runs) for chunk in plan.chunks)
    typer.echo(f"planned {runs:,} runs in {len(plan.chunks):,} chunks for {plan.device.text}, into {out}")


def gather(
    directory: Directory,
    report: Annotated[bool, typer.Option("--report", help="Write DIR/report.html.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Show all in W&B, from here alone.")] = False,
    project: Project = None,
    entity: Entity = None,
    mode: WandbMode = None,
) -> None:
    """Bring together what workers have trained.

    Their summaries become runs.parquet and events.parquet, while others still train too.
    """
    from grokjax.opened import open_results
    from grokjax.sinks.sync import sync_or_tell
    from grokjax.standing import outcome_text

    with bad_value():
        to_wandb = wandb_options(wandb, project, entity, mode)
    results = open_results(directory)
    typer.echo(outcome_text(results))
    if report:
        from grokjax.report import write_report

        typer.echo(write_report(results))
    if to_wandb:
        sync_or_tell(results, to_wandb, typer.echo)


def run_on(
    on: str,
    file: Path,
    sweep: Sweep,
    out: Path,
    settings: list[str] | None,
    arms: list[str] | None,
    workers: int,
    per_worker: str | None,
    sbatch: str,
    wait: bool,
    other_device: bool,
) -> bool:
    """Train a sweep on a cluster. Returns whether all chunks are done: with SLURM not, unless that was waited for.

    out: of a bucket the copy for reading.
    """
    from grokjax.cluster.worker import check_layout
    from grokjax.results.bucket import bucket_of, name_of
    from grokjax.results.copies import refresh

    refresh(out)
    check_layout(out)
    if on == "slurm":
        if bucket_of(out):
            raise ValueError("--on slurm keeps its scripts in the results directory: give an --out that all nodes see")
        plan = ["work", str(out.absolute()), "--plan", str(file.absolute()), "--workers", str(workers)]
        plan += [word for setting in settings or () for word in ("--set", setting)]
        plan += [word for arm in arms or () for word in ("--arm", arm)]
        return _on_slurm(sweep, out, plan, workers, sbatch, wait, other_device)
    if on == "ray" or on.startswith("ray:"):
        address = on.removeprefix("ray").removeprefix(":") and on
        source = (file.absolute(), settings, arms, name_of(out.absolute()), workers)
        _on_ray(sweep, out, address or None, source, per_worker, other_device)
        return True
    raise ValueError(f"--on is slurm, ray or ray://HOST:PORT, not {on!r}")


def _is_planned(sweep: Sweep, out: Path) -> bool:
    """Whether a directory holds all that the sweep asks for, so that nothing is to be planned."""
    from grokjax.results.manifest import read_manifest

    if not (out / "plan.json").exists():
        return False
    known = set(read_manifest(out).run_ids)
    return all(run.run_id in known for run in sweep.runs)


def _done_of(out: Path) -> tuple[int, int]:
    """(chunks that are done, all of them)"""
    from grokjax.results.attempts import done_chunks
    from grokjax.results.manifest import read_manifest

    if not (out / "plan.json").exists():
        return 0, 0
    return len(done_chunks(out)), len(read_manifest(out).chunks)


def _on_slurm(
    sweep: Sweep, out: Path, plan: list[str], workers: int, sbatch: str, wait: bool, other_device: bool
) -> bool:
    from grokjax.cluster.on_slurm import SlurmError, last_submitted, standing, standing_text, submit, this_program
    from grokjax.results.workers import may_go_on

    done, chunks = _done_of(out)
    is_planned = _is_planned(sweep, out)
    if is_planned and done == chunks:
        typer.echo(f"all {chunks:,} chunks are done")
        return True
    try:
        submitted = last_submitted(out)
        states = standing(submitted) if submitted else {}
        if submitted and states:
            typer.echo(f"job {submitted.array} is at it already: {standing_text(states)}")
        else:
            may_go_on(out)
            command = None if is_planned else [*this_program(), *plan]
            submitted = submit(out, sweep.name, workers, sbatch, command, other_device)
            first = f" after job {submitted.plan}, which plans it," if submitted.plan else ""
            typer.echo(f"submitted job {submitted.array}:{first} {submitted.parts} workers; they print to {out}/slurm")
        typer.echo(f"how far it is: grokjax status {out}; to stop: scancel {submitted.array}")
        return _wait_for_slurm(out, submitted) if wait else False
    except SlurmError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from None


def _wait_for_slurm(out: Path, submitted: Submitted) -> bool:
    """Until all jobs have ended. Exits where not all chunks are done then."""
    from grokjax.cluster.on_slurm import standing, standing_text
    from grokjax.cluster.view import View, chunk_steps
    from grokjax.results.manifest import read_manifest
    from grokjax.results.workers import failures

    view: View | None = None
    with ExitStack() as shown:
        while states := standing(submitted):
            if view is None and (out / "plan.json").exists():
                view = shown.enter_context(View(out, chunk_steps(read_manifest(out))))
            if view:
                view.look(standing_text(states))
            time.sleep(LOOK_SECONDS)
    done, chunks = _done_of(out)
    if chunks and done == chunks:
        return True
    for failure in failures(out):
        typer.echo(f"chunk {failure.chunk} on {failure.host}: {failure.what}", err=True)
    typer.echo(f"the jobs have ended before all was done: see {out}/slurm; the same command submits what is left")
    raise typer.Exit(FAULT)


def _on_ray(
    sweep: Sweep, out: Path, address: str | None, source: tuple[Any, ...], per_worker: str | None, other_device: bool
) -> None:
    """source: what `plan_file` is given, on a worker."""
    from grokjax.cluster.on_ray import connect, parse_per_worker, plan_on_worker, train_on_workers
    from grokjax.cluster.view import View, chunk_steps
    from grokjax.cluster.worker import WorkerError
    from grokjax.results.attempts import done_chunks
    from grokjax.results.bucket import name_of
    from grokjax.results.copies import refresh
    from grokjax.results.manifest import read_manifest
    from grokjax.stopping import Interrupted, stop_on_signal

    takes = parse_per_worker(per_worker)
    ray = connect(address)
    if not _is_planned(sweep, out):
        plan_on_worker(ray, plan_file, takes, *source)
        refresh(out)
    manifest = read_manifest(out)
    done = done_chunks(out)
    steps = chunk_steps(manifest)
    left = {index: int(count) for index, count in enumerate(steps) if index not in done}
    typer.echo(f"{len(manifest.chunks):,} chunks for {manifest.device.text}, {len(left):,} to go")
    interrupted = Interrupted(out, f"grokjax work {name_of(out)}", name_of(out))
    try:
        with View(out, steps) as view, stop_on_signal(view.say, _leaving(interrupted)) as stop:
            train_on_workers(ray, out, left, takes, other_device, view, stop)
    except WorkerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from None
