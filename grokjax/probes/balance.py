"""Whether the factors of the network are in balance.

Where the loss depends on a product of matrices, each homogeneous in its place, <W, grad W> is equal for all of them
(Du, Hu and Lee 2018, arXiv 1806.00900); with weight decay their norms then meet.
"""

from __future__ import annotations

import jax.numpy as jnp

from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import is_matrix, is_on_path
from grokjax.train.constraints import norm
from grokjax.train.state import View


def balance(spec: RunSpec, view: View) -> Metrics:
    """For every matrix balance/inner, <W, grad W> of the loss, and balance/grad_share, its share in the squared norm
    of the whole gradient; balance/path_ratio, the largest over the least norm of the matrices on the path to the
    logits."""
    squared = {name: jnp.square(grad).sum() for name, grad in view.grads.items()}
    whole = jnp.stack([squared[name] for name in sorted(squared)]).sum()
    path = jnp.stack([norm(W) for name, W in view.params.items() if is_on_path(name)])
    metrics = {"balance/path_ratio": path.max() / path.min()}
    for name, W in view.params.items():
        if is_matrix(name):
            metrics[f"balance/inner/{name}"] = (W * view.grads[name]).sum()
            metrics[f"balance/grad_share/{name}"] = squared[name] / whole
    return metrics
