"""Checkpoints of a chunk, through Orbax: all of Orbax is in this file.

A checkpoint counts once its listing is there: the SHA-256 of each of its files, sealed, written after them. Orbax
reads flipped bits as values and calls a truncation something else, so nothing is read that the listing does not match.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.results.files import NO_FILE, Damaged, flush, read_json, remove, write_json

KEPT = 2
LISTING = re.compile(r"segment-(\d{6})\.json")
OTHER = "it is of other runs, or of another program"
CHUNK_FOLDER = re.compile(r"chunk-(\d{5,6})")


@dataclass
class Checkpoints:
    """Those of one chunk.

    stamp: digest of what a checkpoint must agree with to be of use: runs, width, program. say: is told what is
    passed over.
    """

    out: Path
    chunk: int
    stamp: str
    say: Callable[[str], None] = print
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _saving: Future[None] | None = None

    @property
    def folder(self) -> Path:
        return chunk_folder(self.out, self.chunk)

    def save(self, segment: int, arrays: dict[str, np.ndarray]) -> None:
        """Begin to keep `arrays` as what continues after a segment; the one before is finished first."""
        self.finish()
        self._saving = self._pool.submit(self._save, segment, arrays)

    def is_busy(self) -> bool:
        return self._saving is not None and not self._saving.done()

    def raise_fault(self) -> None:
        """Raises what went wrong in a checkpoint that was begun, for instance that the disk is full."""
        if self._saving is not None and self._saving.done():
            self.finish()

    def finish(self) -> None:
        """Wait for what was begun. Raises OSError where it could not be written."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def close(self) -> None:
        """Let the thread end; what it still writes counts or not, but raises no more."""
        self._pool.shutdown()

    def _save(self, segment: int, arrays: dict[str, np.ndarray]) -> None:
        from orbax.checkpoint import v1 as ocp

        for logger in ("absl", "asyncio"):  # what goes wrong is raised
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        if not self.folder.is_dir():
            self.folder.parent.mkdir(exist_ok=True)
            self.folder.mkdir(exist_ok=True)
        sys.unraisablehook = ignore_closed_loop
        names = sorted(arrays)
        metadata = {"segment": segment, "stamp": self.stamp, "names": names}
        metadata["sha256"] = [_digest(arrays[name]) for name in names]
        # by number, since Orbax joins names with dots, and ours have some
        numbered = {f"{index:05d}": np.asarray(arrays[name]) for index, name in enumerate(names)}
        try:
            # made by a thread of its own, a folder that cannot be made lets all others wait for it, for minutes
            folders = ocp.options.AsyncOptions(create_directories_asynchronously=False)
            with (
                ocp.Context(async_options=folders),
                ocp.training.Checkpointer(str(self.folder.absolute())) as orbax,
            ):
                orbax.save(segment, numbered, custom_metadata=metadata, overwrite=True)
        except Exception as error:  # what Orbax and its storage raise is no closed set
            raise as_os_error(self.folder / str(segment), error) from error
        saved = self.folder / str(segment)
        listed = list_files(saved)
        for path in [*(saved / name for name in listed), *(path for path in saved.rglob("*") if path.is_dir()), saved]:
            flush(path)
        write_json(self.listing(segment), {"segment": segment, "stamp": self.stamp, "files": listed})
        for old in self.segments()[:-KEPT]:
            self.remove(old)

    def listing(self, segment: int) -> Path:
        return self.folder / f"segment-{segment:06d}.json"

    def segments(self) -> list[int]:
        """After which segments there is a checkpoint with its listing."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(int(match[1]) for name in names if (match := LISTING.fullmatch(name)))

    def newest(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """(segment, arrays) of the newest checkpoint that is intact; what is passed over is said."""
        for segment in reversed(self.segments()):
            try:
                return segment, self.load(segment)
            except Damaged as damage:
                self.say(f"{damage}; the checkpoint before it is used, if there is one")
        return None

    def load(self, segment: int) -> dict[str, np.ndarray]:
        """Raises Damaged."""
        check_checkpoint(self.folder, segment, self.stamp)
        from orbax.checkpoint import v1 as ocp

        saved = self.folder / str(segment)
        try:
            with ocp.training.Checkpointer(str(self.folder.absolute())) as orbax:
                metadata: Any = orbax.metadata(segment).custom_metadata
                stored: Any = orbax.load(segment)
            arrays = {name: np.asarray(stored[f"{at:05d}"]) for at, name in enumerate(metadata["names"])}
            stamp, stored_segment, digests = metadata["stamp"], metadata["segment"], metadata["sha256"]
        except Exception as error:
            raise Damaged(saved, f"it cannot be loaded: {error}") from error
        if stamp != self.stamp or stored_segment != segment:
            raise Damaged(saved, OTHER)
        if digests != [_digest(value) for value in arrays.values()]:
            raise Damaged(saved, "its arrays have another checksum")
        return arrays

    def remove(self, segment: int) -> None:
        """The listing goes first: without it the rest does not count."""
        self.listing(segment).unlink(missing_ok=True)
        remove(self.folder / str(segment))

    def tidy(self, newest: int | None) -> None:
        """Remove all that is newer than a checkpoint, or has no listing, or was left by a kill; None: everything."""
        if newest is None:
            self.drop()
            return
        for segment in self.segments():
            if segment > newest:
                self.remove(segment)
        names = {str(segment) for segment in self.segments()}
        for path in list(self.folder.iterdir()):
            if path.name not in names and not LISTING.fullmatch(path.name):
                remove(path)

    def drop(self) -> None:
        """Remove all checkpoints of the chunk."""
        for segment in self.segments():
            self.remove(segment)
        remove(self.folder)


def chunk_folder(out: Path, chunk: int) -> Path:
    return out / "checkpoints" / f"chunk-{chunk:05d}"


def list_files(folder: Path) -> dict[str, str]:
    """name -> SHA-256 of all files of a checkpoint."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in [folder, *paths]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Damaged(path, NO_FILE)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check_checkpoint(folder: Path, segment: int, stamp: str) -> None:
    """Read every byte of a checkpoint. Raises Damaged."""
    listing, saved = folder / f"segment-{segment:06d}.json", folder / str(segment)
    if listing.is_symlink() or not listing.is_file():
        raise Damaged(listing, NO_FILE)
    if not saved.is_dir():
        raise Damaged(saved, "it is gone, its listing is there")
    digests = list_files(saved)
    try:
        listed = read_json(listing)
        files, stored_segment, stored_stamp = dict(listed["files"]), listed["segment"], listed["stamp"]
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise Damaged(listing, f"it cannot be read: {error}") from None
    if stored_segment != segment:
        raise Damaged(listing, "it lists another checkpoint")
    if stored_stamp != stamp:
        raise Damaged(listing, OTHER)
    for name in sorted(files.keys() | digests.keys()):
        if digests.get(name) != files.get(name):
            raise Damaged(saved / name if name in digests else saved, "it is not the file that its checkpoint lists")


def ignore_closed_loop(raised: sys.UnraisableHookArgs) -> None:
    """After one write has failed, others end too late for Orbax, and each of them would print a traceback of it."""
    if not (raised.exc_type is RuntimeError and str(raised.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(raised)


def as_os_error(path: Path, error: Exception) -> OSError:
    """What Orbax raised, as an error about a file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return OSError(cause.errno, cause.strerror, str(cause.filename or path))
        code = re.search(r"os_error_code='(\d+)'", str(cause))
        if code:
            return OSError(int(code[1]), os.strerror(int(code[1])), str(path))
        cause = cause.__cause__ or cause.__context__
    return OSError(None, f"a checkpoint could not be written: {str(error).splitlines()[0][:200]}", str(path))


def _digest(value: np.ndarray) -> str:
    value = np.ascontiguousarray(value)
    return hashlib.sha256(f"{value.dtype.str} {value.shape} ".encode() + value.tobytes()).hexdigest()
