"""Losses: terms of logits [v, m] (examples last) and targets, whose mean is the loss.

A term is [..., m]: the mean over all axes but the last is each example's own loss.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from grokjax.models.features import total
from grokjax.models.forms import is_for_gpu
from grokjax.spec import losses as spec
from grokjax.spec.section import implementation
from grokjax.tasks.examples import mean_of

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
        case "float16":
            return log_softmax(logits.astype(jnp.float16), labels).astype(jnp.float32)
        case "float64":
            return log_softmax(logits.astype(jnp.float64), labels)  # needs `jax.enable_x64`


def exact(logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """Cross-entropy without cancellation, in the logits' own precision.

    With d_j = z_j - z_y over j != y and m = max(0, max_j d_j): loss = m + log(exp(-m) + sum_j exp(d_j - m)),
    which is log1p(sum_j exp(d_j)) where m = 0. A loss of 1e-12 keeps its digits, and so does its gradient:
    the label's own share is minus the sum of the others', never 1 - p_y.
    """
    if is_for_gpu():
        return _exact_in_rows(logits.T, labels)
    is_label = _is_label(logits, labels)
    at_label = total(jnp.where(is_label, logits, 0))
    d = jnp.where(is_label, -jnp.inf, logits - at_label)
    m = jax.lax.stop_gradient(jnp.maximum(d.max(0), 0))
    others = total(jnp.exp(d - m))
    inside = jnp.where(m == 0, others, 1)  # keeps log1p's branch finite where it is not taken
    rest = jnp.where(m == 0, 1, jnp.exp(-m) + others)
    return jnp.where(m == 0, jnp.log1p(inside), m + jnp.log(rest))


@jax.custom_vjp
def _exact_in_rows(logits: Float[Array, "n v"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """The same of logits that lie example by example: each is read three times, and its gradient is written once."""
    return _exact_forward(logits, labels)[0]


def _exact_forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, ...]]:
    logits = jax.lax.optimization_barrier(logits)
    is_label = labels[:, None] == jnp.arange(logits.shape[1])
    at_label = jnp.where(is_label, logits, 0).sum(1)
    largest = jnp.where(is_label, -jnp.inf, logits).max(1)
    at_label, largest = jax.lax.optimization_barrier((at_label, largest))
    m = jnp.maximum(largest - at_label, 0)
    others = jnp.where(is_label, 0, jnp.exp(logits - at_label[:, None] - m[:, None])).sum(1)
    others = jax.lax.optimization_barrier(others)
    rest = jnp.exp(-m) + others
    loss = jnp.where(m == 0, jnp.log1p(others), m + jnp.log(rest))
    return loss, (logits, labels, at_label, m, others, rest)


def _exact_backward(kept: tuple[Array, ...], dy: Float[Array, " n"]) -> tuple[Array, None]:
    logits, labels, at_label, m, others, rest = kept
    is_label, share = labels[:, None] == jnp.arange(logits.shape[1]), dy / rest
    of_others = jnp.exp(logits - at_label[:, None] - m[:, None]) * share[:, None]
    return jnp.where(is_label, -(others * share)[:, None], of_others), None


_exact_in_rows.defvjp(_exact_forward, _exact_backward)


def _is_label(logits: Logits, labels: Labels) -> Bool[Array, "v m"]:
    return jnp.arange(logits.shape[0])[:, None] == labels


def log_softmax(logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """Minus `jax.nn.log_softmax` at the label, as precise as the logits are."""
    return -total(jnp.where(_is_label(logits, labels), jax.nn.log_softmax(logits, axis=0), 0))


def mse(loss: spec.MSE, logits: Logits, labels: Labels | Float[Array, "v m"]) -> Terms:
    """Squared distance to the one-hot label, to the sign of one output, or to a vector; the mean is that of
    torch.nn.MSELoss."""
    if labels.ndim == 2:
        wanted = labels
    elif logits.shape[0] == 1:
        wanted = _signs(labels, logits)
    else:
        wanted = _is_label(logits, labels)
    squared = jnp.square(logits - wanted)
    return squared if loss.reduction == "mean" else squared.sum(0)


def stablemax(loss: spec.StableMax, logits: Logits, labels: Labels) -> Float[Array, " m"]:
    """-log s(z_y) + log sum_j s(z_j), s(z) = z + 1 for z >= 0, else 1 / (1 - z) (Prieto et al. 2025,
    arXiv 2501.04697)."""
    z = logits.astype(loss.precision)
    below = jnp.where(z < 0, z, 0)  # keeps the branch that is not taken finite
    s = jnp.where(z >= 0, z + 1, 1 / (1 - below))
    at_label = total(jnp.where(_is_label(z, labels), s, 0))
    return jnp.log(total(s)) - jnp.log(at_label)


def hinge(loss: spec.Hinge, logits: Logits, labels: Labels) -> Terms:
    return jnp.maximum(0, loss.margin - _signs(labels, logits) * logits)


def logistic(loss: spec.Logistic, logits: Logits, labels: Labels) -> Terms:
    return jax.nn.softplus(-_signs(labels, logits) * logits)


def _signs(labels: Labels, logits: Logits) -> Float[Array, "1 m"]:
    """1 of class 1, -1 of class 0."""
    return (2 * labels[None] - 1).astype(logits.dtype)


@jax.custom_vjp
def center_gradient(logits: Logits) -> Logits:
    """The logits; of their gradient, each example's mean over classes is subtracted.

    That mean is 0 but for rounding: where a float32 softmax loses the right class's gradient, the rest's is left
    (Liu et al. 2026, arXiv 2605.06152).
    """
    return logits


center_gradient.defvjp(lambda logits: (logits, None), lambda _, grad: (grad - grad.mean(0),))


LOSSES: dict[str, Callable[..., Terms]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "stablemax": stablemax,
    "hinge": hinge,
    "logistic": logistic,
}
Targets = Num[Array, "n *scored"]  # classes; or vectors [n, d] of floats


def terms(loss: spec.Loss, logits: Logits, targets: Targets) -> Terms:
    """Terms of every scored position of every example."""
    is_vector = jnp.issubdtype(targets.dtype, jnp.floating)
    labels = targets.T.astype(logits.dtype) if is_vector else targets.reshape(-1)
    return implementation(LOSSES, loss)(loss, logits, labels)


def mean_loss(
    loss: spec.Loss, logits: Logits, targets: Targets, weights: Float[Array, n * at] | None = None
) -> Float[Array, ""]:
    """The mean over examples and scored positions, as they are weighted."""
    if weights is None:
        return terms(loss, logits, targets).mean()
    return mean_of(each_loss(loss, logits, targets), weights)


def each_loss(loss: spec.Loss, logits: Logits, targets: Targets) -> Float[Array, " m"]:
    """Of every scored position of every example by itself."""
    values = terms(loss, logits, targets)
    return values.reshape(-1, values.shape[-1]).mean(0)
