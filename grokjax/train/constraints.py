"""Fixed norm: parameters put back on a sphere after every optimizer step (Omnigrok, arXiv 2210.01117)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.params import Params
from grokjax.spec import constraints as spec
from grokjax.spec.section import implementation
from grokjax.spec.shapes import is_matrix

Numbers = dict[str, Any]
ALL = "total"


def norm(x: Array) -> Float[Array, ""]:
    return jnp.sqrt(jnp.square(x).sum())


def total_norm(params: Params) -> Float[Array, ""]:
    """Norm of all parameters together, summed in order of name: the same bits whatever the dict's order."""
    return jnp.sqrt(jnp.stack([jnp.square(params[name]).sum() for name in sorted(params)]).sum())


Radius = dict[str, Float[Array, ""]]  # the norms to hold, by parameter or of all together


class Projection(NamedTuple):
    """start: constraint, its numbers, parameters -> the norms to hold. project: parameters, norms -> parameters."""

    start: Callable[[Any, Numbers, Params], Radius]
    project: Callable[[Params, Radius], Params]


def norms_to_hold(constraint: spec.FixedNorm, numbers: Numbers, params: Params) -> Radius:
    """The given radius, or (nan) the norms that `params` have."""
    if constraint.scope == "global":
        norms = {ALL: total_norm(params)}
    else:
        norms = {name: norm(value) for name, value in params.items() if is_matrix(name)}
    radius = numbers["radius"]
    return {name: jnp.where(jnp.isnan(radius), now, radius).astype(now.dtype) for name, now in norms.items()}


def rescale(params: Params, radius: Radius) -> Params:
    """To the radii: one scalar for all parameters, or one a matrix. Zero stays zero."""
    if ALL in radius:
        factor = _factor(radius[ALL], total_norm(params))
        return {name: value * factor for name, value in params.items()}
    return {
        name: value * _factor(radius[name], norm(value)) if name in radius else value for name, value in params.items()
    }


def _factor(radius: Float[Array, ""], now: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(now > 0, radius / jnp.where(now > 0, now, 1), 1).astype(radius.dtype)


CONSTRAINTS: dict[str, Projection] = {
    "none": Projection(lambda constraint, numbers, params: {}, lambda params, radius: params),
    "fixed_norm": Projection(norms_to_hold, rescale),
}


def projection(constraint: spec.Constraint) -> Projection:
    return implementation(CONSTRAINTS, constraint)
