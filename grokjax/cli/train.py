"""Commands that train: plan, run, replay, verify --repair, bench."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grokjax.cli import cluster
from grokjax.cli.app import (
    FAULT,
    Arms,
    Directory,
    Entity,
    OtherDevice,
    Project,
    RunId,
    Settings,
    SweepFile,
    WandbMode,
    bad_value,
    leaving,
    load_sweep,
    read_place,
    telling,
    wandb_options,
)

if TYPE_CHECKING:
    from grokjax.plan.plan import Plan
    from grokjax.sinks.sync import Options
    from grokjax.sweep.run import Sweep

DEFAULT_WORKERS = 4  # that chunks are cut for where it is not said


def plan(
    sweep: SweepFile,
    settings: Settings = None,
    arm: Arms = None,
    measure: Annotated[bool, typer.Option("--measure", help="Compile and time a few steps, to tell hours.")] = False,
) -> None:
    """Say what a sweep would do, and train nothing.

    Its runs, programs, lanes, memory, records and disk.
    """
    from grokjax.planning import matmul_notes, measure_plan, plan_sweep
    from grokjax.tables import plan_text

    planned = plan_sweep(load_sweep(sweep, settings, arm), trains=measure)
    seconds = measure_plan(planned) if measure else None
    typer.echo(plan_text(planned, seconds))
    for note in matmul_notes(bucket.spec.numerics.matmul for bucket in planned.buckets):
        typer.echo(f"note: cannot be trained here: {note}")


def run(
    sweep: SweepFile,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Results directory, or s3://BUCKET/NAME; default runs/NAME.")
    ] = None,
    settings: Settings = None,
    arm: Arms = None,
    other_device: OtherDevice = False,
    report: Annotated[bool, typer.Option("--report", help="Write DIR/report.html at the end.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Show the sweep in W&B as it trains, its runs after.")] = False,
    project: Project = None,
    entity: Entity = None,
    mode: WandbMode = None,
    on: Annotated[str | None, typer.Option(help="Train on a cluster: slurm, ray or ray://HOST:PORT.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="With --on: how many train at once.")] = None,
    per_worker: Annotated[str | None, typer.Option(help="With --on ray: what each takes, gpu=1 or cpu=4.")] = None,
    sbatch: Annotated[str, typer.Option(help="With --on slurm: options of sbatch, 'partition=gpu time=4:00:00'.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="With --on slurm: until all has ended.")] = False,
) -> None:
    """Train every run of a sweep.

    The same command again goes on where it stopped.
    """
    from grokjax.results.bucket import name_of
    from grokjax.results.copies import place_of, read_folder

    with bad_value():
        to_wandb = wandb_options(wandb, project, entity, mode)
        if not on and (workers or per_worker or sbatch or wait):
            raise ValueError("--workers, --per-worker, --sbatch and --wait need --on slurm or --on ray")
    loaded = load_sweep(sweep, settings, arm)
    with bad_value():
        folder = place_of(out or Path("runs") / loaded.name, read_folder)
    if on:
        many = workers or DEFAULT_WORKERS
        with bad_value():
            ended = cluster.run_on(
                on, sweep, loaded, folder, settings, arm, many, per_worker, sbatch, wait, other_device
            )
        if ended:
            cluster.gather(read_place(name_of(folder)), report, wandb, project, entity, mode)
    else:
        _run_here(loaded, folder, other_device, report, to_wandb)


def _run_here(loaded: Sweep, folder: Path, other_device: bool, report: bool, to_wandb: Options | None) -> None:
    """folder: of a bucket the copy for reading."""
    from rich.console import Console

    from grokjax.launch import open_results, train
    from grokjax.live import LiveScreen
    from grokjax.results.bucket import name_of
    from grokjax.sinks.sync import sync_or_tell
    from grokjax.sinks.watch import Watch
    from grokjax.standing import outcome_text

    where = name_of(folder)
    screen = LiveScreen(Console(highlight=False))
    shown = Watch(screen, folder, partial(open_results, where), to_wandb) if to_wandb else screen
    results = train(loaded, where, shown, other_device, typer.echo, show_plan, leaving(screen))
    typer.echo(outcome_text(results))
    typer.echo(f"results in {where}; look at them with: grokjax figure curves {where}")
    if report:
        from grokjax.report import write_report

        typer.echo(write_report(results))
    if to_wandb:
        sync_or_tell(results, to_wandb, typer.echo)


def show_plan(plan: Plan) -> None:
    """Say what is about to be trained, and what is to be known of it."""
    from grokjax.plan.plan import of_arms_asked_for
    from grokjax.plan.remarks import remarks
    from grokjax.planning import machine_notes

    if plan.sweep.own:
        typer.echo(f"runs the code of {plan.sweep.own.file}")
    typer.echo(f"{len(plan.sweep.runs)} runs in {len(plan.chunks)} chunks on {plan.device.text}")
    if plan.sweep.only:
        asked = of_arms_asked_for(plan)
        count = sum(len(chunk.runs) for chunk in asked.chunks)
        typer.echo(f"only arm {', '.join(plan.sweep.only)}: {count} runs in {len(asked.chunks)} chunks")
    for note in [*machine_notes(plan.device), *remarks(plan)]:
        typer.echo(f"note: {note}")


@bad_value()
@telling()
def replay(
    directory: Directory,
    run_id: RunId,
    start: Annotated[int | None, typer.Option("--from", help="First step.")] = None,
    stop: Annotated[int | None, typer.Option("--to", help="Last step.")] = None,
    every: Annotated[int, typer.Option(help="Steps from one saved state to the next.")] = 1,
    around: Annotated[
        str | None, typer.Option(metavar="KIND:N", help="Instead of steps: the run's Nth event, as slingshot:3.")
    ] = None,
    before: Annotated[int, typer.Option(help="With --around: steps before it.")] = 200,
    after: Annotated[int, typer.Option(help="With --around: steps after it.")] = 200,
    probes: Annotated[list[str] | None, typer.Option(help="Evaluate these too; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; default DIR/replays/RUN-from-to-every.")] = None,
    other_device: OtherDevice = False,
) -> None:
    """Train a stretch of a run again, state by state.

    Saves every state, and compares it with the stored records.
    """
    from grokjax.analysis.replay import save, stretch
    from grokjax.launch import open_results
    from grokjax.launch import replay as replay_steps

    results = open_results(directory)
    (run_id,) = results.whole_run_ids(run_id)
    start, stop = stretch(results, run_id, start, stop, around, before, after)
    moments = replay_steps(results, run_id, start, stop, every, probes or (), other_device)
    folder = out or directory / "replays" / f"{run_id}-{start}-{stop}-{every}"
    typer.echo(f"run {run_id}, steps {start} to {stop}, from the snapshot at {moments.restarted_from}")
    for path in save(moments, folder):
        typer.echo(path)
    typer.echo(moments.verdict)
    if moments.difference:
        raise typer.Exit(FAULT)


def verify(
    directory: Directory,
    repair: Annotated[bool, typer.Option("--repair", help="Remove what is damaged and train it again.")] = False,
    part: Annotated[str | None, typer.Option(metavar="K/N", help="Read only every Nth chunk, from the Kth on.")] = None,
    other_device: OtherDevice = False,
) -> None:
    """Read every byte of a results directory.

    Exit 0: intact; 1: not.
    """
    from rich.console import Console

    from grokjax.cluster.worker import Part, parse_part
    from grokjax.launch import repair as repair_results
    from grokjax.launch import verify_results
    from grokjax.live import LiveScreen, size

    with bad_value():
        if part and repair:
            raise ValueError("--repair is of a whole directory: leave out --part")
        chosen = parse_part(part) if part else Part()
    with telling():
        report = verify_results(directory, (chosen.index, chosen.count))
    for path in report.unknown:
        typer.echo(f"note: {path} was not written by grokjax, so it was not checked")
    for left in report.left_out:
        typer.echo(f"note: left out by choice, when it was packed: {left}")
    for damage in report.damaged:
        typer.echo(f"{damage.path}: {damage.why}", err=True)
    typer.echo(f"{report.files:,} files, {size(report.bytes)}: {len(report.damaged)} damaged")
    if not report.damaged:
        return
    if not repair:
        typer.echo("grokjax verify --repair trains again what they were a part of")
        raise typer.Exit(FAULT)
    screen = LiveScreen(Console(highlight=False))
    repair_results(directory, report, screen, other_device, leaving(screen))
    after = verify_results(directory)
    typer.echo(f"repaired: {after.files:,} files, {len(after.damaged)} damaged")
    if after.damaged:
        raise typer.Exit(FAULT)


@bad_value()
def bench(
    sweep: Annotated[Path | None, typer.Argument(metavar="[SWEEP]", help="With --tune: tune its programs.")] = None,
    settings: Settings = None,
    tune: Annotated[bool, typer.Option("--tune", help="Find the best widths; plans use them from then on.")] = False,
    device: Annotated[
        bool, typer.Option("--device", help="With each matmul mode that there is, and lanes up to memory.")
    ] = False,
    case: Annotated[list[str] | None, typer.Option(help="Only cases that begin so; repeatable.")] = None,
    lanes: Annotated[list[int] | None, typer.Option(min=1, help="Only so many lanes; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats, of which the median counts.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write what was measured here too.")] = None,
) -> None:
    """Measure speed here, or find the best widths.

    Of grokjax, plain jax.vmap, and a large matmul; with --tune the widths that plans use from then on.
    """
    from grokjax.bench import report

    if sweep and not tune:
        raise ValueError("a sweep is tuned, not benched: grokjax bench --tune SWEEP")
    if settings and not sweep:
        raise ValueError("--set needs a sweep: grokjax bench --tune SWEEP --set KEY=VALUE")
    cases = report.chosen(case or [], lanes or [])
    if tune:
        from grokjax.bench.tune import tune_cases, tune_sweep

        path = tune_sweep(load_sweep(sweep, settings), typer.echo) if sweep else tune_cases(cases, typer.echo)
        typer.echo(f"written to {path}; plans made from now on use it")
        return
    measured = report.bench(cases, report.local_device(), repeats=repeats, full=device, say=typer.echo)
    if json:
        report.write_json(measured, json)
