"""Reading every byte of a results directory."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grokjax.plan.plan import Chunk
from grokjax.results.checkpoints import CHUNK_FOLDER, LISTING, check_checkpoint
from grokjax.results.chunk_plan import some_chunks
from grokjax.results.chunks import KEYS, meta_in
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.commits import Commit, read_commit
from grokjax.results.compact import sha256_of
from grokjax.results.directory import stamp_of
from grokjax.results.files import NO_FILE, PART, Damaged, digest_file, read_sealed, view_digest
from grokjax.results.follow import follow
from grokjax.results.gaps import ChunkFiles, gaps
from grokjax.results.layout import (
    CHUNKS,
    COMPACT,
    CURVES,
    GROUP,
    HOME,
    SNAPSHOTS,
    WORK,
    chunk_of,
    home_of,
    is_compact,
    is_flat,
    segment_of,
)
from grokjax.results.left_out import NAME as BUNDLE
from grokjax.results.left_out import LeftOut, read_left_out
from grokjax.results.lock import NAME
from grokjax.results.manifest import Manifest, read_manifest
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.shards import NAME as SHARD
from grokjax.results.snapshots import check_snapshots
from grokjax.results.workers import FAILED, PROGRESS, SLURM, STOP
from grokjax.results.written import FOLDER, LIST, is_ours

DERIVED = (("runs.parquet",), ("events.parquet",))
CHUNK = ("curves", "snapshots")  # folders whose files cost training to make again
NOT_PLANNED = "the plan has no such chunk: it is of another results directory"
UNREADABLE = (OSError, ValueError, LookupError, TypeError, pa.ArrowException)


@dataclass(frozen=True)
class Verification:
    """What `verify` read, and what of it is not as it was written."""

    files: int
    bytes: int
    damaged: tuple[Damaged, ...]
    unknown: tuple[Path, ...]  # files that grokjax did not write, so nothing can be said of them
    left_out: tuple[str, ...] = ()  # by choice, when it was packed (see `grokjax.results.bundle`)


@dataclass
class _Read:
    """A directory, and what was read of it so far. chunks: that are read, in the order of training; files: chunk ->
    folder of its files, or of an attempt's -> these."""

    out: Path
    manifest: Manifest
    chunks: dict[int, Chunk]
    files: dict[int, dict[Path, ChunkFiles]] = field(default_factory=dict)

    def of(self, path: Path, folder: Path) -> ChunkFiles:
        """Where what a file of curves or snapshots holds is noted. Raises Damaged where it is of no chunk of ours."""
        return self.of_chunk(path, chunk_of(path), folder)

    def of_chunk(self, path: Path, chunk: int, folder: Path) -> ChunkFiles:
        if chunk not in self.chunks:
            raise Damaged(path, NOT_PLANNED)
        return self.files.setdefault(chunk, {}).setdefault(folder, ChunkFiles(folder))


def verify(out: Path, part: tuple[int, int] = (0, 1)) -> Verification:
    """Read every file of a results directory, from disk whatever was read of it before. Raises SweepError if it is
    none, and Damaged where its plan is broken.

    part: (K, N) reads only every Nth chunk, from the Kth on; what is of no chunk is read with K = 0.
    """
    manifest = read_manifest(out)
    wanted = range(part[0], len(manifest.chunks), part[1])
    read = _Read(out, manifest, some_chunks(manifest, wanted))
    paths = sorted(_paths(out, part))
    damaged, unknown, ended = [], [], set()
    with suppress(Damaged, *UNREADABLE):  # told of the file itself
        ended = _ended(out / "runs.parquet", {run.run_id for chunk in read.chunks.values() for run in chunk.runs})
    for path in follow(paths, "files", len(paths)):
        try:
            if path == out / "runs.parquet":
                _ended(path, set())
            elif not _check(read, path):
                unknown.append(path)
        except Damaged as damage:
            damaged.append(damage)
        except UNREADABLE as error:
            damaged.append(Damaged(path, str(error)[:200]))
    try:
        left_out = read_left_out(out)
    except Damaged:  # said above
        left_out = LeftOut()
    has_records = any(of.metas for tries in read.files.values() for of in tries.values())
    if not (out / "sweep.yaml").exists() and has_records:
        damaged.append(Damaged(out / "sweep.yaml", "it is missing"))
    damaged += _missing(read, damaged, ended, left_out.snapshots)
    size = sum(path.lstat().st_size for path in paths)
    return Verification(len(paths), size, tuple(damaged), tuple(unknown), left_out.told)


