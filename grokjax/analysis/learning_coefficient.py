"""The local learning coefficient of stored parameters, many snapshots and chains at once.

Lau, Furman, Wang, Murfet and Wei 2023 (arXiv 2308.12108): lambda = n beta (E[L] - L(w*)), beta = 1 / ln n, over
samples around w* (`grokjax.analysis.sgld`). Half the number of parameters at a regular minimum, less where the loss is
degenerate: the smaller, the simpler the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from grokjax.analysis.chains import drift, effective_size, split_rhat
from grokjax.analysis.sgld import Langevin, batch_rows, chain
from grokjax.analysis.stored import (
    Snapshot,
    Steps,
    chosen_snapshots,
    examples_of,
    in_order,
    logit_scale,
    measured,
)
from grokjax.models.params import Params
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_count, parameter_shapes
from grokjax.tasks.examples import Examples, some_of
from grokjax.tasks.keys import seed_key
from grokjax.train.frozen import parted
from grokjax.train.step import loss_and_logits

MOST_RHAT = 1.1
MOST_DRIFT = 0.2  # of lambda, over the draws


@dataclass(frozen=True)
class Sampling:
    """How chains go; see `grokjax.analysis.sgld`.

    step_size and gamma are for networks of some 10^4 weights of about 0.2: gamma lets a weight that the loss does not
    hold wander by gamma^-1/2 = 0.1, and 2 / (step_size gamma) = 200 steps forget where it was, so a burn-in must be
    longer. (The step 1e-3 and gamma 5 of language models let weights of 0.2 wander by 0.45, and diverge here.) Between
    snapshots compare lambda at one step_size and gamma only. batch: None is all train examples, as is more of them.
    Raises ValueError for numbers that cannot be.
    """

    step_size: float = 1e-4
    gamma: float = 100.0
    chains: int = 4
    draws: int = 300  # of a chain, one a step
    burn_in: int = 300  # steps before them
    batch: int | None = 256
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"chains": (self.chains, 1), "draws": (self.draws, 1), "burn_in": (self.burn_in, 0)}
        for name, (value, least) in (whole | {"batch": (1 if self.batch is None else self.batch, 1)}).items():
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not (np.isfinite(self.step_size) and self.step_size > 0):
            raise ValueError(f"step_size must be a positive number, got {self.step_size}")
        if not (np.isfinite(self.gamma) and self.gamma >= 0):
            raise ValueError(f"gamma must be a number, and not below 0, got {self.gamma}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be within 0 and 2^32 - 1, got {self.seed}")


def learning_coefficient(
    results: Results,
    run_ids: str | Iterable[str] | None = None,
    steps: Steps = None,
    sampling: Sampling | None = None,
) -> pd.DataFrame:
    """One row a run and snapshot, of the run's own loss on its train set:

    run_id, step, lambda (mean over chains), lambda_se (standard error over chains), loss (L(w*), of all train
    examples), mean_loss (E[L], of the batches along the chains, which no w has seen: unbiased), n, n_beta,
    diverged (share of chains that left the finite numbers; the rest counts), below (share of chains whose lambda is
    negative: they found lower loss than w*, so w* is no minimum), rhat, ess (split R-hat and effective number of draws
    of the losses), drift (rise of lambda along the draws), trusted, and why not.

    A loss that is no log-likelihood (mse) gives lambda up to its scale. run_ids, steps: as of
    `grokjax.analysis.progress.progress`; ValueErrors too.
    """
    rows = [
        _row(snapshot, loss, chains)
        for snapshot, loss, chains in _sampled(results, run_ids, steps, sampling or Sampling())
    ]
    return in_order(results, pd.DataFrame(rows))


def traces(
    results: Results,
    run_ids: str | Iterable[str] | None = None,
    steps: Steps = None,
    sampling: Sampling | None = None,
) -> pd.DataFrame:
    """run_id, step, chain, draw (from 0 on, after the burn-in) and loss on its batch. Arguments as of
    `learning_coefficient`."""
    parts = []
    for snapshot, _, losses in _sampled(results, run_ids, steps, sampling or Sampling()):
        chains, draw = np.indices(losses.shape).reshape(2, -1)
        head = {"run_id": snapshot.run_id, "step": snapshot.step, "chain": chains, "draw": draw}
        parts.append(pd.DataFrame(head | {"loss": losses.ravel()}))
    return in_order(results, pd.concat(parts, ignore_index=True))


def _row(snapshot: Snapshot, loss: float, losses: Float[np.ndarray, "chains draws"]) -> dict[str, Any]:
    n = snapshot.spec.task.train_size
    n_beta = inverse_temperature(n)
    finite = losses[np.isfinite(losses).all(axis=1)]
    each = n_beta * (finite.mean(axis=1) - loss) if len(finite) else np.array([np.nan])
    diverged = 1 - len(finite) / len(losses)
    estimate = {
        "lambda": each.mean(),
        "lambda_se": each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan,
        "loss": loss,
        "mean_loss": finite.mean() if len(finite) else np.nan,
        "n": n,
        "n_beta": n_beta,
        "diverged": diverged,
        "below": (each < 0).mean() if len(finite) else np.nan,
        "rhat": split_rhat(finite) if len(finite) else np.nan,
        "ess": effective_size(finite) if len(finite) else np.nan,
        "drift": n_beta * drift(finite) if len(finite) else np.nan,
    }
    doubts = "; ".join(_doubts(estimate, snapshot.spec.loss.of_guess(snapshot.spec.task.classes)))
    return {"run_id": snapshot.run_id, "step": snapshot.step} | estimate | {"trusted": not doubts, "why": doubts}


def inverse_temperature(n: int) -> float:
    """n beta at beta = 1 / ln n (Watanabe 2013)."""
    return n / np.log(n) if n > 1 else float("nan")


def _doubts(estimate: dict[str, Any], guess: float) -> Iterator[str]:
    """Why an estimate is not to be trusted. guess: the loss of one and the same guess for every example."""
    if estimate["diverged"]:
        yield f"{estimate['diverged']:.0%} of the chains diverged: take a smaller step size"
    if estimate["diverged"] == 1:
        return
    if estimate["below"]:
        yield f"{estimate['below']:.0%} of the chains found lower loss: the parameters are no minimum"
    if estimate["mean_loss"] > max(guess, estimate["loss"]):
        yield "the chains lose the solution, their loss is above that of a guess: take a larger gamma"
    if not estimate["rhat"] <= MOST_RHAT:
        yield f"R-hat {estimate['rhat']:.2f}: take more draws"
    if not abs(estimate["drift"]) <= MOST_DRIFT * abs(estimate["lambda"]):
        yield "the loss still drifts: take a longer burn-in"


def _sampled(
    results: Results, run_ids: str | Iterable[str] | None, steps: Steps, sampling: Sampling
) -> Iterator[tuple[Snapshot, float, Float[np.ndarray, "chains draws"]]]:
    """Each snapshot with its full train loss, and the losses of its chains after the burn-in, in float64."""

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        params = results.params(snapshot.run_id, snapshot.step)
        train, _ = examples_of(snapshot.spec)
        return params, train, logit_scale(snapshot.spec), _entropy(snapshot, sampling.seed)

    snapshots = chosen_snapshots(results, run_ids, steps)
    chains, bytes_of = partial(_chains, sampling=sampling), partial(_bytes, sampling=sampling)
    for snapshot, values in measured(chains, snapshots, inputs, bytes_of):
        yield snapshot, float(values["loss"]), values["losses"][:, sampling.burn_in :].astype(np.float64)


def _entropy(snapshot: Snapshot, seed: int) -> np.ndarray:
    """What a snapshot's random numbers depend on: not on what else is measured."""
    return np.array([seed, int(snapshot.run_id[:8], 16), int(snapshot.run_id[8:], 16), snapshot.step], np.uint32)


