"""The commands. Thin: each reads its arguments, calls one function, and says what it did."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    from grokjax.results.read import Results

app = typer.Typer(
    help="Train thousands of small networks at once, to study grokking and slingshots.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="Sweep file (YAML).")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Results directory.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Wins over the sweep file and fixes a swept key; repeatable."),
]
Project = Annotated[str | None, typer.Option(help="W&B project; default $WANDB_PROJECT, or grokjax.")]
Entity = Annotated[str | None, typer.Option(help="W&B user or team; default your own.")]
WandbMode = Annotated[
    str | None, typer.Option("--mode", help="offline or online; default online if W&B finds an API key.")
]
FAULT, BAD_INPUT, INTERRUPTED = 1, 2, 75
FULL = "; what is recorded is kept, and the same command goes on once there is room"
HINTS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL}
OtherDevice = Annotated[
    bool,
    typer.Option(
        "--other-device", help="Go on with what other hardware or versions began: bits are no longer those of one run."
    ),
]


@contextmanager
def _exit_codes() -> Iterator[None]:
    """2: bad input; 75: interrupted, the same command goes on; 1: a fault. Without tracebacks where we know why."""
    from grokjax.launch import Interrupted
    from grokjax.results.files import Damaged
    from grokjax.results.lock import Locked

    try:
        yield
    except SweepError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except Interrupted as where:
        typer.echo(f"interrupted; what is recorded in {where} can be read, the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Damaged as damage:
        mend = "see what else is: grokjax verify DIR, and --repair makes it whole again"
        if damage.path.name == "plan.json":
            mend = "without it the directory cannot be read: put back a copy of it, or train again in another one"
        typer.echo(f"{damage}; {mend}", err=True)
        raise typer.Exit(FAULT) from None
    except Locked as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAULT) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{place}{error.strerror or error}{HINTS.get(error.errno or 0, '')}", err=True)
        raise typer.Exit(FAULT) from None
    except MemoryError as error:
        typer.echo(str(error) or "out of memory", err=True)
        raise typer.Exit(FAULT) from None
    except RuntimeError as error:  # JAX's; without importing it
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        typer.echo(f"out of device memory: {str(error).splitlines()[0]}", err=True)
        typer.echo("what is recorded is kept; free the device for the same command, or lower engine.lanes", err=True)
        raise typer.Exit(FAULT) from None


@contextmanager
def _bad_value() -> Iterator[None]:
    """An unknown run, metric, axis or kind is bad input."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, SweepError):
            raise
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None


def _load(sweep: Path, settings: list[str] | None):
    from grokjax.launch import load
    from grokjax.sweep.expand import parse_overrides

    return load(sweep, parse_overrides(settings or []))


@app.command()
def plan(
    sweep: SweepFile,
    settings: Settings = None,
    measure: Annotated[bool, typer.Option("--measure", help="Compile and time a few steps, to tell hours.")] = False,
) -> None:
    """Say what a sweep would do: runs, programs, lanes, memory, records, disk. Trains nothing."""
    with _exit_codes():
        from grokjax.launch import measure_plan, plan_sweep
        from grokjax.tables import plan_text

        made = plan_sweep(_load(sweep, settings))
        typer.echo(plan_text(made, measure_plan(made) if measure else None))


@app.command()
def run(
    sweep: SweepFile,
    out: Annotated[Path | None, typer.Option(help="Results directory; default runs/NAME.")] = None,
    settings: Settings = None,
    other_device: OtherDevice = False,
    report: Annotated[bool, typer.Option("--report", help="Write DIR/report.html at the end.")] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Show the sweep in W&B as it trains, its runs after.")] = False,
    project: Project = None,
    entity: Entity = None,
    mode: WandbMode = None,
) -> None:
    """Train every run of a sweep. The same command again goes on where it stopped."""
    with _exit_codes():
        from rich.console import Console

        from grokjax.launch import device_warning, open_results, plan_sweep, train
        from grokjax.live import LiveScreen
        from grokjax.sinks.sync import Options, checked_mode, sync_or_tell
        from grokjax.sinks.watch import Watch
        from grokjax.sweep.plan import remarks
        from grokjax.tables import outcome_text

        with _bad_value():
            if not wandb and (project or entity or mode):
                raise ValueError("--project, --entity and --mode need --wandb")
            to_wandb = Options(project, entity, mode=checked_mode(mode)) if wandb else None
        loaded = _load(sweep, settings)
        where = out or Path("runs") / loaded.name
        made = plan_sweep(loaded, where, typer.echo)
        typer.echo(f"{len(made.sweep.runs)} runs in {len(made.chunks)} chunks on {made.device.text}")
        for note in [*device_warning(made.device), *remarks(made)]:
            typer.echo(f"note: {note}")
        screen = LiveScreen(Console(highlight=False))
        shown = Watch(screen, where, partial(open_results, where), to_wandb) if to_wandb else screen
        results = train(made, where, shown, other_device)
        typer.echo(outcome_text(results))
        typer.echo(f"results in {where}; look at them with: grokjax figure curves {where}")
        if report:
            _write_report(results, None)
        if to_wandb:
            sync_or_tell(results, to_wandb, typer.echo)


