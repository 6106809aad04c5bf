"""Curves of a few runs at a time, so that a sweep of any size is shown in little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from grokjax.results.read import Results
from grokjax.sinks.page import History
from grokjax.sinks.thin import largest_since

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

    def at(self, kept: Int[np.ndarray, " kept"]) -> Curves:
        """At some of its records; the largest loss is that since the record before."""
        values = {name: column[kept] for name, column in self.values.items()}
        recorded = {name: column[kept] for name, column in self.recorded.items()}
        if SPIKE in values:
            values[SPIKE] = largest_since(self.values[SPIKE], self.recorded[SPIKE], kept)
            recorded[SPIKE] = values[SPIKE] != -np.inf
        return Curves(self.step[kept], values, recorded)

    def history(self) -> History:
        rows = []
        for row, step in enumerate(self.step.tolist()):
            there = {name: float(self.values[name][row]) for name, some in self.recorded.items() if some[row]}
            rows.append((step, there))
        return rows


def in_batches(results: Results, runs: Sequence[str]) -> Iterator[list[str]]:
    """The runs in the order in which they were trained, as many at once as fit: those trained together share files."""
    order = [run_id for chunk in results.manifest.chunks for run_id in chunk.run_ids]
    place = {run_id: at for at, run_id in enumerate(order)}
    values, metrics = values_of(results), max(1, len(results.metrics()))
    batch: list[str] = []
    room = BUDGET
    for run_id in sorted(runs, key=place.__getitem__):
        own = values[run_id]
        size = metrics * (own["train.steps"] / own["log.every"] + own["log.dense_first"] + 2)
        if batch and size > room:
            yield batch
            batch, room = [], BUDGET
        batch.append(run_id)
        room -= size
    if batch:
        yield batch


def values_of(results: Results) -> dict[str, dict]:
    """run id -> every resolved value by its dotted key."""
    return {run.run_id: run.values for run in results.manifest.runs}


def read_curves(results: Results, runs: Sequence[str]) -> dict[str, Curves]:
    """All metrics of some runs."""
    table = results.curves_table(None, runs)
    ids = np.asarray(table["run_id"].to_pylist(), dtype=object)
    step = table["step"].to_numpy()
    columns = {name: table[name].combine_chunks() for name in table.column_names[2:]}
    valid = {name: column.is_valid().to_numpy(zero_copy_only=False) for name, column in columns.items()}
    values = {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    ends = np.append(np.flatnonzero(ids[1:] != ids[:-1]) + 1, len(ids)) if len(ids) else []
    found, begin = {}, 0
    for end in ends:
        at = slice(begin, end)
        names = [name for name in columns if valid[name][at].any()]
        found[ids[begin]] = Curves(
            step[at], {name: values[name][at] for name in names}, {name: valid[name][at] for name in names}
        )
        begin = end
    return found
