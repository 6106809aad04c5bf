"""When runs were trained, by the times of the files that hold their records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from grokjax.results.chunks import WRITTEN, while_it_trains
from grokjax.results.files import read_sealed
from grokjax.results.layout import chunk_of, curves_files

Steps = Mapping[str, tuple[int, int]]  # run id -> first and last step


@dataclass(frozen=True)
class Trained:
    """A run was at step `steps[i]` at `times[i]`, in seconds since 1970."""

    steps: Int[np.ndarray, " files"]
    times: Float[np.ndarray, " files"]

    def at(self, steps: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """When it was at other steps, in between."""
        return np.interp(steps, self.steps, self.times)


def training_times(out: Path) -> dict[str, Trained]:
    """run id -> when it was trained, as closely as files were written. A pause between two files counts as training; a
    copy that did not keep the files' times says when it was made. Raises Damaged."""
    before = (out / "plan.json").stat().st_mtime
    begin: dict[int, float] = {}  # chunk -> when its next file was begun, at the earliest
    points: dict[str, list[tuple[int, float]]] = {}
    for written, chunk, steps in while_it_trains(lambda: _pieces(out)):
        for run_id, (first, last) in steps.items():
            known = points.setdefault(run_id, [(first, begin.get(chunk, before))])
            known.append((last, written))
        begin[chunk] = before = written
    return {run_id: _trained(known) for run_id, known in points.items()}


def _pieces(out: Path) -> list[tuple[float, int, Steps]]:
    """(when it was written, chunk, what is in it) of each piece of the records, the oldest first. The file of a chunk
    that has ended is of many pieces, whose times it keeps."""
    pieces = [(written, chunk_of(path), of) for path in curves_files(out) for written, of in _pieces_in(path).items()]
    return sorted(pieces, key=lambda piece: piece[0])


def from_first_to_last(run_ids: Collection[str], times: Mapping[str, Trained]) -> Trained | None:
    """From when the first of some runs was begun to when the last had ended; None where that is not known."""
    known = [times[run_id] for run_id in run_ids if run_id in times]
    if len(known) < 2:
        return known[0] if known else None
    began, ended = min(of.times[0] for of in known), max(of.times[-1] for of in known)
    return Trained(np.array([0, max(of.steps[-1] for of in known)]), np.array([began, ended]))


def _pieces_in(path: Path) -> Mapping[float, Steps]:
    """When a part of a file was written -> run id -> first and last step of its records in it."""
    table = pq.ParquetFile(pa.BufferReader(read_sealed(path))).read(columns=["run_id", "step", WRITTEN])
    written = table[WRITTEN] if WRITTEN in table.column_names else pa.repeat(path.stat().st_mtime, len(table))
    table = pa.table({"run_id": table["run_id"].cast(pa.string()), "step": table["step"], WRITTEN: written})
    found = table.group_by([WRITTEN, "run_id"]).aggregate([("step", "min"), ("step", "max")]).to_pydict()
    pieces: dict[float, dict[str, tuple[int, int]]] = {}
    columns = (found[name] for name in (WRITTEN, "run_id", "step_min", "step_max"))
    for time, run_id, first, last in zip(*columns, strict=True):
        pieces.setdefault(time, {})[run_id] = (first, last)
    return pieces


def _trained(points: list[tuple[int, float]]) -> Trained:
    points = sorted(points)
    steps, times = zip(*points, strict=True)
    return Trained(np.array(steps), np.maximum.accumulate(np.array(times, float)))
