"""How an embedding lies: on circles, or as a line that sums can be read from."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grokjax.models.network import input_weights
from grokjax.models.params import Params
from grokjax.probes.core import Metrics
from grokjax.probes.fourier import share
from grokjax.spec.run import RunSpec
from grokjax.tasks.cycle import cycle_of

COMPONENTS = 4  # of the largest variance
NEAR = 0.01  # of parallelograms, in units of the embedding's standard deviation


def circularity(spec: RunSpec, params: Params, train: Any, logit_scale: Any) -> Metrics:
    """circularity: mean over the first four principal components e of the embedding of
    max_k 2 / (n sum_j e_j^2) |sum_j e_j exp(2 pi i j k / n)|^2: 1 where each is a single wave (Zhong et al. 2023,
    arXiv 2306.17844). The order of j is that of the task's cyclic group."""
    rows = input_weights(spec, params)[cycle_of(spec.task).elements]
    return {"circularity": circularity_of(rows)}


def circularity_of(rows: Float[Array, "n d"]) -> Float[Array, ""]:
    """rows: the embedding of each element, in the group's order."""
    n = rows.shape[0]
    centered = rows - rows.mean(0)
    components = jnp.linalg.svd(centered, full_matrices=False)[0][:, :COMPONENTS]
    angle = 2 * np.pi * (np.outer(np.arange(1, n // 2 + 1), np.arange(n)) % n) / n
    power = jnp.square(np.cos(angle) @ components) + jnp.square(np.sin(angle) @ components)
    weight = np.where(2 * np.arange(1, n // 2 + 1) == n, 0.5, 1.0)[:, None]  # +1 -1 +1 ... is one direction, not two
    return share(2 * (weight * power).max(0), n * jnp.square(components).sum(0)).mean()


def rqi(spec: RunSpec, params: Params, train: Any, logit_scale: Any) -> Metrics:
    """rqi: of all pairs {i, j} and {m, n} of operands with the same sum, the share whose E_i + E_j and E_m + E_n are as
    good as equal, a parallelogram: their distance is below 0.01 of the embedding's standard deviation (Liu et al. 2022,
    arXiv 2205.10343, representation quality index). rqi/near: the same below 0.1."""
    table, groups = params["W_E"], parallelograms(spec)
    centered = table[: spec.task.operand_values] - table[: spec.task.operand_values].mean(0)
    scaled = centered / jnp.maximum(jnp.sqrt(jnp.square(centered).sum(1).mean()), 1e-30)
    first, second = (scaled[groups[:, side, 0]] + scaled[groups[:, side, 1]] for side in (0, 1))
    distance = jnp.linalg.norm(first - second, axis=1)
    return {"rqi": (distance < NEAR).mean(), "rqi/near": (distance < 10 * NEAR).mean()}


def parallelograms(spec: RunSpec) -> Int[np.ndarray, "m 2 2"]:
    """Two different pairs i <= j each, of the same sum."""
    i, j = np.triu_indices(spec.task.operand_values)
    sums = (i + j) % spec.task.operand_values if spec.task.sums_wrap else i + j
    pairs = np.stack([i, j], axis=1)
    rows = [np.flatnonzero(sums == total) for total in np.unique(sums)]
    both = [np.stack([pairs[row[a]], pairs[row[b]]], axis=1) for row in rows for a, b in [np.triu_indices(len(row), 1)]]
    return np.concatenate(both).astype(np.int32)
