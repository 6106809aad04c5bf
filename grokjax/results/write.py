"""The writer that the engine hands its records to: one Parquet file a segment, final parameters beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from grokjax.results.files import curves_file, curves_files, snapshot_file, write_whole
from grokjax.results.segment import Segment

META = b"grokjax"


@dataclass(frozen=True)
class DirectoryWriter:
    out: Path

    def params(self, chunk: int, segment: int, run_ids: Sequence[str], params: dict[str, np.ndarray]) -> None:
        """Final parameters [runs, ...], one tensor a run and name: `RUN/W_E`."""
        tensors = {
            f"{run_id}/{name}": np.ascontiguousarray(values[row])
            for row, run_id in enumerate(run_ids)
            for name, values in params.items()
        }
        write_whole(snapshot_file(self.out, chunk, segment), lambda path: save_file(tensors, path))

    def segment(self, segment: Segment) -> None:
        """The rows of a segment; which runs ended in it, and how, stands in the file's metadata."""
        rows = segment.rows
        there, run = np.unique(rows.run, return_inverse=True)
        names = pa.array([segment.run_ids[at] for at in there], pa.string())
        columns: dict[str, pa.Array] = {
            "run_id": pa.DictionaryArray.from_arrays(pa.array(run.astype(np.int32)), names),
            "step": pa.array(rows.step.astype(np.int64)),
        }
        for name, values in rows.metrics.items():
            mask = ~rows.recorded[name] if name in rows.recorded else None
            columns[name] = pa.array(values, pa.float32(), mask=mask, from_pandas=False)
        ends = [asdict(end) for end in segment.ends]
        steps = {"run_steps": segment.run_steps, "lane_steps": segment.lane_steps}
        meta = {"chunk": segment.chunk, "segment": segment.index, "ends": ends} | steps
        table = pa.table(columns).replace_schema_metadata({META: json.dumps(meta).encode()})
        path = curves_file(self.out, segment.chunk, segment.index)
        write_whole(path, lambda temporary: _write_parquet(table, temporary))


def _write_parquet(table: pa.Table, path: Path) -> None:
    """BYTE_STREAM_SPLIT halves what zstd makes of floats."""
    floats = {field.name: "BYTE_STREAM_SPLIT" for field in table.schema if pa.types.is_floating(field.type)}
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=["run_id"],  # pyright: ignore[reportArgumentType]
        column_encoding=floats,
        write_page_checksum=True,
    )


def drop_chunk(out: Path, chunk: int) -> None:
    """Remove what an interrupted chunk left: it starts again from step 0."""
    for folder in ("curves", "snapshots"):
        for path in (out / folder).glob(f"chunk-{chunk:05d}-*"):
            path.unlink()


def ends_of(out: Path) -> dict[int, dict[str, dict[str, Any]]]:
    """chunk -> run id -> how the run ended, with the segment it ended in. A chunk that began has an entry."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for path in curves_files(out):
        meta = json.loads(pq.read_schema(path).metadata[META])
        runs = found.setdefault(meta["chunk"], {})
        runs |= {end["run_id"]: end | {"segment": meta["segment"]} for end in meta["ends"]}
    return found


def steps_of(out: Path) -> tuple[int, int]:
    """(run-steps, lane-steps) of all segments: steps that trained a run, of those that lanes took."""
    metas = [json.loads(pq.read_schema(path).metadata[META]) for path in curves_files(out)]
    return sum(meta["run_steps"] for meta in metas), sum(meta["lane_steps"] for meta in metas)
