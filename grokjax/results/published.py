"""Weights that others published, under grokjax's names: what `init.from_file` reads. Never unpickles anything."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from grokjax.results.files import write_view

SKIPPED = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")  # buffers, not weights
AS_SAFETENSORS = (
    "which may hold code that runs when it is opened, so it is not; if you trust it, write its tensors as safetensors: "
    "import torch; from safetensors.torch import save_file; save_file({{name: value.contiguous() for name, value in "
    "torch.load({path!r}, weights_only=True).items()}}, 'weights.safetensors')"
)
TOP = {"embed.W_E": "W_E", "pos_embed.W_pos": "W_pos", "unembed.W_U": "W_U", "ln_final.w": "ln_final_w",
       "ln_final.b": "ln_final_b"}  # fmt: skip
IN_LAYER = {"attn.W_Q": "W_Q", "attn.W_K": "W_K", "attn.W_V": "W_V", "attn.W_O": "W_O", "mlp.W_in": "W_in",
            "mlp.b_in": "b_in", "mlp.W_out": "W_out", "mlp.b_out": "b_out", "ln1.w": "ln1_w", "ln1.b": "ln1_b",
            "ln2.w": "ln2_w", "ln2.b": "ln2_b"}  # fmt: skip
BIASES = re.compile(r"blocks\.\d+\.attn\.b_[QKVO]|unembed\.b_U")  # grokjax has none
AXES = {"W_E": 2, "W_pos": 2, "W_U": 2, "W_Q": 3, "W_K": 3, "W_V": 3, "W_O": 3, "W_in": 2, "W_out": 2}
TRANSPOSED = {"W_E", "W_in", "W_out", "W_Q", "W_K", "W_V"}  # in the layout of Nanda et al., besides W_O


def convert_published(path: Path, out: Path) -> dict[str, np.ndarray]:
    """Write a published state dict as safetensors in grokjax's names, and return it. Raises ValueError."""
    params = renamed(read_tensors(path))
    write_view(out, lambda temporary: temporary.write_bytes(save(params)))
    return params


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from a safetensors file. Raises ValueError for all else."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:1] == b"\x80" or head[:4] == b"PK\x03\x04":
        kind = "a pickle" if head[:1] == b"\x80" else "a zip archive (PyTorch's or NumPy's)"
        raise ValueError(f"{path} is {kind}, {AS_SAFETENSORS.format(path=str(path))}")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not safetensors: {str(error)[:200]}") from None


def renamed(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dict in TransformerLens's names and layouts, or in those of the code of Nanda et al. 2023, as grokjax has
    it. Raises ValueError for what it cannot express.

    TransformerLens has grokjax's layouts. Nanda's, known by its W_O of two axes, has W_E [d_model, d_vocab],
    W_Q|W_K|W_V [heads, d_head, d_model], W_O [d_model, heads d_head], W_in [d_mlp, d_model], W_out [d_model, d_mlp].
    Biases that grokjax has not must be 0 (b_U: all equal). A W_U without an output for `=` gets one that is always 0.
    """
    params: dict[str, np.ndarray] = {}
    for name, value in state.items():
        ours = _grokjax_name(name)
        if ours is not None:
            params[ours] = _as_float(name, value)
        elif BIASES.fullmatch(name):
            _check_no_bias(name, value)
        elif not SKIPPED.fullmatch(name):
            raise ValueError(f"{name} is no parameter that grokjax knows; known are {', '.join([*TOP, *IN_LAYER])}")
    missing = [name for name in ("W_E", "W_pos", "W_O.0", "W_U") if name not in params]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)} (in grokjax's names)")
    if params["W_O.0"].ndim == 2:
        params = {name: _from_nanda(name, value, params) for name, value in params.items()}
    for name, value in params.items():
        if value.ndim != AXES.get(name.partition(".")[0], 1):
            raise ValueError(f"{name} has {value.ndim} axes, {list(value.shape)}")
    lacking = len(params["W_E"]) - params["W_U"].shape[1]
    if lacking == 1:
        params["W_U"] = np.pad(params["W_U"], ((0, 0), (0, 1)))
    elif lacking:
        raise ValueError(f"W_E has {len(params['W_E'])} tokens and W_U {params['W_U'].shape[1]}: it may lack `=` only")
    return {name: np.ascontiguousarray(value) for name, value in params.items()}


def _grokjax_name(name: str) -> str | None:
    if name in TOP:
        return TOP[name]
    layer = re.fullmatch(r"blocks\.(0|[1-9]\d{0,2})\.(.+)", name)
    return f"{IN_LAYER[layer[2]]}.{layer[1]}" if layer and layer[2] in IN_LAYER else None


def _as_float(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "f":
        raise ValueError(f"{name} holds {value.dtype}, not floating-point numbers")
    return value.astype(np.float64 if value.dtype == np.float64 else np.float32)


def _check_no_bias(name: str, value: np.ndarray) -> None:
    shift = value.flat[0] if name == "unembed.b_U" and value.size else 0  # the same for every logit changes nothing
    if not np.all(value == shift):
        raise ValueError(f"{name} is not 0, and grokjax has no such bias")


def _from_nanda(name: str, value: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    """Nanda's layout in grokjax's."""
    kind, _, layer = name.partition(".")
    if kind == "W_O" and value.ndim == 2:
        heads = params.get(f"W_Q.{layer}", value).shape[:2]
        if math.prod(heads) != value.shape[1]:
            raise ValueError(f"{name} of shape {list(value.shape)} does not fit W_Q's heads {list(heads)}")
        return value.T.reshape(*heads, len(value))
    if kind not in TRANSPOSED:
        return value
    if value.ndim != AXES[kind]:
        raise ValueError(f"{name} has {value.ndim} axes, {list(value.shape)}")
    return value.swapaxes(-1, -2)
