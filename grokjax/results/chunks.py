"""What the curve files of a directory say of its chunks: how far they are, and how their runs ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.commits import Commit
from grokjax.results.files import Damaged, read_sealed, version_of
from grokjax.results.layout import Home, chunk_of, curves_files, furthest, homes_of, is_flat, segment_of, survey

META = b"grokjax"
KEYS = {"run_id": "dictionary<values=string, indices=int32, ordered=0>", "step": "int64"}  # columns of every file
WRITTEN = "written"  # of the file of a chunk that has ended: when a row was on disk, in seconds since 1970
TRIES = 4
Read = TypeVar("Read")
NUMBERS = ("chunk", "first", "last", "run_steps", "lane_steps")


def meta_of(path: Path) -> dict[str, Any]:
    """What a curve file says of its segments, and its `metrics`. Reads and checks all of it. Raises Damaged."""
    return _meta_of(path, version_of(path))


@lru_cache(maxsize=100_000)
def _meta_of(path: Path, version: tuple[int, ...]) -> dict[str, Any]:
    return meta_in(path, read_sealed(path))


def meta_in(path: Path, data: bytes) -> dict[str, Any]:
    """The same of a file whose bytes were read and checked. Raises Damaged where it is not as grokjax writes it."""
    try:
        schema = pq.read_schema(pa.BufferReader(data))
        meta = json.loads((schema.metadata or {})[META])
        if any(type(meta[key]) is not int for key in NUMBERS) or not 0 <= meta["first"] <= meta["last"]:
            raise ValueError("its numbers are none")
        for end in meta["ends"]:
            run_id, step, diverged, matrix = end["run_id"], end["step"], end["diverged"], end["matrix"]
            if not (type(run_id) is str and type(step) is int and type(diverged) is bool):
                raise ValueError("it says of no run how it ended")
            if not (matrix is None or type(matrix) is str):
                raise ValueError("it names no matrix")
        if {name: str(schema.field(name).type) for name in KEYS} != KEYS:
            raise ValueError(f"its columns {', '.join(KEYS)} are of other types")
        metrics = [name for name in schema.names if name not in KEYS and name != WRITTEN]
        if len({*schema.names}) < len(schema.names) or any(schema.field(name).type != pa.float32() for name in metrics):
            raise ValueError("its metrics are not one column of float32 each")
    except (KeyError, TypeError, ValueError, RecursionError, OSError, pa.ArrowException) as error:
        raise Damaged(path, f"it makes no sense: {str(error)[:200]}") from None
    return meta | {"metrics": metrics}


def metas_of(out: Path, chunk: int | Collection[int] | None = None) -> list[dict[str, Any]]:
    """Of all segments, in order: of a chunk that has ended, what its commit says. Raises Damaged where a file is not
    whole, or one between is missing."""
    return while_it_trains(lambda: _metas(out, chunk))


def _metas(out: Path, chunk: int | Collection[int] | None) -> list[dict[str, Any]]:
    metas = []
    for commit, under_way in _by_chunk(out, chunk):
        metas += [commit.meta] if commit else under_way
    return metas


def _by_chunk(
    out: Path, chunks: int | Collection[int] | None = None, seen: Sequence[Home] | None = None
) -> Iterator[tuple[Commit | None, list[dict[str, Any]]]]:
    """Of each chunk that has ended its commit, of the others what there is of their segments."""
    if is_flat(out):
        yield None, _flat_metas(out, chunks)
        return
    for home in (survey(out) if chunks is None else homes_of(out, chunks)) if seen is None else seen:
        folder = None if home.commit else furthest(home.path)
        yield home.commit, _flat_metas(folder, home.chunk) if folder else []


def _flat_metas(out: Path, chunk: int | Collection[int] | None) -> list[dict[str, Any]]:
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


def metrics_of(out: Path, chunks: Collection[int] | None = None) -> list[str]:
    """Names of all recorded metrics, or those of some chunks, in the order of the files. Raises Damaged."""
    return while_it_trains(lambda: _metrics_of(out, chunks))


def _metrics_of(out: Path, chunks: Collection[int] | None) -> list[str]:
    names: dict[str, None] = {}
    for commit, metas in _by_chunk(out, chunks):
        for metrics in [commit.metrics] if commit else [meta["metrics"] for meta in metas]:
            names |= dict.fromkeys(metrics)
    return list(names)


def steps_taken(out: Path) -> tuple[int, int]:
    """(run-steps, lane-steps) of all segments. Raises Damaged."""
    return while_it_trains(lambda: steps_of(out, survey(out)))


def steps_of(out: Path, seen: Sequence[Home]) -> tuple[int, int]:
    """The same of what a survey found a moment ago. Raises Damaged, and FileNotFoundError where something is gone."""
    run_steps, lane_steps = 0, 0
    for commit, metas in _by_chunk(out, seen=seen):
        run_steps += commit.run_steps if commit else sum(meta["run_steps"] for meta in metas)
        lane_steps += commit.lane_steps if commit else sum(meta["lane_steps"] for meta in metas)
    return run_steps, lane_steps


def while_it_trains(read: Callable[[], Read]) -> Read:
    """What `read` returns. A file that was listed may be gone a moment later, since its chunk has ended: then it is
    read again, with the files that are there now."""
    for _ in range(TRIES):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def ends_of(out: Path, chunk: int | Collection[int] | None = None) -> dict[int, dict[str, dict[str, Any]]]:
    """chunk -> run id -> how the run ended. A chunk that began has an entry. chunk: only this one, or these."""
    ends: dict[int, dict[str, dict[str, Any]]] = {}
    for meta in metas_of(out, chunk):
        ends.setdefault(meta["chunk"], {}).update({end["run_id"]: end for end in meta["ends"]})
    return ends


def ended_of(out: Path, chunks: Collection[int] | None = None) -> dict[int, dict[str, bool]]:
    """chunk -> run id -> whether the run diverged, of those that have ended. A chunk that began has an entry."""
    return while_it_trains(lambda: _ended_of(out, chunks))


def _ended_of(out: Path, chunks: Collection[int] | None) -> dict[int, dict[str, bool]]:
    ended: dict[int, dict[str, bool]] = {}
    for commit, metas in _by_chunk(out, chunks):
        if commit:
            ended[commit.chunk] = dict.fromkeys(commit.run_ids, False) | dict.fromkeys(commit.diverged, True)
        for meta in metas:
            ended.setdefault(meta["chunk"], {}).update({end["run_id"]: end["diverged"] for end in meta["ends"]})
    return ended
