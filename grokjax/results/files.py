"""Where things lie in a results directory, and how a file is put there: whole and sealed, or not at all.

A sealed file carries, where its format keeps metadata, the SHA-256 of all its bytes (with the digest itself as zeros).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

CURVES = re.compile(r"chunk-(\d{5})-segment-(\d{6})\.parquet")
SNAPSHOTS = re.compile(r"chunk-(\d{5})-segment-(\d{6})\.safetensors")
RUN_ID = re.compile(r"[0-9a-f]{12}")
PART = re.compile(r"\..*\.part")  # what a kill leaves of a file that was being written
SEAL = b"grokjax-sha256:"
BLANK = SEAL.decode() + 64 * "0"  # what a file is written with, before it is sealed


class Damaged(Exception):
    """A file is not what was written: bits flipped, or a part is missing. Nothing of it is used."""

    def __init__(self, path: Path, why: str):
        self.path, self.why = path, why
        super().__init__(f"{path} is damaged ({why}), so it is not read")


def curves_file(out: Path, chunk: int, segment: int) -> Path:
    """Records of the segments up to this one, from the file before on."""
    return out / "curves" / f"chunk-{chunk:05d}-segment-{segment:06d}.parquet"


def snapshots_file(out: Path, chunk: int, segment: int) -> Path:
    """Snapshots taken in the segments up to this one, from the file before on."""
    return out / "snapshots" / f"chunk-{chunk:05d}-segment-{segment:06d}.safetensors"


def curves_files(out: Path, chunk: int | None = None) -> list[Path]:
    """All curve files, or those of a chunk, by chunk and segment."""
    return _matching(out / "curves", CURVES, chunk)


def snapshots_files(out: Path, chunk: int | None = None) -> list[Path]:
    return _matching(out / "snapshots", SNAPSHOTS, chunk)


def _matching(folder: Path, name: re.Pattern[str], chunk: int | None) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if name.fullmatch(path.name) and chunk in (None, chunk_of(path)))


def chunk_of(path: Path) -> int:
    return int(path.name[6:11])


def segment_of(path: Path) -> int:
    return int(path.name[20:26])


def write_whole(path: Path, write: Callable[[Path], object], finish: Callable[[Path], None] | None = None) -> None:
    """Write to a temporary name, flush to disk, rename: a reader sees the whole file or none.

    The folder is made if it is missing, the one above it is not: a results directory that has vanished stays so.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        flush(path.parent.parent)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        if finish:
            finish(temporary)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _named(error: OSError, path: Path) -> OSError:
    """The error with the file it is about: Arrow's have none."""
    number = error.errno
    return error if error.filename or number is None else OSError(number, os.strerror(number), str(path))


def flush(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_sealed(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whose metadata hold BLANK once, whole and sealed."""
    write_whole(path, write, seal)


def seal(path: Path, length: int | None = None) -> None:
    """Put the SHA-256 of the file (of its first `length` bytes) where BLANK stands."""
    with path.open("r+b") as file:
        data = file.read() if length is None else file.read(length)
        at = data.index(BLANK.encode()) + len(SEAL)
        file.seek(at)
        file.write(hashlib.sha256(data).hexdigest().encode())


def check_seal(path: Path, data: bytes) -> None:
    """Raises Damaged unless the digest in `data` is that of its bytes."""
    at = data.find(SEAL)
    if at < 0 or data.find(SEAL, at + 1) >= 0:
        raise Damaged(path, "its checksum is missing")
    begin, end = at + len(SEAL), at + len(BLANK)
    digest = hashlib.sha256(data[:begin])
    digest.update(64 * b"0")
    digest.update(data[end:])
    if digest.hexdigest().encode() != data[begin:end]:
        raise Damaged(path, "its checksum is another")


def read_sealed(path: Path) -> bytes:
    """All bytes of a sealed file. Raises Damaged."""
    data = path.read_bytes()
    check_seal(path, data)
    return data


def write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps({"seal": BLANK} | value, indent=1) + "\n"
    write_sealed(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Raises Damaged."""
    value = json.loads(read_sealed(path))
    del value["seal"]
    return value


def write_view(path: Path, write: Callable[[Path], object]) -> None:
    """Write a picture or a table for people. In a results directory its SHA-256 stands in a hidden file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)
    if any((folder / "plan.json").exists() for folder in path.absolute().parents[:3]):
        text = view_digest(path)
        write_whole(digest_file(path), lambda temporary: temporary.write_text(text, encoding="utf-8"))


def digest_file(view: Path) -> Path:
    return view.with_name(f".{view.name}.sha256")


def view_digest(view: Path) -> str:
    """As `sha256sum` prints it."""
    return f"{hashlib.sha256(view.read_bytes()).hexdigest()}  {view.name}\n"
