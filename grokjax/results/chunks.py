"""What the curve files of a directory say of its chunks: how far they are, and how their runs ended."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.files import Damaged, chunk_of, curves_files, read_sealed, segment_of

META = b"grokjax"
KEYS = ("run_id", "step")


def meta_of(path: Path) -> dict[str, Any]:
    """What a curve file says of its segments, and its `metrics`. Reads and checks all of it. Raises Damaged."""
    stat = path.stat()
    return _meta_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _meta_of(path: Path, size: int, time: int) -> dict[str, Any]:
    schema = pq.read_schema(pa.BufferReader(read_sealed(path)))
    meta = json.loads((schema.metadata or {})[META])
    return meta | {"metrics": [name for name in schema.names if name not in KEYS]}


def metas_of(out: Path, chunk: int | None = None) -> list[dict[str, Any]]:
    """Of all curve files, in order. Raises Damaged where one is not whole, or one between is missing."""
    metas, expected = [], {}
    for path in curves_files(out, chunk):
        meta = meta_of(path)
        if (meta["chunk"], meta["last"]) != (chunk_of(path), segment_of(path)):
            raise Damaged(path, f"it holds chunk {meta['chunk']}, segment {meta['last']}: it was renamed")
        if meta["first"] != expected.get(chunk_of(path), 0):
            raise Damaged(path, "a file of records before it is missing")
        expected[chunk_of(path)] = meta["last"] + 1
        metas.append(meta)
    return metas


def ends_of(out: Path, chunk: int | None = None) -> dict[int, dict[str, dict[str, Any]]]:
    """chunk -> run id -> how the run ended. A chunk that began has an entry."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for meta in metas_of(out, chunk):
        found.setdefault(meta["chunk"], {}).update({end["run_id"]: end for end in meta["ends"]})
    return found


def steps_of(out: Path) -> tuple[int, int]:
    """(run-steps, lane-steps) of all segments: steps that trained a run, of those that lanes took."""
    metas = metas_of(out)
    return sum(meta["run_steps"] for meta in metas), sum(meta["lane_steps"] for meta in metas)
