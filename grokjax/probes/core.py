"""The measurements that every record has: losses, accuracies, and norms of every parameter."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.spec.run import RunSpec
from grokjax.tasks.all import scores
from grokjax.train.constraints import norm, total_norm
from grokjax.train.state import View

Metrics = dict[str, Float[Array, ""]]


def core(spec: RunSpec, view: View) -> Metrics:
    """Metric name -> float32 scalar, of the parameters before the update (norms are Frobenius)."""
    scored = scores(spec.task, view.logits, view.examples)
    metrics: Metrics = {
        "train/loss": view.loss,
        "train/loss_max": view.loss_max,
        **{f"train/{name}": score for name, score in scored.items()},
        "norm/total": total_norm(view.params),
    }
    for name in view.params:
        metrics[f"norm/{name}"] = norm(view.params[name])
        metrics[f"grad_norm/{name}"] = norm(view.grads[name])
        metrics[f"update_norm/{name}"] = norm(view.updated[name] - view.params[name])
    return {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
