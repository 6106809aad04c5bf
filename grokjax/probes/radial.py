"""How much of a step only changes a matrix's length, and how far the rest turns it.

For a matrix W and a step D: r = <D, W> / |W|, tangential part T = D - r W / |W|. Where the network's function depends
on W's direction only, or its norm is held, T is all that a step does.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import is_matrix
from grokjax.train.state import View


def radial(spec: RunSpec, view: View) -> Metrics:
    """For every matrix, and for all parameters together (`total`), of three steps: `grad`, minus the gradient;
    `proposed`, the optimizer's, before the constraint; `update`, the realized one:

    radial_share: r^2 / |D|^2. radial_part: r, positive outwards. angular_step: atan2(|T|, |W| + r), in radians.
    nan: W is 0, or (the share) D is.
    """
    steps = {
        "grad": {name: -grad for name, grad in view.grads.items()},
        "proposed": {name: view.proposed[name] - W for name, W in view.params.items()},
        "update": {name: view.updated[name] - W for name, W in view.params.items()},
    }
    parts = {name: [name] for name in view.params if is_matrix(name)} | {"total": sorted(view.params)}
    metrics = {}
    for kind, step in steps.items():
        for part, names in parts.items():
            share, length, angle = decompose([step[name] for name in names], [view.params[name] for name in names])
            metrics[f"radial_share/{kind}/{part}"] = share
            metrics[f"radial_part/{kind}/{part}"] = length
            metrics[f"angular_step/{kind}/{part}"] = angle
    return metrics


def decompose(step: list[Array], params: list[Array]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """(radial share, radial part, angular step) of some arrays taken as one vector."""
    squared, along = _dot(params, params), _dot(step, params)
    norm = jnp.sqrt(squared)
    length = along / norm
    # subtracted before it is squared: |D|^2 - r^2 has no digits left where a step is almost radial
    tangent = [D - (along / squared) * W for D, W in zip(step, params, strict=True)]
    angle = jnp.arctan2(jnp.sqrt(_dot(tangent, tangent)), norm + length)
    return jnp.square(length) / _dot(step, step), length, angle


def _dot(a: list[Array], b: list[Array]) -> Float[Array, ""]:
    return jnp.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
