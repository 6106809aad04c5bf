"""Data frames as Arrow tables and back, with the values that they had."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


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
    columns = dict(flat.to_pandas().items())
    columns |= {name: _lists(table[name].combine_chunks()) for name in lists}
    return pd.DataFrame({name: columns[name] for name in table.column_names})


def _lists(column: pa.ListArray) -> np.ndarray:
    """The list of each row, or None. Of a million rows most have the same few lists, so each is made once."""
    sizes = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]
    found = np.full(len(column), None, object)
    if pa.types.is_nested(column.type.value_type):  # optimizer.filters: Arrow does not count those
        found[:] = column.to_pylist()
        return found
    for size in np.unique(sizes[sizes >= 0]).tolist():
        rows = np.flatnonzero(sizes == size)
        items = column.take(pa.array(rows)).flatten().dictionary_encode()
        codes = items.indices.fill_null(-1).to_numpy(zero_copy_only=False).reshape(len(rows), size)
        kinds, which = np.unique(codes, axis=0, return_inverse=True)
        values = [*items.dictionary.to_pylist(), None]
        levels = np.empty(len(kinds), object)
        levels[:] = [[values[code] for code in kind] for kind in kinds.tolist()]
        found[rows] = levels[which.ravel()]
    return found
