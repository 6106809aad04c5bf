"""Examples that count for nothing, so that their number suits a GPU: its matmuls would copy every activation for it.

All arrays have the lanes' axis first.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grokjax.models.forms import is_for_gpu
from grokjax.spec.run import RunSpec
from grokjax.train.state import Examples, View

MULTIPLE = 16


def pads(spec: RunSpec) -> bool:
    """Whether a run may be shown more examples than it has: not where it is shown some of them, nor where what is drawn
    at a step depends on their number."""
    draws = spec.noise.labels is not None or spec.noise.dropout is not None
    return is_for_gpu() and not (draws or spec.task.is_online or spec.train.batch is not None)


def padded(spec: RunSpec, train: Examples) -> Examples:
    """The examples of a step: the train set, and the first again with weight 0."""
    lanes, n = train.targets.shape[:2]
    further = -n % MULTIPLE
    if not (further and pads(spec)):
        return train
    weights = jnp.ones((lanes, n)) if train.weights is None else train.weights

    def more(value: Array) -> Array:
        return jnp.concatenate([value, jnp.repeat(value[:, :1], further, axis=1)], axis=1)

    nothing = jnp.zeros((lanes, further, *weights.shape[2:]))
    return train._replace(
        inputs=more(train.inputs), targets=more(train.targets), weights=jnp.concatenate([weights, nothing], axis=1)
    )


def without_padding(view: View, train: Examples) -> View:
    """A step as probes see it: of the run's own examples."""
    shown, n = view.examples.targets.shape[1], train.targets.shape[1]
    if shown <= n:
        return view
    scored = view.logits.shape[2] // shown
    columns: Any = view.examples._replace(rule=None, weights=None)
    columns = jax.tree.map(lambda value: value[:, :n], columns)
    examples = columns._replace(rule=view.examples.rule, weights=train.weights)
    return view._replace(logits=view.logits[..., : n * scored], examples=examples)
