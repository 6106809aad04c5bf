"""Faults that tests arm: a process that dies between two writes, or at any moment. Nothing of it is in the product.

Python reports every open, rename, remove, mkdir and rmdir to audit hooks, before it happens. From the armed one on,
all of them fail, as if the process had been killed there: not even clean-up code can touch the disk. What Orbax does in
a checkpoint's own folder is let through, since its threads would wait for each other for minutes; until the
checkpoint's listing is there it does not count. A process that really is killed there is `child.py`'s.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ORBAX = re.compile(r"/checkpoints/chunk-\d+/\d")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# event -> which of its arguments are a path that changes, and the open folder that the path is relative to
PATHS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "open": ((0, None),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}


class Killed(BaseException):
    """What a killed process would not live to see."""


def changed(folder: str, name: str, arguments: tuple) -> list[str]:
    """The paths inside `folder` that an audited event is about to make, change or remove."""
    if name not in PATHS or (name == "open" and not _is_write(arguments[2])):
        return []
    paths = [_full(arguments[at], None if of is None else arguments[of]) for at, of in PATHS[name]]
    return [path for path in paths if path and (path == folder or path.startswith(f"{folder}/"))]


def _is_write(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & WRITES)


def _full(path: object, folder: object) -> str | None:
    """The absolute path of what an event names, which may be an open file."""
    if isinstance(path, int):
        return _opened(path)
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(name):
        return os.path.join(_opened(folder) or "", name)
    return os.path.abspath(name)


def _opened(descriptor: int) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


@dataclass
class Fault:
    folder: str
    at: int | None  # the event that is not reached; None counts only
    seen: int = 0
    dead: bool = False

    def event(self, name: str, arguments: tuple) -> None:
        if all(ORBAX.search(path) for path in changed(self.folder, name, arguments)):
            return
        if not self.dead:
            self.dead = self.at is not None and self.seen >= self.at
            self.seen += 1
        if self.dead:
            raise Killed(f"{name} {arguments}")


_armed: list[Fault] = []
_hooked = False


def _hook(name: str, arguments: tuple) -> None:
    for fault in _armed:
        fault.event(name, arguments)


@contextmanager
def dies(folder: Path, at: int | None) -> Iterator[Fault]:
    """Inside, the process is dead for `folder` from its write number `at` on. Writes are counted."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    fault = Fault(str(folder.absolute()), at)
    _armed.append(fault)
    try:
        yield fault
    finally:
        _armed.remove(fault)
