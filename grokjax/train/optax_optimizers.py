"""Optimizers of optax: each with the run's numbers, its own rate or the direction of a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax import contrib

from grokjax.models.params import Params
from grokjax.spec import optax_adaptive as adaptive
from grokjax.spec import optax_matrices as matrices
from grokjax.spec import optax_moments as moments
from grokjax.spec import optax_optimizers as spec
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.shapes import is_matrix, sides_of
from grokjax.tasks.keys import OPTIMIZER, key_for, named
from grokjax.train.parts import by_parts
from grokjax.train.rates import Numbers, decay, scale, whole_step

TINY = 1e-30  # keeps a division by the norm of what is 0 finite
Make = Callable[..., optax.GradientTransformation]


def arguments(family: Optimizer, numbers: Numbers) -> dict[str, Any]:
    """The family's own keys: those that flow as the program's arrays, those that are null or static as they stand."""
    return {name: numbers.get(name, getattr(family, name)) for name in family.own_keys()}


def direction(make: Make, family: Optimizer, numbers: Numbers) -> optax.GradientTransformation:
    """What optax multiplies with minus the rate, as the last thing it does."""
    return make(learning_rate=-1.0, **arguments(family, numbers))


def with_rate(make: Make, family: Optimizer, numbers: Numbers) -> optax.GradientTransformation:
    """Where the rate is inside."""
    return whole_step(family, numbers, make(learning_rate=numbers["rate"], **arguments(family, numbers)))


def finds_rate(make: Make, family: Optimizer, numbers: Numbers) -> optax.GradientTransformation:
    """Where decay counts by the rate that is found. At a rate of 0 (a warm-up) there is no step, and no estimate."""
    b1, b2 = numbers["betas"]
    made = make(learning_rate=numbers["rate"], **arguments(family, numbers))

    def update(updates: Params, state: Any, params: Params) -> tuple[Params, Any]:
        steps, after = made.update(updates, state, params)  # pyright: ignore[reportArgumentType]
        moves = numbers["rate"] > 0
        kept = {name: jnp.where(moves, u, 0) for name, u in steps.items()}  # pyright: ignore
        return kept, after._replace(estim_lr=jnp.where(moves, after.estim_lr, state.estim_lr))  # pyright: ignore

    step = optax.GradientTransformation(made.init, update)  # pyright: ignore[reportArgumentType]

    def found(state: Any) -> Float[Array, ""]:
        count = state.count + 1
        return state.estim_lr * numbers["rate"] * (1 - b2**count) ** 0.5 / (1 - b1**count)

    return whole_step(family, numbers, step, found)


def adafactor(family: matrices.Adafactor, numbers: Numbers) -> optax.GradientTransformation:
    step = optax.adafactor(learning_rate=numbers["rate"], **arguments(family, numbers), dtype_momentum=None)  # pyright: ignore
    return whole_step(family, numbers, step)


def dog(family: adaptive.Dog, numbers: Numbers) -> optax.GradientTransformation:
    first = (family.init_step, numbers["init_step_value"])
    return contrib.dog(learning_rate=-1.0, init_step=first, eps=numbers["eps"])


def galore(family: matrices.Galore, numbers: Numbers) -> optax.GradientTransformation:
    def sides(params: Any) -> Any:
        found = {name: sides_of(name, value.ndim) for name, value in params.items()}
        return {name: contrib.GaLoreDimensionNumbers(*of) if of else None for name, of in found.items()}

    return contrib.galore(learning_rate=-1.0, weight_dimension_numbers=sides, **arguments(family, numbers))


def lamb(family: moments.Lamb, numbers: Numbers) -> optax.GradientTransformation:
    moments = optax.scale_by_adam(**arguments(family, numbers))
    return optax.chain(moments, decay(family, numbers), optax.scale_by_trust_ratio())


def novograd(family: moments.Novograd, numbers: Numbers) -> optax.GradientTransformation:
    """optax's, as normalization, decay and momentum one after the other: so decay is by matrix here too."""
    own: dict[str, Any] = arguments(family, numbers) | {"b1": 0.0}
    normalized = optax.scale_by_novograd(**own)
    return optax.chain(normalized, decay(family, numbers), optax.trace(numbers["b1"]))


