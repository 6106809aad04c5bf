"""JAX's dot algorithms, as `numerics.matmul` names them: products of float32 numbers in passes of faster units.

An x of 24 significant bits is a sum of 3 bfloat16 parts of 8 bits, or, but for its last, of 2 TF32 parts of 11. A pass
multiplies a part of each side and adds in float32: x9 every pair of 3 parts, x6 those that float32 can tell from
nothing, x3 all pairs of 2 parts but the two small ones; without a number one pass of rounded operands.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Algorithm:
    """preset: of `jax.lax.DotAlgorithmPreset`. unit: what multiplies, `bf16` or `tf32`. passes: of it, a product."""

    preset: str
    unit: str
    passes: int


ALGORITHMS = {
    "bf16_x9": Algorithm("BF16_BF16_F32_X9", "bf16", 9),
    "bf16_x6": Algorithm("BF16_BF16_F32_X6", "bf16", 6),
    "bf16_x3": Algorithm("BF16_BF16_F32_X3", "bf16", 3),
    "tf32_x3": Algorithm("TF32_TF32_F32_X3", "tf32", 3),
    "tf32": Algorithm("TF32_TF32_F32", "tf32", 1),
}
PRECISIONS = ("highest", "high", "default")  # JAX's, that every device has


def jax_name(matmul: str) -> str:
    """What `jax.default_matmul_precision` calls it."""
    return ALGORITHMS[matmul].preset if matmul in ALGORITHMS else matmul


def of_stored(matmul: str) -> str:
    """How a network that was trained so is looked at: on any device alike, so in full where it was an algorithm, which
    this one may not have."""
    return "highest" if matmul in ALGORITHMS else matmul
