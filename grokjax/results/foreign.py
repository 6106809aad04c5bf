"""Tensors from files of other programs: safetensors is read, for other kinds it is said how to make that of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from grokjax.sweep.weights_file import NPZ, PICKLE, PYTORCH, other_kind, said_of, unreadable

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "U64": "<u8", "I32": "<i4",
          "U32": "<u4", "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "?"}  # fmt: skip

# Each takes the file `path`, and writes `tensors`.
FROM_PYTORCH = """\
import torch
from safetensors.torch import save_file

def states(value, where="content"):
    if isinstance(value, dict):
        yield where, {{str(name): inner for name, inner in value.items() if isinstance(inner, torch.Tensor)}}
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, inner in inside:
        yield from states(inner, f"{{where}}[{{name!r}}]")

def size(found):
    return sum(tensor.numel() for tensor in found[1].values())
{stubs}
content = torch.load({path!r}, map_location="cpu", weights_only=True)
where, state = max(reversed(list(states(content))), key=size)  # the largest dict of tensors, of equals the last
print(f"{{len(state)}} tensors: {{where}}")
save_file({{name: tensor.detach().contiguous().clone() for name, tensor in state.items()}}, {tensors!r})
"""
STUBS = """
class Empty:
    def __new__(cls, *values, **named):
        return object.__new__(cls)

# classes of others, a config's for instance, are read as empty ones: none of their code runs
for name in torch.serialization.get_unsafe_globals_in_checkpoint({path!r}):
    torch.serialization.add_safe_globals([(type("Empty", (Empty,), {{}}), name)])
"""
FROM_NPZ = """\
import numpy as np
from safetensors.numpy import save_file
arrays = np.load({path!r})
save_file({{name: np.ascontiguousarray(arrays[name]) for name in arrays.files}}, {tensors!r})
"""


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
        raise ValueError(said_of(path, error) + _recipe(path)) from None
    odd = [f"{name} is {entry['dtype']}" for name, entry in entries if entry["dtype"] not in DTYPES]
    if odd:
        raise ValueError(f"{path}: weights are F16, BF16, F32 or F64, but {', '.join(odd[:4])}")
    tensors = {name: _array(entry["dtype"], entry["data"]).reshape(entry["shape"]) for name, entry in entries}
    return tensors, metadata


def _array(dtype: str, data: bytes) -> np.ndarray:
    values = np.frombuffer(data, DTYPES[dtype])
    return (values.astype("<u4") << 16).view("<f4") if dtype == "BF16" else values  # its upper half is bfloat16


def _recipe(path: Path) -> str:
    """Lines of Python that write a file's tensors as safetensors, or ''. Nothing of the file is executed here."""
    kind, tensors = other_kind(path), f"{path.stem}-tensors.safetensors"
    recipe = {PYTORCH: FROM_PYTORCH, PICKLE: FROM_PYTORCH, NPZ: FROM_NPZ}.get(kind or "")
    if recipe is None:
        return ""
    with_what = "NumPy" if kind == NPZ else "PyTorch 2.6 or newer"
    stubs = STUBS.format(path=str(path)) if kind == PYTORCH else ""
    lines = recipe.format(path=str(path), tensors=tensors, stubs=stubs)
    then = f"grokjax convert {shlex.quote(tensors)} --out NEW.safetensors"
    return f"\n\nIf you trust it, run this Python, with {with_what}; then: {then}\n\n{lines}"
