"""Who is measured: each trains the same networks from the same weights on the same data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from grokjax.bench.cases import Data
from grokjax.engine.inputs import Starts
from grokjax.engine.loop import Program
from grokjax.engine.measure import stepper
from grokjax.models import textbook
from grokjax.models.params import Params
from grokjax.plan.plan import Plan
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
    """`jax.vmap` of the textbook form with optax.adamw, a jitted step called from a Python loop; nothing recorded."""
    (chunk,) = plan.chunks
    spec, data = chunk.bucket.spec, Data.of(chunk)
    optimizer = _adamw(spec)
    with jax.default_matmul_precision(spec.numerics.matmul):
        params = jax.tree.map(jnp.asarray, starting_values(plan))
        states = jax.vmap(optimizer.init)(params)
        tokens, labels = jnp.asarray(data.tokens), jnp.asarray(data.labels)
        many = jax.jit(jax.vmap(partial(_step, spec, optimizer)), donate_argnums=(0, 1))

    def advance(steps: int) -> float:
        nonlocal params, states
        loss = jnp.zeros(1)
        with jax.default_matmul_precision(spec.numerics.matmul):
            for _ in range(steps):
                params, states, loss = many(params, states, tokens, labels)
        return float(loss[0])

    return advance


def _adamw(spec: RunSpec) -> optax.GradientTransformation:
    settings = spec.optimizer
    assert settings.has_second_moment
    warm = max(settings.warmup_steps, 1)
    return optax.adamw(
        lambda step: settings.lr * jnp.minimum(step / warm, 1),
        settings.b1,  # pyright: ignore[reportAttributeAccessIssue]
        settings.b2,  # pyright: ignore[reportAttributeAccessIssue]
        settings.eps,  # pyright: ignore[reportAttributeAccessIssue]
        weight_decay=settings.weight_decay,
    )


def _step(
    spec: RunSpec, optimizer: optax.GradientTransformation, params: Params, state: optax.OptState, tokens: Array,
    labels: Array,
) -> tuple[Params, optax.OptState, Float[Array, ""]]:  # fmt: skip
    def loss_of(params: Params) -> Float[Array, ""]:
        logits = textbook.forward(params, tokens, spec.model)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss  # pyright: ignore[reportReturnType]


CONTESTANTS: dict[str, Contestant] = {"plain vmap": plain_vmap, "grokjax": grokjax}
