"""How a file is put into a results directory: whole and sealed, or not at all.

A sealed file carries, where its format keeps metadata, the SHA-256 of its name and all its bytes (with the digest
itself as zeros): a whole file in another's place is found too.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

RUN_ID = re.compile(r"[0-9a-f]{12}")
LEFT = ".left-"  # begins the name of a folder that is being removed
PART = re.compile(r"\..*\.part")  # what a kill leaves of a file that was being written
SEAL = b"grokjax-sha256:"
BLANK = SEAL.decode() + 64 * "0"  # what a file is written with, before it is sealed
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # of file systems without hard links
NO_FILE = "it is a link or a special file, and grokjax makes none; move it away"


class Damaged(Exception):
    """A file is not what was written: bits flipped, or a part is missing. Nothing of it is used."""

    def __init__(self, path: Path, why: str):
        self.path, self.why = path, why
        super().__init__(f"{path} is damaged ({why}), so it is not read")


def version_of(path: Path) -> tuple[int, ...]:
    """Another one whenever the file is written, whatever time it is given: what was read of it then is known."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def write_whole(path: Path, write: Callable[[Path], object], finish: Callable[[Path], None] | None = None) -> None:
    """Write to a temporary name, flush to disk, rename: a reader sees the whole file or none.

    The folder is made if it is missing, the one above it is not: a results directory that has vanished stays so.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        flush(path.parent.parent)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)  # it could be a link, and what it leads to be overwritten
        write(temporary)
        if finish:
            finish(temporary)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise _named(error, temporary, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _named(error: OSError, temporary: Path, path: Path) -> OSError:
    """The error with the file it is about: Arrow's have none, others the temporary name."""
    number = error.errno
    is_named = error.filename and str(error.filename) != str(temporary)
    return error if is_named or number is None else OSError(number, os.strerror(number), str(path))


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it; of a link the link only, never what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder that others may be reading or writing: for them it is gone at once, and whole until then."""
    left = folder.with_name(f"{LEFT}{secrets.token_hex(6)}")
    with suppress(FileNotFoundError):
        os.rename(folder, left)
        remove_what_can_be(left)


def remove_what_can_be(left: Path) -> None:
    """Of a link the link only. What another process still writes there is left for the next time."""
    if left.is_symlink():
        left.unlink()
    else:
        shutil.rmtree(left, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_sealed(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whose metadata hold BLANK, whole and sealed."""
    write_whole(path, write, lambda temporary: seal(temporary, path.name))


def seal(path: Path, name: str, length: int | None = None) -> None:
    """Put the SHA-256 of the file (of its first `length` bytes), to be named `name`, where BLANK stands."""
    with path.open("r+b") as file:
        data = file.read() if length is None else file.read(length)
        begin = _seal_of(data)
        assert data[begin : begin + 64] == 64 * b"0"
        file.seek(begin)
        file.write(_digest(name, data, begin))


def check_seal(path: Path, data: bytes) -> None:
    """Raises Damaged unless the digest in `data` is that of its name and its bytes."""
    begin = _seal_of(data)
    if begin < len(SEAL):
        raise Damaged(path, "its checksum is missing")
    if _digest(path.name, data, begin) != data[begin : begin + 64]:
        raise Damaged(path, "its checksum is another: it was changed, or renamed")


def _seal_of(data: bytes) -> int:
    """Where the digest begins: in JSON it stands first, elsewhere in metadata at the end; a sweep's own text, which may
    hold the same words, between."""
    return (data.find(SEAL) if data.startswith(b"{") else data.rfind(SEAL)) + len(SEAL)


def _digest(name: str, data: bytes, begin: int) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0")
    digest.update(data[:begin])
    digest.update(64 * b"0")
    digest.update(data[begin + 64 :])
    return digest.hexdigest().encode()


def read_sealed(path: Path) -> bytes:
    """All bytes of a sealed file. Raises Damaged."""
    data = path.read_bytes()
    check_seal(path, data)
    return data


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a sealed JSON file; the seal stands first."""
    text = json.dumps({"seal": BLANK} | value, indent=1) + "\n"
    write_sealed(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def json_bytes(name: str, value: dict[str, Any]) -> bytes:
    """What is in a sealed JSON file of that name."""
    data = (json.dumps({"seal": BLANK} | value) + "\n").encode()
    begin = _seal_of(data)
    return data[:begin] + _digest(name, data, begin) + data[begin + 64 :]


def create_json(path: Path, value: dict[str, Any], name: str) -> bool:
    """As `write_json`, but only where there is no such file yet: of all that try, on any host, one gets True.

    name: of the temporary file, which must be another one for each that tries.
    """
    temporary = path.with_name(f".{name}.part")
    try:
        temporary.write_bytes(json_bytes(path.name, value))
        flush(temporary)
        return _link_first(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link_first(temporary: Path, path: Path) -> bool:
    """A link fails where the name is taken, also on NFS; so does the exclusive opening that stands in for it where a
    file system has no links."""
    try:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with path.open("xb") as file:
                file.write(temporary.read_bytes())
                os.fsync(file.fileno())
    except FileExistsError:
        return False
    flush(path.parent)
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; where a file system has no links, a copy with the same time."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copy2(source, target)


def read_json(path: Path) -> dict[str, Any]:
    """Raises Damaged."""
    value = json.loads(read_sealed(path))
    del value["seal"]
    return value


def write_view(path: Path, write: Callable[[Path], object]) -> None:
    """Write a picture or a table for people. In a results directory its SHA-256 stands in a hidden file beside it.
    Missing folders are made. Raises ValueError for a path where no file can be."""
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)
    if any((folder / "plan.json").exists() for folder in path.absolute().parents[:3]):
        text = view_digest(path)
        write_whole(digest_file(path), lambda temporary: temporary.write_text(text, encoding="utf-8"))


def check_place(path: Path) -> None:
    """Raises ValueError where a file cannot be at a path that a user gave, PermissionError where none may."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name a file to write")
    _check_link(path)
    check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Raises ValueError where a folder cannot be at a path that a user gave, PermissionError where none may."""
    for part in (path, *path.parents):
        _check_link(part)
    nearest = next((part for part in (path, *path.parents) if part.exists()), None)
    if nearest is not None and not nearest.is_dir():
        raise ValueError(f"{nearest} is a file, so there can be no folder {path}; name another")
    if nearest is not None and not os.access(nearest, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))


def _check_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path} is a link to {os.readlink(path)}, which is not there; remove it, or name another")


def digest_file(view: Path) -> Path:
    return view.with_name(f".{view.name}.sha256")


def view_digest(view: Path) -> str:
    """As `sha256sum` prints it."""
    return f"{hashlib.sha256(view.read_bytes()).hexdigest()}  {view.name}\n"
