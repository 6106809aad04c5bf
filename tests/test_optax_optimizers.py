"""Every optimizer of optax: its keys are optax's arguments, and its steps are those of optax by itself, in float64."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from optimizer_steps import CURVED, PULLS, SHAPES, START, Arrays, spec_of, stepped

from grokjax.engine.states import flat_names
from grokjax.spec.hypers import hyper_of
from grokjax.spec.optax_optimizers import OF_OPTAX
from grokjax.spec.shapes import is_matrix, parameter_count
from grokjax.train.optimizers import optimizer

# what is not a key: our own words for it, precisions (those of the run), and what is no number or choice
OTHERWISE = {
    "learning_rate", "mask", "weight_decay_mask", "trust_ratio_mask", "weight_decay_rate", "mu_dtype", "state_dtype",
    "dtype_momentum", "accumulator_dtype", "key", "seed", "base_optimizer", "weight_dimension_numbers",
    "muon_weight_dimension_numbers", "hessian_diagonal_fn", "verbose", "print_win_rate_every_n_steps", "clip_value_fn",
}  # fmt: skip
RATE = {"adadelta": 1.0, "adafactor": 1e-3}  # ours, where optax has none
SAM = {"optimizer", "rho", "momentum", "b1", "b2", "eps"}  # what it wraps, and how that steps
NEEDS_MORE = {
    "polyak_sgd": "the loss", "momo": "the loss", "momo_adam": "the loss", "lbfgs": "the loss along a line",
    "reduce_on_plateau": "the loss", "dpsgd": "a gradient an example",
    "mechanize": "an optimizer to wrap", "schedule_free": "an optimizer to wrap",
    "differentially_private_aggregate": "a gradient an example", "split_real_and_imaginary": "an optimizer to wrap",
    "selective_transform": "an optimizer to wrap", "adam": "", "adamw": "", "sgd": "",
}  # fmt: skip


def optax_s(name: str) -> Any:
    return getattr(optax, name, None) or getattr(contrib, name)


def arguments(name: str) -> dict[str, Any]:
    return {key: argument.default for key, argument in inspect.signature(optax_s(name)).parameters.items()}


def is_optimizer(make: Any) -> bool:
    if not callable(make) or isinstance(make, type):
        return False
    try:
        words = inspect.signature(make).parameters
    except ValueError:  # a type
        return False
    return "learning_rate" in words or "optimizer" in words or "base_optimizer" in words or "max_learning_rate" in words


def test_every_optimizer_of_optax_is_here_or_needs_more_than_gradients_state_and_parameters():
    made = {
        name for name in dir(optax) if not name.startswith(("_", "scale_by")) and is_optimizer(getattr(optax, name))
    }
    made |= {
        name for name in dir(contrib) if not name.startswith(("_", "scale_by")) and is_optimizer(getattr(contrib, name))
    }
    assert set(OF_OPTAX) <= made
    assert made - set(OF_OPTAX) <= set(NEEDS_MORE)


@pytest.mark.parametrize("name", OF_OPTAX)
def test_keys_and_defaults_are_optax_s_arguments(name: str):
    family = OF_OPTAX[name]
    theirs = {key: value for key, value in arguments(name).items() if key not in OTHERWISE}
    keys = [key for key in family.model_fields if key in theirs or key in family.own_keys()]
    ours = {key: family.model_fields[key].default for key in keys}
    ours = {key: tuple(value) if isinstance(value, list) else value for key, value in ours.items()}
    if name == "dog":
        ours["init_step"] = (ours["init_step"], ours.pop("init_step_value"))
    if name in ("nadam", "nadamw"):
        assert theirs.pop("nesterov")
    for key in ("weight_decay", "warmup_steps"):
        if key in theirs and theirs[key] is None:
            theirs[key] = 0
    if name == "sam":
        ours = {key: value for key, value in ours.items() if key not in SAM}
        theirs = {"sync_period": theirs["sync_period"]}
    assert ours == theirs
    rate = arguments(name).get("learning_rate")
    has_rate = rate is not None and rate is not inspect.Parameter.empty
    assert family.model_fields["lr"].default == (rate if has_rate else RATE.get(name, 1e-3))


def sides(params: Any, of: type) -> dict[str, Any]:
    """Matrices [inputs, outputs], heads side by side; no vectors."""
    found = {}
    for name, value in params.items():
        if not hasattr(value, "ndim"):  # what muon leaves to Adam
            found[name] = None
            continue
        reads, writes = (tuple(range(value.ndim - 1)), value.ndim - 1)
        if name[:3] in ("W_Q", "W_K", "W_V"):
            reads, writes = (1,), (0, 2)
        found[name] = of(reads, writes) if is_matrix(name) else None
    return found


def alone(name: str, lr: float, weight_decay: float, steps: int, **own: Any) -> Arrays:
    """Steps of optax's optimizer, by optax."""
    known = arguments(name)
    if name == "dog" and own:
        own = {"init_step": (own["init_step"], own["init_step_value"])}
    if name == "adafactor":
        own["dtype_momentum"] = None
        weight_decay *= lr  # there the rate does not count for it
    if name == "galore":
        own["weight_dimension_numbers"] = lambda params: sides(params, contrib.GaLoreDimensionNumbers)
    if name == "muon":
        own["muon_weight_dimension_numbers"] = lambda params: sides(params, contrib.MuonDimensionNumbers)
    if name == "sophia":
        exact = optax.stateless(lambda updates, params: {key: jnp.asarray(value) for key, value in CURVED.items()})
        own["hessian_diagonal_fn"] = exact
    if name == "noisy_sgd":
        own["key"] = 0
    decay = {key: weight_decay for key in ("weight_decay", "weight_decay_rate") if key in known}
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: Any = optax.with_extra_args_support(optax_s(name)(learning_rate=lr, **decay, **own))
        if not decay:
            assert weight_decay == 0
        params = {key: jnp.asarray(value) for key, value in START.items()}
        pulls = {key: jnp.stack([one[key] for one in PULLS[:steps]]) for key in START}

        def one(carry: Any, pull: Any) -> tuple[Any, None]:
            params, state = carry
            grads = {key: CURVED[key] * W + pull[key] for key, W in params.items()}
            updates, after = made.update(grads, state, params)
            after = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.asarray(old).dtype), after, state)
            return (optax.apply_updates(params, updates), after), None

        state = jax.tree.map(jnp.asarray, made.init(params))
        (params, _), _ = jax.jit(lambda carry: jax.lax.scan(one, carry, pulls))((params, state))
        return {key: np.asarray(value) for key, value in params.items()}


