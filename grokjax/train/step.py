"""One run, unbatched: its start, one step, and what is read at a test evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.forms import is_for_gpu
from grokjax.models.network import forward, trained_forward
from grokjax.models.params import Params
from grokjax.models.textbook import Drop
from grokjax.plan.cost import evaluates_train_set, evaluation_block
from grokjax.spec.hypers import Hyper, with_numbers
from grokjax.spec.matmuls import jax_name
from grokjax.spec.run import RunSpec
from grokjax.tasks.all import fresh_examples, scores, wanted
from grokjax.train.batches import batch_at, rows_ahead
from grokjax.train.constraints import projection
from grokjax.train.frozen import parted
from grokjax.train.losses import mean_loss
from grokjax.train.noise import dropping, with_label_noise, with_update_noise, with_weight_noise
from grokjax.train.optimizers import apply, evaluated, optimizer
from grokjax.train.state import Examples, State, View


def start(spec: RunSpec, params: Params, hyper: Hyper) -> State:
    """State before step 0, from unscaled starting values: scaled, in the run's precision, on the sphere."""
    dtype = spec.numerics.params
    scale = hyper["init"]["scale_by_matrix"]
    scaled = {name: (value * scale[name]).astype(dtype) for name, value in params.items()}
    trained, frozen = parted(spec, scaled)
    constraint = projection(spec.constraint)
    radius = constraint.start(spec.constraint, hyper.get("constraint", {}), trained)
    projected = constraint.project(trained, radius)
    return State(
        params=projected | frozen,
        opt_state=optimizer(spec.optimizer, hyper, jnp.int32(0)).init(projected),
        radius=radius,
        step=jnp.int32(0),
        end=hyper["train"]["steps"],
        held=jnp.int32(0),
        finite=jnp.bool_(True),
        loss_max=jnp.array(-jnp.inf, loss_dtype(spec)),
    )


def loss_dtype(spec: RunSpec) -> str:
    """The precision that the loss comes out in."""
    return spec.loss.dtype(spec.numerics.params)


@contextlib.contextmanager
def precision(spec: RunSpec, matmul: str | None = None) -> Iterator[None]:
    """float64 programs are traced and called under x64, others never are; products as the run asks, or as `matmul`."""
    wide = "float64" in (spec.numerics.params, loss_dtype(spec))
    with jax.enable_x64(wide), jax.default_matmul_precision(jax_name(matmul or spec.numerics.matmul)):
        yield


def loss_and_logits(
    spec: RunSpec,
    params: Params,
    examples: Examples,
    logit_scale: Float[Array, ""],
    drop: Drop | None = None,
    network: Callable[..., Float[Array, "v n"]] = forward,
) -> tuple[Float[Array, ""], Float[Array, "v n"]]:
    logits = network(spec, params, examples.inputs, drop) * logit_scale
    return mean_loss(spec.loss, logits, wanted(spec.task, examples), examples.weights), logits


