"""What a segment has recorded so far: all columns of a kind in one array, of which a step writes one row.

An array for each column would be copied at every step, since a branch that may write it returns it: a kernel each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

Columns = dict[str, Array]
Scalar = Int[Array, ""]


class Rows(NamedTuple):
    """The last row of each takes what is not recorded. stamps: each lane's step, and whether the row counts."""

    train: Float[Array, "rows columns B"]
    test: Float[Array, "evals columns B"]
    stamps: Int[Array, "rows 2 B"]


def blank(columns: int, rows: int, lanes: int, dtype: Any = jnp.float32) -> Shaped[Array, "rows columns B"]:
    return jnp.zeros((rows + 1, columns, lanes), dtype)


def names_of(columns: Callable[..., Columns], *arguments: Any) -> list[str]:
    """Names of what a function returns, in the order of a row."""
    return sorted(jax.eval_shape(columns, *arguments))


def row_of(columns: Columns) -> Float[Array, "columns B"]:
    return jnp.stack([columns[name].astype(jnp.float32) for name in sorted(columns)])


def put(
    rows: Shaped[Array, "rows columns B"], row: Shaped[Array, "columns B"], at: Scalar, is_due: Bool[Array, ""]
) -> Shaped[Array, "rows columns B"]:
    """The rows with another at `at`, where it is due."""
    place = jnp.where(is_due, at, rows.shape[0] - 1)
    return jax.lax.dynamic_update_index_in_dim(rows, row, place, 0)


def columns_of(rows: Shaped[Array, "rows columns B"], names: Sequence[str]) -> Columns:
    """Name -> [rows, B], without the row that is thrown away."""
    return {name: rows[:-1, column] for column, name in enumerate(names)}
