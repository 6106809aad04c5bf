"""runs.parquet and events.parquet: what was derived from the curves, kept as long as the curves are the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.chunks import META
from grokjax.results.files import Damaged, curves_files, read_sealed, write_sealed
from grokjax.results.read import Results
from grokjax.results.write import seal_table

STAMP = "curves"
Frames = tuple[pd.DataFrame, pd.DataFrame]


def cached(derive: Callable[[Results], Frames]) -> Callable[[Results], Frames]:
    """`derive`, reading the stored tables where they are up to date, and storing them where it can."""

    def read_or_derive(results: Results) -> Frames:
        stamp = _stamp(results.path)
        paths = (results.path / "runs.parquet", results.path / "events.parquet")
        stored = [_read(path, stamp) for path in paths]
        if any(table is None for table in stored):
            stored = [seal_table(to_arrow(frame), {STAMP: stamp}) for frame in derive(results)]
            for path, table in zip(paths, stored, strict=True):
                with contextlib.suppress(OSError):  # a read-only directory can be read all the same
                    write_sealed(path, partial(pq.write_table, table, compression="zstd"))
        runs, events = (_to_pandas(table) for table in stored if table is not None)
        return runs, events

    return read_or_derive


def stored_runs(out: Path, columns: list[str]) -> pd.DataFrame | None:
    """Columns of `Results.runs()` where they are stored and up to date; nothing is computed."""
    table = _read(out / "runs.parquet", _stamp(out))
    return None if table is None else table.select(columns).to_pandas()


def _stamp(out: Path) -> str:
    """Names, sizes and times of the files that the tables are derived from."""
    files = [out / "plan.json", *curves_files(out)]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _read(path: Path, stamp: str) -> pa.Table | None:
    try:
        table = pq.read_table(pa.BufferReader(read_sealed(path)))
    except (OSError, pa.ArrowException, Damaged):  # it is made again
        return None
    return table if json.loads((table.schema.metadata or {}).get(META, b"{}")).get(STAMP) == stamp else None


def to_arrow(frame: pd.DataFrame, lists: bool = True) -> pa.Table:
    """Columns of mixed kinds (engine.lanes: auto or 8) become text; without `lists`, lists do too."""
    columns = {}
    for name in frame.columns:
        try:
            columns[name] = pa.Array.from_pandas(frame[name])
            mixed = pa.types.is_list(columns[name].type) and not lists
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            mixed = True
        if mixed:
            texts = [None if value is None else _text(value) for value in frame[name]]
            columns[name] = pa.array(texts, pa.string())
    return pa.table(columns)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_list(field.type):
            frame[field.name] = [None if value is None else list(value) for value in frame[field.name]]
    return frame