def step(
    spec: RunSpec, state: State, hyper: Hyper, train: Examples, rows: Int[Array, " size"] | None = None
) -> tuple[State, View]:
    """One optimizer step. A run that has ended, or is not finite, comes back as it was.

    rows: of its mini-batch, where they are known (`upcoming_rows`).
    """
    spec = with_numbers(spec, hyper)
    at = _place(state, hyper)
    batch = with_label_noise(spec, _batch(spec, train, hyper, at, rows), hyper, at)
    logit_scale = hyper["model"]["logit_scale"]
    trained, frozen = parted(spec, state.params)

    def objective(trained: Params, network: Any) -> tuple[Float[Array, ""], Float[Array, "v n"]]:
        noisy = with_weight_noise(spec, trained, hyper, at) | frozen
        return loss_and_logits(spec, noisy, batch, logit_scale, dropping(spec, hyper, at), network)

    (loss, logits), grads = jax.value_and_grad(objective, has_aux=True)(trained, trained_forward)
    updates, opt_state = optimizer(spec.optimizer, hyper, at).update(
        grads,
        state.opt_state,
        trained,
        obj_fn=lambda trained: objective(trained, forward)[0],  # which an optimizer may differentiate twice
    )
    updates = with_update_noise(spec, updates, hyper, at)  # pyright: ignore[reportArgumentType]
    proposed = apply(trained, updates)  # pyright: ignore[reportArgumentType]
    updated = projection(spec.constraint).project(proposed, state.radius) | frozen
    view = View(
        loss=loss,
        loss_max=jnp.maximum(state.loss_max, loss),
        logits=logits,
        examples=batch,
        hyper=hyper,
        at=at,
        params=state.params,
        grads=grads | jax.tree.map(jnp.zeros_like, frozen),
        proposed=proposed | frozen,
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


def _place(state: State, hyper: Hyper) -> Int[Array, ""]:
    """The step that batches, warm-up and schedule are at."""
    return state.step + hyper["prior_steps"]


def upcoming_rows(spec: RunSpec, state: State, hyper: Hyper, train: Examples) -> Int[Array, " rows"]:
    """Rows of the mini-batches of an epoch's worth of steps, from the next step on."""
    assert spec.train.batch is not None, "the full batch has no order"
    return rows_ahead(train.targets.shape[0], hyper["seed"], _place(state, hyper), spec.train.batch)


def _batch(
    spec: RunSpec, train: Examples, hyper: Hyper, at: Int[Array, ""], rows: Int[Array, " size"] | None
) -> Examples:
    """What a step sees: fresh examples, or those of the train set that are due."""
    if spec.task.is_online:
        assert spec.train.batch is not None, "checked with the sweep"
        return fresh_examples(spec.task, train.rule, hyper["seed"], at, spec.train.batch)
    return batch_at(train, hyper["seed"], at, spec.train.batch, rows)


def tested_params(spec: RunSpec, state: State, hyper: Hyper) -> Params:
    """What test metrics are of: the parameters, or the optimizer's average of them."""
    return evaluated(spec.optimizer, hyper, state.params, state.opt_state)


def is_active(state: State) -> Bool[Array, ""]:
    return state.finite & (state.step < state.end)


def all_finite(params: Params) -> Bool[Array, ""]:
    if is_for_gpu():  # one sum over all is fewer kernels
        return jnp.isfinite(jnp.concatenate([value.reshape(-1) for value in params.values()])).all()
    return jnp.all(jnp.stack([jnp.isfinite(value).all() for value in params.values()]))


def evaluate(
    spec: RunSpec, params: Params, train: Examples, test: Examples, hyper: Hyper
) -> dict[str, Float[Array, ""]]:
    """Loss and scores on the test set; with minibatches on the whole train set too, where there is one."""
    spec = with_numbers(spec, hyper)
    sets = {"test": test} | ({"train_set": train} if evaluates_train_set(spec) else {})
    return {
        f"{of}/{name}": value
        for of, examples in sets.items()
        for name, value in _on_all(spec, params, examples, hyper).items()
    }


def _on_all(spec: RunSpec, params: Params, examples: Examples, hyper: Hyper) -> dict[str, Float[Array, ""]]:
    """Means over a set of examples, block by block where they are many."""
    n, block = examples.targets.shape[0], evaluation_block(spec)
    if n <= block:
        return _on_block(spec, params, examples, hyper)
    if examples.weights is not None:
        examples = examples._replace(weights=examples.weights / examples.weights.mean())
    columns, rule = examples._replace(rule=None), examples.rule
    whole = n - n % block
    blocks = jax.tree.map(lambda value: value[:whole].reshape(-1, block, *value.shape[1:]), columns)

    def sums_of(part: Examples) -> dict[str, Float[Array, ""]]:
        means = _on_block(spec, params, part._replace(rule=rule), hyper)
        return means if part.weights is None else {name: mean * part.weights.mean() for name, mean in means.items()}

    sums = jax.tree.map(lambda means: means.sum() * block, jax.lax.map(sums_of, blocks))
    if whole < n:
        rest = sums_of(jax.tree.map(lambda value: value[whole:], columns))
        sums = {name: value + rest[name] * (n - whole) for name, value in sums.items()}
    return {name: value / n for name, value in sums.items()}


def _on_block(spec: RunSpec, params: Params, examples: Examples, hyper: Hyper) -> dict[str, Float[Array, ""]]:
    scale = hyper["model"]["logit_scale"]
    loss, logits = loss_and_logits(spec, params, examples, scale, network=trained_forward)
    return {"loss": loss} | scores(spec.task, logits, examples)


def apply_stop_rule(spec: RunSpec, state: State, hyper: Hyper, test_accuracy: Float[Array, ""]) -> State:
    """Bring the end forward once test accuracy has held (stop.after_generalization), at evaluations that are due."""
    rule, further = hyper["events"], hyper["stop"]["after_generalization"]
    held = jnp.where(test_accuracy >= rule["generalization"], state.held + 1, 0)
    stops = (further >= 0) & (held >= rule["hold"])
    sooner = state.step + jnp.minimum(further, state.end - state.step)
    end = jnp.where(stops, sooner, state.end)
    is_due = is_active(state) & (state.step % spec.log.evaluation_steps == 0)
    return state._replace(held=jnp.where(is_due, held, state.held), end=jnp.where(is_due, end, state.end))


def _select(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
