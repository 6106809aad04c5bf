"""Of a group task: how the weights at both ends of a network lie among the group's irreducible representations."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.network import input_weights, output_map
from grokjax.models.params import Params
from grokjax.probes.core import Metrics
from grokjax.probes.fourier import share
from grokjax.spec.run import RunSpec
from grokjax.tasks.irreps import irreps_of


def irreps(spec: RunSpec, params: Params, train: Any, logit_scale: Any) -> Metrics:
    """irreps/in/R: share of the squared norm of what first reads the operands (less its mean over the group) that lies
    in representation R; irreps/out/R: of the neuron-logit map. R is named by its degree, d4_0 the first of degree 4
    (Chughtai et al. 2023, arXiv 2302.03025). A representation and its conjugate are one; the trivial one is left out.
    """
    n = spec.task.operand_values
    metrics = _powers(spec, "in", input_weights(spec, params)[:n])
    written = output_map(spec, params)
    return metrics if written is None else metrics | _powers(spec, "out", written.T[:n])


def _powers(spec: RunSpec, side: str, rows: Float[Array, "n columns"]) -> Metrics:
    found = irreps_of(spec.task.group_name)
    centered = rows - rows.mean(0)
    parts = jnp.asarray(found.projections, rows.dtype) @ centered
    powers = share(jnp.square(parts).sum((1, 2)), jnp.square(centered).sum())
    return {f"irreps/{side}/{name}": powers[index] for index, name in enumerate(found.names) if index}
