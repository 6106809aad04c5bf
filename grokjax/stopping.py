"""Ctrl-C and SIGTERM while a sweep trains: the first lets the segment finish, the second ends at once."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FIRST = "stopping after this segment; again to stop now"


class Interrupted(Exception):
    """Training was asked to stop (SIGINT or SIGTERM); what is recorded is whole, the same call goes on.

    out: the results directory. command: what goes on from a shell. name: as people name the directory, where that is
    not its path.
    """

    def __init__(self, out: Path, command: str, name: str = ""):
        self.out, self.command, self.name = out, command, name or str(out)
        super().__init__(f"what is recorded in {self.name} can be read, the same call goes on, as does: {command}")

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the way to here is nobody's concern."""
        return [f"Interrupted: {self}"]


@dataclass
class _Told:
    """Signals that the handler and the thread have had. Plain numbers: a handler may interrupt itself, which the lock
    within a `threading.Event` does not outlive."""

    handled: int = 0
    answered: int = 0

    def is_asked(self) -> bool:
        return self.handled + self.answered > 0


@contextmanager
def stop_on_signal(
    say: Callable[[str], None],
    leave: Callable[[], Any] | None = None,
    is_idle: Callable[[], bool] = lambda: False,
    once: Collection[int] = (),
) -> Iterator[Callable[[], bool]]:
    """Yields whether a stop was asked for, which `say` confirms.

    Python runs handlers between two of its own steps only, and compiling is one step of minutes; so a thread reads what
    the operating system delivers (`signal.set_wakeup_fd`), and answers at once. Outside of the main thread signals are
    left as they are.

    leave: what it does at the second signal, which must end the process; None: KeyboardInterrupt in the main thread, as
    soon as that can take it. is_idle: whether there is nothing to lose at this moment, so that the first signal leaves
    too. once: signals that count the first time only, as a batch system may send them twice.
    """
    told = _Told()
    if threading.current_thread() is not threading.main_thread():
        yield told.is_asked
        return

    def ask(number: int, _: Any) -> None:
        told.handled += 1
        if told.handled > 1 and leave is None:
            raise KeyboardInterrupt

    def answer() -> None:
        while received := reader.recv(1):
            if received[0] not in SIGNALS:
                continue
            told.answered += 1
            if told.answered == 1:
                say(FIRST)
            is_second = told.answered > 1 and received[0] not in once
            if leave is not None and (is_second or is_idle()):
                leave()

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    answering = threading.Thread(target=answer, name="grokjax-signals", daemon=True)
    answering.start()
    try:
        yield told.is_asked
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        answering.join()
        reader.close()
