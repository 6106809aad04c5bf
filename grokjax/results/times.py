"""When runs were trained, by the times of the files that hold their records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from grokjax.results.files import chunk_of, curves_files, read_sealed


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
    for path in sorted(curves_files(out), key=lambda path: path.stat().st_mtime):
        written = path.stat().st_mtime
        for run_id, (first, last) in steps_in(path).items():
            known = points.setdefault(run_id, [(first, begin.get(chunk_of(path), before))])
            known.append((last, written))
        begin[chunk_of(path)] = before = written
    return {run_id: _trained(known) for run_id, known in points.items()}


def from_first_to_last(run_ids: Collection[str], times: Mapping[str, Trained]) -> Trained | None:
    """From when the first of some runs was begun to when the last had ended; None where that is not known."""
    known = [times[run_id] for run_id in run_ids if run_id in times]
    if len(known) < 2:
        return known[0] if known else None
    began, ended = min(of.times[0] for of in known), max(of.times[-1] for of in known)
    return Trained(np.array([0, max(of.steps[-1] for of in known)]), np.array([began, ended]))


def steps_in(path: Path) -> Mapping[str, tuple[int, int]]:
    """run id -> first and last step of its records in a file."""
    table = pq.read_table(pa.BufferReader(read_sealed(path)), columns=["run_id", "step"])
    table = table.set_column(0, "run_id", table["run_id"].cast(pa.string()))
    found = table.group_by("run_id").aggregate([("step", "min"), ("step", "max")]).to_pydict()
    return dict(zip(found["run_id"], zip(found["step_min"], found["step_max"], strict=True), strict=True))


def _trained(points: list[tuple[int, float]]) -> Trained:
    points = sorted(points)
    steps, times = zip(*points, strict=True)
    return Trained(np.array(steps), np.maximum.accumulate(np.array(times, float)))
