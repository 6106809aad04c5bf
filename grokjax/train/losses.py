"""Losses on logits [v, n] (examples last) and labels [n], each a mean over examples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.features import total

Logits = Float[Array, "v n"]
Labels = Int[Array, " n"]


def exact(logits: Logits, labels: Labels) -> Float[Array, ""]:
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
    return jnp.where(m == 0, jnp.log1p(inside), m + jnp.log(rest)).mean()


def _is_label(logits: Logits, labels: Labels) -> Bool[Array, "v n"]:
    return jnp.arange(logits.shape[0])[:, None] == labels


def float32(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """`log_softmax` in float32: the tail below 6e-8 is lost, on purpose."""
    return _log_softmax(logits.astype(jnp.float32), labels)


def float64(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """`log_softmax` in float64; needs `jax.enable_x64`."""
    return _log_softmax(logits.astype(jnp.float64), labels)


def _log_softmax(logits: Logits, labels: Labels) -> Float[Array, ""]:
    at_label = total(jnp.where(_is_label(logits, labels), jax.nn.log_softmax(logits, axis=0), 0))
    return -at_label.mean()


def mse(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """Squared distance to the one-hot label, mean over examples and classes (as torch.nn.MSELoss)."""
    return jnp.square(logits - _is_label(logits, labels)).mean()


@jax.custom_vjp
def center_gradient(logits: Logits) -> Logits:
    """The logits; of their gradient, each example's mean over classes is subtracted.

    That mean is 0 but for rounding: where a float32 softmax loses the right class's gradient, the rest's is left
    (Liu et al. 2026, arXiv 2605.06152).
    """
    return logits


center_gradient.defvjp(lambda logits: (logits, None), lambda _, grad: (grad - grad.mean(0),))


Loss = Callable[[Logits, Labels], Float[Array, ""]]
LOSSES: dict[str, Loss] = {
    "exact": exact,
    "float32": float32,
    "float64": float64,
    "mse": mse,
}


def accuracy(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """Share of examples whose largest logit is the label's."""
    return (logits.argmax(0) == labels).mean(dtype=jnp.float32)
