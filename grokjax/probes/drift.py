"""How far a matrix has come from where it started."""

from __future__ import annotations

from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import is_matrix
from grokjax.train.constraints import norm
from grokjax.train.state import View


def drift(spec: RunSpec, view: View) -> Metrics:
    """For every matrix, with W0 its value at the run's own step 0: drift, |W - W0| / |W0|, and init_cosine,
    <W, W0> / (|W| |W0|). nan where W0 is 0."""
    metrics = {}
    for name, W in view.params.items():
        if is_matrix(name):
            first = view.first[name]
            metrics[f"drift/{name}"] = norm(W - first) / norm(first)
            metrics[f"init_cosine/{name}"] = (W * first).sum() / (norm(W) * norm(first))
    return metrics