def _chains(
    spec: RunSpec, params: Params, train: Examples, scale: Float[Array, ""], entropy: Array, sampling: Sampling
) -> dict[str, Array]:
    n = len(train.targets)
    size = n if sampling.batch is None else min(sampling.batch, n)
    how = Langevin(sampling.step_size, inverse_temperature(n), sampling.gamma, sampling.burn_in + sampling.draws)
    key = seed_key(entropy[0])
    for number in entropy[1:]:
        key = jax.random.fold_in(key, number)

    trained, frozen = parted(spec, params)

    def loss(trained: Params, key: Array) -> Float[Array, ""]:
        rows = batch_rows(key, n, size)
        return loss_and_logits(spec, trained | frozen, some_of(train, rows), scale)[0]

    keys = jax.vmap(partial(jax.random.fold_in, key))(np.arange(sampling.chains, dtype=np.uint32))
    losses = jax.vmap(lambda key: chain(loss, trained, key, how))(keys)
    return {"loss": loss_and_logits(spec, params, train, scale)[0], "losses": losses}


def _bytes(spec: RunSpec, sampling: Sampling) -> int:
    """About what the chains of one snapshot hold: parameters, gradients and noise; activations there and back."""
    n = spec.task.train_size
    widest = spec.model.widest(spec.task) + spec.task.classes
    width = np.dtype(spec.numerics.params).itemsize
    batch = n if sampling.batch is None else min(sampling.batch, n)
    count = parameter_count(parameter_shapes(spec))
    of_chain = 5 * count + 3 * batch * widest + sampling.burn_in + sampling.draws
    return width * sampling.chains * of_chain
