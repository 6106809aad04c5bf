"""The curves of cells: median and quartiles over their seeds, at the same steps for all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from grokjax.analysis.cells import values_of
from grokjax.analysis.curve_batches import Curves, in_batches, read_curves
from grokjax.analysis.thinning import kept_records
from grokjax.results.read import Results
from grokjax.sinks.page import Head, History

QUANTILES = {"": 0.5, "q25/": 0.25, "q75/": 0.75}  # prefix of the metric's name -> quantile; the median has none
TOGETHER = 1000  # runs whose thinned curves are held at once


def cell_histories(results: Results, cells: Sequence[Head], rows: int) -> Iterator[tuple[Head, History]]:
    """Of each metric its median, q25/ and q75/ the quartiles of the seeds with a record there, and `n_seeds`, how many
    they are. A run that has ended earlier, or has diverged, is in no step after its end."""
    values, ends = values_of(results), {run_id: int(end["step"]) for run_id, end in results.ends.items()}
    for group in _together(cells):
        steps = {
            cell.wandb_id: cell_steps(values[cell.run_ids[0]], max(ends[run_id] for run_id in cell.run_ids), rows)
            for cell in group
        }
        curves_of: dict[str, list[Curves]] = {cell.wandb_id: [] for cell in group}
        for batch in in_batches(results, list(dict.fromkeys(run_id for cell in group for run_id in cell.run_ids))):
            curves = read_curves(results, batch)
            for cell in group:
                for run in (curves[run_id] for run_id in cell.run_ids if run_id in curves):
                    rows_kept = np.flatnonzero(np.isin(run.step, steps[cell.wandb_id]))
                    curves_of[cell.wandb_id].append(run.at(rows_kept))
        for cell in group:
            yield cell, quartiles(curves_of.pop(cell.wandb_id), steps[cell.wandb_id])


def _together(cells: Sequence[Head]) -> Iterator[list[Head]]:
    group: list[Head] = []
    for cell in cells:
        if group and sum(len(some.run_ids) for some in group) + len(cell.run_ids) > TOGETHER:
            yield group
            group = []
        group.append(cell)
    if group:
        yield group


def cell_steps(values: dict, last: int, rows: int) -> Int[np.ndarray, " steps"]:
    """Log-spaced ones of the steps at which runs with these values have records."""
    dense = np.arange(min(values["log.dense_first"], last + 1))
    step = np.unique(np.concatenate([dense, np.arange(0, last + 1, values["log.every"]), [last]]))
    return step[kept_records(step, step % values["log.eval_every"] == 0, rows)]


def quartiles(runs: Sequence[Curves], steps: Int[np.ndarray, " steps"]) -> History:
    """The history of a cell, from its runs at these steps."""
    lines: dict[str, list[np.ndarray]] = {}
    seeds = np.zeros(len(steps))
    for run in runs:
        at = np.searchsorted(steps, run.step)
        seeds[at] += 1
        for name, values in run.values.items():
            line = np.full(len(steps), np.nan, np.float32)
            line[at] = np.where(run.recorded[name], values, np.nan)
            lines.setdefault(name, []).append(line)
    columns = {
        f"{prefix}{name}": values
        for name, some in lines.items()
        for prefix, values in zip(QUANTILES, quantiles_of(np.stack(some)), strict=True)
    }
    history: History = []
    for column, step in enumerate(steps.tolist()):
        row = {name: float(values[column]) for name, values in columns.items() if not np.isnan(values[column])}
        if row:
            history.append((step, row | {"n_seeds": float(seeds[column])}))
    return history


def quantiles_of(lines: Float[np.ndarray, "seeds steps"]) -> Float[np.ndarray, "quantiles steps"]:
    """Over the seeds that have a number there; the middle of two is between them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no seed has one, or only infinite ones
        return np.nanquantile(lines.astype(np.float64), list(QUANTILES.values()), axis=0)
