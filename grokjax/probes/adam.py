"""What Adam's second moment does to the step. Not for SGD, which has none."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from grokjax.probes.core import Metrics
from grokjax.probes.softmax import QUANTILES
from grokjax.sweep.shapes import is_matrix
from grokjax.sweep.spec import RunSpec
from grokjax.train.optimizers import learning_rate
from grokjax.train.state import View


def adam(spec: RunSpec, view: View) -> Metrics:
    """For every matrix, of the update that is described, with m and v corrected for their start at 0:

    adam/eps_share: share of coordinates with sqrt(v) < eps (of all parameters: `total`), where eps sets the step.
    adam/lr_q*: quantiles over coordinates of lr / (sqrt(v) + eps). adam/step_rms and adam/step_max: of
    m / (sqrt(v) + eps), the step in units of lr, about 1 at most while gradients keep their size: more is a spike.
    """
    state = next(part for part in view.opt_state if isinstance(part, optax.ScaleByAdamState))
    hyper, lr = view.hyper, learning_rate(view.hyper, view.at)
    mean, squared = (
        optax.tree.bias_correction(moment, decay, state.count)
        for moment, decay in ((state.mu, hyper.b1), (state.nu, hyper.b2))
    )
    small = {name: jnp.sqrt(v) < hyper.eps for name, v in squared.items()}
    found = {"adam/eps_share/total": jnp.concatenate([value.ravel() for value in small.values()]).mean()}
    for name in view.params:
        if is_matrix(name):
            gain = 1 / (jnp.sqrt(squared[name]) + hyper.eps)
            step = jnp.abs(mean[name] * gain)
            rates = jnp.quantile(lr * hyper.lr_factor[name] * gain, jnp.array(list(QUANTILES.values())))
            found[f"adam/eps_share/{name}"] = small[name].mean()
            found |= {f"adam/lr_{at}/{name}": rate for at, rate in zip(QUANTILES, rates, strict=True)}
            found[f"adam/step_rms/{name}"] = jnp.sqrt(jnp.square(step).mean())
            found[f"adam/step_max/{name}"] = step.max()
    return {name: value.astype(jnp.float32) for name, value in found.items()}
