"""Progress measures of modular tasks: functions of one run's parameters, over all pairs of operands.

Fourier modes are those of the task's cyclic group (`cycle.cycle_of`). Which measures a run has is decided by its spec:

- restricted_loss, excluded_loss, trig_loss, logit_share, trig_share, distance_irrelevance: where the answer is a sum or
  difference in that group; not for quadratic, random, and multiply with p no prime.
- what rests on neurons and key frequencies, so these losses and shares too: not for attention only, without neurons.
- gini_out, ipr_out: not for attention only, where W_out W_U is not.
- gradient_symmetricity: not for one-hot MLPs, whose inputs have no embedding.
- all Fourier measures and distance_irrelevance: not in a group of two (p = 2; p = 3 under multiplication).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grokjax.models.network import hidden_and_logits, input_weights, output_map
from grokjax.models.params import Params
from grokjax.probes.core import Metrics
from grokjax.probes.fourier import Waves, fourier_norms, gini, neuron_shares, participation, power, share, waves
from grokjax.probes.structure import distance_irrelevance, gradient_symmetricity, stable_rank
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import is_matrix
from grokjax.tasks.cycle import Cycle, cycle_of
from grokjax.train.losses import each_loss

PURE = 0.85  # share of a neuron's variance in one frequency, beyond which it is of that frequency (Nanda et al.)
SQUARED = 0.8  # of a wave in a plus one in b, squared, this share is in their frequency, the rest in twice it


class Seen(NamedTuple):
    """A network on all n^2 pairs of its group."""

    neurons: Float[Array, "m pairs"] | None  # of the last hidden layer, at the answer
    logits: Float[Array, "n pairs"]  # scaled; classes in the group's order, without `=` (and 0 under multiplication)


def progress(
    spec: RunSpec,
    params: Params,
    train: Int[Array, "n_train L"],
    logit_scale: Float[Array, ""] | float = 1.0,
    keys: Bool[Array, " k"] | None = None,
) -> Metrics:
    """Metric name -> float32 scalar.

    train: tokens of the train examples, for the excluded loss. keys: key frequencies, one a frequency 1 .. n // 2; None
    takes those of these parameters' own neurons. Nanda et al. take the final network's at every step, which cannot be
    known while it trains: with None, a frequency counts from the step on at which a neuron has come to be of it.
    """
    metrics: Metrics = {f"stable_rank/{name}": stable_rank(name, W) for name, W in params.items() if is_matrix(name)}
    cycle = cycle_of(spec.task)
    if spec.model.has_embedding:
        metrics["progress/gradient_symmetricity"] = gradient_symmetricity(
            params, spec.model, spec.task.operand_values, logit_scale, spec.task.n_ctx
        )
    if cycle.n > 2:
        seen, basis = see(spec, params, cycle, logit_scale), waves(cycle.n, params[next(iter(params))].dtype)
        metrics |= _of_weights(spec, params, cycle, basis)
        shares = None if seen.neurons is None else neuron_shares(seen.neurons, basis)
        if shares is not None:
            keys = key_frequencies(spec, shares) if keys is None else keys
            metrics |= {
                "progress/key_frequencies": keys.sum(),
                "progress/neuron_share": shares.max(0).mean(),
                "progress/pure_neurons": (shares.max(0) > pure_from(spec)).mean(),
            }
        if cycle.sign and keys is not None:
            metrics |= _of_logits(spec, seen.logits, cycle, basis, keys, train)
        if cycle.sign:
            right = jnp.take_along_axis(seen.logits, jnp.asarray(cycle.results)[None], axis=0)[0]
            metrics["progress/distance_irrelevance"] = distance_irrelevance(right, cycle.by_distance)
    return {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}


def spectrum(
    spec: RunSpec,
    params: Params,
    logit_scale: Float[Array, ""] | float = 1.0,
    keys: Bool[Array, " k"] | None = None,
) -> dict[str, Float[Array, " k"]]:
    """One float32 number a frequency 1 .. n // 2, where they are defined (as for `progress`): norm_in and norm_out, the
    norms of what first reads the operands and of the neuron-logit map; neurons, how many are of this frequency;
    logit_share, share of the logits' variance in cos and sin of w(a+b); is_key."""
    cycle = cycle_of(spec.task)
    if cycle.n <= 2:
        return {}
    seen, basis = see(spec, params, cycle, logit_scale), waves(cycle.n, params[next(iter(params))].dtype)
    columns = {
        f"norm_{side}": jnp.sqrt(power(weights, basis).sum(1)) for side, weights in _sides(spec, params, cycle).items()
    }
    if seen.neurons is not None:
        shares = neuron_shares(seen.neurons, basis)
        columns["neurons"] = (shares > pure_from(spec)).sum(1)
        columns["is_key"] = key_frequencies(spec, shares) if keys is None else keys
    if cycle.sign:
        centered = seen.logits - seen.logits.mean(1, keepdims=True)
        of_answer = power(centered[:, cycle.by_result].mean(2).T, basis).sum(1)
        columns["logit_share"] = share(cycle.n * of_answer, jnp.square(centered).sum())
    return {name: value.astype(jnp.float32) for name, value in columns.items()}


