"""Curves of a few runs at a time, so that a sweep of any size is read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from grokjax.analysis.thinning import largest_since
from grokjax.results.follow import follow
from grokjax.results.read import Results

CURVES = ("train/loss", "test/loss", "train/accuracy", "test/accuracy")  # what grokking is seen in
TOTAL = "norm/total"
SPIKE = "train/loss_max"
EVALUATED = "test/loss"  # recorded less often than the rest
BUDGET = 10_000_000  # values read at once


@dataclass(frozen=True)
class Curves:
    """One run: values[metric] at each of its steps, and whether it was recorded there."""

    step: Int[np.ndarray, " n"]
    values: dict[str, Float[np.ndarray, " n"]]
    recorded: dict[str, Bool[np.ndarray, " n"]]

    @property
    def evaluated(self) -> Bool[np.ndarray, " n"]:
        return self.recorded.get(EVALUATED, np.zeros(len(self.step), bool))

    def at(self, rows: Int[np.ndarray, " kept"]) -> Curves:
        """At some of its records; the largest loss is that since the record before."""
        values = {name: column[rows] for name, column in self.values.items()}
        recorded = {name: column[rows] for name, column in self.recorded.items()}
        if SPIKE in values:
            values[SPIKE] = largest_since(self.values[SPIKE], self.recorded[SPIKE], rows)
            recorded[SPIKE] = values[SPIKE] != -np.inf
        return Curves(self.step[rows], values, recorded)

    def of(self, metric: str) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Steps and values of one metric, where it was recorded."""
        if metric not in self.values:
            return self.step[:0], np.zeros(0, np.float32)
        recorded = self.recorded[metric]
        return self.step[recorded], self.values[metric][recorded]


NO_CURVES = Curves(np.zeros(0, np.int64), {}, {})


def in_batches(results: Results, runs: Sequence[str], metrics: int | None = None) -> Iterator[list[str]]:
    """The runs in the order in which they were trained, as many at once as fit: those trained together share files.

    metrics: how many of them are read; default all.
    """
    return follow(_batches(results, runs, metrics), "runs", len(runs), len)


def _batches(results: Results, runs: Sequence[str], metrics: int | None) -> Iterator[list[str]]:
    stored = results.manifest.every_run
    values = {run_id: stored[run_id].values for run_id in runs}
    metrics = len(results.metrics()) if metrics is None else metrics
    batch: list[str] = []
    room = BUDGET
    for run_id in sorted(runs, key=results.manifest.table.row_of):
        size = max(1, metrics) * _records(values[run_id])
        if batch and size > room:
            yield batch
            batch, room = [], BUDGET
        batch.append(run_id)
        room -= size
    if batch:
        yield batch


def fit_at_once(results: Results, runs: Sequence[str], metrics: int) -> bool:
    """Whether so many metrics of the runs are no more than one batch."""
    stored = results.manifest.every_run
    return sum(max(1, metrics) * _records(stored[run_id].values) for run_id in runs) <= BUDGET


def _records(values: dict) -> float:
    """How many records a run with these values has, or a few more."""
    return values["train.steps"] / values["log.every"] + values["log.dense_first"] + 2


def read_frames(results: Results, metrics: Sequence[str], runs: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Batch by batch the curves of the runs, as `Results.curves` has them."""
    for batch in in_batches(results, runs, len(metrics)):
        yield results.curves(list(metrics), batch)


def read_curves(results: Results, runs: Sequence[str], metrics: Sequence[str] | None = None) -> dict[str, Curves]:
    """run id -> its curves; None is all metrics. Runs without records are left out, and metrics without any of a run.

    Reads all of the runs at once: see `in_batches`.
    """
    table = results.curves_table(metrics, runs)
    ids = np.asarray(table["run_id"].to_pylist(), dtype=object)
    step = table["step"].to_numpy()
    columns = {name: table[name].combine_chunks() for name in table.column_names[2:]}
    valid = {name: column.is_valid().to_numpy(zero_copy_only=False) for name, column in columns.items()}
    values = {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    curves = {}
    begin = 0
    ends = np.append(np.flatnonzero(ids[1:] != ids[:-1]) + 1, len(ids)) if len(ids) else []
    for end in ends:
        rows = slice(begin, end)
        names = [name for name in columns if valid[name][rows].any()]
        curves[ids[begin]] = Curves(
            step[rows], {name: values[name][rows] for name in names}, {name: valid[name][rows] for name in names}
        )
        begin = end
    return curves
