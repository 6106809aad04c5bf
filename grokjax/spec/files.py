"""Arrays in files of the user's: examples, and stored splits. Nothing in them is run."""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from grokjax.spec.fields import Count
from grokjax.spec.roles import Start
from grokjax.spec.section import Section

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # of MNIST's format, by their byte
FORMATS = ".npz, .npy, .safetensors or idx (MNIST's, also .gz)"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")  # how one begins, also where a path was made of it


def is_url(text: str) -> bool:
    """Whether a text is the address of something elsewhere, and no path."""
    return ADDRESS.match(text) is not None


class Rows(Section):
    """What a file of stored indices holds."""

    digest: Start[str]
    """SHA-256 of the file."""
    train: Count
    """Rows to train on."""
    test: Count
    """Rows to test on."""


class FileError(ValueError):
    """A file of arrays that cannot be used. The message is for the user."""


def read_arrays(path: str) -> tuple[dict[str, np.ndarray], str]:
    """Name -> array, and the SHA-256 of the file. A file of one array has it under "". Raises FileError."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return _arrays(content, path), hashlib.sha256(content).hexdigest()
    except (ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, SafetensorError) as error:
        raise FileError(f"{path} holds no arrays that can be read ({error}); give {FORMATS}") from None


def _arrays(content: bytes, path: str) -> dict[str, np.ndarray]:
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:2] == b"PK":
        with np.load(Path(path), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    if content[:6] == b"\x93NUMPY":
        return {"": np.load(Path(path), allow_pickle=False)}
    if content[:2] == b"\0\0" and content[2:3] and content[2] in IDX_TYPES:
        return {"": _idx(content)}
    return load_safetensors(content)


def _idx(content: bytes) -> np.ndarray:
    """An array of MNIST's format: two zeros, the type, the number of axes, their lengths, the numbers."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4).astype(int)
    values = np.frombuffer(content, IDX_TYPES[content[2]], offset=4 + 4 * axes)
    if values.size != shape.prod():
        raise ValueError(f"its header says {shape.prod():,} numbers, and it has {values.size:,}")
    return values.reshape(shape).astype(values.dtype.newbyteorder("="))


def rows_of(path: str, examples: int) -> Rows:
    """What a file of stored indices holds. Raises FileError for one that does not fit so many examples."""
    train, test, digest = stored_rows(path, examples, stamp_of(path))
    return Rows(digest=digest, train=len(train), test=len(test))


@lru_cache(maxsize=64)
def stored_rows(path: str, examples: int, stamp: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Train rows, test rows and the digest of a file of stored indices; without `test` in it, all other rows are tested
    on. stamp: size and time of the file, which is read again where they have changed."""
    arrays, digest = read_arrays(path)
    train = arrays.get("train", arrays.get(""))
    if train is None:
        raise FileError(f"{path} has no array `train` (it has {', '.join(arrays) or 'none'})")
    test = arrays.get("test")
    for name, rows in (("train", train), ("test", test)):
        if rows is not None and (rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows)):
            raise FileError(f"{path}: {name} must be row numbers [n], got {rows.dtype} of shape {list(rows.shape)}")
    given = np.concatenate([train, train[:0] if test is None else test]).astype(np.int64)
    if given.min() < 0 or given.max() >= examples:
        raise FileError(f"{path}: rows are 0 to {examples - 1:,}, and it has {given.min():,} to {given.max():,}")
    if test is None:
        test = np.setdiff1d(np.arange(examples), train)
    if not len(test):
        raise FileError(f"{path} trains on every example, and leaves none to test on")
    return train.astype(np.int32), test.astype(np.int32), digest


def stamp_of(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