def muon(family: matrices.Muon, numbers: Numbers) -> optax.GradientTransformation:
    """Matrices by Muon, vectors by Adam, each with its rate and decay."""
    own = {name: value for name, value in arguments(family, numbers).items() if not name.startswith("adam_")}
    rms = own.pop("consistent_rms")

    def sides(params: Any) -> Any:
        found = {name: sides_of(name, value.ndim) for name, value in params.items()}
        return {name: contrib.MuonDimensionNumbers(*of) for name, of in found.items() if of}

    orthogonal = _with_own(contrib.scale_by_muon(**own, weight_dimension_numbers=sides), ns_coeffs=own["ns_coeffs"])
    shaped = contrib._muon.scale_by_shape(sides, rms)  # pyright: ignore
    adam = optax.scale_by_adam(
        b1=numbers["adam_b1"],
        b2=numbers["adam_b2"],
        eps=numbers["eps"],
        eps_root=numbers["adam_eps_root"],
        nesterov=family.nesterov,
    )
    of_adam = numbers | {"weight_decay": numbers["adam_weight_decay"]}
    if "adam_learning_rate" in numbers:
        of_adam["rate"] = numbers["adam_learning_rate"] * numbers["of_lr"]
    parts = {
        "matrices": optax.chain(orthogonal, shaped, decay(family, numbers), scale(numbers)),
        "vectors": optax.chain(adam, decay(family, of_adam), scale(of_adam)),
    }
    return by_parts(parts, lambda name: "matrices" if is_matrix(name) else "vectors")


def noisy_sgd(family: spec.NoisySGD, numbers: Numbers) -> optax.GradientTransformation:
    """Noise of variance eta / t^gamma, from (seed, step, name), so that it is the same wherever a run goes on."""
    deviation = jnp.sqrt(numbers["eta"] / (numbers["step"] + 1) ** numbers["gamma"])

    def add(updates: Params, params: Params | None) -> Params:
        drawn = {name: jax.random.normal(_key(numbers, name), u.shape, jnp.float32) for name, u in updates.items()}
        return {name: u + deviation * drawn[name].astype(u.dtype) for name, u in updates.items()}

    return optax.stateless(add)  # pyright: ignore[reportArgumentType]


def _key(numbers: Numbers, name: str) -> Array:
    """Of a step of a run and of one of its parameters."""
    return named(jax.random.fold_in(key_for(OPTIMIZER, numbers["seed"]), numbers["step"]), name)


def sophia(family: moments.Sophia, numbers: Numbers) -> optax.GradientTransformation:
    """The diagonal is v * Hv of random signs v, from (seed, step, name)."""

    def estimate(updates: Params, state: Any, params: Params, obj_fn: Callable[[Params], Array]) -> tuple[Params, Any]:
        signs = {
            name: jax.random.rademacher(_key(numbers, name), value.shape, jnp.float32).astype(value.dtype)
            for name, value in params.items()
        }

        def along(params: Params) -> Float[Array, ""]:
            gradient = jax.grad(obj_fn)(params)
            return jnp.stack([(gradient[name] * signs[name]).sum() for name in sorted(signs)]).sum()

        curved = jax.grad(along)(params)  # reverse over reverse: the models' matmuls have gradients of their own
        return {name: signs[name] * curved[name].astype(value.dtype) for name, value in params.items()}, state

    hutchinson = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), estimate)  # pyright: ignore
    return contrib.sophia(
        learning_rate=-1.0, weight_decay=0.0, hessian_diagonal_fn=hutchinson, **arguments(family, numbers)
    )


def sam(family: spec.SAM, numbers: Numbers) -> optax.GradientTransformation:
    """The step out of the gradient at W + rho g / |g|, of the same batch."""

    def downhill(updates: Params, params: Params | None) -> Params:
        length = jnp.sqrt(jnp.stack([jnp.square(updates[name]).sum() for name in sorted(updates)]).sum())
        factor = numbers["rho"] / jnp.maximum(length, TINY)
        return {name: -factor * u for name, u in updates.items()}

    adam = optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"], eps=numbers["eps"])
    inner = optax.trace(numbers["momentum"]) if family.optimizer == "sgd" else adam
    made = contrib.sam(inner, optax.stateless(downhill), family.sync_period, opaque_mode=True)  # pyright: ignore

    def update(updates: Params, state: Any, params: Params, obj_fn: Callable[[Params], Array]) -> tuple[Params, Any]:
        return made.update(updates, state, params, grad_fn=lambda at, _: jax.grad(obj_fn)(at))  # pyright: ignore

    return optax.GradientTransformationExtraArgs(made.init, update)  # pyright: ignore[reportArgumentType]


def optimistic_adam(family: moments.OptimisticAdam, numbers: Numbers) -> optax.GradientTransformation:
    own = arguments(family, numbers)
    optimism = own.pop("optimism")
    beta = numbers["rate"] if optimism is None else optimism
    extrapolated = optax.scale_by_optimistic_gradient(alpha=numbers["rate"], beta=beta)
    return whole_step(family, numbers, optax.chain(optax.scale_by_adam(**own), extrapolated, optax.scale(-1.0)))


