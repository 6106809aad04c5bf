"""What JAX computes on, and the mesh that the lane axis is spread over."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from grokjax.plan.plan import Device

LANES = "lanes"


def describe_device() -> Device:
    """The local devices, all of one kind."""
    devices = jax.local_devices()
    first = devices[0]
    stats = first.memory_stats() or {}
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "optax"))
    kind = first.device_kind
    if first.platform == "cpu":
        kind = f"{platform.machine()} core"
    memory = int(stats.get("bytes_limit", 0)) or _host_memory() // len(devices)
    name = "gpu" if first.platform in ("gpu", "cuda", "rocm") else first.platform
    return Device(name, kind, len(devices), memory, versions)


def keep_compiled(folder: Path) -> None:
    """Keep compiled programs under `folder`, unless JAX was told where to. CPU code is for one kind of processor."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        kind = hashlib.sha256(f"{platform.machine()} {_cpu_features()}".encode()).hexdigest()[:12]
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled" / kind))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _cpu_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def idle_accelerator(device: Device) -> str | None:
    """A warning if this machine has an accelerator that the installed JAX does not use."""
    if device.platform != "cpu":
        return None
    if shutil.which("nvidia-smi") or os.path.exists("/dev/nvidia0"):
        return "this machine has an NVIDIA GPU, but the installed JAX computes on the CPU: pip install 'grokjax[cuda]'"
    if os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0"):
        return "this machine has a TPU, but the installed JAX computes on the CPU: pip install 'grokjax[tpu]'"
    return None


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """A one-dimensional mesh over some devices."""
    return jax.make_mesh((len(devices),), (LANES,), devices=devices, axis_types=(jax.sharding.AxisType.Auto,))


def alike(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_lanes(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(LANES))
