"""Who is at work on which chunk, and what went wrong: notes for people, which nothing else depends on.

DIR/chunks/012/012345/work/ATTEMPT/progress.json    of an attempt: written whenever its records are
DIR/chunks/012/012345/failed.json                   why the last attempt ended that could not go on
DIR/stop                                            asks all workers to stop at the end of their segment
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from grokjax.results.bucket import bucket_of
from grokjax.results.files import Damaged, read_json, write_json
from grokjax.results.layout import Home, attempts, home_of, is_flat, survey

PROGRESS, FAILED, STOP = "progress.json", "failed.json", "stop"
SLURM = "slurm"  # the folder of job scripts and of what jobs print
OLD_SECONDS = 3600.0  # an attempt that wrote nothing for so long, beside one that goes on from it, is cleared away
SILENT_SECONDS = 120.0  # a worker that wrote nothing for so long is not counted as being at work


@dataclass(frozen=True)
class Seen:
    """A worker at a chunk. written: when it last wrote, as time.time()."""

    host: str
    process: int
    chunk: int
    run_steps: int
    written: float

    @property
    def text(self) -> str:
        return f"process {self.process} on {self.host}"


@dataclass(frozen=True)
class Failure:
    """Why an attempt at a chunk could not go on."""

    chunk: int
    host: str
    what: str


def note_progress(folder: Path, run_steps: int, is_at_work: bool = True) -> None:
    """Say that this process is at work in the folder of an attempt, or no longer. Raises FileNotFoundError where that
    is gone."""
    if run_steps and not (folder / PROGRESS).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    who = {"host": socket.gethostname(), "process": os.getpid()}
    write_json(folder / PROGRESS, who | {"at_work": is_at_work, "run_steps": run_steps})


def note_failure(out: Path, chunk: int, what: str) -> None:
    """Say why this process could not go on with a chunk, where that can be written."""
    home = home_of(out, chunk)
    if not is_flat(out) and home.is_dir():
        with suppress(OSError):
            write_json(home / FAILED, {"host": socket.gethostname(), "what": what})
            if bucket := bucket_of(out):
                bucket.put([(home / FAILED).relative_to(out).as_posix()], out)


def workers(out: Path, now: float | None = None, homes: Sequence[Home] | None = None) -> list[Seen]:
    """Those that wrote not long ago, by chunk. homes: as a `survey` of a moment ago found them."""
    now = time.time() if now is None else now
    return [seen for seen in _seen(_under_way(out, homes)) if now - seen.written < SILENT_SECONDS]


def _under_way(out: Path, homes: Sequence[Home] | None) -> list[Home]:
    return [home for home in (survey(out) if homes is None else homes) if home.commit is None]


def _seen(homes: Sequence[Home]) -> Iterator[Seen]:
    for home in homes:
        for folder in attempts(home.path):
            with suppress(OSError, Damaged, LookupError, TypeError, ValueError):
                told, written = read_json(folder / PROGRESS), (folder / PROGRESS).stat().st_mtime
                numbers = int(told["process"]), home.chunk, int(told["run_steps"])
                seen = Seen(str(told["host"])[:80], *numbers, written)
                if told["at_work"] and not _was_killed(seen):
                    yield seen


def _was_killed(seen: Seen) -> bool:
    """Whether it was a process of this host, and is gone."""
    if seen.host != socket.gethostname():
        return False
    try:
        os.kill(seen.process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        return False
    return False


def failures(out: Path, homes: Sequence[Home] | None = None) -> list[Failure]:
    """Of chunks that are not done. homes: as for `workers`."""
    found = []
    for home in _under_way(out, homes):
        with suppress(OSError, Damaged, LookupError):
            told = read_json(home.path / FAILED)
            found.append(Failure(home.chunk, str(told["host"])[:80], str(told["what"])[:500]))
    return found


def ask_to_stop(out: Path) -> None:
    (out / STOP).touch()
    if bucket := bucket_of(out):
        bucket.write(STOP, b"")


def is_asked_to_stop(out: Path) -> bool:
    return (out / STOP).exists()


def may_go_on(out: Path) -> None:
    """Take back what `ask_to_stop` said."""
    (out / STOP).unlink(missing_ok=True)
    if bucket := bucket_of(out):
        bucket.remove([STOP])
