"""The store of snapshots: files of many rows, each a run at a step, of which one is read without the others.

A file is safetensors, every tensor stacked over the rows. Its header holds its own checksum, and one of each row.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from grokjax.results.files import BLANK, RUN_ID, Damaged, check_seal, seal, version_of, write_whole
from grokjax.results.layout import snapshots_files
from grokjax.results.segment import Snapshots

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "U32": np.uint32, "BOOL": np.bool_}
KINDS = {"run_id": str, "step": int, "end": int, "held": int, "finite": bool, "loss_max": float, "sha256": str}
MOST_HEADER = 10**8  # bytes; a longer one is no header


@dataclass(frozen=True)
class StoredSnapshot:
    """Where a snapshot stands, and the numbers that are kept in the header."""

    path: Path
    index: int
    run_id: str
    step: int
    end: int
    held: int
    finite: bool
    loss_max: float
    sha256: str  # of its tensors

    @property
    def entry(self) -> dict[str, Any]:
        """As it stands in the header."""
        return {name: getattr(self, name) for name in KINDS}


@dataclass(frozen=True)
class Tensor:
    """Where one tensor of all rows lies in a snapshot file."""

    dtype: np.dtype
    shape: tuple[int, ...]  # of one row
    begin: int  # in the file, of the first row

    @property
    def size(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What the header of a snapshot file says, checked."""

    rows: tuple[StoredSnapshot, ...]
    tensors: dict[str, Tensor]
    length: int  # bytes of the whole file


def write_snapshots(path: Path, parts: Sequence[Snapshots]) -> None:
    """One file of all rows, whole and sealed."""
    names = sorted(parts[0].state)
    stacked = {name: np.ascontiguousarray(np.concatenate([part.state[name] for part in parts])) for name in names}
    rows = [
        {
            "run_id": run_id,
            "step": int(part.step[at]),
            "end": int(part.end[at]),
            "held": int(part.held[at]),
            "finite": bool(part.finite[at]),
            "loss_max": float(part.loss_max[at]),
            "sha256": digest_of({name: part.state[name][at] for name in names}),
        }
        for part in parts
        for at, run_id in enumerate(part.run_ids)
    ]
    metadata = {"seal": BLANK, "rows": json.dumps(rows)}
    data = _ordered(save(stacked, metadata))
    header = 8 + int.from_bytes(data[:8], "little")
    write_whole(path, lambda temporary: temporary.write_bytes(data), lambda part: seal(part, path.name, header))


def _ordered(data: bytes) -> bytes:
    """The same file with the entries of its header in order: safetensors writes them in any."""
    begin, end = 8, 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[begin:end]), sort_keys=True, separators=(",", ":")).encode()
    return data[:begin] + header.ljust(end - begin) + data[end:]


def header_bytes(tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]], metadata: dict[str, str]) -> bytes:
    """The start of a safetensors file, up to the bytes of its first tensor; they follow each other in this order."""
    names = {np.dtype(kind): name for name, kind in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": names[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # tensors begin at a multiple of 8 bytes, as the format has it
    return len(text).to_bytes(8, "little") + text


def digest_of(state: dict[str, np.ndarray]) -> str:
    """SHA-256 of one run's tensors: names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.ascontiguousarray(state[name])
        digest.update(f"{name} {value.dtype.str} {value.shape} ".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def read_header(path: Path) -> Header:
    """Rows and tensors of a snapshot file. Raises Damaged."""
    return _read_header(path, version_of(path))


@lru_cache(maxsize=10_000)
def _read_header(path: Path, version: tuple[int, ...]) -> Header:
    return _header_of(path)


def _header_of(path: Path) -> Header:
    total = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or 8 + length > min(total, MOST_HEADER):
            raise Damaged(path, "it ends too early")
        data = prefix + file.read(length)
    check_seal(path, data)
    try:
        return _parse(path, json.loads(data[8:], object_pairs_hook=_once), len(data), total)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Damaged(path, f"its header makes no sense: {str(error)[:200]}") from None


def _parse(path: Path, header: dict[str, Any], begin: int, total: int) -> Header:
    entries = json.loads(header.pop("__metadata__")["rows"])
    rows = tuple(_row(path, index, entry) for index, entry in enumerate(entries))
    tensors, end = {}, begin
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (first, last) = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
        if any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"{name} has no shape")
        if shape[0] != len(rows) or begin + first != end or last - first != dtype.itemsize * math.prod(shape):
            raise ValueError(f"{name} is out of place")
        tensors[name] = Tensor(dtype, shape[1:], begin + first)
        end = begin + last
    if end != total:
        raise Damaged(path, f"it has {total:,} bytes, {end:,} were written")
    return Header(rows, tensors, total)


def _row(path: Path, index: int, entry: dict[str, Any]) -> StoredSnapshot:
    row = StoredSnapshot(path, index, **entry)
    wrong = [name for name, kind in KINDS.items() if type(getattr(row, name)) is not kind]
    if wrong or not RUN_ID.fullmatch(row.run_id) or row.step < 0:
        raise ValueError(f"row {index} is of no run at no step")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def snapshot_rows(out: Path, chunk: int | None = None) -> dict[tuple[str, int], StoredSnapshot]:
    """(run id, step) -> where that snapshot stands, of all chunks or one. Raises Damaged."""
    rows = [row for path in snapshots_files(out, chunk) for row in read_header(path).rows]
    return {(row.run_id, row.step): row for row in rows}


def replay_rows(out: Path, run_id: str) -> dict[tuple[str, int], StoredSnapshot]:
    """The same of what replays of a run have saved. Raises Damaged."""
    folders = [path for path in (out / "replays").glob(f"{run_id}-*") if path.is_dir()]
    rows = [row for folder in sorted(folders) for path in snapshots_files(folder) for row in read_header(path).rows]
    return {(row.run_id, row.step): row for row in rows}


def read_row(row: StoredSnapshot) -> dict[str, np.ndarray]:
    """The tensors of one snapshot. Raises Damaged."""
    header = read_header(row.path)
    with row.path.open("rb") as file:
        return _read_row(header, row, file)


def _read_row(header: Header, row: StoredSnapshot, file: Any) -> dict[str, np.ndarray]:
    state = {}
    for name, tensor in header.tensors.items():
        file.seek(tensor.begin + row.index * tensor.size)
        data = file.read(tensor.size)
        if len(data) < tensor.size:
            raise Damaged(row.path, "it ends too early")
        state[name] = np.frombuffer(data, tensor.dtype).reshape(tensor.shape).copy()
    if digest_of(state) != row.sha256:
        raise Damaged(row.path, f"run {row.run_id} at step {row.step} has another checksum")
    return state


def check_snapshots(path: Path) -> Header:
    """Read every byte of a snapshot file, whatever was read of it before. Raises Damaged."""
    header = _header_of(path)
    with path.open("rb") as file:
        for row in header.rows:
            _read_row(header, row, file)
    return header
