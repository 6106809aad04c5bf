"""Tables of a results directory for other tools."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import csv

from grokjax.results.derived import to_arrow
from grokjax.results.files import write_view
from grokjax.results.read import Results


def export_table(results: Results, table: str, out: Path | None, format: str | None, metrics: list[str] | None) -> Path:
    """Write curves, runs or events as CSV or Parquet. Raises ValueError for an unknown table, format or metric."""
    ending = out.suffix.lstrip(".") if out else ""
    format = format or (ending if ending in ("csv", "parquet") else "csv")
    if format not in ("csv", "parquet"):
        raise ValueError(f"format must be csv or parquet, got {format!r}")
    if table not in ("curves", "runs", "events"):
        raise ValueError(f"table must be curves, runs or events, got {table!r}")
    if metrics and table != "curves":
        raise ValueError("--metric chooses among curves only")
    if table == "curves":
        data = results.curves_table(metrics)
    else:
        data = to_arrow(results.runs() if table == "runs" else results.events(), lists=format == "parquet")
    path = out or results.path / f"{table}-export.{format}"
    write = csv.write_csv if format == "csv" else pq.write_table
    write_view(path, lambda temporary: write(data, temporary))
    return path
