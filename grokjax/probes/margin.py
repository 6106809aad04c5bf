"""How far the right answer's logit is above the others."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.train.state import View


def margin(spec: RunSpec, view: View) -> Metrics:
    """Smallest, median and mean over the examples of z_y - max_{j != y} z_j. Past 23 ln 2 = 16 the right class's
    gradient is zero in a float32 softmax (Liu et al. 2026, arXiv 2605.06152)."""
    gap = margins(view.logits, view.examples.targets)
    return {"margin/min": gap.min(), "margin/median": jnp.median(gap), "margin/mean": gap.mean()}


def margins(logits: Float[Array, "v m"], targets: Int[Array, n * scored]) -> Float[Array, " m"]:
    """z_y - max_{j != y} z_j of every scored position of every example; of one output y f, with y = 1 or -1."""
    labels = targets.reshape(-1)
    if logits.shape[0] == 1:
        return (2 * labels - 1) * logits[0]
    right = jnp.take_along_axis(logits, labels[None], axis=0)[0]
    largest_other = jnp.where(jnp.arange(logits.shape[0])[:, None] == labels, -jnp.inf, logits).max(0)
    return right - largest_other
