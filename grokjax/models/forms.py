"""Which form of a function is traced: CPUs and GPUs are fast in different ones, alike but for rounding.

A TPU has the CPU's, whose long rows of examples suit it: what lies in short rows takes up whole tiles of its memory.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax

GPUS = ("gpu", "cuda", "rocm")
_platform = jax.make_user_context("cpu")  # JAX keeps what it traced by this too


def traced_for(platform: str) -> AbstractContextManager[None]:
    """What is traced within is for devices of this platform."""
    return _platform(platform)


def is_for_gpu() -> bool:
    return _platform.value in GPUS
