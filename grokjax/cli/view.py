"""Commands that show what was trained, and take it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import FAULT, Directory, Entity, Project, RunId, Runs, WandbMode, bad_value, telling


@telling()
def status(directory: Directory) -> None:
    """Say how far a sweep is, and what its runs did."""
    from grokjax.launch import open_results
    from grokjax.standing import outcome_text

    typer.echo(outcome_text(open_results(directory)))


@bad_value()
@telling()
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
    heads: Annotated[
        int | None, typer.Option(min=1, help="Heads of attention, for names of TransformerLens 4, which do not say it.")
    ] = None,
) -> None:
    """Rename published weights for init.from_file.

    Reads those of TransformerLens, and of Nanda et al. Of another kind of file it says how to make one that it reads.
    """
    from grokjax.results.published import convert_published

    values, notes = convert_published(file, out, heads)
    typer.echo("\n".join([f"{len(values)} parameters in {out}", *notes]))


@bad_value()
@telling()
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
@telling()
def export(
    directory: Directory,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; default DIR/TABLE-export.csv, or .parquet with --format parquet; with --to "
            "transformer_lens DIR/RUN-STEP-transformer_lens.safetensors."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv or parquet; default by the file's ending, else csv.")] = None,
    table: Annotated[str | None, typer.Option(help="curves (default), runs or events.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric (curves); repeatable.")] = None,
    run_id: Runs = None,
    to: Annotated[str | None, typer.Option(help="transformer_lens: a run's network instead of a table.")] = None,
    step: Annotated[int | None, typer.Option(help="With --to: step of the network; default the end.")] = None,
) -> None:
    """Write curves, runs, events, or a network, for other tools.

    Tables as CSV or Parquet; with --to transformer_lens --run RUN a network as safetensors.
    """
    from grokjax.launch import open_results
    from grokjax.planning import prepare_jax
    from grokjax.results.export import export_network, export_table, how_to_load

    if to is None:
        if step is not None:
            raise ValueError("--step chooses a network's: give --to transformer_lens too")
        typer.echo(export_table(open_results(directory), table or "curves", out, format, metric, run_id))
        return
    if to != "transformer_lens":
        raise ValueError(f"--to takes transformer_lens, got {to!r}")
    if table or format or metric:
        raise ValueError("--to writes a network; --table, --format and --metric are for tables")
    if len(run_id or []) != 1:
        raise ValueError("--to transformer_lens writes one network: give one --run RUN, and --step where not its end")
    prepare_jax()
    network = open_results(directory).network((run_id or [])[0], step)
    path = out or directory / f"{network.run_id}-{network.step}-transformer_lens.safetensors"
    export_network(network, path)
    typer.echo(f"{path}: run {network.run_id} at step {network.step}\n\n{how_to_load(path)}")
