"""The writer that the engine hands its records to: Parquet files of records, snapshots and checkpoints beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.checkpoints import Checkpoints
from grokjax.results.chunks import META
from grokjax.results.files import BLANK, write_sealed
from grokjax.results.layout import curves_file, curves_files, segment_of, snapshots_file, snapshots_files
from grokjax.results.segment import Segment
from grokjax.results.snapshots import write_snapshots

FLUSH_SECONDS = 2.0  # between files of records: `grokjax status` is at most so old
FLUSH_BYTES = 2**28  # of snapshots held back
CHECKPOINT_SECONDS = 15.0  # from one checkpoint to the next


@dataclass
class DirectoryWriter:
    """Writes one chunk. Segments are held back for a moment, so that short ones do not make a file each."""

    out: Path
    chunk: int
    checkpoints: Checkpoints
    tell: Callable[[Segment], None] = lambda segment: None
    note: Callable[[int], None] = lambda run_steps: None  # is told how many were taken, when records are on disk
    run_steps: int = 0
    held: list[Segment] = field(default_factory=list)
    flushed: float = field(default_factory=time.monotonic)
    checkpointed: float = field(default_factory=time.monotonic)

    def segment(self, segment: Segment) -> None:
        self.checkpoints.raise_fault()
        self.held.append(segment)
        if time.monotonic() - self.flushed > FLUSH_SECONDS or self._held_bytes() > FLUSH_BYTES:
            self.flush()
        self.tell(segment)

    def flush(self) -> None:
        """What was held back is on disk when this returns: snapshots first, then the records that announce them."""
        self.flushed = time.monotonic()
        if not self.held:
            return
        last = self.held[-1].index
        snapshots = [part for segment in self.held for part in segment.snapshots]
        if snapshots:
            write_snapshots(snapshots_file(self.out, self.chunk, last), snapshots)
        table = records_table(self.held)
        write_sealed(curves_file(self.out, self.chunk, last), lambda temporary: write_parquet(table, temporary))
        self.run_steps += sum(segment.run_steps for segment in self.held)
        self.held = []
        self.note(self.run_steps)

    def is_due(self) -> bool:
        """Whether a checkpoint is: the engine then hands one over before its next segment."""
        return time.monotonic() - self.checkpointed > CHECKPOINT_SECONDS and not self.checkpoints.is_busy()

    def checkpoint(self, segment: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep all that continues after a segment. Returns while it is still being written."""
        self.flush()
        self.checkpointed = time.monotonic()
        self.checkpoints.save(segment, arrays)

    def _held_bytes(self) -> int:
        parts = (part for segment in self.held for part in segment.snapshots)
        return sum(value.nbytes for part in parts for value in part.state.values())


def records_table(segments: Sequence[Segment]) -> pa.Table:
    """The rows of segments that follow each other; which runs ended in them, and how, stands in the metadata."""
    run = np.concatenate([segment.rows.run for segment in segments])
    present, index = np.unique(run, return_inverse=True)
    names = pa.array([segments[0].run_ids[at] for at in present], pa.string())
    steps = np.concatenate([segment.rows.step for segment in segments])
    columns: dict[str, pa.Array] = {
        "run_id": pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), names),
        "step": pa.array(steps.astype(np.int64)),
    }
    for name in segments[0].rows.metrics:
        values = np.concatenate([segment.rows.metrics[name] for segment in segments])
        masks = [segment.rows.recorded.get(name, np.ones(len(segment.rows.run), bool)) for segment in segments]
        columns[name] = pa.array(values, pa.float32(), mask=~np.concatenate(masks), from_pandas=False)
    meta = {
        "chunk": segments[0].chunk,
        "first": segments[0].index,
        "last": segments[-1].index,
        "ends": [asdict(end) for segment in segments for end in segment.ends],
        "run_steps": sum(segment.run_steps for segment in segments),
        "lane_steps": sum(segment.lane_steps for segment in segments),
    }
    return seal_table(pa.table(columns), meta)


def seal_table(table: pa.Table, meta: dict[str, Any]) -> pa.Table:
    """A table with its metadata, and the place for the checksum of its file."""
    return table.replace_schema_metadata({META: json.dumps({"seal": BLANK} | meta).encode()})


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, **parquet_options(table.schema))


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """BYTE_STREAM_SPLIT halves what zstd makes of metrics; of step and time of writing a dictionary is smallest."""
    floats = {field.name: "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_float32(field.type)}
    by_dictionary = [name for name in schema.names if name not in floats and name != "step"]
    return {
        "compression": "zstd",
        "use_dictionary": by_dictionary,
        "column_encoding": floats,
        "write_page_checksum": True,
    }


def drop_after(out: Path, chunk: int, segment: int = -1) -> None:
    """Remove what a chunk recorded after a segment (by default all), the newest first: at any moment what is left is
    what was there at some earlier one."""
    for files in (curves_files(out, chunk), snapshots_files(out, chunk)):
        for path in reversed(files):
            if segment_of(path) > segment:
                path.unlink()
