"""How long the logits are."""

from __future__ import annotations

import jax.numpy as jnp

from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.train.state import View


def logit_scale(spec: RunSpec, view: View) -> Metrics:
    """logit_scale/norm: mean over examples (and scored positions) of the norm of the logits, as the loss reads them, a
    temperature included (ClevixLab 2026, arXiv 2606.18465). logit_scale/centered: the same less each one's mean over
    classes, which no softmax sees."""
    logits = view.logits
    centered = logits - logits.mean(0)
    return {
        "logit_scale/norm": jnp.sqrt(jnp.square(logits).sum(0)).mean(),
        "logit_scale/centered": jnp.sqrt(jnp.square(centered).sum(0)).mean(),
    }
