"""Entering a results directory to train in it: its lock, its machine, and where a chunk goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from grokjax.plan.plan import Chunk, Device
from grokjax.results.checkpoints import Checkpoints, chunk_folder
from grokjax.results.chunks import ends_of, metas_of
from grokjax.results.files import PART, check_folder
from grokjax.results.layout import CHUNKS
from grokjax.results.lock import NAME, locked
from grokjax.results.manifest import refuse_links
from grokjax.results.segment import Segment
from grokjax.results.shards import FOLDER as SHARDS
from grokjax.results.workers import SLURM
from grokjax.results.write import DirectoryWriter, drop_after
from grokjax.spec.identity import program_key
from grokjax.sweep.load import Mistake, SweepError


@contextmanager
def enter(out: Path, sweep: str = "") -> Iterator[None]:
    """Hold a results directory, made if it is new. Raises SweepError if it is something else, and Locked.

    sweep: the file that is trained there, if it is one.
    """
    if out.is_symlink() and not out.exists():
        what = f"is a link to {os.readlink(out)}, which is not there; make that folder, or give another --out"
        raise SweepError([Mistake(str(out), 0, 0, "", what)])
    if out.exists() and not out.is_dir():
        raise SweepError([Mistake(str(out), 0, 0, "", "is a file; give another --out")])
    if out.is_dir() and not (out / "plan.json").exists() and not all(map(_is_of_a_beginning, out.iterdir())):
        raise SweepError([Mistake(str(out), 0, 0, "", "exists and is no results directory; give another --out")])
    try:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        refuse_links(out)
    except ValueError as error:
        raise SweepError([Mistake(str(out), 0, 0, "", str(error))]) from None
    with locked(out, sweep=sweep):
        yield


def _is_of_a_beginning(path: Path) -> bool:
    """Whether a kill before the plan was written can have left this."""
    is_empty_folder = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    is_part = bool(PART.fullmatch(path.name)) or path.name in (NAME, SLURM, SHARDS)
    return is_part or (path.name == CHUNKS and is_empty_folder)


def remove_parts(out: Path) -> None:
    """Remove what a kill left half written where files lie flat. To be called in a directory that is held."""
    for folder in (out, out / SHARDS, out / "curves", out / "snapshots", *(out / "checkpoints").glob("chunk-*")):
        for path in folder.glob(".*.part"):
            path.unlink()


def check_machine(out: Path, machines: Sequence[Device], here: Device, allowed: bool) -> list[Device]:
    """The machines with this one, if it is another. Raises SweepError unless that is allowed."""
    last = machines[-1]
    if (last.text, last.platform) == (here.text, here.platform):
        return list(machines)
    if not allowed:
        what = (
            f"was trained on {last.text}; here is {here.text}. To go on here all the same give --other-device: lanes "
            "stay as planned and nothing is trained twice, but bits are no longer those of an uninterrupted sweep"
        )
        raise SweepError([Mistake(str(out), 0, 0, "", what)])
    return [*machines, here]


@contextmanager
def resume(
    out: Path, chunk: Chunk, tell: Callable[[Segment], None] | None, say: Callable[[str], None]
) -> Iterator[tuple[DirectoryWriter, dict[str, np.ndarray] | None]]:
    """The writer of a chunk, and what its newest checkpoint stored, if there is one. Records past it are dropped; when
    the chunk is finished its checkpoints are too."""
    checkpoints = Checkpoints(out, chunk.index, stamp_of(chunk), say)
    loaded = checkpoints.newest()
    recorded = {meta["last"] for meta in metas_of(out, chunk.index)} if loaded else set()
    if loaded and loaded[0] not in recorded:
        say(f"chunk {chunk.index}: the records before its checkpoint are not there, so it begins again")
        loaded = None
    segment, stored = loaded or (-1, None)
    drop_after(out, chunk.index, segment)
    checkpoints.tidy(segment if loaded else None)
    writer = DirectoryWriter(out, chunk.index, checkpoints, tell or (lambda segment: None))
    try:
        yield writer, stored
        checkpoints.finish()
    finally:
        checkpoints.close()
    if len(ends_of(out, chunk.index).get(chunk.index, {})) == len(chunk.runs):
        checkpoints.drop()


def stamp_of(chunk: Chunk) -> str:
    """Digest of what a chunk's checkpoints belong to: its runs, its lanes, its program."""
    bucket = chunk.bucket
    identity = {
        "runs": [run.run_id for run in chunk.runs],
        "program": program_key(bucket.spec),
        "width": bucket.width,
        "queue": bucket.queue,
        "schedule": asdict(bucket.schedule),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def drop_checkpoints(out: Path, chunk: int) -> None:
    """Remove those of a chunk that is finished: a kill may have left them."""
    if chunk_folder(out, chunk).exists():
        Checkpoints(out, chunk, "").drop()
