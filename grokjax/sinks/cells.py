"""The curves of cells: median and quartiles over their seeds, at the same steps for all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from grokjax.analysis.cells import values_of
from grokjax.analysis.curve_batches import CURVES, SPIKE, TOTAL, Curves, in_batches, read_curves
from grokjax.analysis.over_runs import Counted, carried_runs, count_on, quantiles_of
from grokjax.analysis.thinning import kept_records
from grokjax.results.read import Results
from grokjax.sinks.page import Head, History

# What cells show: W&B makes a panel of every name, and single runs have the rest.
QUARTILES_OF = (*CURVES, TOTAL)
MEDIAN_OF = re.compile(rf"norm/.*|train_set/.*|{SPIKE}")
QUANTILES = {"": 0.5, "q25/": 0.25, "q75/": 0.75}  # prefix of the metric's name -> quantile; the median has none
TOGETHER = 1000  # runs whose thinned curves are held at once


def cell_histories(results: Results, cells: Sequence[Head], rows: int) -> Iterator[tuple[Head, History]]:
    """Of losses, accuracies and norms the median of the seeds, of the most telling also q25/ and q75/, the quartiles;
    `n_seeds`, how many these are, and `n_live`, how many of them had not ended: see `grokjax.analysis.over_runs`."""
    values, ends = values_of(results), {run_id: int(end["step"]) for run_id, end in results.ends.items()}
    carried = carried_runs(results)
    for group in _together(cells):
        steps = {
            cell.wandb_id: cell_steps(values[cell.run_ids[0]], max(ends[run_id] for run_id in cell.run_ids), rows)
            for cell in group
        }
        curves_of: dict[str, dict[str, Curves]] = {cell.wandb_id: {} for cell in group}
        for batch in in_batches(results, list(dict.fromkeys(run_id for cell in group for run_id in cell.run_ids))):
            curves = read_curves(results, batch)
            for cell in group:
                for run_id in cell.run_ids:
                    if run_id in curves:
                        curves_of[cell.wandb_id][run_id] = _at_steps(curves[run_id], steps[cell.wandb_id])
        for cell in group:
            yield cell, quartiles(curves_of.pop(cell.wandb_id), steps[cell.wandb_id], carried)


def _at_steps(run: Curves, steps: Int[np.ndarray, " steps"]) -> Curves:
    """A run at those of the steps where it has records, and at its last."""
    is_wanted = np.isin(run.step, steps)
    is_wanted[-1:] = True
    return run.at(np.flatnonzero(is_wanted))


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


def quartiles(runs: Mapping[str, Curves], steps: Int[np.ndarray, " steps"], carried: Collection[str]) -> History:
    """The history of a cell, from its runs at these steps and at their last. carried: those that count on after it."""
    rows: dict[int, dict[str, float]] = {int(step): {} for step in steps}
    for name in dict.fromkeys(name for run in runs.values() for name in run.values):
        shown = quantiles_shown(name)
        if not shown:
            continue
        at, counted = _counted(runs, name, carried)
        for prefix, values in zip(shown, quantiles_of(counted.values, list(shown.values())), strict=True):
            for step, value in zip(at, values, strict=True):
                if step in rows:
                    rows[step][f"{prefix}{name}"] = float(value)
        for step, seeds, live in zip(at, counted.runs, counted.live, strict=True):
            if step in rows:
                rows[step]["n_seeds"] = max(rows[step].get("n_seeds", 0.0), float(seeds))
                rows[step]["n_live"] = max(rows[step].get("n_live", 0.0), float(live))
    return [(step, row) for step, row in rows.items() if row]


def quantiles_shown(name: str) -> dict[str, float]:
    """Of a metric, as `QUANTILES`; none of many."""
    if name in QUARTILES_OF:
        return QUANTILES
    return {"": QUANTILES[""]} if MEDIAN_OF.fullmatch(name) else {}


def _counted(runs: Mapping[str, Curves], name: str, carried: Collection[str]) -> tuple[list[int], Counted]:
    """The steps at which enough seeds count, and their values of a metric there."""
    recorded = {run_id: run.of(name) for run_id, run in runs.items()}
    at = np.unique(np.concatenate([step for step, _ in recorded.values()]))
    table = np.full((len(runs), len(at)), np.nan)
    for row, (step, values) in enumerate(recorded.values()):
        table[row, np.searchsorted(at, step)] = values
    counted = count_on(table, np.array([run_id in carried for run_id in runs], bool))
    return at[counted.kept].tolist(), counted
