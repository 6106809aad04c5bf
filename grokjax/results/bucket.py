"""A folder of objects in a bucket, s3://BUCKET/NAME or gs://BUCKET/NAME: all of fsspec is in this file.

An object is written whole or not at all, and can be created where there is none. There are no links, no renames, and
no parts to write to: who works with a results directory in a bucket has a copy of it here (`copies.py`).
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

URL = re.compile(r"(s3|gs)://([^/\s]+)/([^\s]*[^/\s])/*")
PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}  # that fsspec needs
TIMES = ("LastModified", "mtime", "updated")  # what file systems call the time of an object
TRIES = 4  # to copy what others change meanwhile
PARALLEL = 32  # objects that are fetched or put at once
MISSING = "buckets need more packages: pip install 'grokjax[remote]'"


class Stat(NamedTuple):
    """Of an object. time: when it was written, as time.time()."""

    size: int
    time: float


@dataclass(frozen=True)
class Bucket:
    """A results directory in a bucket. Names are those of files in it, with slashes."""

    url: str

    @cached_property
    def files(self) -> Any:
        """fsspec's file system: made only now, since a store looks for its credentials then, and for each bucket anew,
        since these may have been missing before."""
        fsspec: Any = import_module("fsspec")
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        return fsspec.filesystem(self.url.partition(":")[0], **options)

    def listing(self, under: str = "") -> dict[str, Stat]:
        """All objects, or those of a folder. Raises OSError."""
        root = self._path("")
        with _telling(self.url), suppress(FileNotFoundError):
            found = self.files.find(self._path(under), detail=True)
            names = {path.removeprefix(root): entry for path, entry in found.items() if path.startswith(root)}
            return {name: Stat(int(entry["size"]), _time(entry)) for name, entry in names.items() if _is_plain(name)}
        return {}

    def stat(self, name: str) -> Stat | None:
        """None: there is no such object."""
        with _telling(self.url), suppress(FileNotFoundError):
            entry = self.files.info(self._path(name))
            return Stat(int(entry["size"]), _time(entry)) if entry["type"] == "file" else None
        return None

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        with _telling(self.url):
            return self.files.cat_file(self._path(name))

    def get(self, wanted: Mapping[str, Stat], out: Path) -> set[str]:
        """Copy objects into `out`, each whole and with its time. Returns those that have gone meanwhile."""
        with _telling(self.url), ThreadPoolExecutor(PARALLEL) as pool:
            are_there = pool.map(lambda name: self._get(name, wanted[name], out / name), wanted)
            return {name for name, is_there in zip(wanted, are_there, strict=True) if not is_there}

    def _get(self, name: str, stat: Stat, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # others may copy the same
        try:
            self.files.get_file(self._path(name), str(part))
            os.utime(part, (stat.time, stat.time))
            part.replace(path)
        except FileNotFoundError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def put(self, names: Collection[str], out: Path) -> None:
        """Copy files of `out` there, each whole, in whatever order."""
        with _telling(self.url), ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda name: self.files.put_file(str(out / name), self._path(name)), names))

    def write(self, name: str, data: bytes) -> None:
        with _telling(self.url):
            self.files.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one of that name: of all that try one gets True."""
        with _telling(self.url):
            try:
                self.files.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:  # perhaps this one, of which the answer was lost, and which was sent again
                return self.files.cat_file(self._path(name)) == data
            return True

    def remove(self, names: Collection[str]) -> None:
        """What is gone already is no matter."""
        with _telling(self.url), ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._remove, names))

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.url.partition('://')[2]}/{name}"


_copied: dict[Path, Bucket] = {}  # of the directories of this process that are copies


def note_copy(out: Path, bucket: Bucket) -> None:
    """From now on `out` is known as a copy of what lies in a bucket."""
    _copied[out] = bucket


def bucket_of(out: Path) -> Bucket | None:
    """The bucket that a directory is a copy of; None: it is none."""
    return _copied.get(out)


def name_of(out: Path) -> str:
    """How people name a results directory: by the address of its bucket, or by its path."""
    bucket = bucket_of(out)
    return bucket.url if bucket else str(out)


def fetch_missing(out: Path, path: Path) -> bool:
    """Bring a file of a copy here that was not needed until now. Returns whether it is here. Raises OSError."""
    bucket = bucket_of(out)
    if bucket is None:
        return False
    name = path.relative_to(out).as_posix()
    stat = bucket.stat(name)
    return stat is not None and not bucket.get({name: stat}, out)


def open_bucket(url: str) -> Bucket:
    """Nothing is asked of it yet. Raises ValueError for an address of another kind, or without what it needs."""
    match = URL.fullmatch(url)
    if match is None:
        raise ValueError(f"a results directory in a bucket is s3://BUCKET/NAME or gs://BUCKET/NAME, not {url!r}")
    try:
        import_module(PACKAGES[match[1]])
    except ImportError:
        raise ValueError(MISSING) from None
    return Bucket(f"{match[1]}://{match[2]}/{match[3]}")


def _is_plain(name: str) -> bool:
    """Whether it names a file below a folder, and leads nowhere else."""
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\\" not in name and "\0" not in name


def _time(entry: Mapping[str, Any]) -> float:
    time = next(entry[name] for name in TIMES if name in entry)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return time.timestamp() if isinstance(time, datetime) else float(time)


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """What goes wrong between here and a bucket is an OSError that names it; what stores raise is no closed set."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise type(error)(error.errno, error.strerror or str(error), url) from error
        raise
    except Exception as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(None, what, url) from error
