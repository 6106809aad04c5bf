"""Data frames as Arrow tables and back, with the values that they had."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MOST_PIECES = 80  # of a data frame: pandas warn from 100 on


@contextmanager
def plain_memory() -> Iterator[None]:
    """Arrow takes memory as everybody does. Its own allocator asks for huge pages, and where the kernel has to make
    room for these they cost more than all else that is done with a table of a million rows."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


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


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Lists are lists; equal ones of two rows may be one object."""
    lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
    flat = table.drop_columns(lists).replace_schema_metadata(None)  # metadata may be anybody's, and Pandas follow them
    frame = flat.to_pandas() if flat.num_columns else pd.DataFrame(index=range(len(table)))
    for at, name in enumerate(table.column_names):
        if name in lists:
            frame.insert(at, name, _lists(table[name].combine_chunks()))
    return frame


def frame_of(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A data frame of columns that nobody else changes: as they are, since copies of a million rows are most of what
    a frame costs; but pandas warn whoever adds a column to one of very many pieces."""
    return pd.DataFrame(dict(columns), copy=len(columns) > MOST_PIECES)


def _lists(column: pa.ListArray) -> np.ndarray:
    """The list of each row, or None. Of a million rows most have the same few lists, so each is made once."""
    sizes = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]
    found = np.full(len(column), None, object)
    if pa.types.is_nested(column.type.value_type):  # optimizer.filters: Arrow does not count those
        found[:] = column.to_pylist()
        return found
    for size in (np.flatnonzero(np.bincount(sizes + 1)) - 1).tolist():
        if size < 0:
            continue
        rows = np.flatnonzero(sizes == size)
        of_size = column if len(rows) == len(column) else column.take(pa.array(rows))
        items = of_size.flatten().dictionary_encode()
        codes = items.indices.fill_null(-1).to_numpy(zero_copy_only=False).reshape(len(rows), size)
        which, firsts = _kinds(codes)
        values = [*items.dictionary.to_pylist(), None]
        levels = np.empty(len(firsts), object)
        levels[:] = [[values[code] for code in kind] for kind in codes[firsts].tolist()]
        found[rows] = levels[which]
    return found


def _kinds(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of codes (from -1 on) which of some kinds it is, and the first row of each kind. Without sorting."""
    which = np.zeros(len(codes), np.int64)
    for column in codes.T:
        which = pd.factorize(which * (column.max() + 2) + column + 1)[0]
    firsts = np.zeros(which.max() + 1, np.int64)
    firsts[which[::-1]] = np.arange(len(which))[::-1]
    return which, firsts