def rprop(family: spec.RProp, numbers: Numbers) -> optax.GradientTransformation:
    """lr is where the step sizes start; warm-up and schedule are factors on the step."""
    step = optax.rprop(learning_rate=numbers["lr"], **arguments(family, numbers))
    return whole_step(family, numbers, optax.chain(step, optax.scale(numbers["of_lr"])))


def schedule_free_adamw(family: adaptive.ScheduleFreeAdamW, numbers: Numbers) -> optax.GradientTransformation:
    squares = optax.scale_by_rms(numbers["b2"], numbers["eps"], eps_in_sqrt=False, bias_correction=True)
    return _schedule_free(squares, family, numbers)


def schedule_free_sgd(family: adaptive.ScheduleFreeSGD, numbers: Numbers) -> optax.GradientTransformation:
    return _schedule_free(optax.identity(), family, numbers)


def _schedule_free(
    inner: optax.GradientTransformation,
    family: adaptive.ScheduleFreeAdamW | adaptive.ScheduleFreeSGD,
    numbers: Numbers,
) -> optax.GradientTransformation:
    base = optax.chain(inner, decay(family, numbers), scale(numbers))
    b1, power = numbers["b1"], numbers["weight_lr_power"]
    averaging = contrib.schedule_free(base, numbers["rate"], b1, power)
    return _with_own(averaging, b1=b1)


def averaged(numbers: Numbers, params: Params, opt_state: Any) -> Params:
    """What a schedule-free optimizer's loss is to be tested at: the average x of y = (1 - b1) z + b1 x."""
    b1, z = numbers["b1"], optax.tree.get(opt_state, "z")
    return {name: (y - (1 - b1) * z[name]) / b1 for name, y in params.items()}


def _with_own(transform: optax.GradientTransformation, **own: Any) -> optax.GradientTransformationExtraArgs:
    """With numbers of the run in place of those that optax put into the state, which may be another run's."""
    made = optax.with_extra_args_support(transform)

    def update(updates: Params, state: Any, params: Params, **extra: Any) -> tuple[Params, Any]:
        return made.update(updates, state._replace(**own), params, **extra)  # pyright: ignore

    return optax.GradientTransformationExtraArgs(made.init, update)  # pyright: ignore[reportArgumentType]


_DIRECTIONS: dict[str, Make] = {
    "acprop": contrib.acprop,
    "adabelief": optax.adabelief,
    "adadelta": optax.adadelta,
    "adagrad": optax.adagrad,
    "adamax": optax.adamax,
    "adamaxw": partial(optax.adamaxw, weight_decay=0.0),
    "ademamix": contrib.ademamix,
    "adan": optax.adan,
    "adopt": contrib.adopt,
    "amsgrad": optax.amsgrad,
    "dowg": contrib.dowg,
    "lion": partial(optax.lion, weight_decay=0.0),
    "nadam": optax.nadam,
    "nadamw": partial(optax.nadamw, weight_decay=0.0),
    "optimistic_adam_v2": optax.optimistic_adam_v2,
    "optimistic_gradient_descent": optax.optimistic_gradient_descent,
    "radam": optax.radam,
    "sign_sgd": optax.sign_sgd,
    "signum": optax.signum,
    "simplified_ademamix": contrib.simplified_ademamix,
    "sm3": optax.sm3,
    "yogi": optax.yogi,
}
_WITH_RATE: dict[str, Make] = {
    "cocob": contrib.cocob,
    "fromage": optax.fromage,
    "lars": optax.lars,
    "madgrad": contrib.madgrad,
    "rmsprop": optax.rmsprop,
}
OF_OPTAX: dict[str, Make] = {
    **{name: partial(direction, make) for name, make in _DIRECTIONS.items()},
    **{name: partial(with_rate, make) for name, make in _WITH_RATE.items()},
    "adafactor": adafactor,
    "dadapt_adamw": partial(finds_rate, contrib.dadapt_adamw),
    "dog": dog,
    "galore": galore,
    "lamb": lamb,
    "muon": muon,
    "noisy_sgd": noisy_sgd,
    "novograd": novograd,
    "optimistic_adam": optimistic_adam,
    "prodigy": partial(finds_rate, contrib.prodigy),
    "rprop": rprop,
    "sam": sam,
    "schedule_free_adamw": schedule_free_adamw,
    "schedule_free_sgd": schedule_free_sgd,
    "sophia": sophia,
}
EVALUATED: dict[str, Callable[[Numbers, Params, Any], Params]] = {
    "schedule_free_adamw": averaged,
    "schedule_free_sgd": averaged,
}