VARIED: dict[str, list[dict[str, Any]]] = {
    "adafactor": [{"min_dim_size_to_factor": 2, "momentum": 0.7}, {"multiply_by_parameter_scale": False}],
    "dadapt_adamw": [{"estim_lr0": 0.1}],
    "dog": [{"init_step": "distance", "init_step_value": 0.3}, {"init_step": "learning_rate", "init_step_value": 0.3}],
    "dowg": [{"init_estim_sq_dist": 0.5}],
    "galore": [{"rank": 2, "update_proj_gap": 4}],
    "muon": [{"adam_learning_rate": 0.003, "consistent_rms": 0.2, "adam_weight_decay": 0.1, "preconditioning": "aol"}],
    "noisy_sgd": [{"eta": 0.0}],
    "optimistic_adam": [{"optimism": 0.5}],
    "prodigy": [{"estim_lr0": 0.1, "beta3": 0.9, "safeguard_warmup": True}, {"estim_lr0": 0.1}],
    "rmsprop": [{"centered": True, "momentum": 0.9}, {"bias_correction": True, "eps_in_sqrt": False}],
    "sam": [{"optimizer": "adam"}],
    "schedule_free_adamw": [{"b1": 0.7, "weight_lr_power": 1.0}],
}
CASES = [
    (name, own)
    for name in OF_OPTAX
    if name != "sam"
    for own in VARIED.get(name, []) + ([{}] if name != "noisy_sgd" else [])
]


