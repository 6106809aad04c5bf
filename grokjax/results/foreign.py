"""Tensors from files of other programs: safetensors is read, for other kinds it is said how to make that of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from grokjax.results.recipes import recipe
from grokjax.sweep.weights_file import other_kind, said_of, unreadable

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "U64": "<u8", "I32": "<i4",
          "U32": "<u4", "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and the metadata, of a safetensors file; bfloat16 becomes float32. Raises ValueError for another
    file, with what can be done, and for a type of numbers that NumPy has not."""
    if what := unreadable(str(path)):
        raise ValueError(what)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(said_of(path, error) + recipe(path, other_kind(path))) from None
    odd = [f"{name} is {entry['dtype']}" for name, entry in entries if entry["dtype"] not in DTYPES]
    if odd:
        raise ValueError(f"{path}: weights are F16, BF16, F32 or F64, but {', '.join(odd[:4])}")
    tensors = {name: _array(entry["dtype"], entry["data"]).reshape(entry["shape"]) for name, entry in entries}
    return tensors, metadata


def _array(dtype: str, data: bytes) -> np.ndarray:
    values = np.frombuffer(data, DTYPES[dtype])
    return (values.astype("<u4") << 16).view("<f4") if dtype == "BF16" else values  # its upper half is bfloat16
