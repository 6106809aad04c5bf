"""One process at a time trains in a results directory. The lock is the operating system's: it ends with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "lock"


class Locked(Exception):
    """Another process trains in the directory."""


@contextmanager
def locked(out: Path, does: str = "trains") -> Iterator[None]:
    """Hold the directory's lock. Raises Locked, naming host and process of who does, and what."""
    descriptor = os.open(out / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"{out}: {_holder(out)} {does} there; wait for it, or stop it first") from None
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)  # empty: nobody


def _holder(out: Path) -> str:
    try:
        told = json.loads((out / NAME).read_text(encoding="utf-8"))
        return f"process {int(told['process'])} on host {str(told['host'])[:80]!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
