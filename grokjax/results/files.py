"""Where things lie in a results directory, and how a file is put there: whole, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

CURVES = re.compile(r"chunk-(\d{5})-segment-(\d{6})\.parquet")


def curves_file(out: Path, chunk: int, segment: int) -> Path:
    return out / "curves" / f"chunk-{chunk:05d}-segment-{segment:06d}.parquet"


def snapshot_file(out: Path, chunk: int, segment: int) -> Path:
    """Final parameters of the runs of a chunk that ended in a segment."""
    return out / "snapshots" / f"chunk-{chunk:05d}-segment-{segment:06d}-final.safetensors"


def curves_files(out: Path) -> list[Path]:
    """All curve files, by chunk and segment."""
    folder = out / "curves"
    return sorted(path for path in folder.iterdir() if CURVES.fullmatch(path.name)) if folder.is_dir() else []


def chunk_of(path: Path) -> int:
    match = CURVES.fullmatch(path.name)
    assert match, path
    return int(match[1])


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name, flush to disk, rename: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
