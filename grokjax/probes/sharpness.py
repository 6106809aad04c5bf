"""Curvature of the train loss, by Hessian-vector products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.params import Params
from grokjax.probes.core import Metrics
from grokjax.spec.run import RunSpec
from grokjax.train.frozen import parted
from grokjax.train.state import View
from grokjax.train.step import loss_and_logits

TURNS = 10  # power iterations


def sharpness(spec: RunSpec, view: View) -> Metrics:
    """Of the Hessian H of the loss on the step's batch in the parameters that are trained, before the update u:

    sharpness/update: u'Hu / u'u, nan where u is 0. sharpness/top: the Rayleigh quotient after 10 power iterations from
    the gradient, so a bound from within on the eigenvalue of largest size; nan where the gradient is 0.
    """

    trained, frozen = parted(spec, view.params)

    def loss(params: Params) -> Float[Array, ""]:
        return loss_and_logits(spec, params | frozen, view.examples, view.hyper["model"]["logit_scale"])[0]

    def times_hessian(v: Params) -> Params:
        # reverse over reverse: the models' matmuls have gradients of their own, which forward mode cannot pass
        return jax.grad(lambda params: _dot(jax.grad(loss)(params), v))(trained)

    update = {name: view.updated[name] - W for name, W in trained.items()}
    top = jax.lax.fori_loop(0, TURNS, lambda _, v: _unit(times_hessian(v)), _unit(parted(spec, view.grads)[0]))
    directions = {"sharpness/update": _unit(update), "sharpness/top": top}
    return {name: _dot(unit, times_hessian(unit)) for name, unit in directions.items()}


def _unit(v: Params) -> Params:
    """Scaled by its largest entry first: a late gradient's squares are below the smallest float32."""
    largest = jnp.stack([jnp.abs(value).max() for value in v.values()]).max()
    scaled = {name: value / largest for name, value in v.items()}
    length = jnp.sqrt(_dot(scaled, scaled))
    return {name: value / length for name, value in scaled.items()}


def _dot(a: Params, b: Params) -> Float[Array, ""]:
    return jnp.stack([(a[name] * b[name]).sum() for name in sorted(a)]).sum()
