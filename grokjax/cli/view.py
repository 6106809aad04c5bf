"""Commands that show what was trained, and take it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import FAULT, Directory, Entity, Project, RunId, WandbMode, bad_value


def status(directory: Directory) -> None:
    """Say how far a sweep is, and what its runs did."""
    from grokjax.launch import open_results
    from grokjax.standing import outcome_text

    typer.echo(outcome_text(open_results(directory)))


@bad_value()
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; default DIR/report.html.")] = None,
) -> None:
    """Write one HTML file that shows a results directory.

    It opens without a network, and can be mailed.
    """
    from grokjax.launch import open_results
    from grokjax.report import write_report

    typer.echo(write_report(open_results(directory), out))


@bad_value()
def params(
    directory: Directory,
    run_id: RunId,
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
    step: Annotated[int | None, typer.Option(help="Step; default the end.")] = None,
) -> None:
    """Write a run's parameters as safetensors.

    Under TransformerLens's names; init.from_file reads them.
    """
    from safetensors.numpy import save

    from grokjax.launch import open_results
    from grokjax.results.files import write_view

    values = open_results(directory).params(run_id, step)
    write_view(out, lambda temporary: temporary.write_bytes(save(values)))
    typer.echo(f"{len(values)} parameters in {out}")


@bad_value()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A state dict as safetensors.")],
    out: Annotated[Path, typer.Option(help="Safetensors file to write.")],
) -> None:
    """Rename published weights for init.from_file.

    Reads those of TransformerLens, and of Nanda et al.
    """
    from grokjax.results.published import convert_published

    values = convert_published(file, out)
    typer.echo(f"{len(values)} parameters in {out}")


@bad_value()
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
    """Write ended runs, and medians over seeds, to W&B.

    Each is written once, and uploaded if online.
    """
    from grokjax.launch import open_results
    from grokjax.sinks.sync import Options, checked_mode
    from grokjax.sinks.sync import sync as sync_results

    options = Options(project, entity, group, checked_mode(mode), rows, cells_only)
    problem = sync_results(open_results(directory), options, typer.echo)
    if problem:
        typer.echo(problem, err=True)
        raise typer.Exit(FAULT)


@bad_value()
def export(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="File to write; default DIR/export.FORMAT.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or parquet; default by the file's ending, else csv.")] = None,
    table: Annotated[str, typer.Option(help="curves, runs or events.")] = "curves",
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric (curves); repeatable.")] = None,
) -> None:
    """Write curves, runs or events as CSV or Parquet."""
    from grokjax.launch import open_results
    from grokjax.results.export import export_table

    path = export_table(open_results(directory), table, out, format, metric)
    typer.echo(path)
