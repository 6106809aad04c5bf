"""How far long work is, for who wants to know: a command that shows it on a terminal. Nobody listens otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[str, int, int], None]  # (what there are many of, how many are done, how many there are)

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside, the listener is told of every step of long work."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def follow(
    items: Iterable[Item], what: str, total: int, count: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """The items, telling how far one is through them. count: how many of the total an item is."""
    done = 0
    for item in items:
        yield item
        done += count(item)
        listener = _listener.get()
        if listener is not None:
            listener(what, done, total)
