"""Whether the softmax still has digits: its collapse, and where its error goes.

Prieto et al. 2025 (arXiv 2501.04697); Liu et al. 2026 (arXiv 2605.06152): the right class's gradient rounds to zero,
the gradient no longer sums to zero over classes, and the class-mean of W_U and the mean feature grow against each
other.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grokjax.models.network import features
from grokjax.probes.core import Metrics
from grokjax.probes.margin import margins
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import last_layer, parameter_shapes
from grokjax.train.constraints import norm
from grokjax.train.losses import mean_loss
from grokjax.train.state import View

QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}


def softmax(spec: RunSpec, view: View) -> Metrics:
    """softmax/ and:

    collapse: share of examples with sum_k exp(z_k - max z) == 1 in the loss's own precision. margin_q*: quantiles of
    z_y - max_{j != y} z_j. logit_scale: root mean square of the logits, less each example's mean over classes.
    grad_sum: mean over examples of |sum_k dl/dz_k| of an example's own loss l, which is 0 but for rounding;
    grad_sum_share: the same over the mean of sum_k |dl/dz_k|. mean_grad_last: norm of the last layer's gradient,
    averaged over classes. mean_grad_feature: norm of the gradient to a shift of all features (the last layer's inputs)
    alike. mean_grad_cosine: of these two; nan where one is 0. update/feature: how far the update moves the features,
    |f' - f| / |f| over all examples.
    """
    targets, last = view.examples.targets, last_layer(list(parameter_shapes(spec)))
    weights = view.examples.weights
    to_logits = jax.grad(lambda logits: mean_loss(spec.loss, logits, targets, weights))(view.logits)
    of_each = to_logits * view.logits.shape[1]
    sums, size = jnp.abs(of_each.sum(0)).mean(), jnp.abs(of_each).sum(0).mean()
    of_classes = view.grads[last].mean(1)
    of_feature = view.params[last] @ to_logits.sum(1) * view.hyper["model"]["logit_scale"]
    before, after = (features(spec, params, view.examples.inputs) for params in (view.params, view.updated))
    gaps = jnp.quantile(margins(view.logits, targets), jnp.array(list(QUANTILES.values())))
    metrics = {
        "collapse": collapsed(view.logits.astype(spec.loss.softmax_dtype or spec.numerics.params)).mean(),
        **{f"margin_{name}": gap for name, gap in zip(QUANTILES, gaps, strict=True)},
        "logit_scale": jnp.sqrt(jnp.square(view.logits - view.logits.mean(0)).mean()),
        "grad_sum": sums,
        "grad_sum_share": sums / size,
        "mean_grad_last": norm(of_classes),
        "mean_grad_feature": norm(of_feature),
        "mean_grad_cosine": of_classes @ of_feature / (norm(of_classes) * norm(of_feature)),
        "update/feature": norm(after - before) / norm(before),
    }
    return {f"softmax/{name}": value for name, value in metrics.items()}


def collapsed(logits: Float[Array, "v n"]) -> Bool[Array, " n"]:
    """Whether all classes but the largest are lost in the sum."""
    return jnp.exp(logits - logits.max(0)).sum(0) == 1
