"""Fixed norm: parameters put back on a sphere after every optimizer step (Omnigrok, arXiv 2210.01117)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.sweep.shapes import is_matrix
from grokjax.sweep.spec import Constraint, FixedNorm
from grokjax.train.state import Params

ALL = "total"


def norm(x: Array) -> Float[Array, ""]:
    return jnp.sqrt(jnp.square(x).sum())


def total_norm(params: Params) -> Float[Array, ""]:
    """Norm of all parameters together, summed in order of name: the same bits whatever the dict's order."""
    return jnp.sqrt(jnp.stack([jnp.square(params[name]).sum() for name in sorted(params)]).sum())


def radii(params: Params, constraint: Constraint, radius: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
    """The norms to hold: the given radius, or (nan) what `params` have. Empty without a constraint."""
    if not isinstance(constraint, FixedNorm):
        return {}
    if constraint.scope == "global":
        norms = {ALL: total_norm(params)}
    else:
        norms = {name: norm(value) for name, value in params.items() if is_matrix(name)}
    return {name: jnp.where(jnp.isnan(radius), own, radius).astype(own.dtype) for name, own in norms.items()}


def project(params: Params, radius: dict[str, Float[Array, ""]]) -> Params:
    """Rescale to the radii: one scalar for all parameters, or one a matrix. Zero stays zero."""
    if not radius:
        return params
    if ALL in radius:
        factor = _factor(radius[ALL], total_norm(params))
        return {name: value * factor for name, value in params.items()}
    return {
        name: value * _factor(radius[name], norm(value)) if name in radius else value for name, value in params.items()
    }


def _factor(radius: Float[Array, ""], now: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(now > 0, radius / jnp.where(now > 0, now, 1), 1).astype(radius.dtype)