@pytest.mark.parametrize(("name", "own"), CASES, ids=[f"{name}-{'-'.join(own)}" for name, own in CASES])
def test_steps_are_those_of_optax_by_itself(name: str, own: dict[str, Any]):
    """With the weight decay that it has; the rate is far from its default."""
    known, steps = arguments(name), 12
    decays = "weight_decay" in known or "weight_decay_rate" in known
    lr, weight_decay = 0.03, 0.2 if decays else 0.0
    found = stepped({"name": name, "lr": lr, "weight_decay": weight_decay, **own}, steps)
    expected = alone(name, lr, weight_decay, steps, **own)
    moved, rtol = 0.0, 1e-5 if name in ("adafactor", "madgrad") else 1e-7  # they count in float32
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=rtol, atol=1e-10, err_msg=key)
        moved = max(moved, float(np.abs(value - START[key]).max()))
    assert moved > 1e-8


@pytest.mark.parametrize("name", OF_OPTAX)
def test_the_state_is_as_large_as_the_plan_says_and_every_part_of_it_has_a_name(name: str):
    seen: dict[tuple[str, ...], dict[str, Any]] = {}
    for own in [{}, *VARIED.get(name, [])]:
        spec = spec_of({"name": name, **own})
        hyper = jax.tree.map(jnp.asarray, hyper_of(spec))
        params = {key: jax.ShapeDtypeStruct(shape, jnp.float32) for key, shape in SHAPES.items()}
        state = jax.eval_shape(optimizer(spec.optimizer, hyper, jnp.int32(0)).init, params)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(state))
        told = spec.optimizer.state_numbers(SHAPES)
        spare = 4 * len(SHAPES) + 8  # counts, and optax's placeholders
        assert told <= numbers <= told + spare
        names = flat_names(state)
        assert len(names) == len(set(names))
        parts = {name: (leaf.shape, leaf.dtype) for name, leaf in zip(names, jax.tree.leaves(state), strict=True)}
        assert seen.setdefault(spec.optimizer.state_kind, parts) == parts  # they can go on with each other's
    assert parameter_count(SHAPES) > 150


@pytest.mark.parametrize("name", OF_OPTAX)
def test_a_factor_of_zero_freezes_a_matrix_and_warm_up_begins_at_nothing(name: str):
    frozen = stepped({"name": name, "lr": 0.03, "weight_decay": 0.2, "lr_by_matrix": {"W_O": 0.0}}, 4)
    np.testing.assert_allclose(frozen["W_O.0"], START["W_O.0"], rtol=1e-12)
    assert np.abs(frozen["W_E"] - START["W_E"]).max() > 0
    if name not in ("cocob", "madgrad"):  # their steps are from where they started, or by their own estimate
        warm = stepped({"name": name, "lr": 0.03, "weight_decay": 0.2, "warmup_steps": 10}, 1)
        for key, value in warm.items():
            np.testing.assert_allclose(value, START[key], rtol=1e-12)


@pytest.mark.parametrize("name", OF_OPTAX)
def test_weight_decay_can_pull_to_the_start_by_matrix_in_every_optimizer(name: str):
    """The same gradients from the same start: what differs is the pull, which is 0 in the first step."""
    one = {"name": name, "lr": 0.03, "weight_decay": 0.5, "decay_to": "init"}
    without = stepped(one | {"weight_decay": 0.0}, 1)
    for key, value in stepped(one, 1).items():
        np.testing.assert_allclose(value, without[key], rtol=1e-12)
    later, unpulled = (stepped(one | {"weight_decay_by_matrix": {"W_E": factor}}, 6) for factor in (1.0, 0.0))
    assert np.abs(later["W_E"] - unpulled["W_E"]).max() > 0
