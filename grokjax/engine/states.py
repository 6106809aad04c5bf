"""The state of runs as flat arrays, named as they are stored, and back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from grokjax.results.segment import Snapshots
from grokjax.train.state import State

NUMBERS = ("step", "end", "held", "finite", "loss_max")
Flat = dict[str, np.ndarray]


def flat_names(state: Any) -> list[str]:
    """A name for each leaf of a state, in order: `params/W_E`, `opt/mu/W_E`, `opt/count`, `radius/all`, `step`, ...

    Positions in optax's chain are left out, so that optimizers with equal moments have equal names; of leaves that have
    one name then, the second ends in `~2`.
    """
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
    names = ["/".join(_part(key) for key in path if not hasattr(key, "idx")) for path in paths]
    names = [f"opt/{name.removeprefix('opt_state/')}" if name.startswith("opt_state/") else name for name in names]
    seen: Counter[str] = Counter()
    for at, name in enumerate(names):
        seen[name] += 1
        names[at] = f"{name}~{seen[name]}" if seen[name] > 1 else name
    assert len(set(names)) == len(names), names
    return names


def _part(key: Any) -> str:
    return str(key.name if hasattr(key, "name") else key.key)


def flatten(state: State, rows: np.ndarray | None = None) -> Flat:
    """Copies on the host [lanes, ...], of the lanes numbered in `rows` or of all; device buffers may be reused then."""
    names = flat_names(state)
    if rows is not None and jax.default_backend() != "cpu":  # what is not wanted stays on the device
        state, rows = _gather(state, _padded(rows)), np.arange(len(rows))
    leaves = jax.device_get(jax.tree.leaves(state))
    rows_kept = [np.array(leaf if rows is None else np.asarray(leaf)[rows]) for leaf in leaves]
    return dict(zip(names, rows_kept, strict=True))


def named(flat: Flat, prefix: str) -> Flat:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in flat.items() if name.startswith(prefix)}


@jax.jit
def _gather(state: State, rows: Int[Array, " n"]) -> State:
    return jax.tree.map(lambda value: value[rows], state)


def _padded(rows: np.ndarray) -> np.ndarray:
    """Of a length that is a power of two, so that few are compiled for."""
    return np.pad(rows, (0, (1 << (len(rows) - 1).bit_length()) - len(rows)), mode="edge").astype(np.int32)


def unflatten(flat: Flat, like: State) -> State:
    """A state with the structure and dtypes of `like`. Raises KeyError for a name that is missing."""
    leaves, structure = jax.tree.flatten(like)
    named = zip(flat_names(like), leaves, strict=True)
    return jax.tree.unflatten(structure, [np.asarray(flat[name], leaf.dtype) for name, leaf in named])


def as_snapshots(run_ids: list[str], flat: Flat) -> Snapshots:
    """Flat states [runs, ...] as the results store them."""
    state = {name: value for name, value in flat.items() if name not in NUMBERS}
    step, end, held, finite, loss_max = (flat[name] for name in NUMBERS)
    return Snapshots(tuple(run_ids), step, end, held, finite, loss_max, state)
