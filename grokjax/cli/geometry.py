"""Commands that measure the loss and the outputs around stored parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import Directory, app, bad_value, exit_codes

Runs = Annotated[list[str] | None, typer.Option("--run", metavar="RUN", help="Only this run; repeatable.")]
Steps = Annotated[list[int] | None, typer.Option("--step", help="Only at this step; repeatable.")]
Out = Annotated[Path | None, typer.Option(help="CSV file to write; default in DIR.")]
Seed = Annotated[int, typer.Option(help="Of all that is drawn.")]


@app.command()
def learning_coefficient(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    chains: Annotated[int, typer.Option(help="Of each snapshot.")] = 4,
    draws: Annotated[int, typer.Option(help="Of a chain, one a step.")] = 300,
    burn_in: Annotated[int, typer.Option(help="Steps before the first draw.")] = 300,
    batch: Annotated[int, typer.Option(help="Train examples a step; more than there are is all.")] = 256,
    step_size: Annotated[float, typer.Option(help="Of the Langevin dynamics; smaller where chains diverge.")] = 1e-4,
    gamma: Annotated[float, typer.Option(help="Pull to the stored parameters; larger where chains lose them.")] = 100.0,
    seed: Seed = 0,
    traces: Annotated[
        bool, typer.Option("--traces", help="One row a draw instead: the losses along the chains.")
    ] = False,
    out: Out = None,
) -> None:
    """Write the local learning coefficient of stored parameters, with what its chains are worth, as CSV."""
    with exit_codes(), bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.learning_coefficient import Sampling
        from grokjax.analysis.learning_coefficient import learning_coefficient as measure
        from grokjax.analysis.learning_coefficient import traces as trace

        sampling = Sampling(step_size, gamma, chains, draws, burn_in, batch, seed)
        found = (trace if traces else measure)(open_results(directory), run_id, step, sampling)
        _write(found, out or directory / f"learning_coefficient{'_traces' if traces else ''}.csv")
        if not traces and not found["trusted"].all():
            doubted = int((~found["trusted"]).sum())
            typer.echo(f"{doubted} of them are not to be trusted; the column `why` says why", err=True)


@app.command()
def kernel(
    directory: Directory,
    run_id: Runs = None,
    step: Annotated[
        list[int] | None, typer.Option("--step", help="Only at this step; repeatable. 0 is the start.")
    ] = None,
    examples: Annotated[int, typer.Option(help="That it is taken on.")] = 128,
    part: Annotated[str, typer.Option(help="Whose: train, test or all.")] = "train",
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Write how the tangent kernel of stored parameters fits the labels, and how far it moved, as CSV."""
    with exit_codes(), bad_value():
        from grokjax.launch import open_results, prepare_jax

        prepare_jax()
        from grokjax.analysis.kernel import Sample
        from grokjax.analysis.kernel import kernel as measure

        sample = Sample(examples, part, seed)
        _write(measure(open_results(directory), run_id, step, sample), out or directory / "kernel.csv")


def _write(found, path: Path) -> None:
    from grokjax.results.files import write_view

    write_view(path, lambda temporary: found.to_csv(temporary, index=False))
    typer.echo(f"{len(found)} rows in {path}")
