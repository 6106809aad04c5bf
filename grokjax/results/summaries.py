"""summary-ATTEMPT.parquet: what was derived of a chunk's records when it ended, so that nobody reads them again for it.

A row a run, with its events as a list. Thresholds may change afterwards; then the summary is of no use, and is known by
its stamp to be so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.chunks import META
from grokjax.results.commits import read_commit
from grokjax.results.files import Damaged, read_sealed, write_sealed
from grokjax.results.frames import to_arrow
from grokjax.results.layout import compact_file
from grokjax.results.manifest import Manifest
from grokjax.results.read import Results
from grokjax.results.run_table import NONE
from grokjax.results.write import seal_table

EVENTS = "events"  # the column
THRESHOLDS = "events."  # how their keys begin
NONSENSE = (OSError, Damaged, LookupError, TypeError, ValueError, AttributeError, pa.ArrowException)  # of a summary
Frames = tuple[pd.DataFrame, pd.DataFrame]


def write_summary(
    derive: Callable[[Results, Sequence[str]], Frames], manifest: Manifest, chunk: int, folder: Path, path: Path
) -> None:
    """Derive what there is to know of a chunk's runs, of their records in the folder of an attempt.

    Not of a chunk with runs that go on with shorter ones, whose records begin elsewhere: its summary has no rows.
    """
    run_ids = manifest.chunks[chunk].run_ids
    if any(run_id in manifest.continues for run_id in run_ids):
        run_ids = ()
    table = pa.table({})
    if run_ids:
        results = Results(folder, lambda _: (pd.DataFrame(), pd.DataFrame()), manifest.only(run_ids, manifest.axes))
        runs, events = derive(results, run_ids)
        planned = results.planned()
        found = runs[["run_id", *(name for name in runs if name not in planned)]]
        table = to_arrow(found).append_column(EVENTS, _events_by_run(events, pd.Index(found["run_id"])))
    table = seal_table(table, {"thresholds": thresholds_stamp(manifest, chunk)})
    write_sealed(path, partial(pq.write_table, table, compression="zstd"))


def _events_by_run(events: pd.DataFrame, run_ids: pd.Index) -> pa.Array:
    """For each run the list of its events, in the order in which they stand."""
    at = run_ids.get_indexer(pd.Index(events["run_id"]))
    table = to_arrow(events.iloc[np.argsort(at, kind="stable")].drop(columns="run_id"))
    fields = [pa.field(name, table.schema.field(name).type) for name in table.column_names]
    rows = pa.StructArray.from_arrays([column.combine_chunks() for column in table.columns], fields=fields)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(run_ids)))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows)


def read_summary(manifest: Manifest, home: Path) -> tuple[pa.Table, pa.Table] | None:
    """(runs, events) as they were derived of a chunk that has ended; None where there is nothing, or the thresholds are
    others now."""
    commit = read_commit(home)
    if commit is None or commit.chunk >= len(manifest.chunks):
        return None
    path = compact_file(home, "summary", commit.attempt)
    try:
        table = pq.ParquetFile(pa.BufferReader(read_sealed(path))).read(
            use_threads=False
        )  # quicker where files are small
        meta = json.loads((table.schema.metadata or {})[META])
        if not len(table) or meta["thresholds"] != thresholds_stamp(manifest, commit.chunk):
            return None
        if table["run_id"].to_pylist() != list(commit.run_ids):
            return None
        events = table[EVENTS].combine_chunks()
        run_ids = table["run_id"].take(events.value_parent_indices())
        flat = pa.Table.from_struct_array(events.flatten()).add_column(0, "run_id", run_ids)
    except NONSENSE:  # it is derived of the records then
        return None
    return table.drop_columns([EVENTS]).replace_schema_metadata(None), flat.replace_schema_metadata(None)


def thresholds_stamp(manifest: Manifest, chunk: int) -> str:
    """Of all that decides, besides the records, which events are found."""
    stored, table = manifest.chunks[chunk], manifest.table
    common = {key: value for key, value in table.common[stored.bucket].items() if key.startswith(THRESHOLDS)}
    own = {
        key: [None if code == NONE else column.texts[code] for code in column.codes[stored.start : stored.stop]]
        for key, column in table.columns.items()
        if key.startswith(THRESHOLDS) and (column.codes[stored.start : stored.stop] != NONE).any()
    }
    return hashlib.sha256(json.dumps([common, own], sort_keys=True).encode()).hexdigest()
