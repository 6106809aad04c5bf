"""What Adam's second moment does to the step. Not for SGD, which has none."""

from __future__ import annotations

import jax.numpy as jnp

from grokjax.probes.core import Metrics
from grokjax.probes.softmax import QUANTILES
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import is_matrix
from grokjax.train.optimizers import corrected_moments
from grokjax.train.rates import learning_rate
from grokjax.train.state import View


def adam(spec: RunSpec, view: View) -> Metrics:
    """For every matrix, of the update that is described, with m and v corrected for their start at 0:

    adam/eps_share: share of coordinates with sqrt(v) < eps (of all parameters: `total`), where eps sets the step.
    adam/lr_q*: quantiles over coordinates of lr / (sqrt(v) + eps). adam/step_rms and adam/step_max: of
    m / (sqrt(v) + eps), the step in units of lr, about 1 at most while gradients keep their size: more is a spike.
    """
    numbers = view.hyper["optimizer"]
    lr = learning_rate(spec.optimizer, view.hyper, view.at)
    mean, squared = corrected_moments(view.hyper, view.opt_state)
    small = {name: jnp.sqrt(v) < numbers["eps"] for name, v in squared.items()}
    metrics = {"adam/eps_share/total": jnp.concatenate([value.ravel() for value in small.values()]).mean()}
    for name in squared:
        if is_matrix(name):
            gain = 1 / (jnp.sqrt(squared[name]) + numbers["eps"])
            step = jnp.abs(mean[name] * gain)
            rates = jnp.quantile(lr * numbers["lr_by_matrix"][name] * gain, jnp.array(list(QUANTILES.values())))
            metrics[f"adam/eps_share/{name}"] = small[name].mean()
            metrics |= {f"adam/lr_{at}/{name}": rate for at, rate in zip(QUANTILES, rates, strict=True)}
            metrics[f"adam/step_rms/{name}"] = jnp.sqrt(jnp.square(step).mean())
            metrics[f"adam/step_max/{name}"] = step.max()
    return metrics