def _paths(out: Path, part: tuple[int, int]) -> Iterator[Path]:
    """All that must be files of a part. Homes of other chunks are not looked into."""
    index, count = part
    for folder, folders, files in os.walk(out):
        chunks = {name: chunk_at(out, Path(folder, name)) for name in (*folders, *files)}
        others = {name for name, chunk in chunks.items() if chunk is not None and chunk % count != index}
        folders[:] = (name for name in folders if name not in others)
        mine = (name for name, chunk in chunks.items() if name not in others and (chunk is not None or index == 0))
        yield from (path for name in mine if not _is_folder(path := Path(folder, name)))


def _missing(read: _Read, damaged: list[Damaged], ended: set[str], snapshots: str) -> Iterator[Damaged]:
    """What is not there of chunks of which nothing is damaged. ended: runs that had, by runs.parquet."""
    broken = chunks_of(read.out, {damage.path for damage in damaged})  # what these lack besides is no news
    flat, order = is_flat(read.out), list(read.chunks.values())
    last_trained = max((at for at, chunk in enumerate(order) if chunk.index in read.files), default=-1)
    for at, chunk in enumerate(order):
        if chunk.index in broken:
            continue
        home = read.out if flat else home_of(read.out, chunk.index)
        tries = read.files.get(chunk.index) or {home: ChunkFiles(home)}
        was_whole = (flat and at < last_trained) or ended.issuperset(run.run_id for run in chunk.runs)
        for files in tries.values():
            must_be_whole = was_whole if flat or home in tries else False
            yield from gaps(chunk, files, must_be_whole or files.commit is not None, snapshots, read.manifest.continues)


def _is_folder(path: Path) -> bool:
    """Not one that stands where a file must be."""
    is_file_name = any(name.fullmatch(path.name) for name in (CURVES, SNAPSHOTS, COMPACT)) or path.name == COMMIT
    return path.is_dir() and not path.is_symlink() and not is_file_name


def _check(read: _Read, path: Path) -> bool:
    """Whether a file is one of ours; raises Damaged if it is and is not as it was written."""
    out = read.out
    parts = path.relative_to(out).parts
    place = parts[0]
    if path.is_symlink() or not path.is_file():
        raise Damaged(path, NO_FILE)
    if (
        parts == ("plan.json",)
        or parts in ((NAME,), (STOP,))
        or place == SLURM
        or PART.fullmatch(path.name)
        or is_ours(parts)
    ):
        return True  # the plan was read; the others hold no results
    if parts == ("sweep.yaml",):
        if path.read_bytes() != read.manifest.text.encode():
            raise Damaged(path, "it is not the sweep that plan.json holds")
    elif place == SHARDS and len(parts) == 2 and SHARD.fullmatch(path.name):
        read_sealed(path)
    elif place == CHUNKS and len(parts) > 3 and GROUP.fullmatch(parts[1]) and HOME.fullmatch(parts[2]):
        return _check_at_home(read, path, out.joinpath(*parts[:3]), parts[3:])
    elif is_flat(out) and place in (*CHUNK, "checkpoints"):
        return _check_flat(read, path, out, parts)
    elif (place == "replays" and CURVES.fullmatch(path.name)) or parts in DERIVED:
        pq.read_table(pa.BufferReader(read_sealed(path)))
    elif parts == (FOLDER, LIST):
        read_sealed(path)
    elif parts == (BUNDLE,):
        read_left_out(out)
    elif place == "replays" and SNAPSHOTS.fullmatch(path.name):
        check_snapshots(path)
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


def _check_at_home(read: _Read, path: Path, home: Path, parts: tuple[str, ...]) -> bool:
    """A file in a chunk's home. What does not count, since another attempt was first, is not read."""
    commit, chunk, compact = _commit(home), int(home.name), COMPACT.fullmatch(parts[0])
    if parts == (COMMIT,):
        read_sealed(path)
        read.of_chunk(path, chunk, home).commit = read_commit(home)
        _check_owners(path, read, chunk, set(commit.run_ids if commit else ()))
    elif parts[0].startswith(".") or parts == (FAILED,) or (parts[0] == WORK and parts[2:] == (PROGRESS,)):
        return True  # notes for people, and what is half written
    elif compact and len(parts) == 1:
        if commit and path.name == f"summary-{commit.attempt}.parquet":
            read_sealed(path)
        elif commit and path.name in commit.files:
            if sha256_of(path) != commit.files[path.name]:
                raise Damaged(path, f"its SHA-256 is not the one in {COMMIT}")
            _check_records_or_snapshots(read, path, home)
    elif parts[0] == WORK and len(parts) > 2:
        if commit is None and not parts[1].startswith("."):
            return _check_flat(read, path, home.joinpath(*parts[:2]), parts[2:])
    else:
        return False
    return True


