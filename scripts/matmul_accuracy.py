#!/usr/bin/env python3
"""What JAX's dot algorithms (`numerics.matmul`) lose of a float32 product, and what that does to training.

    python scripts/matmul_accuracy.py                          # errors against float64
    python scripts/matmul_accuracy.py --train sweeps/quickstart.yaml --arm grok --set train.steps=2000

No CPU has them, so they are emulated: the parts of a number are made by rounding, each pass is a float32 product of
them, the small ones are added first. An accelerator may cut parts off instead of rounding them (then a part holds one
bit less), and adds in another order. With --train the engine trains as it would on such a device: in this process JAX's
CPU has the algorithms too. Computed by emulation, not measured on hardware.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.planning import prepare_jax

prepare_jax()
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax._src.lax.lax import _dot_general_lower  # noqa: E402  # what it is by default on a CPU is told nowhere else
from jax.interpreters import mlir  # noqa: E402

from grokjax.launch import run  # noqa: E402
from grokjax.spec.matmuls import ALGORITHMS, jax_name  # noqa: E402
from grokjax.sweep.settings import parse_overrides  # noqa: E402

NAMES = ("highest", *ALGORITHMS)
DIGITS = {"bf16": 7, "tf32": 10}  # of a mantissa, without the leading one
PARTS = {9: 3, 6: 3, 3: 2, 1: 1}  # passes -> parts of a number
SMALLEST = {9: 4, 6: 2, 3: 1, 1: 0}  # passes -> the numbers of two parts that are multiplied add up to this at most
# [o, k] times [k, n] of Nanda et al.'s network: p = 113, d_model 128, d_mlp 512, 3,830 examples
PRODUCTS = {
    "W_in, forward": (512, 128, 3830),
    "W_out, forward": (128, 512, 3830),
    "W_in's gradient": (128, 3830, 512),
}


def emulated(name: str, a: jax.Array, b: jax.Array, **how: Any) -> jax.Array:
    """A product as the algorithm makes it. how: as of `jax.lax.dot_general`."""
    passes = ALGORITHMS[name].passes
    left, right = (parts(name, side) for side in (a, b))
    pairs = [(i, j) for i in range(len(left)) for j in range(len(right)) if i + j <= SMALLEST[passes]]
    multiply = partial(jax.lax.dot_general, **how | {"precision": jax.lax.Precision.HIGHEST})
    first, *others = (multiply(left[i], right[j]) for i, j in sorted(pairs, key=sum, reverse=True))
    return sum(others, first)


def parts(name: str, x: jax.Array) -> list[jax.Array]:
    """Numbers of few digits that add up to x, as far as there are enough of them; the largest first."""
    found = []
    for _ in range(PARTS[ALGORITHMS[name].passes]):
        found.append(jax.lax.reduce_precision(x, 8, DIGITS[ALGORITHMS[name].unit]))
        x = x - found[-1]
    return found


def emulate() -> None:
    """From now on a CPU has the algorithms, in this process."""
    names = {getattr(jax.lax.DotAlgorithmPreset, algorithm.preset): name for name, algorithm in ALGORITHMS.items()}

    def lower(ctx: Any, a: Any, b: Any, **how: Any) -> Any:
        name = names.get(how["precision"])
        if name is None:
            return _dot_general_lower(ctx, a, b, **how, platform="cpu")
        return mlir.lower_fun(partial(emulated, name), multiple_results=False)(ctx, a, b, **how)

    mlir.register_lowering(jax.lax.dot_general_p, lower, platform="cpu")


def error(name: str, shape: tuple[int, int, int]) -> float:
    """|product - exact| / |exact|, of matrices of normal numbers, in Frobenius norms."""
    rows, inner, columns = shape
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=size).astype(np.float32) for size in ((rows, inner), (inner, columns)))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    with jax.default_matmul_precision(jax_name(name)):
        found = np.asarray(jax.jit(jnp.matmul)(a, b)).astype(np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def train(sweep: Path, names: list[str], arm: str | None, settings: list[str]) -> None:
    """Says of each algorithm when the runs of a sweep fit and generalized."""
    given, arms = parse_overrides(settings), [arm] if arm else []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            runs = run(sweep, Path(folder) / "out", given | {"numerics.matmul": name}, arms=arms).runs()
        steps = {column: sorted(runs[column].dropna().astype(int)) for column in ("fit_step", "generalization_step")}
        print(name, len(runs), "runs;", "; ".join(f"{column} {values}" for column, values in steps.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="SWEEP")
    parser.add_argument("--arm")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--matmul", action="append", choices=NAMES, help="only this one; repeatable")
    arguments = parser.parse_args()
    emulate()
    names = arguments.matmul or list(NAMES)
    if arguments.train:
        train(arguments.train, names, arguments.arm, arguments.set)
        return
    for name in names:
        print(f"{name:8}", "  ".join(f"{what}: {error(name, shape):.1e}" for what, shape in PRODUCTS.items()))


if __name__ == "__main__":
    sys.exit(main())
