"""All files of a chunk that has ended as one of records and one of snapshots: a million runs are few files then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.chunks import META, WRITTEN, metas_of
from grokjax.results.files import BLANK, read_sealed, seal, write_sealed, write_whole
from grokjax.results.layout import compact_file, curves_files, snapshots_files
from grokjax.results.snapshots import Header, check_snapshots, header_bytes
from grokjax.results.write import parquet_options

GROUP_ROWS = 2**17  # of a row group: files of few rows are joined up to so many
BLOCK = 2**24  # bytes copied at once


def compact(folder: Path, home: Path, chunk: int) -> list[Path]:
    """Write the files of an attempt, which lie flat in `folder`, as one of each kind; those that were written.

    Rows stay in their order, and are bit for bit what they were. Raises Damaged where a file is not what was written.
    """
    paths = [compact_file(home, "curves", folder.name)]
    metas = metas_of(folder, chunk)
    curves = curves_files(folder, chunk)
    write_sealed(paths[0], lambda temporary: _write_curves(temporary, curves, metas))
    snapshots = snapshots_files(folder, chunk)
    if snapshots:
        paths.append(compact_file(home, "snapshots", folder.name))
        headers = [check_snapshots(path) for path in snapshots]
        metadata = {"seal": BLANK, "rows": json.dumps([row.entry for header in headers for row in header.rows])}
        start = header_bytes(_shapes(headers), metadata)
        write_whole(
            paths[1],
            lambda temporary: _write_snapshots(temporary, start, snapshots, headers),
            lambda part: seal(part, paths[1].name, len(start)),
        )
    return paths


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_curves(path: Path, files: list[Path], metas: list[dict[str, Any]]) -> None:
    metrics = list(dict.fromkeys(name for meta in metas for name in meta["metrics"]))
    meta = {
        "seal": BLANK,
        "chunk": metas[0]["chunk"],
        "first": 0,
        "last": metas[-1]["last"],
        "ends": [end for meta in metas for end in meta["ends"]],
        "run_steps": sum(meta["run_steps"] for meta in metas),
        "lane_steps": sum(meta["lane_steps"] for meta in metas),
    }
    fields = [("run_id", pa.dictionary(pa.int32(), pa.string())), ("step", pa.int64()), (WRITTEN, pa.float64())]
    schema = pa.schema([*fields, *((name, pa.float32()) for name in metrics)], metadata={META: json.dumps(meta)})
    with pq.ParquetWriter(path, schema, **parquet_options(schema)) as writer:
        for table in _joined(files, schema):
            writer.write_table(table)


def _joined(files: list[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of files one after the other, in tables of at least GROUP_ROWS."""
    held: list[pa.Table] = []
    for path in files:
        table = pq.read_table(pa.BufferReader(read_sealed(path)))
        missing = pa.nulls(len(table), pa.float32())
        columns = {name: table[name] if name in table.column_names else missing for name in schema.names}
        columns[WRITTEN] = pa.array(np.full(len(table), path.stat().st_mtime))
        held.append(pa.table(columns).cast(schema))
        if sum(map(len, held)) >= GROUP_ROWS:
            yield _as_one(held)
            held = []
    if held:
        yield _as_one(held)


def _as_one(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _shapes(headers: list[Header]) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    count = sum(len(header.rows) for header in headers)
    return {name: (tensor.dtype, (count, *tensor.shape)) for name, tensor in headers[0].tensors.items()}


def _write_snapshots(path: Path, start: bytes, files: list[Path], headers: list[Header]) -> None:
    """Tensor by tensor the rows of all files, so that no more than a block is ever in memory."""
    with path.open("wb") as out:
        out.write(start)
        for name in headers[0].tensors:
            for source, header in zip(files, headers, strict=True):
                tensor = header.tensors[name]
                with source.open("rb") as file:
                    file.seek(tensor.begin)
                    _copy(file, out, len(header.rows) * tensor.size)


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length:
        block = source.read(min(length, BLOCK))
        if not block:
            raise OSError(f"{source.name} ends too early")
        target.write(block)
        length -= len(block)
