"""Files of weights: shapes in a safetensors file, and what is said of a file that is none."""

from __future__ import annotations

import re
import shlex
import zipfile
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from grokjax.spec.shapes import Shapes
from grokjax.sweep.nodes import shown

MOST_HEADER = 10**8  # bytes; safetensors refuses a longer one
PYTORCH, TORCHSCRIPT, PICKLE, NPZ = "a PyTorch file", "a TorchScript file", "a pickle", "an npz file of NumPy's"
MAY_RUN = (PYTORCH, TORCHSCRIPT, PICKLE)
OTHER = {b"\x93NUMPY": "an array of NumPy's", b"\x89HDF\r\n": "an HDF5 file"}  # by their first bytes
# what torch.save wrote before its version 1.6: pickles, the first of which is a number
OLD_PYTORCH = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)


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
        return said_of(Path(path), error) + _how_to_make_one(Path(path))
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    theirs = next(
        (name for name in shapes if re.fullmatch(r"(.+\.)?(embed\.W_E|blocks\.0\.attn\.q\.weight)", name)), None
    )
    if theirs:
        return f"{path} has names of TransformerLens ({theirs}); rename them: {convert_command(path)}"
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
    """As a shell takes it, whatever the file is called."""
    word = f"./{path}" if str(path).startswith("-") else str(path)
    return f"grokjax convert {shlex.quote(word)} --out NEW.safetensors"


def said_of(path: Path, error: Exception) -> str:
    """What a file is that safetensors could not read, with that error; only then are its first bytes looked at."""
    kind = other_kind(path)
    if kind is None:
        return f"{path} is not a safetensors file, or a damaged one ({str(error)[:200]})"
    why = ", which may hold code that runs when it is opened, so it is not opened" if kind in MAY_RUN else ""
    return f"{path} is {kind}, not a safetensors file{why}"


def _how_to_make_one(path: Path) -> str:
    return f"; how to make one of it: {convert_command(path)}" if other_kind(path) in (*MAY_RUN, NPZ) else ""


def other_kind(path: Path) -> str | None:
    """Which other file of arrays it is, by how it begins; None: no other, or a damaged safetensors file."""
    with path.open("rb") as file:
        head = file.read(256)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MOST_HEADER:
        return None
    if OLD_PYTORCH.match(head):
        return PYTORCH
    if re.match(rb"\x80[\x02-\x05]", head):
        return PICKLE
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    return next((kind for magic, kind in OTHER.items() if head.startswith(magic)), None)


def _kind_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "a damaged zip archive"
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    ends = {name.rpartition("/")[2] for name in names}
    return TORCHSCRIPT if "constants.pkl" in ends else PYTORCH if "data.pkl" in ends else "a zip archive"
