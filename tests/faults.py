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
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killed(BaseException):
    """What a killed process would not live to see."""


@dataclass
class Fault:
    folder: str
    at: int | None  # the event that is not reached; None counts only
    seen: int = 0
    dead: bool = False

    def event(self, name: str, arguments: tuple) -> None:
        if not self._is_ours(name, arguments):
            return
        if not self.dead:
            self.dead = self.at is not None and self.seen >= self.at
            self.seen += 1
        if self.dead:
            raise Killed(f"{name} {arguments}")

    def _is_ours(self, name: str, arguments: tuple) -> bool:
        if name == "open":
            path, _, flags = arguments
            return isinstance(flags, int) and bool(flags & WRITES) and self._is_inside(path)
        return name in EVENTS and any(self._is_inside(path) for path in arguments)

    def _is_inside(self, path: object) -> bool:
        if not isinstance(path, (str, os.PathLike)):
            return False
        full = os.path.abspath(path)
        return full.startswith(self.folder) and not ORBAX.search(full)


_armed: list[Fault] = []
_hooked = False


def _hook(name: str, arguments: tuple) -> None:
    for fault in _armed:
        if name == "open" or name in EVENTS:
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
