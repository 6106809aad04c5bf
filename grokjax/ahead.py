"""Threads that compile the next buckets' programs while the chunks of this one train."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grokjax.plan.plan import Chunk

if TYPE_CHECKING:
    from grokjax.engine.loop import Program

THREAD = "grokjax-ahead"
LOOK_SECONDS = 0.1  # from one look at whether to stop to the next

Coming = Callable[[int], "tuple[int, Callable[[], Chunk]] | None"]


@dataclass
class Ahead:
    """The program of a bucket that comes later.

    An error is forgotten here: what reaches the bucket compiles it again, and meets the error where it can be told.
    """

    program: Program | None = None
    thread: threading.Thread | None = None

    def begin(self, make: Callable[[], Program]) -> None:
        """Compile what `make` returns, in a thread. Only the end of the interpreter waits for it: XLA would not survive
        that."""

        def compile_it() -> None:
            with suppress(Exception):
                self.program = make()

        self.thread = threading.Thread(target=compile_it, name=THREAD, daemon=True)
        self.thread.start()
        atexit.register(self.thread.join)

    def is_busy(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def take(self, stop: Callable[[], bool]) -> Program | None:
        """The program, which is waited for; None where it could not be made, or an end was asked for before."""
        if self.thread is None:
            return None
        while self.is_busy() and not stop():
            self.thread.join(LOOK_SECONDS)
        if self.is_busy():
            return None
        atexit.unregister(self.thread.join)
        program, self.program = self.program, None
        return program


def leave_what_compiles(status: int | str | None) -> None:
    """End the process at once where it would wait for what is compiled ahead, which nobody will call."""
    if any(thread.name == THREAD for thread in threading.enumerate()) and not isinstance(status, str):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)
