"""Commands that measure what stored networks compute, and write it as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from grokjax.cli.app import Directory, app, bad_value, exit_codes, write_rows

Runs = Annotated[list[str] | None, typer.Option("--run", metavar="RUN", help="Only this run; repeatable.")]
AtSteps = Annotated[list[int] | None, typer.Option("--step", help="Only at this step; repeatable.")]
AtEnd = Annotated[bool, typer.Option("--last", help="Only each run's end (the newest snapshot while it trains).")]
Out = Annotated[Path | None, typer.Option(help="CSV file to write; default in DIR.")]


@app.command()
def reduced(
    directory: Directory,
    run_id: Runs = None,
    pace: Annotated[
        float | None,
        typer.Option(help="Decades of train loss a decade of steps, beyond which it has not settled; default 0.3."),
    ] = None,
    out: Out = None,
) -> None:
    """Write the reduced loss (final loss at a fixed norm) of runs with constraint.name fixed_norm as CSV."""
    with exit_codes(), bad_value():
        from grokjax.analysis.reduced import PACE
        from grokjax.analysis.reduced import reduced as measure
        from grokjax.launch import open_results

        found = measure(open_results(directory), run_id, PACE if pace is None else pace)
        write_rows(found, out or directory / "reduced.csv")


@app.command()
def efficiency(
    directory: Directory,
    run_id: Runs = None,
    step: AtSteps = None,
    last: AtEnd = False,
    memorized: Annotated[
        float | None,
        typer.Option(help="Test accuracy below which a network that fits counts as memorizing; default 0.5."),
    ] = None,
    out: Out = None,
) -> None:
    """Write the circuit efficiency (logits per norm of the parameters) of stored parameters as CSV."""
    with exit_codes(), bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.efficiency import MEMORIZED
        from grokjax.analysis.efficiency import efficiency as measure

        below = MEMORIZED if memorized is None else memorized
        found = measure(open_results(directory), run_id, _steps(step, last), below)
        write_rows(found, out or directory / "efficiency.csv")


@app.command()
def neurons(
    directory: Directory,
    run_id: Runs = None,
    step: AtSteps = None,
    last: AtEnd = False,
    each: Annotated[bool, typer.Option("--each", help="One row a neuron instead of one a layer.")] = False,
    out: Out = None,
) -> None:
    """Write how nearly the neurons of stored networks compute a square, over all pairs of operands, as CSV."""
    with exit_codes(), bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.neurons import each_neuron
        from grokjax.analysis.neurons import neurons as measure

        found = (each_neuron if each else measure)(open_results(directory), run_id, _steps(step, last))
        write_rows(found, out or directory / f"{'each_neuron' if each else 'neurons'}.csv")


def _steps(step: list[int] | None, last: bool) -> Any:
    if step and last:
        raise ValueError("--step names steps and --last takes each run's end: give one of them")
    return "last" if last else step
