"""One run, unbatched: its start, one step, and what is read at a test evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grokjax.models.network import forward
from grokjax.sweep.spec import MSE, RunSpec
from grokjax.train.batches import batch_at
from grokjax.train.constraints import project, radii
from grokjax.train.losses import LOSSES, Loss, accuracy, center_gradient
from grokjax.train.optimizers import apply, optimizer
from grokjax.train.state import Examples, Hyper, Params, State, View


def start(spec: RunSpec, params: Params, hyper: Hyper) -> State:
    """State before step 0, from unscaled starting values: scaled, in the run's precision, on the sphere."""
    dtype = spec.numerics.params
    scaled = {name: (value * hyper.scale[name]).astype(dtype) for name, value in params.items()}
    radius = radii(scaled, spec.constraint, hyper.radius)
    projected = project(scaled, radius)
    return State(
        params=projected,
        opt_state=optimizer(spec, hyper, jnp.int32(0)).init(projected),
        radius=radius,
        step=jnp.int32(0),
        end=hyper.steps,
        held=jnp.int32(0),
        finite=jnp.bool_(True),
        loss_max=jnp.array(-jnp.inf, loss_dtype(spec)),
    )


def loss_dtype(spec: RunSpec) -> str:
    """The precision that the loss comes out in."""
    precision = getattr(spec.loss, "precision", "exact")
    return spec.numerics.params if precision == "exact" else precision


@contextlib.contextmanager
def precision(spec: RunSpec, matmul: str | None = None) -> Iterator[None]:
    """float64 programs are traced and called under x64, others never are; products as the run asks, or as `matmul`."""
    wide = "float64" in (spec.numerics.params, loss_dtype(spec))
    with jax.enable_x64(wide), jax.default_matmul_precision(matmul or spec.numerics.matmul):
        yield


def loss_and_logits(
    spec: RunSpec, params: Params, examples: Examples, logit_scale: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, "v n"]]:
    logits = forward(params, examples.tokens, spec.model) * logit_scale
    return loss_of(spec)(logits, examples.labels), logits


def loss_of(spec: RunSpec) -> Loss:
    if isinstance(spec.loss, MSE):
        return LOSSES["mse"]
    loss = LOSSES[spec.loss.precision]
    return (lambda logits, labels: loss(center_gradient(logits), labels)) if spec.loss.center_gradient else loss


def step(spec: RunSpec, state: State, hyper: Hyper, train: Examples) -> tuple[State, View]:
    """One optimizer step. A run that has ended, or is not finite, comes back as it was."""
    at = state.step + hyper.begun  # of batches and warm-up
    batch = batch_at(train, hyper.seed, at, spec.train.batch)
    (loss, logits), grads = jax.value_and_grad(
        lambda params: loss_and_logits(spec, params, batch, hyper.logit_scale), has_aux=True
    )(state.params)
    updates, opt_state = optimizer(spec, hyper, at).update(grads, state.opt_state, state.params)
    proposed = apply(state.params, updates)  # pyright: ignore[reportArgumentType]
    updated = project(proposed, state.radius)
    view = View(
        loss=loss,
        loss_max=jnp.maximum(state.loss_max, loss),
        logits=logits,
        examples=batch,
        hyper=hyper,
        at=at,
        params=state.params,
        grads=grads,
        proposed=proposed,
        updated=updated,
        opt_state=opt_state,
        first={},
    )
    active = is_active(state)
    finite = jnp.isfinite(loss) & all_finite(updated)
    moved = active & finite
    kept = state._replace(
        params=_select(moved, updated, state.params),
        opt_state=_select(moved, opt_state, state.opt_state),
        step=state.step + moved,
        finite=jnp.where(active, finite, state.finite),
        loss_max=jnp.where(active, view.loss_max, state.loss_max),
    )
    return kept, view


def is_active(state: State) -> Bool[Array, ""]:
    return state.finite & (state.step < state.end)


def all_finite(params: Params) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.isfinite(value).all() for value in params.values()]))


def evaluate(spec: RunSpec, params: Params, test: Examples, hyper: Hyper) -> dict[str, Float[Array, ""]]:
    """Loss and accuracy on the test set."""
    loss, logits = loss_and_logits(spec, params, test, hyper.logit_scale)
    return {"test/loss": loss, "test/accuracy": accuracy(logits, test.labels)}


def heed_evaluation(spec: RunSpec, state: State, hyper: Hyper, test_accuracy: Float[Array, ""]) -> State:
    """Bring the end forward once test accuracy has held (stop.after_generalization), at evaluations that are due."""
    held = jnp.where(test_accuracy >= hyper.stop_accuracy, state.held + 1, 0)
    stops = (hyper.stop_after >= 0) & (held >= hyper.stop_hold)
    end = jnp.where(stops, jnp.minimum(state.end, state.step + hyper.stop_after), state.end)
    heeded = is_active(state) & (state.step % spec.log.evaluation_steps == 0)
    return state._replace(held=jnp.where(heeded, held, state.held), end=jnp.where(heeded, end, state.end))


def _select(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
