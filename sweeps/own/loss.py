"""A loss: the multi-class hinge of Crammer and Singer, max(0, margin - z_y + max_{j != y} z_j)."""

from typing import Literal

import jax.numpy as jnp

from grokjax.spec import Loss, Positive


class MulticlassHinge(Loss):
    name: Literal["multiclass_hinge"] = "multiclass_hinge"
    margin: Positive = 1.0

    def of_guess(self, classes):
        return self.margin


def multiclass_hinge(loss, logits, labels):
    """Logits [classes, n], labels [n] -> the loss of each example."""
    is_label = jnp.arange(len(logits))[:, None] == labels
    right = jnp.where(is_label, logits, 0).sum(0)
    best_other = jnp.where(is_label, -jnp.inf, logits).max(0)
    return jnp.maximum(0, loss.margin - right + best_other)


LOSSES = {"multiclass_hinge": multiclass_hinge}
