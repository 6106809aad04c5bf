"""The empirical tangent kernel of stored parameters: how it fits the labels, and how far it moved from the start.

Kumar, Bordelon, Gershman and Pehlevan 2023 (arXiv 2310.06110) take y'Ky / (|K| |y|^2) of a network with one output. Of
several outputs f_c (the logits that the loss reads) the kernel is summed over them, and y y' is the Gram matrix of the
one-hot labels less their mean:

    K_ij = sum_c <grad f_c(x_i), grad f_c(x_j)>,    alignment = <K, YY'> / (|K| |YY'|)    (Frobenius)

With few examples a class much of it is the diagonal, which every kernel has: compare at one number of examples only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Shaped

from grokjax.analysis.stored import (
    Snapshot,
    Steps,
    by_program,
    chosen_snapshots,
    examples_of,
    in_order,
    logit_scale,
    measured,
    start_params,
)
from grokjax.models.network import forward
from grokjax.models.params import Params
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_count, parameter_shapes
from grokjax.tasks.examples import Examples, some_of
from grokjax.train.frozen import parted
from grokjax.train.step import precision

PARTS = ("train", "test", "all")
Gram = Float[np.ndarray, "m m"]


@dataclass(frozen=True)
class Sample:
    """Examples that the kernel is taken on: so many of a part, drawn by the seed without replacement; all of them where
    there are no more. Raises ValueError for what cannot be."""

    examples: int = 128
    part: str = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.examples < 2:
            raise ValueError(f"examples must be at least 2, got {self.examples}")
        if self.part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(PARTS)}, got {self.part!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be within 0 and 2^32 - 1, got {self.seed}")

    def of(self, spec: RunSpec) -> Examples:
        train, test = examples_of(spec)
        both = jax.tree.map(lambda *parts: np.concatenate(parts), train, test)
        part = {"train": train, "test": test, "all": both}[self.part]
        rows = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(part.targets))[: self.examples]
        return some_of(part, rows)


def kernel(
    results: Results,
    run_ids: str | Iterable[str] | None = None,
    steps: Steps = None,
    sample: Sample | None = None,
) -> pd.DataFrame:
    """One row a run and snapshot, the start (step 0) among them whether it is stored or not:

    run_id, step, alignment (0 to 1), centered_alignment (of K less its row and column means: Cortes et al. 2012,
    Kornblith et al. 2019's CKA), change (1 - <K0, K> / (|K0| |K|) from the start), centered_change, distance
    (|K - K0| / |K0|), norm (|K| / examples), examples. nan where it is not defined.

    run_ids, steps: as of `grokjax.analysis.progress.progress`; ValueErrors too.
    """
    sample, rows = sample or Sample(), []
    for alike in by_program(chosen_snapshots(results, run_ids, steps, with_start=True)):
        specs = {snapshot.run_id: snapshot.spec for snapshot in alike}
        first = [Snapshot(run_id, 0, spec) for run_id, spec in specs.items()]
        later = [snapshot for snapshot in alike if snapshot.step > 0]
        asked, grams = {(snapshot.run_id, snapshot.step) for snapshot in alike}, {}
        for snapshot, gram in _grams(results, [*first, *later], sample):
            if snapshot.step == 0:
                grams[snapshot.run_id] = gram
            if (snapshot.run_id, snapshot.step) in asked:
                head = {"run_id": snapshot.run_id, "step": snapshot.step}
                rows.append(head | describe(gram, grams[snapshot.run_id], np.asarray(sample.of(snapshot.spec).targets)))
    return in_order(results, pd.DataFrame(rows))


def _grams(results: Results, snapshots: list[Snapshot], sample: Sample) -> Iterable[tuple[Snapshot, Gram]]:
    """Each snapshot, all of one program, with its kernel in float64."""
    spec = snapshots[0].spec
    with precision(spec, matmul="highest"):
        starts = start_params(results, list({snapshot.run_id: None for snapshot in snapshots}))

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        params = starts[snapshot.run_id] if snapshot.step == 0 else results.params(snapshot.run_id, snapshot.step)
        return params, sample.of(snapshot.spec).inputs, logit_scale(snapshot.spec)

    def bytes_of(spec: RunSpec) -> int:
        count = len(sample.of(spec).targets)
        width = np.dtype(spec.numerics.params).itemsize
        return width * count * (3 * parameter_count(parameter_shapes(spec)) + count)

    for snapshot, values in measured(_of_run, snapshots, inputs, bytes_of, matmul="highest"):
        yield snapshot, values["kernel"].astype(np.float64)


def _of_run(spec: RunSpec, params: Params, tokens: Array, scale: Float[Array, ""]) -> dict[str, Array]:
    trained, frozen = parted(spec, params)

    def outputs(params: Params, tokens: Array) -> Float[Array, " v"]:
        return forward(spec, params | frozen, tokens[None])[:, 0] * scale

    return {"kernel": tangent_kernel(outputs, trained, tokens)}


def tangent_kernel(
    outputs: Callable[[Any, Any], Float[Array, " v"]], params: Any, inputs: Shaped[Array, "m ..."]
) -> Float[Array, "m m"]:
    """K of outputs(params, one input). One output after another, so that the gradients of one are held, not of all."""

    def add(sum: Array, output: Float[Array, " v"]) -> tuple[Array, None]:
        gradient = jax.grad(lambda params, x: jnp.vdot(output, outputs(params, x)))
        leaves = jax.tree.leaves(jax.vmap(gradient, in_axes=(None, 0))(params, inputs))
        flat = [leaf.reshape(len(leaf), -1) for leaf in leaves]
        return sum + jnp.stack([leaf @ leaf.T for leaf in flat]).sum(0), None

    shape = jax.eval_shape(outputs, params, inputs[0])
    zero = jnp.zeros((len(inputs), len(inputs)), shape.dtype)
    return jax.lax.scan(add, zero, jnp.eye(*shape.shape, dtype=shape.dtype))[0]


def describe(gram: Gram, start: Gram, labels: np.ndarray) -> dict[str, float]:
    """What `kernel` has of one kernel, that of the start, and the labels of their examples."""
    one_hot = (labels[:, None] == np.unique(labels)).astype(np.float64)
    one_hot -= one_hot.mean(0)
    target = one_hot @ one_hot.T
    norm = np.linalg.norm(start)
    return {
        "alignment": cosine(gram, target),
        "centered_alignment": cosine(centered(gram), target),
        "change": max(0.0, 1 - cosine(gram, start)),
        "centered_change": max(0.0, 1 - cosine(centered(gram), centered(start))),
        "distance": float(np.linalg.norm(gram - start) / norm) if norm else float("nan"),
        "norm": float(np.linalg.norm(gram) / len(gram)),
        "examples": len(gram),
    }


def centered(gram: Gram) -> Gram:
    """Less its row and column means: of outputs less their mean over the examples."""
    return gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()


def cosine(a: Gram, b: Gram) -> float:
    """Of two matrices, by the Frobenius product; nan where one is 0."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / norms) if norms else float("nan")
