"""Accelerators that programs can be compiled for without having one, and what their makers say of them.

Bandwidth and peaks are those of data sheets: NVIDIA's of H100 SXM5 80 GB and A100 SXM4 80 GB (tensor cores without
sparsity), Google's of TPU v5e and v6e (a chip).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from jax.experimental import topologies

from grokjax.plan.plan import Device
from grokjax.spec.matmuls import ALGORITHMS

# JAX's precisions: the fastest units that may multiply float32 numbers, and their passes a product. At `high` a GPU's
# library takes TF32, XLA's own kernels float32.
PRECISIONS = {
    "gpu": {"highest": ("float32", 1), "high": ("tf32", 1), "default": ("tf32", 1)},
    "tpu": {"highest": ("bf16", 6), "high": ("bf16", 3), "default": ("bf16", 1)},
}

GPU = """\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {l2}
  clock_rate_ghz: {clock}
  device_memory_size: {memory}
  shared_memory_per_block_optin: {optin}
  cuda_compute_capability {{ major: {major} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "{kind}"
"""


@dataclass(frozen=True)
class Target:
    """A kind of accelerator. memory: bytes; bandwidth: bytes a second of its memory; peaks: FLOPs a second of its
    units; options: how `topologies.get_topology_desc` is told of it; extra: of pyproject.toml, installs its compiler.
    """

    platform: str  # gpu | tpu
    kind: str
    memory: int
    bandwidth: float
    peaks: dict[str, float]
    extra: str
    options: dict[str, Any]
    environment: dict[str, str]

    def flops(self, matmul: str) -> float:
        """Of float32 matmuls a second at most, at a `numerics.matmul`. Raises KeyError for one that it has no units
        for."""
        algorithm = ALGORITHMS.get(matmul)
        unit, passes = (algorithm.unit, algorithm.passes) if algorithm else PRECISIONS[self.platform][matmul]
        return self.peaks[unit] / passes

    def device(self, versions: str) -> Device:
        """One of it, as a plan knows it."""
        return Device(self.platform, self.kind, 1, self.memory, versions)


def _gpu(kind: str, memory: int, bandwidth: float, peaks: dict[str, float], **numbers: Any) -> Target:
    text = GPU.format(kind=kind, memory=memory, bandwidth=int(bandwidth), **numbers)
    options = {"platform": "cuda", "topology_name": "1x1x1", "topology": "1x1x1", "target_config": text}
    return Target("gpu", kind, memory, bandwidth, peaks, "aot-cuda", options, {})


def _tpu(kind: str, memory: int, bandwidth: float, bf16: float, topology: str, accelerator: str) -> Target:
    environment = {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": accelerator, "TPU_SKIP_MDS_QUERY": "1"}
    options = {"platform": "tpu", "topology_name": topology}
    return Target("tpu", kind, memory, bandwidth, {"bf16": bf16}, "aot-tpu", options, environment)


TARGETS = {
    "h100": _gpu(
        "NVIDIA H100 80GB HBM3", 85_520_809_984, 3.35e12, {"float32": 67e12, "tf32": 494.7e12, "bf16": 989.4e12},
        shared=233472, cores=132, fpus=128, l2=52428800, clock=1.98, optin=232448, major=9,
    ),
    "a100": _gpu(
        "NVIDIA A100-SXM4-80GB", 85_094_825_984, 2.04e12, {"float32": 19.5e12, "tf32": 156e12, "bf16": 312e12},
        shared=167936, cores=108, fpus=64, l2=41943040, clock=1.41, optin=166912, major=8,
    ),
    "v5e": _tpu("TPU v5 lite", 16 * 2**30, 8.19e11, 197e12, "v5e:2x2", "v5litepod-4"),
    "v6e": _tpu("TPU v6 lite", 32 * 2**30, 1.64e12, 918e12, "v6e:2x2", "v6e-4"),
}  # fmt: skip


def compile_device(target: Target) -> Any:
    """A device of JAX's that programs can be compiled for, and no more. Raises ValueError where its compiler is not
    installed."""
    os.environ.update(target.environment)
    try:
        topology = topologies.get_topology_desc(**target.options)
    except Exception as error:  # what plugins raise, and JAX where there is none, is no closed set
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"no compiler for {target.kind} here ({why}): pip install 'grokjax[{target.extra}]'") from None
    return topology.devices[0]