def _commit(home: Path) -> Commit | None:
    """None also where it is damaged, which is told of that file."""
    try:
        return read_commit(home)
    except (Damaged, OSError):
        return None


def _check_flat(read: _Read, path: Path, folder: Path, parts: tuple[str, ...]) -> bool:
    """A file of curves, snapshots or checkpoints where these lie flat in a folder; parts: of its path in there."""
    pattern = {"curves": CURVES, "snapshots": SNAPSHOTS}.get(parts[0])
    if pattern and len(parts) == 2 and pattern.fullmatch(path.name):
        _check_records_or_snapshots(read, path, folder)
        return True
    if parts[0] == "checkpoints" and len(parts) > 2 and CHUNK_FOLDER.fullmatch(parts[1]):
        return _check_of_checkpoint(read, folder, folder / parts[0] / parts[1], parts[2:])
    return PART.fullmatch(path.name) is not None


def _ended(path: Path, run_ids: Collection[str]) -> set[str]:
    """Those of some runs that had ended when runs.parquet was derived."""
    if path.is_symlink() or not path.is_file():
        raise Damaged(path, NO_FILE)
    table = pq.read_table(pa.BufferReader(read_sealed(path)), columns=["run_id", "status"])
    is_wanted = pc.is_in(table["run_id"], pa.array(run_ids, pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    pairs = zip(*table.filter(is_wanted).to_pydict().values(), strict=True)
    return {run_id for run_id, status in pairs if status in ("ended", "diverged")}


def _check_records_or_snapshots(read: _Read, path: Path, folder: Path) -> None:
    if path.suffix == ".parquet":
        _read_records(read, path, folder)
        return
    rows = check_snapshots(path).rows
    files = read.of(path, folder)
    _check_owners(path, read, chunk_of(path), {row.run_id for row in rows})
    files.snapshots[path] = [(row.run_id, row.step) for row in rows]


def _read_records(read: _Read, path: Path, folder: Path) -> None:
    data = read_sealed(path)
    meta = meta_in(path, data)
    keys = pq.read_table(pa.BufferReader(data)).select(list(KEYS))  # all columns are decoded
    _check_name(path, meta)
    files = read.of(path, folder)
    files.metas[path] = meta
    column, steps = keys["run_id"].unify_dictionaries().combine_chunks(), keys["step"].to_numpy()
    run_ids, row = column.dictionary.to_pylist(), column.indices.to_numpy()
    _check_owners(path, read, chunk_of(path), {*run_ids, *(end["run_id"] for end in meta["ends"])})
    for at in np.unique(row):
        files.steps.setdefault(run_ids[at], []).append((meta["last"], steps[row == at]))


def _check_name(path: Path, meta: dict[str, Any]) -> None:
    last = meta["last"] if is_compact(path) else segment_of(path)
    if (meta["chunk"], meta["last"]) != (chunk_of(path), last):
        raise Damaged(path, f"it holds chunk {meta['chunk']}, segment {meta['last']}: it was renamed")


def _check_owners(path: Path, read: _Read, chunk: int, run_ids: set[str]) -> None:
    if not run_ids <= {run.run_id for run in read.chunks[chunk].runs}:
        raise Damaged(path, "it holds runs that are not of its chunk: it is of another results directory")


def _check_of_checkpoint(read: _Read, place: Path, folder: Path, parts: tuple[str, ...]) -> bool:
    """Files of a checkpoint are checked with its listing; those without one are what a kill left."""
    listing, chunk = LISTING.fullmatch(parts[0]), int(folder.name.removeprefix("chunk-"))
    if listing:
        files = read.of_chunk(folder / parts[0], chunk, place)
        check_checkpoint(folder, int(listing[1]), stamp_of(read.chunks[chunk]))
        files.checkpoint = max(files.checkpoint, int(listing[1]))
    return bool(listing or len(parts) > 1)


def chunk_at(out: Path, path: Path) -> int | None:
    """The chunk that a file is of, if it is of one."""
    place, *below = path.relative_to(out).parts
    if place == CHUNKS and len(below) > 1 and HOME.fullmatch(below[1]):
        return int(below[1])
    match = CURVES.fullmatch(path.name) or SNAPSHOTS.fullmatch(path.name)
    return int(match[1]) if match and place in CHUNK else None


def chunks_of(out: Path, paths: set[Path]) -> set[int]:
    """Chunks whose records or snapshots are among some files."""
    return {chunk for path in paths if (chunk := chunk_at(out, path)) is not None}
