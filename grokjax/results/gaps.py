"""What is missing in the files of a chunk, each of which is whole by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.plan.plan import Chunk
from grokjax.plan.snapshots import snapshot_steps
from grokjax.results.commits import NAME, Commit
from grokjax.results.files import Damaged
from grokjax.results.layout import compact_file, curves_file, segment_of, snapshots_file
from grokjax.results.left_out import ALL, END
from grokjax.sweep.run import Run


@dataclass
class ChunkFiles:
    """What the intact files of one chunk hold, or of one attempt at it.

    folder: where they lie flat; of a chunk that has ended its home, and commit is that of its attempt.
    """

    folder: Path
    commit: Commit | None = None
    metas: dict[Path, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)  # run id -> (segment, of records)
    snapshots: dict[Path, list[tuple[str, int]]] = field(default_factory=dict)  # (run id, step)
    checkpoint: int = -1  # segment of the newest

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        return {end["run_id"]: end for meta in self.metas.values() for end in meta["ends"]}


def gaps(
    chunk: Chunk, files: ChunkFiles, was_whole: bool, snapshots: str, continues: Mapping[str, str]
) -> list[Damaged]:
    """Records and snapshots that must be there and are not, or are there twice.

    was_whole: whether the chunk was finished once, so that nothing of it may be missing at the end either. snapshots:
    which of them were not left out (all | end | none). continues: as in the plan.
    """
    if files.commit:
        lost = [name for name in files.commit.files if not (files.folder / name).exists()]
        if lost:
            return [Damaged(files.folder / lost[0], "it is missing")]
    elif was_whole and not files.metas and files.folder.name == f"{chunk.index:06d}":
        return [Damaged(files.folder / NAME, "it is missing")]
    reached = 0
    for meta in files.metas.values():
        if meta["first"] != reached:
            return [Damaged(curves_file(files.folder, chunk.index, meta["first"] - 1), "it is missing")]
        reached = meta["last"] + 1
    if files.checkpoint >= reached or (was_whole and len(files.ends) < len(chunk.runs)):
        path = curves_file(files.folder, chunk.index, max(reached, files.checkpoint))
        return [Damaged(path, f"records of chunk {chunk.index} from segment {reached} on are missing")]
    wrong = [run for run in chunk.runs if not _is_complete(run, files, run.run_id in continues)]
    if wrong:
        path = next(iter(files.metas))
        what = (
            f"records of {len(wrong)} runs of chunk {chunk.index} (of {wrong[0].run_id}, for one) are not those planned"
        )
        return [Damaged(path, f"{what}: a file is of another results directory")]
    stored = {key for keys in files.snapshots.values() for key in keys}
    lacking = sorted(key for run in chunk.runs for key in _snapshots_due(run, files, snapshots) if key not in stored)
    if not lacking:
        return []
    run_id, step = lacking[0]
    what = f"{len(lacking)} snapshots of the chunk are missing (of run {run_id} at step {step}, for one)"
    return [Damaged(_file_of_snapshot(chunk, files, run_id, step), what)]


def _is_complete(run: Run, files: ChunkFiles, continues: bool) -> bool:
    """Whether a run's records stand at the steps where they must, each once, as far as the run is."""
    parts, end = files.steps.get(run.run_id), files.ends.get(run.run_id)
    if not parts:
        return end is None or end["diverged"]
    steps, log = np.concatenate([piece for _, piece in parts]), run.spec.log
    last = steps[-1] if end is None else end["step"]
    expected = np.union1d(np.arange(min(log.dense_first, last + 1)), np.arange(0, last + 1, log.every))
    expected = expected[expected >= steps[0]] if continues else expected
    if end is not None and end["diverged"] and np.array_equal(steps, expected):
        return True  # earlier versions made no record of where a run diverged
    return np.array_equal(steps, expected if end is None else np.union1d(expected, [last]))


def _snapshots_due(run: Run, files: ChunkFiles, snapshots: str) -> list[tuple[str, int]]:
    """(run id, step) of the snapshots that were taken before the newest record of a run, as far as they were kept."""
    parts, end = files.steps.get(run.run_id), files.ends.get(run.run_id)
    if not parts:
        return []
    first, last = parts[0][1][0], end["step"] if end else parts[-1][1][-1]
    steps = snapshot_steps(run.spec)
    before = [(run.run_id, int(step)) for step in steps[(steps > first) & (steps < last)]] if snapshots == ALL else []
    return before + ([(run.run_id, last)] if end and snapshots in (ALL, END) else [])


def _file_of_snapshot(chunk: Chunk, files: ChunkFiles, run_id: str, step: int) -> Path:
    """The file, which may be gone, in which a run's snapshot at a step was."""
    if files.commit:
        return compact_file(files.folder, "snapshots", files.commit.attempt)
    before = max((segment for segment, steps in files.steps[run_id] if steps[0] < step), default=0)
    segments = {segment_of(path) for path in files.snapshots}
    gone = [segment_of(path) for path in files.metas if segment_of(path) not in segments]
    segment = min((segment for segment in gone if segment >= before), default=before)
    return snapshots_file(files.folder, chunk.index, segment)
