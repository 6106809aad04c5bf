"""Who is measured: each trains the same networks from the same weights on the same data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from grokjax.bench.cases import BATCHES, Data
from grokjax.engine.inputs import Starts
from grokjax.engine.loop import Program
from grokjax.engine.measure import stepper
from grokjax.models import textbook
from grokjax.models.params import Params
from grokjax.plan.plan import Plan
from grokjax.spec.matmuls import jax_name
from grokjax.spec.run import RunSpec

# Train every lane by so many steps, wait, return lane 0's loss before them; after one step all contestants must agree.
Advance = Callable[[int], float]
Contestant = Callable[[Plan], Advance]


def starting_values(plan: Plan) -> dict[str, np.ndarray]:
    """Weights [lanes, ...] of a plan's only chunk."""
    return Starts().stack(plan.chunks[0].runs)


def grokjax(plan: Plan) -> Advance:
    """The engine as `run` uses it: records and test evaluations at the defaults."""
    (chunk,) = plan.chunks
    return stepper(Program(chunk.bucket, plan.device.count), chunk)


def plain_vmap(plan: Plan) -> Advance:
    """`jax.vmap` of the textbook form with optax, a jitted step called from a Python loop; nothing recorded."""
    (chunk,) = plan.chunks
    spec, data = chunk.bucket.spec, Data.of(chunk)
    optimizer = OPTIMIZERS[spec.optimizer.name](spec)
    with jax.default_matmul_precision(jax_name(spec.numerics.matmul)):
        params = jax.tree.map(jnp.asarray, starting_values(plan))
        states = jax.vmap(optimizer.init)(params)
        lanes = jax.tree.map(jnp.asarray, data)
        many = jax.jit(jax.vmap(partial(_step, spec, optimizer), (0, 0, 0, None)), donate_argnums=(0, 1))
    done = 0

    def advance(steps: int) -> float:
        nonlocal params, states, done
        loss = jnp.zeros(1)
        with jax.default_matmul_precision(jax_name(spec.numerics.matmul)):
            for step in range(done, done + steps):
                params, states, loss = many(params, states, lanes, step % BATCHES)
        done += steps
        return float(loss[0])

    return advance


def _adamw(spec: RunSpec) -> optax.GradientTransformation:
    settings = spec.optimizer
    assert settings.has_second_moment
    warm = settings.warmup_steps
    return optax.adamw(
        lambda step: settings.lr * (jnp.minimum(step / warm, 1) if warm else 1),
        settings.b1,  # pyright: ignore[reportAttributeAccessIssue]
        settings.b2,  # pyright: ignore[reportAttributeAccessIssue]
        settings.eps,  # pyright: ignore[reportAttributeAccessIssue]
        weight_decay=settings.weight_decay,
    )


def _sgd(spec: RunSpec) -> optax.GradientTransformation:
    settings = spec.optimizer
    return optax.chain(optax.add_decayed_weights(settings.weight_decay), optax.sgd(settings.lr))


def _hinge(logits: Float[Array, "n 1"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    return optax.hinge_loss(logits[:, 0], 2 * labels - 1)


OPTIMIZERS = {"adamw": _adamw, "sgd": _sgd}
LOSSES = {"cross_entropy": optax.softmax_cross_entropy_with_integer_labels, "hinge": _hinge}


def _step(
    spec: RunSpec, optimizer: optax.GradientTransformation, params: Params, state: optax.OptState, lane: Data,
    batch: Int[Array, ""],
) -> tuple[Params, optax.OptState, Float[Array, ""]]:  # fmt: skip
    rows = slice(None) if lane.rows is None else lane.rows[batch]
    inputs, answers = jnp.asarray(lane.inputs[rows]), jnp.asarray(lane.answers[rows])

    def loss_of(params: Params) -> Float[Array, ""]:
        logits = textbook.forward(params, inputs, spec.model, read=spec.task.scored)
        return LOSSES[spec.loss.name](logits, answers).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss  # pyright: ignore[reportReturnType]


CONTESTANTS: dict[str, Contestant] = {"plain vmap": plain_vmap, "grokjax": grokjax}
