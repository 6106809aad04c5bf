"""Commands that show what was trained, and take it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grokjax.cli.app import (
    FAULT,
    Directory,
    Entity,
    Project,
    WandbMode,
    app,
    bad_value,
    exit_codes,
    write_rows,
)


@app.command()
def status(directory: Directory) -> None:
    """Say how far a results directory is, and what its runs did."""
    with exit_codes():
        from grokjax.launch import open_results
        from grokjax.tables import outcome_text

        typer.echo(outcome_text(open_results(directory)))


@app.command()
def figure(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="curves, norms, slingshots, phase, anatomy, times, optimizers, progress, landscape, reduced_loss, "
            "efficiency, neurons, learning_coefficient or kernel.",
        ),
    ],
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="Where to write, without ending; default DIR/figures/KIND.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Key that tells groups apart (all but slingshots, phase, anatomy).")
    ] = None,
    x: Annotated[str | None, typer.Option(help="Key across (phase, times, optimizers, efficiency).")] = None,
    y: Annotated[str | None, typer.Option(help="Key upwards (phase; reduced_loss, as a heat map).")] = None,
    arm: Annotated[str | None, typer.Option(help="Only this arm.")] = None,
    equal: Annotated[bool | None, typer.Option("--equal", help="Which matrices end at one norm (norms).")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Run id (anatomy).")] = None,
    event: Annotated[int | None, typer.Option(help="Which of its slingshots, from 1 on (anatomy).")] = None,
    before: Annotated[int | None, typer.Option(help="Steps before it (anatomy).")] = None,
    after: Annotated[int | None, typer.Option(help="Steps after it (anatomy).")] = None,
    step: Annotated[
        int | None, typer.Option(help="Of a snapshot; default the end (landscape, efficiency, neurons).")
    ] = None,
    measure: Annotated[str | None, typer.Option(help="generalization_step or delay (times).")] = None,
    chains: Annotated[int | None, typer.Option(help="Chains of a snapshot (learning_coefficient).")] = None,
    draws: Annotated[int | None, typer.Option(help="Draws of a chain (learning_coefficient).")] = None,
    examples: Annotated[int | None, typer.Option(help="Examples that the kernel is taken on (kernel).")] = None,
) -> None:
    """Draw a picture of a results directory, as PNG and SVG, and write the numbers drawn as CSV."""
    with exit_codes(), bad_value():
        from grokjax.figures import make
        from grokjax.launch import open_results
        from grokjax.launch import replay as replay_steps

        given = {"by": by, "x": x, "y": y, "arm": arm, "equal": equal}
        given |= {"run": run_id, "event": event, "before": before, "after": after, "step": step, "measure": measure}
        given |= {"chains": chains, "draws": draws, "examples": examples}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if kind == "anatomy":
            options["replay"] = replay_steps
        for path in make(kind, open_results(directory), out or directory / "figures" / kind, **options):
            typer.echo(path)


@app.command()
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; default DIR/report.html.")] = None,
) -> None:
    """Write one HTML file that shows a results directory, to open without a network or to mail."""
    with exit_codes(), bad_value():
        from grokjax.launch import open_results
        from grokjax.report import write_report

        typer.echo(write_report(open_results(directory), out))


@app.command()
def params(
    directory: Directory,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    step: Annotated[int | None, typer.Option(help="Step; default the end.")] = None,
) -> None:
    """Write a run's parameters as safetensors (names as in the README; init.from_file reads them)."""
    with exit_codes(), bad_value():
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
    with exit_codes(), bad_value():
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
    with exit_codes(), bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.progress import frequencies
        from grokjax.analysis.progress import progress as measure

        found = (frequencies if by_frequency else measure)(open_results(directory), run_id, step)
        write_rows(found, out or directory / f"{'frequencies' if by_frequency else 'progress'}.csv")


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
    with exit_codes(), bad_value():
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
    with exit_codes(), bad_value():
        from grokjax.launch import open_results
        from grokjax.results.export import export_table

        path = export_table(open_results(directory), table, out, format, metric)
        typer.echo(path)