def see(spec: RunSpec, params: Params, cycle: Cycle, logit_scale: Float[Array, ""] | float) -> Seen:
    neurons, logits = hidden_and_logits(spec, params, jnp.asarray(cycle.tokens))
    return Seen(neurons, logits[cycle.elements] * logit_scale)


def key_frequencies(spec: RunSpec, shares: Float[Array, "k m"]) -> Bool[Array, " k"]:
    """Frequencies that at least one neuron is of."""
    return (shares > pure_from(spec)).any(1)


def pure_from(spec: RunSpec) -> float:
    """Share of a neuron's variance beyond which it is of a frequency: 0.85, with squares 0.85 of the 0.8 that they can
    have at most."""
    return PURE * SQUARED if spec.model.nonlinearity == "square" else PURE


def embedding(params: Params, spec: RunSpec, cycle: Cycle) -> Float[Array, "n columns"]:
    """What first reads each operand, a row an element of the group: W_E of the transformer; of an MLP the weights of
    its first hidden layer on a and on b, side by side (W_E W.0 where its input is embedded)."""
    return input_weights(spec, params)[cycle.elements]


def neuron_logit_map(params: Params, spec: RunSpec, cycle: Cycle) -> Float[Array, "n m"] | None:
    """Weight of each neuron of the last hidden layer on each class: (W_out W_U) transposed, past the last layer norm if
    there is one; of an MLP its last matrix. None for attention only."""
    weights = output_map(spec, params)
    return None if weights is None else weights.T[cycle.elements]


def _sides(spec: RunSpec, params: Params, cycle: Cycle) -> dict[str, Float[Array, "n columns"]]:
    sides = {"in": embedding(params, spec, cycle), "out": neuron_logit_map(params, spec, cycle)}
    return {side: weights for side, weights in sides.items() if weights is not None}


def _of_weights(spec: RunSpec, params: Params, cycle: Cycle, basis: Waves) -> Metrics:
    metrics: Metrics = {}
    for side, weights in _sides(spec, params, cycle).items():
        metrics[f"progress/gini_{side}"] = gini(fourier_norms(weights, basis))
        metrics[f"progress/ipr_{side}"] = participation(power(weights, basis))
    return metrics


def _of_logits(
    spec: RunSpec,
    logits: Float[Array, "n pairs"],
    cycle: Cycle,
    basis: Waves,
    keys: Bool[Array, " k"],
    train: Int[Array, "n_train L"],
) -> Metrics:
    """What the logits are without all but the directions cos w(a+b), sin w(a+b) of the key frequencies, and without
    these."""
    mean = logits.mean(1)
    centered = logits - mean[:, None]
    in_keys, (cos, sin) = key_part(centered, cycle, basis, keys)
    # of cos w(a+b-c) alone: cos cos + sin sin, whose squared length is the number of the frequency's directions
    lengths = jnp.square(basis.cos).sum(1) + jnp.square(basis.sin).sum(1)
    height = ((cos * basis.cos).sum(1) + (sin * basis.sin).sum(1)) / lengths
    trig = (basis.cos.T * height) @ basis.cos + (basis.sin.T * height) @ basis.sin
    total = jnp.square(centered).sum() / cycle.n
    pair, is_pair = _rows(train, cycle)
    answer = jnp.asarray(cycle.results)[pair]
    excluded = _losses(spec, logits[:, pair] - in_keys[:, answer], answer)
    answers = jnp.arange(cycle.n)
    return {
        "progress/restricted_loss": _losses(spec, mean[:, None] + in_keys, answers).mean(),
        "progress/excluded_loss": share((is_pair * excluded).sum(), is_pair.sum()),
        "progress/trig_loss": _losses(spec, mean[:, None] + trig, answers).mean(),
        "progress/logit_share": share(jnp.square(in_keys).sum(), total),
        "progress/trig_share": share(jnp.square(trig).sum(), total),
    }


def key_part(
    centered: Float[Array, "n pairs"], cycle: Cycle, basis: Waves, keys: Bool[Array, " k"]
) -> tuple[Float[Array, "n n"], tuple[Float[Array, "k n"], Float[Array, "k n"]]]:
    """What of logits without their mean over pairs lies in cos w(a+b), sin w(a+b) of the key frequencies: [class,
    answer], and [frequency, class] along each direction. Their mean over pairs of equal answer holds it all."""
    by_answer = centered[:, cycle.by_result].mean(2)  # [class, answer]
    cos, sin = (keys[:, None] * (wave @ by_answer.T) for wave in basis)
    return cos.T @ basis.cos + sin.T @ basis.sin, (cos, sin)


def _rows(train: Int[Array, "n_train L"], cycle: Cycle) -> tuple[Int[Array, " n_train"], Bool[Array, " n_train"]]:
    """Number of each train example among the pairs, and whether it is one of them."""
    a, b = (jnp.asarray(cycle.places)[train[:, position]] for position in (0, 1))
    is_pair = (a >= 0) & (b >= 0)
    return jnp.where(is_pair, a * cycle.n + b, 0), is_pair


def _losses(spec: RunSpec, logits: Float[Array, "n m"], labels: Int[Array, " m"]) -> Float[Array, " m"]:
    """The run's own loss of each column, over the classes of the group, without cancellation."""
    return each_loss(spec.loss.without_rounding(), logits, labels)
