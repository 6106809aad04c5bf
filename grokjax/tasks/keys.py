"""Keys of random numbers. Each is of a seed and of what is drawn with it, so that no draw is another's."""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

BATCHES, ONLINE, NOISE, OPTIMIZER = 0xBA7C4, 0x0A11E, 0x0015E, 0x0971


def seed_key(seed: Any) -> Array:
    """Of an unsigned integer; one kind of generator everywhere, so a seed means the same on every device."""
    return jax.random.key(seed, impl="threefry2x32")


def key_for(purpose: int, seed: Any) -> Array:
    """purpose: one of the numbers above."""
    return jax.random.fold_in(seed_key(seed), jnp.uint32(purpose))


def named(key: Array, name: str) -> Array:
    """Of one parameter."""
    return numbered(key, name_number(name))


def numbered(key: Array, number: Any) -> Array:
    """Of the parameter whose name has this number."""
    return jax.random.fold_in(key, number)


def name_number(name: str) -> int:
    return zlib.crc32(name.encode())
