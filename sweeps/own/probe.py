"""A probe: how sure the network is of its answers, at every record."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from grokjax.spec import Probe


class Entropy(Probe):
    name: Literal["entropy"] = "entropy"
    columns: ClassVar[int] = 2


def entropy(spec, view):
    """Of a training step's logits [classes, n]: the mean entropy of the softmax, and the largest, in nats."""
    log_p = jax.nn.log_softmax(view.logits, axis=0)
    each = -(jnp.exp(log_p) * log_p).sum(0)
    return {"entropy/mean": each.mean(), "entropy/max": each.max()}


PROBES = {"entropy": entropy}
