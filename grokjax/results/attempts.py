"""A process's try at a chunk: begun where another one stopped, and committed unless another was first.

Nothing is locked: who trains a chunk writes only into a folder of its own, and `done.json` can be created once. So any
number of processes, on any hosts that see the directory, may try the same chunk; all come to the same bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grokjax.plan.plan import Chunk
from grokjax.results.checkpoints import Checkpoints, check_checkpoint
from grokjax.results.chunks import ends_of, metas_of
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.commits import Commit, read_commit
from grokjax.results.compact import compact, sha256_of
from grokjax.results.directory import remove_parts, resume, stamp_of
from grokjax.results.files import LEFT, NO_FILE, Damaged, discard, flush, link_or_copy, remove, remove_what_can_be
from grokjax.results.layout import (
    COMPACT,
    WORK,
    attempts,
    compact_file,
    curves_files,
    home_of,
    homes,
    is_flat,
    segment_of,
    snapshots_files,
)
from grokjax.results.segment import Segment
from grokjax.results.shipping import publish, shipping
from grokjax.results.workers import FAILED, OLD_SECONDS, PROGRESS, note_progress
from grokjax.results.write import DirectoryWriter

Say = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """folder: its own. stored: what the checkpoint that it goes on from has, if there is one."""

    chunk: Chunk
    folder: Path
    writer: DirectoryWriter
    stored: dict[str, np.ndarray] | None


class Overtaken(Exception):
    """The folder of an attempt is gone: another one has committed, or has cleared it away as dead."""


@contextmanager
def attempt(out: Path, chunk: Chunk, tell: Callable[[Segment], None] | None, say: Say) -> Iterator[Attempt]:
    """Begin to train a chunk, from the newest checkpoint that there is of it. In a directory up to format 5, which has
    a place for one attempt only, the files lie there. Raises Overtaken."""
    try:
        folder = out if is_flat(out) else _begin(out, chunk, say)
    except FileNotFoundError as error:
        if read_commit(home_of(out, chunk.index)) is None:
            raise
        raise Overtaken(f"chunk {chunk.index}: another process was first") from error
    try:
        with (
            shipping(out, folder, chunk.index, say) as ship,
            resume(folder, chunk, tell, say) as (writer, stored),
        ):
            if folder != out:
                writer.note = _noting(folder, ship)
            try:
                yield Attempt(chunk, folder, writer, stored)
            finally:
                if is_there(folder, out) and folder != out:
                    with suppress(OSError):  # what went wrong is told by what is being raised
                        note_progress(folder, writer.run_steps, is_at_work=False)
    except Exception as error:  # a folder that vanishes is no file, no records, or no place to write to
        if is_there(folder, out):
            raise
        raise Overtaken(f"chunk {chunk.index}: another process was first") from error


def _noting(folder: Path, ship: Callable[[], None]) -> Callable[[int], None]:
    """What the writer calls when records are on disk."""

    def note(run_steps: int) -> None:
        note_progress(folder, run_steps)
        ship()

    return note


def is_there(folder: Path, out: Path) -> bool:
    """Whether an attempt's folder is the one that was made: another attempt may have cleared it away, and Orbax have
    made one anew for what it was writing. Where all of `out` has vanished, that is another matter."""
    return folder == out or not out.is_dir() or (folder / PROGRESS).exists()


def is_done(out: Path, chunk: Chunk) -> bool:
    """Whether all runs of a chunk have ended. Raises Damaged."""
    if is_flat(out):
        return len(ends_of(out, chunk.index).get(chunk.index, {})) == len(chunk.runs)
    return read_commit(home_of(out, chunk.index)) is not None


def done_chunks(out: Path) -> set[int]:
    """The chunks that have a commit."""
    return {chunk for chunk, home in homes(out) if read_commit(home) is not None}


def commit(out: Path, attempt: Attempt, device: str, summarize: Callable[[Path], None]) -> bool:
    """Make an attempt whose runs have all ended the chunk's: its files as one of each kind, then the record of that.

    summarize: writes the file that it is given. Returns False where another attempt was first: then nothing is left of
    this one. Raises Overtaken.
    """
    if attempt.folder == out:
        return True
    home, token = attempt.folder.parents[1], attempt.folder.name
    try:
        paths = compact(attempt.folder, home, attempt.chunk.index)
        summarize(compact_file(home, "summary", token))
        record = _record(attempt, device, paths)
        is_first = publish(out, home, record)
    except Exception as error:
        committed = read_commit(home)  # its owner clears our files away before our folder
        if committed.attempt == token if committed else is_there(attempt.folder, out):
            raise
        remove_compact(home, token)
        discard(attempt.folder)
        raise Overtaken(f"chunk {attempt.chunk.index}: another process was first") from error
    if not is_first:
        remove_compact(home, token)
        discard(attempt.folder)
        return False
    tidy_home(home)
    return True


def _record(attempt: Attempt, device: str, paths: list[Path]) -> Commit:
    metas = metas_of(attempt.folder, attempt.chunk.index)
    ends = {end["run_id"]: end for meta in metas for end in meta["ends"]}
    run_ids = tuple(run.run_id for run in attempt.chunk.runs)
    return Commit(
        chunk=attempt.chunk.index,
        attempt=attempt.folder.name,
        device=device,
        last=metas[-1]["last"],
        run_steps=sum(meta["run_steps"] for meta in metas),
        lane_steps=sum(meta["lane_steps"] for meta in metas),
        metrics=tuple(dict.fromkeys(name for meta in metas for name in meta["metrics"])),
        run_ids=run_ids,
        steps=tuple(ends[run_id]["step"] for run_id in run_ids),
        diverged={run_id: ends[run_id]["matrix"] for run_id in run_ids if ends[run_id]["diverged"]},
        files={path.name: sha256_of(path) for path in paths},
    )


def _begin(out: Path, chunk: Chunk, say: Say) -> Path:
    """A new folder for an attempt, with what the furthest other one had when it wrote its newest intact checkpoint."""
    home = home_of(out, chunk.index)
    for folder in (home.parent, home, home / WORK):
        _make_folder(folder)
    others = attempts(home)
    for _, other in sorted(_checkpointed(others, chunk), reverse=True):
        with suppress(FileNotFoundError):  # its owner tidies there at this moment, or has committed
            segment = _newest_intact(other, chunk, say)
            if segment is not None:
                mine = _new_folder(home)
                try:
                    _take_over(other, mine, chunk.index, segment)
                except FileNotFoundError:
                    discard(mine)
                    raise
                _clear_old(others, mine)
                return mine
    return _new_folder(home)


def _make_folder(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Damaged(folder, NO_FILE)
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def _new_folder(home: Path) -> Path:
    """With the note by which it is known, from its first moment on: see `is_there`."""
    folder = home / WORK / secrets.token_hex(6)
    folder.mkdir()
    note_progress(folder, 0)
    flush(folder.parent)
    return folder


def _checkpointed(others: list[Path], chunk: Chunk) -> list[tuple[int, Path]]:
    """(segment of the newest checkpoint, attempt) of those that have one."""
    found = [(furthest_checkpoint(other, chunk.index), other) for other in others]
    return [(segment, other) for segment, other in found if segment >= 0]


def furthest_checkpoint(folder: Path, chunk: int) -> int:
    """The segment of the newest checkpoint of an attempt; -1: it has none."""
    return max(Checkpoints(folder, chunk, "").segments(), default=-1)


def _newest_intact(other: Path, chunk: Chunk, say: Say) -> int | None:
    checkpoints = Checkpoints(other, chunk.index, stamp_of(chunk))
    recorded = {segment_of(path) for path in curves_files(other, chunk.index)}
    for segment in reversed(checkpoints.segments()):
        try:
            check_checkpoint(checkpoints.folder, segment, checkpoints.stamp)
        except Damaged as damage:
            say(f"{damage}; the checkpoint before it is used, if there is one")
            continue
        if segment in recorded:
            return segment
        say(f"chunk {chunk.index}: the records before its checkpoint are not there, so it is not used")
    return None


def _take_over(other: Path, mine: Path, chunk: int, segment: int) -> None:
    """Give `mine` the files that count up to a checkpoint: under the same names, and the same files on disk."""
    checkpoint = Checkpoints(other, chunk, "").folder
    target = Checkpoints(mine, chunk, "").folder
    for name in ("curves", "snapshots", "checkpoints"):
        (mine / name).mkdir()
    target.mkdir()
    for path in [*curves_files(other, chunk), *snapshots_files(other, chunk)]:
        if segment_of(path) <= segment:
            link_or_copy(path, mine / path.parent.name / path.name)
    _link_tree(checkpoint / str(segment), target / str(segment))
    listing = f"segment-{segment:06d}.json"
    link_or_copy(checkpoint / listing, target / listing)
    for folder in (mine / "curves", mine / "snapshots", target / str(segment), target, target.parent, mine):
        flush(folder)


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir()
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            _link_tree(entry, target / entry.name)
        else:
            link_or_copy(entry, target / entry.name)


def _clear_old(others: list[Path], mine: Path) -> None:
    """Remove attempts that are dead by all signs, so that many kills do not fill a disk. One that was only asleep finds
    its folder gone, and goes on from ours: nothing depends on these times being right."""
    now = mine.stat().st_mtime
    for other in others:
        with suppress(FileNotFoundError):
            newest = max(path.stat().st_mtime for path in (other, *other.iterdir()))
            if now - newest > OLD_SECONDS:
                discard(other)


def tidy_home(home: Path) -> None:
    """Remove what does not count of a chunk that is done: attempts, and what lost or was killed on the way."""
    committed = read_commit(home)
    assert committed
    for path in home.iterdir():
        match = COMPACT.fullmatch(path.name)
        if path.name == WORK:
            discard(path)
        elif path.name.startswith(LEFT):
            remove_what_can_be(path)
        elif path.name == FAILED or (match and match[2] != committed.attempt) or path.name.endswith(".part"):
            path.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove what kills have left: parts of files, and in homes of chunks that are done all that does not count. To be
    called in a directory that is held."""
    remove_parts(out)
    for _, home in homes(out):
        names = {path.name for path in home.iterdir()}
        committed = read_commit(home)
        if committed and not names <= {COMMIT, *committed.files, compact_file(home, "summary", committed.attempt).name}:
            tidy_home(home)


def remove_compact(home: Path, token: str) -> None:
    for kind in ("curves", "snapshots", "summary"):
        compact_file(home, kind, token).unlink(missing_ok=True)


def forget(out: Path, chunk: int) -> None:
    """Remove all that is there of a chunk, its commit first: it is to be trained again."""
    home = home_of(out, chunk)
    (home / COMMIT).unlink(missing_ok=True)
    if home.is_dir():
        flush(home)
    remove(home)
