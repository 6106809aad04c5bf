"""Losses: terms of logits [v, m] (examples last) and targets, whose mean is the loss.

A term is [..., m]: the mean over all axes but the last is each example's own loss.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from grokjax.models.features import total
from grokjax.spec import losses as spec
from grokjax.spec.section import implementation

Logits = Float[Array, "v m"]
Labels = Int[Array, " m"]
Terms = Float[Array, "*v m"]


def cross_entropy(loss: spec.CrossEntropy, logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """Of each example; its precision is a part of the experiment."""
    if loss.center_gradient:
        logits = center_gradient(logits)
    match loss.precision:
        case "exact":
            return exact(logits, labels)
        case "float32":
            return log_softmax(logits.astype(jnp.float32), labels)  # the tail below 6e-8 is lost, on purpose
        case "float64":
            return log_softmax(logits.astype(jnp.float64), labels)  # needs `jax.enable_x64`


def exact(logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """Cross-entropy without cancellation, in the logits' own precision.

    With d_j = z_j - z_y over j != y and m = max(0, max_j d_j): loss = m + log(exp(-m) + sum_j exp(d_j - m)),
    which is log1p(sum_j exp(d_j)) where m = 0. A loss of 1e-12 keeps its digits, and so does its gradient:
    the label's own share is minus the sum of the others', never 1 - p_y.
    """
    is_label = _is_label(logits, labels)
    at_label = total(jnp.where(is_label, logits, 0))
    d = jnp.where(is_label, -jnp.inf, logits - at_label)
    m = jax.lax.stop_gradient(jnp.maximum(d.max(0), 0))
    others = total(jnp.exp(d - m))
    inside = jnp.where(m == 0, others, 1)  # keeps log1p's branch finite where it is not taken
    rest = jnp.where(m == 0, 1, jnp.exp(-m) + others)
    return jnp.where(m == 0, jnp.log1p(inside), m + jnp.log(rest))


def _is_label(logits: Logits, labels: Labels) -> Bool[Array, "v m"]:
    return jnp.arange(logits.shape[0])[:, None] == labels


def log_softmax(logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """Minus `jax.nn.log_softmax` at the label, as precise as the logits are."""
    return -total(jnp.where(_is_label(logits, labels), jax.nn.log_softmax(logits, axis=0), 0))


def mse(loss: spec.MSE, logits: Logits, labels: Labels) -> Float[Array, "v m"]:
    """Squared distance to the one-hot label; the mean is that of torch.nn.MSELoss."""
    return jnp.square(logits - _is_label(logits, labels))


@jax.custom_vjp
def center_gradient(logits: Logits) -> Logits:
    """The logits; of their gradient, each example's mean over classes is subtracted.

    That mean is 0 but for rounding: where a float32 softmax loses the right class's gradient, the rest's is left
    (Liu et al. 2026, arXiv 2605.06152).
    """
    return logits


center_gradient.defvjp(lambda logits: (logits, None), lambda _, grad: (grad - grad.mean(0),))


LOSSES: dict[str, Callable[..., Terms]] = {"cross_entropy": cross_entropy, "mse": mse}


def terms(loss: spec.Loss, logits: Logits, targets: Num[Array, n * scored]) -> Terms:
    """Terms of every scored position of every example."""
    return implementation(LOSSES, loss)(loss, logits, targets.reshape(-1))


def mean_loss(loss: spec.Loss, logits: Logits, targets: Num[Array, n * scored]) -> Float[Array, ""]:
    return terms(loss, logits, targets).mean()


def each_loss(loss: spec.Loss, logits: Logits, targets: Num[Array, n * scored]) -> Float[Array, " m"]:
    """Of every scored position of every example by itself."""
    values = terms(loss, logits, targets)
    return values.reshape(-1, values.shape[-1]).mean(0)