@app.command()
def status(directory: Directory) -> None:
    """Say how far a results directory is, and what its runs did."""
    with _exit_codes():
        from grokjax.launch import open_results
        from grokjax.tables import outcome_text

        typer.echo(outcome_text(open_results(directory)))


@app.command()
def figure(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="curves, norms, slingshots or phase.")],
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="Where to write, without ending; default DIR/figures/KIND.")] = None,
    by: Annotated[str | None, typer.Option(help="Key that colors the curves (curves, norms).")] = None,
    x: Annotated[str | None, typer.Option(help="Key across (phase).")] = None,
    y: Annotated[str | None, typer.Option(help="Key upwards (phase).")] = None,
    arm: Annotated[str | None, typer.Option(help="Only this arm.")] = None,
) -> None:
    """Draw a picture of a results directory, as PNG and SVG."""
    with _exit_codes(), _bad_value():
        from grokjax.figures import draw, save
        from grokjax.launch import open_results

        options = {name: value for name, value in {"by": by, "x": x, "y": y, "arm": arm}.items() if value is not None}
        picture = draw(kind, open_results(directory), **options)
        for path in save(picture, out or directory / "figures" / kind):
            typer.echo(path)


@app.command()
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; default DIR/report.html.")] = None,
) -> None:
    """Write one HTML file that shows a results directory, to open without a network or to mail."""
    with _exit_codes(), _bad_value():
        from grokjax.launch import open_results

        _write_report(open_results(directory), out)


def _write_report(results: Results, out: Path | None) -> None:
    from grokjax.report import write_report

    typer.echo(write_report(results, out))


@app.command()
def params(
    directory: Directory,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    step: Annotated[int | None, typer.Option(help="Step; default the end.")] = None,
) -> None:
    """Write a run's parameters as safetensors (names as in the README; init.from_file reads them)."""
    with _exit_codes(), _bad_value():
        from safetensors.numpy import save

        from grokjax.launch import open_results
        from grokjax.results.files import write_view

        values = open_results(directory).params(run_id, step)
        write_view(out, lambda temporary: temporary.write_bytes(save(values)))
        typer.echo(f"{len(values)} parameters in {out}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A state dict as safetensors.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
) -> None:
    """Rename published weights (TransformerLens, or Nanda et al.) to what init.from_file reads."""
    with _exit_codes(), _bad_value():
        from grokjax.results.published import convert_published

        values = convert_published(file, out)
        typer.echo(f"{len(values)} parameters in {out}")


