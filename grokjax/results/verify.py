"""Reading every byte of a results directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.plan.plan import Chunk, Plan, in_training_order
from grokjax.plan.snapshots import snapshot_steps
from grokjax.results.checkpoints import CHUNK_FOLDER, LISTING, check_checkpoint
from grokjax.results.chunks import KEYS, meta_in
from grokjax.results.directory import stamp_of
from grokjax.results.files import (
    CURVES,
    NO_FILE,
    PART,
    SNAPSHOTS,
    Damaged,
    chunk_of,
    curves_file,
    digest_file,
    read_sealed,
    segment_of,
    snapshots_file,
    view_digest,
)
from grokjax.results.follow import follow
from grokjax.results.left_out import ALL, END, LeftOut, read_left_out
from grokjax.results.left_out import NAME as BUNDLE
from grokjax.results.lock import NAME
from grokjax.results.manifest import read_manifest
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.shards import NAME as SHARD
from grokjax.results.snapshots import check_snapshots
from grokjax.results.written import FOLDER, LIST, is_ours
from grokjax.sweep.run import Run

DERIVED = (("runs.parquet",), ("events.parquet",))
CHUNK = ("curves", "snapshots")  # folders whose files cost training to make again
NOT_PLANNED = "the plan has no such chunk: it is of another results directory"


@dataclass(frozen=True)
class Verification:
    """What `verify` read, and what of it is not as it was written."""

    files: int
    bytes: int
    damaged: tuple[Damaged, ...]
    unknown: tuple[Path, ...]  # files that grokjax did not write, so nothing can be said of them
    left_out: tuple[str, ...] = ()  # by choice, when it was packed (see `grokjax.results.bundle`)


@dataclass
class ChunkFiles:
    """What the intact files of one chunk hold."""

    metas: dict[Path, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)  # run id -> (segment, of records)
    snapshots: dict[Path, list[tuple[str, int]]] = field(default_factory=dict)  # (run id, step)
    checkpoint: int = -1  # segment of the newest

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        return {end["run_id"]: end for meta in self.metas.values() for end in meta["ends"]}


def verify(out: Path) -> Verification:
    """Read every file of a results directory, from disk whatever was read of it before. Raises SweepError if it is
    none, and Damaged where its plan is broken."""
    plan = read_manifest(out).plan
    paths = sorted(path for path in out.rglob("*") if not _is_folder(path))
    files_of = [ChunkFiles() for _ in plan.chunks]
    damaged, unknown, ended = [], [], set()
    for path in follow(paths, "files", len(paths)):
        try:
            if path == out / "runs.parquet":
                ended = _ended(path)
            elif not _check(out, path, plan, files_of):
                unknown.append(path)
        except Damaged as damage:
            damaged.append(damage)
        except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
            damaged.append(Damaged(path, str(error)[:200]))
    try:
        left_out = read_left_out(out)
    except Damaged:  # said above
        left_out = LeftOut()
    broken = chunks_of(out, {damage.path for damage in damaged})  # what these lack besides is no news
    if not (out / "sweep.yaml").exists() and any(of.metas for of in files_of):
        damaged.append(Damaged(out / "sweep.yaml", "it is missing"))
    order = in_training_order(plan)
    last_trained = max((at for at, chunk in enumerate(order) if files_of[chunk.index].metas), default=-1)
    for at, chunk in enumerate(order):
        if chunk.index not in broken:
            was_whole = at < last_trained or ended.issuperset(run.run_id for run in chunk.runs)
            damaged += _gaps(out, plan, chunk, files_of[chunk.index], was_whole, left_out.snapshots)
    size = sum(path.lstat().st_size for path in paths)
    return Verification(len(paths), size, tuple(damaged), tuple(unknown), left_out.told)


def _is_folder(path: Path) -> bool:
    return (
        path.is_dir()
        and not path.is_symlink()
        and not CURVES.fullmatch(path.name)
        and not SNAPSHOTS.fullmatch(path.name)
    )


def _check(out: Path, path: Path, plan: Plan, files_of: list[ChunkFiles]) -> bool:
    """Whether a file is one of ours; raises Damaged if it is and is not as it was written."""
    parts = path.relative_to(out).parts
    if path.is_symlink() or not path.is_file():
        raise Damaged(path, NO_FILE)
    if parts == ("plan.json",) or parts == (NAME,) or PART.fullmatch(path.name) or is_ours(parts):
        return True  # the plan was read; the others hold no results
    if parts == ("sweep.yaml",):
        if path.read_bytes() != plan.sweep.text.encode():
            raise Damaged(path, "it is not the sweep that plan.json holds")
    elif parts[0] == SHARDS and len(parts) == 2 and SHARD.fullmatch(path.name):
        read_sealed(path)
    elif parts[0] == "curves" and len(parts) == 2 and CURVES.fullmatch(path.name):
        _read_records(path, plan, files_of)
    elif parts[0] == "snapshots" and len(parts) == 2 and SNAPSHOTS.fullmatch(path.name):
        _read_snapshots(path, plan, files_of)
    elif (parts[0] == "replays" and CURVES.fullmatch(path.name)) or parts in DERIVED:
        pq.read_table(pa.BufferReader(read_sealed(path)))
    elif parts == (FOLDER, LIST):
        read_sealed(path)
    elif parts == (BUNDLE,):
        read_left_out(out)
    elif parts[0] == "replays" and SNAPSHOTS.fullmatch(path.name):
        check_snapshots(path)
    elif parts[0] == "checkpoints" and len(parts) > 2 and CHUNK_FOLDER.fullmatch(parts[1]):
        return _check_of_checkpoint(out / parts[0] / parts[1], parts[2:], plan, files_of)
    elif path.name.startswith(".") and path.name.endswith(".sha256"):
        view = path.with_name(path.name[1 : -len(".sha256")])
        if not view.exists():
            raise Damaged(view, "it is gone, its checksum is there")
    elif digest_file(path).exists():
        if digest_file(path).read_text(encoding="utf-8", errors="replace") != view_digest(path):
            raise Damaged(path, "its checksum, in the hidden file beside it, is another")
    else:
        return False
    return True


def _ended(path: Path) -> set[str]:
    """Runs that had ended when runs.parquet was derived."""
    if path.is_symlink() or not path.is_file():
        raise Damaged(path, NO_FILE)
    table = pq.read_table(pa.BufferReader(read_sealed(path)), columns=["run_id", "status"])
    pairs = zip(table["run_id"].to_pylist(), table["status"].to_pylist(), strict=True)
    return {run_id for run_id, status in pairs if status in ("ended", "diverged")}


def _read_records(path: Path, plan: Plan, files_of: list[ChunkFiles]) -> None:
    data = read_sealed(path)
    meta = meta_in(path, data)
    keys = pq.read_table(pa.BufferReader(data)).select(list(KEYS))  # all columns are decoded
    if (meta["chunk"], meta["last"]) != (chunk_of(path), segment_of(path)):
        raise Damaged(path, f"it holds chunk {meta['chunk']}, segment {meta['last']}: it was renamed")
    chunk = _of_chunk(path, plan, files_of)
    chunk.metas[path] = meta
    column, steps = keys["run_id"].unify_dictionaries().combine_chunks(), keys["step"].to_numpy()
    run_ids, row = column.dictionary.to_pylist(), column.indices.to_numpy()
    _check_owners(path, plan, {*run_ids, *(end["run_id"] for end in meta["ends"])})
    for at in np.unique(row):
        chunk.steps.setdefault(run_ids[at], []).append((segment_of(path), steps[row == at]))


def _read_snapshots(path: Path, plan: Plan, files_of: list[ChunkFiles]) -> None:
    rows = check_snapshots(path).rows
    chunk = _of_chunk(path, plan, files_of)
    _check_owners(path, plan, {row.run_id for row in rows})
    chunk.snapshots[path] = [(row.run_id, row.step) for row in rows]


def _of_chunk(path: Path, plan: Plan, files_of: list[ChunkFiles]) -> ChunkFiles:
    if chunk_of(path) >= len(plan.chunks):
        raise Damaged(path, NOT_PLANNED)
    return files_of[chunk_of(path)]


def _check_owners(path: Path, plan: Plan, run_ids: set[str]) -> None:
    if not run_ids <= {run.run_id for run in plan.chunks[chunk_of(path)].runs}:
        raise Damaged(path, "it holds runs that are not of its chunk: it is of another results directory")


def _check_of_checkpoint(folder: Path, parts: tuple[str, ...], plan: Plan, files_of: list[ChunkFiles]) -> bool:
    """Files of a checkpoint are checked with its listing; those without one are what a kill left."""
    listing, chunk = LISTING.fullmatch(parts[0]), int(folder.name[6:])
    if listing:
        if chunk >= len(plan.chunks):
            raise Damaged(folder / parts[0], NOT_PLANNED)
        check_checkpoint(folder, int(listing[1]), stamp_of(plan.chunks[chunk]))
        files_of[chunk].checkpoint = max(files_of[chunk].checkpoint, int(listing[1]))
    return bool(listing or len(parts) > 1)


def chunks_of(out: Path, paths: set[Path]) -> set[int]:
    """Chunks whose records or snapshots are among some files."""
    names = [path.name for path in paths if path.relative_to(out).parts[0] in CHUNK]
    matches = (CURVES.fullmatch(name) or SNAPSHOTS.fullmatch(name) for name in names)
    return {int(match[1]) for match in matches if match}


def _gaps(out: Path, plan: Plan, chunk: Chunk, files: ChunkFiles, was_whole: bool, snapshots: str) -> list[Damaged]:
    """Records and snapshots that must be there and are not, or are there twice.

    was_whole: whether the chunk was finished once, so that nothing of it may be missing at the end either. snapshots:
    which of them were not left out (all | end | none).
    """
    reached = 0
    for meta in files.metas.values():
        if meta["first"] != reached:
            return [Damaged(curves_file(out, chunk.index, meta["first"] - 1), "it is missing")]
        reached = meta["last"] + 1
    if files.checkpoint >= reached or (was_whole and len(files.ends) < len(chunk.runs)):
        path = curves_file(out, chunk.index, max(reached, files.checkpoint))
        return [Damaged(path, f"records of chunk {chunk.index} from segment {reached} on are missing")]
    wrong = [run for run in chunk.runs if not _is_complete(run, files, run.run_id in plan.continues)]
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
    return [Damaged(snapshots_file(out, chunk.index, _segment_of_snapshot(files, run_id, step)), what)]


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


def _segment_of_snapshot(files: ChunkFiles, run_id: str, step: int) -> int:
    """The segment in whose file of snapshots, which is gone, a run's snapshot at a step was."""
    before = max((segment for segment, steps in files.steps[run_id] if steps[0] < step), default=0)
    segments = {segment_of(path) for path in files.snapshots}
    gone = [segment_of(path) for path in files.metas if segment_of(path) not in segments]
    return min((segment for segment in gone if segment >= before), default=before)
