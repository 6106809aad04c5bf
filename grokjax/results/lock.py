"""One process at a time trains in a results directory. The lock is the operating system's: it ends with its holder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAME = "lock"
MOST_TOLD = 10_000  # characters
# of file systems that know no locks: two processes then train side by side, and the first to commit a chunk counts
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
TRIES, PAUSE = 3, 0.01  # `holder` holds the lock too, for an instant


class Locked(Exception):
    """Another process trains in the directory."""


@contextmanager
def locked(out: Path, does: str = "trains", sweep: str = "") -> Iterator[None]:
    """Hold the directory's lock. Raises Locked, naming host and process of who does, and what.

    sweep: the file that is trained, which stays in the lock for who asks later.
    """
    descriptor = os.open(out / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "a+", encoding="utf-8") as lock:
        if not _hold(descriptor):
            raise Locked(f"{out}: {_told_holder(out)} {does} there; wait for it, or stop it first")
        file_trained = sweep or trained_file(out)
        kept = {"sweep": file_trained} if file_trained else {}
        _tell(lock, {"host": socket.gethostname(), "process": os.getpid()} | kept)
        try:
            yield
        finally:
            _tell(lock, kept)  # no process: nobody


def holder(out: Path) -> str | None:
    """`process 12 on host 'a'`, that trains in the directory now; None: nobody does."""
    if "process" not in _told(out):
        return None
    try:
        descriptor = os.open(out / NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _told_holder(out)
    except OSError:  # there are no locks, so who wrote it may be at work or not
        return None
    finally:
        os.close(descriptor)
    return None  # who wrote it was killed


def trained_file(out: Path) -> str:
    """The sweep file that the directory was last trained from; "" where that is not known."""
    file = _told(out).get("sweep", "")
    return file if isinstance(file, str) and file.isprintable() else ""


def _hold(descriptor: int) -> bool:
    for attempt in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(PAUSE * (attempt < TRIES - 1))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return True
    return False


def _tell(file: Any, told: dict[str, Any]) -> None:
    file.truncate(0)
    file.write(json.dumps(told) if told else "")
    file.flush()


def _told(out: Path) -> dict[str, Any]:
    try:
        with (out / NAME).open(encoding="utf-8") as file:
            told = json.loads(file.read(MOST_TOLD))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _told_holder(out: Path) -> str:
    told = _told(out)
    try:
        return f"process {int(told['process'])} on host {str(told['host'])[:80]!r}"
    except (ValueError, KeyError, TypeError):
        return "another process"
