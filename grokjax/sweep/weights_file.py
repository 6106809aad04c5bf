"""Files of weights: shapes in a safetensors file, and what is said of a file that is none."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from grokjax.spec.shapes import Shapes
from grokjax.sweep.nodes import shown

MOST_HEADER = 10**8  # bytes; safetensors refuses a longer one
PYTORCH, PICKLE, NPZ = "a PyTorch file", "a pickle", "an npz file of NumPy's"
OTHER = {b"\x93NUMPY": "an array of NumPy's", b"\x89HDF\r\n": "an HDF5 file"}  # by their first bytes
MAY_RUN = "which may hold code that runs when it is opened, so it is not opened"


@cache  # for one expansion: `expand` forgets it
def file_shapes(path: str) -> Shapes | str:
    """Names and shapes in a file that a run is to start from, or what is wrong with it."""
    if what := unreadable(path):
        return what
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except SafetensorError as error:
        return said_of(Path(path), error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    if any(name.endswith("embed.W_E") for name in shapes):
        return f"{path} has names of TransformerLens (embed.W_E); rename them: {convert_command(path)}"
    odd = [f"{name} is {kind}" for name, kind in kinds.items() if kind not in ("F16", "F32", "F64")]
    mend = f"; make them so: {convert_command(path)}" if set(kinds.values()) <= {"F16", "BF16", "F32", "F64"} else ""
    return f"{path}: weights are F16, F32 or F64, but {', '.join(odd[:4])}{mend}" if odd else shapes


def unreadable(path: str) -> str:
    """Why there is no file to read, or ''."""
    try:
        if Path(path).is_dir():
            return f"{path} is a directory, not a safetensors file"
        Path(path).stat()
    except FileNotFoundError:
        return f"no such file: {path}"
    except (OSError, ValueError) as error:
        return f"{shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not Path(path).is_file():
        return f"{path} is not a regular file"
    return ""


def convert_command(path: str | Path) -> str:
    return f"grokjax convert {shlex.quote(str(path))} --out NEW.safetensors"


def said_of(path: Path, error: Exception) -> str:
    """What a file is that safetensors could not read, with that error; only then are its first bytes looked at."""
    kind = other_kind(path)
    if kind is None:
        return f"{path} is not a safetensors file, or a damaged one ({str(error)[:200]})"
    why = f", {MAY_RUN}" if kind in (PYTORCH, PICKLE) else ""
    how = f"; how to make one of it: {convert_command(path)}" if kind in (PYTORCH, PICKLE, NPZ) else ""
    return f"{path} is {kind}, not a safetensors file{why}{how}"


def other_kind(path: Path) -> str | None:
    """Which other file of arrays it is, by how it begins; None: no other, or a damaged safetensors file."""
    with path.open("rb") as file:
        head = file.read(256)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MOST_HEADER:
        return None
    if re.match(rb"\x80[\x02-\x05]", head):
        return PICKLE
    if head.startswith(b"PK\x03\x04"):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]  # the name of the first file in it
        if first.endswith(b".npy"):
            return NPZ
        return PYTORCH if re.search(rb"(^|/)(data\.pkl|byteorder|\.format_version)$", first) else "a zip archive"
    return next((kind for magic, kind in OTHER.items() if head.startswith(magic)), None)
