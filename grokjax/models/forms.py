"""Which form of a function is traced: CPUs and accelerators are fast in different ones, alike but for rounding."""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax

_platform = jax.make_user_context("cpu")  # of what JAX keeps traces by


def traced_for(platform: str) -> AbstractContextManager[None]:
    """What is traced within is for devices of this platform."""
    return _platform(platform)


def is_for_cpu() -> bool:
    return _platform.value == "cpu"
