"""Where the files of a results directory lie.

A chunk has a home. In it every attempt at the chunk has a folder of its own, so that no two processes ever write to the
same path; the first that commits is the chunk's:

    DIR/chunks/012/012345/work/ATTEMPT/curves/, snapshots/, checkpoints/          of attempts that train
    DIR/chunks/012/012345/curves-ATTEMPT.parquet  snapshots-ATTEMPT.safetensors   of one that has ended, and
    DIR/chunks/012/012345/summary-ATTEMPT.parquet                                 what was derived of its records
    DIR/chunks/012/012345/done.json                                               says which attempt counts

In the folder of an attempt files lie flat, by chunk and segment, as they did in a whole directory up to format 5:

    DIR/curves/chunk-00003-segment-000012.parquet
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from grokjax.results.bucket import fetch_missing
from grokjax.results.commits import Commit, read_commit
from grokjax.results.files import NO_FILE, Damaged

CHUNKS, WORK = "chunks", "work"  # names of folders
CURVES = re.compile(r"chunk-(\d{5,6})-segment-(\d{6,7})\.parquet")
SNAPSHOTS = re.compile(r"chunk-(\d{5,6})-segment-(\d{6,7})\.safetensors")
COMPACT = re.compile(r"(curves|snapshots|summary)-([0-9a-f]{12})\.(parquet|safetensors)")
KINDS = {"curves": CURVES, "snapshots": SNAPSHOTS}
ATTEMPT = re.compile(r"[0-9a-f]{12}")
GROUP, HOME = re.compile(r"\d{3}"), re.compile(r"\d{6}")


def is_flat(out: Path) -> bool:
    """Whether the files of all chunks lie side by side: a directory up to format 5, an attempt's, or a replay's."""
    return not (out / CHUNKS).is_dir()


def curves_file(out: Path, chunk: int, segment: int) -> Path:
    """Where files lie flat: records of the segments up to this one, from the file before on."""
    return out / "curves" / f"chunk-{chunk:05d}-segment-{segment:06d}.parquet"


def snapshots_file(out: Path, chunk: int, segment: int) -> Path:
    """Where files lie flat: snapshots taken in the segments up to this one, from the file before on."""
    return out / "snapshots" / f"chunk-{chunk:05d}-segment-{segment:06d}.safetensors"


def home_of(out: Path, chunk: int) -> Path:
    return out / CHUNKS / f"{chunk // 1000:03d}" / f"{chunk:06d}"


def compact_file(home: Path, kind: str, attempt: str) -> Path:
    """The one file of this kind (curves, snapshots, summary) of an attempt that has ended."""
    suffix = ".safetensors" if kind == "snapshots" else ".parquet"
    return home / f"{kind}-{attempt}{suffix}"


def homes(out: Path) -> Iterator[tuple[int, Path]]:
    """(chunk, home) of all chunks that were begun, in order. Raises Damaged where one is a link."""
    for group in _folders(out / CHUNKS, GROUP):
        for home in _folders(group, HOME):
            yield int(home.name), home


@dataclass(frozen=True)
class Home:
    """A chunk that was begun, as one look at its home found it. commit: of the attempt that counts, once one does."""

    chunk: int
    path: Path
    commit: Commit | None


def survey(out: Path) -> list[Home]:
    """All chunks that were begun, in order: a command that asks several things of them looks once. Raises Damaged."""
    return [Home(chunk, home, read_commit(home)) for chunk, home in homes(out)]


def homes_of(out: Path, chunks: int | Collection[int]) -> list[Home]:
    """Those of some chunks, in order, whether they were begun or not. Raises Damaged."""
    wanted = [chunks] if isinstance(chunks, int) else sorted(chunks)
    paths = [home_of(out, chunk) for chunk in wanted]
    return [Home(chunk, path, read_commit(path)) for chunk, path in zip(wanted, paths, strict=True)]


def attempts(home: Path) -> list[Path]:
    """The folders of the attempts at a chunk that have not ended."""
    return _folders(home / WORK, ATTEMPT)


def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if name.fullmatch(entry.name):
                if not entry.is_dir(follow_symlinks=False):
                    raise Damaged(folder / entry.name, NO_FILE)
                found.append(entry.name)
    return [folder / name for name in sorted(found)]


def furthest(home: Path) -> Path | None:
    """The attempt at a chunk that has recorded most, of those that have not ended. All have the same bits."""
    tries = attempts(home)
    return max(tries, key=lambda folder: (last_segment(folder), folder.name)) if tries else None


def last_segment(folder: Path) -> int:
    """The newest segment of which there are records where files lie flat; -1: none."""
    return max(map(segment_of, curves_files(folder)), default=-1)


def curves_files(
    out: Path, chunks: int | Collection[int] | None = None, seen: Sequence[Home] | None = None
) -> list[Path]:
    """All curve files that count, or those of some chunks, by chunk and segment. seen: by a `survey` of a moment ago.
    Raises Damaged."""
    return _files(out, "curves", chunks, seen)


def snapshots_files(out: Path, chunks: int | Collection[int] | None = None) -> list[Path]:
    return _files(out, "snapshots", chunks)


def _files(
    out: Path, kind: str, chunks: int | Collection[int] | None, seen: Sequence[Home] | None = None
) -> list[Path]:
    if is_flat(out):
        return _flat(out, kind, {chunks} if isinstance(chunks, int) else chunks)
    if seen is None:
        seen = survey(out) if chunks is None else homes_of(out, chunks)
    return [path for home in seen for path in _files_at_home(home, kind)]


def _files_at_home(home: Home, kind: str) -> list[Path]:
    if home.commit is None:
        folder = furthest(home.path)
        return [] if folder is None else _flat(folder, kind, {home.chunk})
    path = compact_file(home.path, kind, home.commit.attempt)
    if path.name not in home.commit.files:
        return []
    try:
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if not fetch_missing(home.path.parents[2], path):
            raise Damaged(path, "it is missing") from None
        is_file = True
    if not is_file:
        raise Damaged(path, NO_FILE)
    return [path]


def _flat(out: Path, kind: str, wanted: Collection[int] | None) -> list[Path]:
    folder, pattern, found = out / kind, KINDS[kind], []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and (wanted is None or int(match[1]) in wanted):
                if not entry.is_file(follow_symlinks=False):
                    raise Damaged(folder / entry.name, NO_FILE)
                found.append((int(match[1]), int(match[2]), folder / entry.name))
    return [path for _, _, path in sorted(found)]


def is_compact(path: Path) -> bool:
    """Whether a file holds all segments of a chunk that has ended."""
    return COMPACT.fullmatch(path.name) is not None


def chunk_of(path: Path) -> int:
    """Of a file of curves or snapshots."""
    return int(path.parent.name) if is_compact(path) else int(path.name.split("-")[1])


def segment_of(path: Path) -> int:
    """The last of a file where files lie flat."""
    return int(path.stem.rsplit("-", 1)[1])
