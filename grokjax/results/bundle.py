"""A results directory as one file for a colleague: unpacked, it is a results directory again."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.results.chunks import ends_of
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.commits import as_json, read_commit
from grokjax.results.continued import continued
from grokjax.results.files import check_place, digest_file, read_sealed, view_digest, write_json, write_whole
from grokjax.results.layout import CHUNKS, compact_file, curves_files, is_compact, snapshots_files
from grokjax.results.left_out import END, FORMAT, NAME, NONE, SNAPSHOTS
from grokjax.results.lock import NAME as LOCK
from grokjax.results.lock import holder
from grokjax.results.read import Results
from grokjax.results.segment import Snapshots
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.snapshots import StoredSnapshot, check_snapshots, read_row, write_snapshots

ENDINGS = (".tar.gz", ".zip")
APART = ("checkpoints", "replays", "wandb")  # folders that stay behind
README = "README.txt"
TEXT = """\
{name}: {runs} runs, trained with grokjax.

Unpacked, this folder is a results directory:

  import grokjax
  results = grokjax.open_results("{folder}")
  results.runs()    # a row a run: its values, outcome, steps of fit and generalization
  results.curves()  # losses, accuracies and norms over steps

or on the command line: grokjax status {folder}; grokjax report {folder}; grokjax verify {folder}
{left_out}"""
Members = dict[str, bytes]  # name -> what is in it


@dataclass(frozen=True)
class Bundle:
    """What was packed. parts: name -> (files, bytes), before they were compressed; left_out: what was not, in words."""

    path: Path
    parts: dict[str, tuple[int, int]]
    left_out: tuple[str, ...]


def write_bundle(results: Results, out: str | Path | None = None, snapshots: str = END) -> Bundle:
    """Pack what was recorded, and what was made of it; equal directories are packed to equal bytes.

    out: the file, .tar.gz or .zip; default NAME.tar.gz in the working directory. snapshots: `end` (of each run), `all`
    or `none`. Every file is checked on the way. Raises ValueError for another ending or choice, where the file exists,
    and while a process trains there; Damaged.
    """
    source = results.path
    folder = source.resolve().name
    path = Path(out) if out is not None else Path(f"{folder}{ENDINGS[0]}")
    _check(source, path, snapshots)
    results.runs()  # so that the tables are there
    parts = {
        "sweep and plan": {name: (source / name).read_bytes() for name in ("plan.json", "sweep.yaml")}
        | {f"{SHARDS}/{shard.name}": (source / SHARDS / shard.name).read_bytes() for shard in results.manifest.shards},
        "curves": {_name(source, file): read_sealed(file) for file in curves_files(source)},
        "tables": {
            name: read_sealed(source / name) for name in ("runs.parquet", "events.parquet") if (source / name).exists()
        },
        "snapshots": dict(_snapshots(results, snapshots)),
        "figures, report and other views": dict(_views(source)),
    }
    parts["ended chunks"] = dict(_commits(source, parts["curves"] | parts["snapshots"]))
    packed = {name for members in parts.values() for name in members}
    left_out = tuple(_left_out(source, packed, snapshots))
    told = "".join(f"\nLeft out: {what}.\n" for what in left_out)
    text = TEXT.format(name=results.manifest.name, runs=len(results.run_ids), folder=folder, left_out=told)
    parts["about it"] = _about(text, snapshots, left_out)
    written = int(max(file.stat().st_mtime for file in (source / "plan.json", *curves_files(source))))
    members = {f"{folder}/{name}": data for part in parts.values() for name, data in sorted(part.items())}
    pack = _as_zip if path.name.endswith(ENDINGS[1]) else _as_tar
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: pack(temporary, members, written))
    sizes = {name: (len(part), sum(map(len, part.values()))) for name, part in parts.items() if part}
    return Bundle(path, sizes, left_out)


def _check(source: Path, path: Path, snapshots: str) -> None:
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"{path}: a bundle ends in {' or '.join(ENDINGS)}")
    if snapshots not in SNAPSHOTS:
        raise ValueError(f"--snapshots must be {', '.join(SNAPSHOTS)}, got {snapshots!r}")
    check_place(path)
    if path.exists():
        raise ValueError(f"{path} exists; remove it, or give another --out")
    who = holder(source)
    if who:
        raise ValueError(f"{source}: {who} trains there; wait for it, or stop it first")


def _snapshots(results: Results, kept: str) -> Iterator[tuple[str, bytes]]:
    """Files of snapshots with those rows that are kept; and of all choices those that a run with more steps goes on
    from, without which its curve has no beginning."""
    needed = {(row.run_id, row.step) for row in continued(results.path, results.manifest).values()}
    if kept == END:
        needed |= {(run_id, end["step"]) for of in ends_of(results.path).values() for run_id, end in of.items()}
    for file in snapshots_files(results.path):
        rows = check_snapshots(file).rows
        chosen = [row for row in rows if kept == "all" or (row.run_id, row.step) in needed]
        if len(chosen) == len(rows):
            yield _name(results.path, file), file.read_bytes()
        elif chosen:
            yield _name(results.path, file), _rows_as_file(file.name, chosen)


def _name(source: Path, file: Path) -> str:
    return file.relative_to(source).as_posix()


def _commits(source: Path, packed: Members) -> Iterator[tuple[str, bytes]]:
    """The commits of chunks that have ended, of their files as they are packed, and what was derived of them."""
    for home in (path.parent for path in curves_files(source) if is_compact(path)):
        commit = read_commit(home)
        assert commit
        files = {file: packed.get(_name(source, home / file)) for file in commit.files}
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items() if data is not None}
        record = as_json(replace(commit, files=digests))
        yield _name(source, home / COMMIT), _written(COMMIT, partial(write_json, value=record))
        summary = compact_file(home, "summary", commit.attempt)
        if summary.exists():
            yield _name(source, summary), read_sealed(summary)


def _rows_as_file(name: str, rows: list[StoredSnapshot]) -> bytes:
    states = [read_row(row) for row in rows]
    part = Snapshots(
        run_ids=tuple(row.run_id for row in rows),
        step=np.array([row.step for row in rows]),
        end=np.array([row.end for row in rows]),
        held=np.array([row.held for row in rows]),
        finite=np.array([row.finite for row in rows]),
        loss_max=np.array([row.loss_max for row in rows]),
        state={key: np.stack([state[key] for state in states]) for key in states[0]},
    )
    return _written(name, lambda path: write_snapshots(path, [part]))


def _written(name: str, write: Callable[[Path], Any]) -> bytes:
    """What `write` makes of a file of this name, which its seal is of."""
    with tempfile.TemporaryDirectory(prefix="grokjax-bundle-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _views(source: Path) -> Iterator[tuple[str, bytes]]:
    """Pictures, pages and tables for people, with their checksums."""
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        if parts[0] not in APART and path.is_file() and not path.is_symlink() and digest_file(path).is_file():
            yield "/".join(parts), path.read_bytes()
            yield "/".join((*parts[:-1], digest_file(path).name)), digest_file(path).read_bytes()


def _left_out(source: Path, packed: set[str], snapshots: str) -> Iterator[str]:
    """In words, what of the directory is not in the bundle."""
    if snapshots == END and snapshots_files(source):
        yield "snapshots before the end of each run (they are in with --snapshots all)"
    elif snapshots == NONE and snapshots_files(source):
        yield "snapshots, so that there are no parameters"
    others = 0
    counts: dict[str, int] = dict.fromkeys(APART, 0)
    for path in source.rglob("*"):
        parts = path.relative_to(source).parts
        if path.is_dir() and not path.is_symlink():
            continue
        apart = next((name for name in APART if name in parts[:-1]), None)
        if apart:
            counts[apart] += 1
        elif "/".join(parts) not in packed and parts[0] not in (CHUNKS, "snapshots", LOCK):
            others += 1
    yield from (f"{name}/ ({_files(count)})" for name, count in counts.items() if count)
    if others:
        yield f"{_files(others)} that grokjax did not write"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _about(text: str, snapshots: str, left_out: tuple[str, ...]) -> Members:
    """The page on how to open it, and what `verify` is to know."""
    told = {"format": FORMAT, "snapshots": snapshots, "left_out": list(left_out)}
    with tempfile.TemporaryDirectory(prefix="grokjax-bundle-") as folder:
        readme = Path(folder) / README
        readme.write_text(text, encoding="utf-8")
        digest = view_digest(readme).encode()
    marker = _written(NAME, lambda path: write_json(path, told))
    return {README: text.encode(), digest_file(Path(README)).name: digest, NAME: marker}


def _as_tar(path: Path, members: Members, written: int) -> None:
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=written) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), written, 0o644
            archive.addfile(info, io.BytesIO(data))


def _as_zip(path: Path, members: Members, written: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, time.gmtime(max(written, 315532800))[:6])  # a zip knows no year before 1980
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, data)
