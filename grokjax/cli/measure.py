"""Commands that measure stored networks, and write what they find as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grokjax.cli.app import Directory, Runs, bad_value, telling, write_rows

if TYPE_CHECKING:
    from grokjax.results.read import Results

Steps = Annotated[list[int] | None, typer.Option("--step", help="Only at this step (0: the start); repeatable.")]
AtEnd = Annotated[bool, typer.Option("--last", help="Only each run's end (the newest snapshot while it trains).")]
Seed = Annotated[int, typer.Option(help="Seed of all that is drawn.")]
OUT = "CSV file to write; default DIR/{}.csv."
OUT_OR = "CSV file to write; default DIR/{}.csv, with {} DIR/{}.csv."


@bad_value()
@telling()
def progress(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    by_frequency: Annotated[bool, typer.Option("--frequencies", help="One row a frequency instead.")] = False,
    out: Annotated[Path | None, typer.Option(help=OUT_OR.format("progress", "--frequencies", "frequencies"))] = None,
) -> None:
    """Measure progress of stored parameters, as CSV.

    Progress measures as of Nanda et al. 2023; the key frequencies are the final network's.
    """
    results = _open(directory, out)
    from grokjax.analysis.progress import frequencies
    from grokjax.analysis.progress import progress as measures

    if by_frequency:
        write_rows(frequencies(results, run_id, step), out or directory / "frequencies.csv")
    else:
        write_rows(measures(results, run_id, step), out or directory / "progress.csv")


@bad_value()
@telling()
def reduced(
    directory: Directory,
    run_id: Runs = None,
    pace: Annotated[
        float | None,
        typer.Option(help="Decades of train loss a decade of steps, beyond which it has not settled; default 0.3."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help=OUT.format("reduced"))] = None,
) -> None:
    """Measure the final loss at a fixed norm, as CSV.

    The reduced loss (Liu et al. 2022), of runs with constraint.name fixed_norm.
    """
    from grokjax.analysis.reduced import PACE
    from grokjax.analysis.reduced import reduced as reduced_loss
    from grokjax.launch import open_results

    rows = reduced_loss(open_results(directory), run_id, PACE if pace is None else pace)
    write_rows(rows, out or directory / "reduced.csv")


@bad_value()
@telling()
def efficiency(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    last: AtEnd = False,
    memorized: Annotated[
        float | None,
        typer.Option(help="Test accuracy below which a network that fits counts as memorizing; default 0.5."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help=OUT.format("efficiency"))] = None,
) -> None:
    """Measure logits per norm of the parameters, as CSV.

    The circuit efficiency (Varma et al. 2023) of stored parameters.
    """
    results = _open(directory, out)
    from grokjax.analysis.efficiency import MEMORIZED
    from grokjax.analysis.efficiency import efficiency as circuit_efficiency

    below = MEMORIZED if memorized is None else memorized
    rows = circuit_efficiency(results, run_id, _steps(step, last), below)
    write_rows(rows, out or directory / "efficiency.csv")


@bad_value()
@telling()
def neurons(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    last: AtEnd = False,
    each: Annotated[bool, typer.Option("--each", help="One row a neuron instead of one a layer.")] = False,
    out: Annotated[Path | None, typer.Option(help=OUT_OR.format("neurons", "--each", "each_neuron"))] = None,
) -> None:
    """Measure how nearly neurons compute a square, as CSV.

    Over all pairs of operands, of the neurons of stored networks.
    """
    results = _open(directory, out)
    from grokjax.analysis.neurons import each_neuron
    from grokjax.analysis.neurons import neurons as layers

    steps = _steps(step, last)
    if each:
        write_rows(each_neuron(results, run_id, steps), out or directory / "each_neuron.csv")
    else:
        write_rows(layers(results, run_id, steps), out or directory / "neurons.csv")


@bad_value()
@telling()
def learning_coefficient(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    chains: Annotated[int, typer.Option(help="Chains of each snapshot.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws of a chain, one a step.")] = 300,
    burn_in: Annotated[int, typer.Option(help="Steps before the first draw.")] = 300,
    batch: Annotated[int, typer.Option(help="Train examples a step; more than there are is all.")] = 256,
    step_size: Annotated[float, typer.Option(help="Of the Langevin dynamics; smaller where chains diverge.")] = 1e-4,
    gamma: Annotated[float, typer.Option(help="Pull to the stored parameters; larger where chains lose them.")] = 100.0,
    seed: Seed = 0,
    traces: Annotated[
        bool, typer.Option("--traces", help="One row a draw instead: the losses along the chains.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help=OUT_OR.format("learning_coefficient", "--traces", "learning_coefficient_traces"))
    ] = None,
) -> None:
    """Measure the local learning coefficient, as CSV.

    Of stored parameters, by Langevin chains, with what its chains are worth.
    """
    results = _open(directory, out)
    from grokjax.analysis import learning_coefficient as chains_of

    sampling = chains_of.Sampling(step_size, gamma, chains, draws, burn_in, batch, seed)
    if traces:
        rows = chains_of.traces(results, run_id, step, sampling)
        write_rows(rows, out or directory / "learning_coefficient_traces.csv")
        return
    rows = chains_of.learning_coefficient(results, run_id, step, sampling)
    write_rows(rows, out or directory / "learning_coefficient.csv")
    doubted = int((~rows["trusted"]).sum())
    if doubted:
        typer.echo(f"{doubted} of them are not to be trusted; the column `why` says why", err=True)


@bad_value()
@telling()
def kernel(
    directory: Directory,
    run_id: Runs = None,
    step: Steps = None,
    examples: Annotated[int, typer.Option(help="Examples that it is taken on.")] = 128,
    part: Annotated[str, typer.Option(help="Whose examples: train, test or all.")] = "train",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help=OUT.format("kernel"))] = None,
) -> None:
    """Measure the tangent kernel's fit to labels, as CSV.

    Its alignment with the labels, and how far it moved from the start, of stored parameters.
    """
    results = _open(directory, out)
    from grokjax.analysis.kernel import Sample
    from grokjax.analysis.kernel import kernel as tangent_kernel

    rows = tangent_kernel(results, run_id, step, Sample(examples, part, seed))
    write_rows(rows, out or directory / "kernel.csv")


def _open(directory: Path, out: Path | None) -> Results:
    """The results, with JAX set up for what is computed of them: before anything imports it. Raises ValueError where
    what is computed, perhaps for long, could not be written."""
    from grokjax.launch import open_results
    from grokjax.planning import prepare_jax
    from grokjax.results.files import check_place

    if out:
        check_place(out)
    prepare_jax()
    return open_results(directory)


def _steps(step: list[int] | None, last: bool) -> list[int] | Literal["last"] | None:
    if step and last:
        raise ValueError("--step names steps and --last takes each run's end: give one of them")
    return "last" if last else step
