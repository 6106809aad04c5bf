"""The names and layouts of TransformerLens 4's own networks, as those of its versions before."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

State = dict[str, np.ndarray]

# the last part of a module's name -> what its weight, and its bias, were called
MODULES = {"embed": ("W_E", ""), "pos_embed": ("W_pos", ""), "unembed": ("W_U", "b_U"), "ln1": ("w", "b"),
           "ln2": ("w", "b"), "ln_final": ("w", "b")}  # fmt: skip
LINEAR = {"q": ("W_Q", "b_Q"), "k": ("W_K", "b_K"), "v": ("W_V", "b_V"), "o": ("W_O", "b_O"), "in": ("W_in", "b_in"),
          "out": ("W_out", "b_out")}  # fmt: skip
FIRST = "blocks.0.attn.q.weight"


def is_of_version_4(names: Iterable[str]) -> bool:
    return {"embed.weight", FIRST} <= set(names)


def as_before(state: State, heads: int) -> State:
    """A state dict that has `blocks.0.attn.q.weight [heads d_head, d_model]` with `blocks.0.attn.W_Q [heads, d_model,
    d_head]` instead; what has another name stays. Raises ValueError where a weight does not divide into the heads."""
    return dict(_before(name, value, heads) for name, value in state.items())


def _before(name: str, value: np.ndarray, heads: int) -> tuple[str, np.ndarray]:
    module, _, kind = name.rpartition(".")
    above, _, part = module.rpartition(".")
    at = ("weight", "bias").index(kind) if kind in ("weight", "bias") else None
    if at is None or part not in {**MODULES, **LINEAR}:
        return name, value
    if part in MODULES:
        return f"{module}.{MODULES[part][at]}", value.T if name == "unembed.weight" else value
    return f"{above}.{LINEAR[part][at]}", _of_heads(name, part, value.T, heads)


def _of_heads(name: str, part: str, value: np.ndarray, heads: int) -> np.ndarray:
    """A transposed weight, [in, out], or a bias, with an axis of heads where it has one."""
    if part in ("in", "out") or (part == "o" and value.ndim == 1):
        return value
    width, over = divmod(value.shape[0 if part == "o" else -1], heads)
    if over:
        raise ValueError(f"{name} of shape {list(value.T.shape)} cannot be of {heads} heads")
    if part == "o":
        return value.reshape(heads, width, *value.shape[1:])
    return np.moveaxis(value.reshape(*value.shape[:-1], heads, width), -2, 0)
