"""Whether W&B has finished a local log: it goes on writing for a moment after a run has finished, and stops without a
word where a disk is full. A log is LevelDB's: blocks of records, of which the last tells the exit."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

BEGIN = 7  # bytes before the first record
BLOCK = 32768
HEAD = 7  # bytes before each piece of a record: checksum, length, kind
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
POLL = 0.005
PATIENCE = 60.0


def await_whole(log: Path, rows: int) -> None:
    """Wait until a log holds its exit, and all rows of the history. Raises OSError where it does not come to that."""
    for _ in range(int(PATIENCE / POLL)):
        data = log.read_bytes()
        if ends(data):
            count = rows_of(data)
            if count == rows:
                return
            raise OSError(errno.EIO, f"W&B kept {count} of {rows} rows (is the disk full?)", str(log))
        time.sleep(POLL)
    raise OSError(errno.EIO, f"W&B did not finish this log within {PATIENCE:.0f} s", str(log))


def ends(data: bytes) -> bool:
    """Whether the last record is the exit."""
    last = deque(records(data), maxlen=1)
    return bool(last) and kind(last[0]) == "exit"


def rows_of(data: bytes) -> int:
    return sum(kind(record) == "history" for record in records(data))


def kind(record: bytes) -> str | None:
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    return Record.FromString(record).WhichOneof("record_type")


def records(data: bytes) -> Iterator[bytes]:
    """All whole records, up to where the bytes end."""
    at, pieces = BEGIN, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
            continue
        length, part = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if part not in (WHOLE, FIRST, MIDDLE, LAST) or at + HEAD + length > len(data):
            return
        piece = data[at + HEAD : at + HEAD + length]
        at += HEAD + length
        pieces = piece if part in (WHOLE, FIRST) else pieces + piece
        if part in (WHOLE, LAST):
            yield pieces
