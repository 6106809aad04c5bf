"""W&B's local logs: whether one is finished, and its times.

W&B goes on writing for a moment after a run has finished, and stops without a word where a disk is full; the times that
it writes are those of its own clock.

A log is LevelDB's: blocks of records, of which the last tells the exit.
"""

from __future__ import annotations

import errno
import json
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
    return parsed(record).WhichOneof("record_type")


def parsed(record: bytes) -> Any:
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    return Record.FromString(record)


def set_times(log: Path, began: float, ended: float) -> None:
    """Let a finished log tell when a run began and how long it took, instead of when W&B was told of it.

    began, ended: as time.time(). The `_timestamp` of each row stays as it was logged, `_runtime` follows from it.
    """
    data = log.read_bytes()
    timed = [_with_times(parsed(record), began, ended).SerializeToString() for record in records(data)]
    log.write_bytes(data[:BEGIN] + packed(timed))


def _with_times(record: Any, began: float, ended: float) -> Any:
    said = record.WhichOneof("record_type")
    if said == "run":
        record.run.start_time.FromMicroseconds(int(began * 1e6))
    elif said == "exit":
        record.exit.runtime = int(ended - began)
    elif said == "history":
        _set_runtime(record.history.item, began, ended)
    elif said == "summary":
        _set_runtime(record.summary.update, began, ended)
    return record


def _set_runtime(items: Any, began: float, ended: float) -> None:
    named = {item.key or ".".join(item.nested_key): item for item in items}
    now = json.loads(named["_timestamp"].value_json) if "_timestamp" in named else ended
    if "_runtime" in named:
        named["_runtime"].value_json = json.dumps(now - began)
    if "_wandb.runtime" in named:
        named["_wandb.runtime"].value_json = json.dumps(int(ended - began))


def packed(records: Iterable[bytes]) -> bytes:
    """All records as they lie in a log after its first bytes: each in pieces that end where a block ends."""
    data = bytearray()
    for record in records:
        left, is_first = record, True
        while is_first or left:
            room = BLOCK - (BEGIN + len(data)) % BLOCK
            if room < HEAD:
                data += bytes(room)
                room = BLOCK
            piece, left = left[: room - HEAD], left[room - HEAD :]
            part = {(True, True): WHOLE, (True, False): FIRST, (False, False): MIDDLE, (False, True): LAST}
            data += _piece(piece, part[is_first, not left])
            is_first = False
    return bytes(data)


def _piece(data: bytes, part: int) -> bytes:
    return struct.pack("<IHB", zlib.crc32(data, zlib.crc32(bytes([part]))), len(data), part) + data


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
