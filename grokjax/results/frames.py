"""Data frames as Arrow tables and back, with the values that they had."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa


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
    frame = table.replace_schema_metadata(None).to_pandas()  # which may be anybody's, and Pandas would follow it
    for field in table.schema:
        if pa.types.is_list(field.type):
            frame[field.name] = [None if value is None else list(value) for value in frame[field.name]]
    return frame
