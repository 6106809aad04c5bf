"""The results directories below a folder, each in a row: read, never computed, and whatever is broken is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grokjax.results.activity import QUEUED, STOPPED, TRAINING
from grokjax.results.chunks import ends_of
from grokjax.results.derived import stored_runs
from grokjax.results.files import Damaged
from grokjax.results.layout import CHUNKS, curves_files
from grokjax.results.lock import holder
from grokjax.results.manifest import read_manifest
from grokjax.sweep.load import SweepError

DEPTH = 4  # folders below the one that is listed
SIGNS = ("plan", CHUNKS, "curves", "checkpoints", "snapshots")  # of a results directory that has lost its plan


@dataclass(frozen=True)
class Entry:
    """One results directory. broken: why nothing else is known of it; "": it is whole as far as was read.

    going: what its other runs do: training, stopped or queued. generalized: how many did of those that ended, if
    runs.parquet tells.
    """

    path: Path
    written: float  # time of the newest file
    bytes: int
    broken: str = ""
    runs: int = 0
    ended: int = 0
    going: str = ""
    generalized: int | None = None


def catalog(folder: Path) -> list[Entry]:
    """The newest first. Raises ValueError where there is no such folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name the one that your results directories are in")
    entries = [_entry(path) for path in _results_below(folder, DEPTH)]
    return sorted(entries, key=lambda entry: -entry.written)


def _results_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
    except OSError:  # it may not be read, so it is none of this user's
        return
    if "plan.json" in names or sum(names.get(sign, False) for sign in SIGNS) > 1:
        yield folder
    elif depth:
        for name, is_folder in sorted(names.items()):
            if is_folder and not name.startswith("."):
                yield from _results_below(folder / name, depth - 1)


def _entry(path: Path) -> Entry:
    written, size = _newest_and_size(path)
    try:
        manifest, tables = read_manifest(path), stored_runs(path, ["run_id", "status", "generalization_step"])
        if tables is not None:
            ended = tables["status"].isin(["ended", "diverged"])
            count, generalized = int(ended.sum()), int(tables["generalization_step"][ended].notna().sum())
            began = bool((tables["status"] == "running").any())
        else:
            ends = ends_of(path)
            done = {run_id for of in ends.values() for run_id in of}
            count, generalized = len(done.intersection(manifest.run_ids)), None
            began = any(len(of) < len(manifest.chunks[chunk].run_ids) for chunk, of in ends.items())
        if curves_files(path):
            written = max(file.stat().st_mtime for file in curves_files(path))
    except (SweepError, Damaged, OSError, LookupError) as error:
        return Entry(path, written, size, broken=_reason(path, error))
    going = TRAINING if holder(path) else STOPPED if began else QUEUED
    total = len(manifest.run_ids)
    return Entry(path, written, size, "", total, count, going if count < total else "", generalized)


def _reason(path: Path, error: Exception) -> str:
    """In one line, without the path that stands before it."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    for start in (str(path / "plan.json"), str(path)):
        line = line.removeprefix(f"{start}: ").removeprefix(f"{start} ")
    return line


def _newest_and_size(path: Path) -> tuple[float, int]:
    newest, size = 0.0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                stat = os.lstat(os.path.join(folder, name))
            except OSError:  # gone since
                continue
            newest, size = max(newest, stat.st_mtime), size + stat.st_size
    return newest, size