@app.command()
def progress(
    directory: Directory,
    run_id: Annotated[list[str] | None, typer.Option("--run", metavar="RUN", help="Only this run; repeatable.")] = None,
    step: Annotated[list[int] | None, typer.Option(help="Only at this step; repeatable.")] = None,
    by_frequency: Annotated[bool, typer.Option("--frequencies", help="One row a frequency instead.")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; default in DIR.")] = None,
) -> None:
    """Write the progress measures of stored parameters as CSV (key frequencies: the final network's)."""
    with _exit_codes(), _bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.progress import frequencies
        from grokjax.analysis.progress import progress as measure
        from grokjax.results.files import write_view

        found = (frequencies if by_frequency else measure)(open_results(directory), run_id, step)
        path = out or directory / f"{'frequencies' if by_frequency else 'progress'}.csv"
        write_view(path, lambda temporary: found.to_csv(temporary, index=False))
        typer.echo(f"{len(found)} rows in {path}")


@app.command()
def replay(
    directory: Directory,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id.")],
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
    """Train a stretch of a stored run again, save every state, and compare it with the stored records."""
    with _exit_codes(), _bad_value():
        from grokjax.analysis.replay import save, stretch
        from grokjax.launch import open_results
        from grokjax.launch import replay as replay_steps

        results = open_results(directory)
        start, stop = stretch(results, run_id, start, stop, around, before, after)
        made = replay_steps(results, run_id, start, stop, every, probes or (), other_device)
        folder = out or directory / "replays" / f"{run_id}-{start}-{stop}-{every}"
        typer.echo(f"run {run_id}, steps {start} to {stop}, from the snapshot at {made.begun}")
        for path in save(made, folder):
            typer.echo(path)
        typer.echo(made.verdict)
        if made.difference:
            raise typer.Exit(FAULT)


@app.command()
def verify(
    directory: Directory,
    repair: Annotated[bool, typer.Option("--repair", help="Remove what is damaged and train it again.")] = False,
    other_device: OtherDevice = False,
) -> None:
    """Read every byte of a results directory. Exit 0: intact; 1: not."""
    with _exit_codes():
        from rich.console import Console

        from grokjax.launch import repair as repair_results
        from grokjax.launch import verify_results
        from grokjax.live import LiveScreen, size

        report = verify_results(directory)
        for path in report.unknown:
            typer.echo(f"note: {path} was not written by grokjax, so it was not checked")
        for damage in report.damaged:
            typer.echo(f"{damage.path}: {damage.why}", err=True)
        typer.echo(f"{report.files:,} files, {size(report.bytes)}: {len(report.damaged)} damaged")
        if not report.damaged:
            return
        if not repair:
            typer.echo("grokjax verify --repair trains again what they were a part of")
            raise typer.Exit(FAULT)
        repair_results(directory, report, LiveScreen(Console(highlight=False)), other_device)
        after = verify_results(directory)
        typer.echo(f"repaired: {after.files:,} files, {len(after.damaged)} damaged")
        if after.damaged:
            raise typer.Exit(FAULT)


@app.command()
def sync(
    directory: Directory,
    project: Project = None,
    entity: Entity = None,
    group: Annotated[str | None, typer.Option(help="W&B group of the runs; default the sweep's name.")] = None,
    mode: WandbMode = None,
    rows: Annotated[
        int, typer.Option(help="Log-spaced records of a run's history; those around events besides.")
    ] = 200,
    cells_only: Annotated[bool, typer.Option("--cells-only", help="No single runs, only medians over seeds.")] = False,
) -> None:
    """Write runs that have ended, and medians over their seeds, as W&B runs, each once; upload them if online."""
    with _exit_codes(), _bad_value():
        from grokjax.launch import open_results
        from grokjax.sinks.sync import Options, checked_mode
        from grokjax.sinks.sync import sync as sync_results

        options = Options(project, entity, group, checked_mode(mode), rows, cells_only)
        problem = sync_results(open_results(directory), options, typer.echo)
        if problem:
            typer.echo(problem, err=True)
            raise typer.Exit(FAULT)


@app.command()
def export(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="File to write; default DIR/export.FORMAT.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or parquet; default by the file's ending, else csv.")] = None,
    table: Annotated[str, typer.Option(help="curves, runs or events.")] = "curves",
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric (curves); repeatable.")] = None,
) -> None:
    """Write curves, runs or events as CSV or Parquet."""
    with _exit_codes(), _bad_value():
        from grokjax.launch import open_results
        from grokjax.results.export import export_table

        path = export_table(open_results(directory), table, out, format, metric)
        typer.echo(path)


@app.command()
def bench(
    sweep: Annotated[Path | None, typer.Argument(metavar="[SWEEP]", help="With --tune: tune its programs.")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Find the best widths; plans use them from then on.")] = False,
    device: Annotated[
        bool, typer.Option("--device", help="With highest and the fast matmul mode, and lanes up to memory.")
    ] = False,
    case: Annotated[list[str] | None, typer.Option(help="Only cases that begin so; repeatable.")] = None,
    lanes: Annotated[list[int] | None, typer.Option(min=1, help="Only so many lanes; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats, of which the median counts.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write what was measured here too.")] = None,
) -> None:
    """Measure speed here: grokjax, plain jax.vmap, a large matmul; or find the best widths with --tune."""
    with _exit_codes(), _bad_value():
        from grokjax.bench import report

        if sweep and not tune:
            raise ValueError("a sweep is tuned, not benched: grokjax bench --tune SWEEP")
        cases = report.chosen(case or [], lanes or [])
        if tune:
            from grokjax.bench.tune import tune_cases, tune_sweep

            path = tune_sweep(_load(sweep, []), typer.echo) if sweep else tune_cases(cases, typer.echo)
            typer.echo(f"written to {path}; plans made from now on use it")
            return
        found = report.bench(cases, report.local_device(), repeats=repeats, full=device, say=typer.echo)
        if json:
            report.write_json(found, json)


def main(arguments: Any = None) -> None:
    app(arguments, prog_name="grokjax")


if __name__ == "__main__":
    main()
