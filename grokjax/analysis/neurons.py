"""How nearly each hidden neuron computes a square: its activation as a quadratic of its pre-activation.

A network can multiply its operands with squares, as (x + y)^2 - (x - y)^2 = 4 x y. What a neuron does with them is its
activation function over the pre-activations that the data reaches: fitted by least squares over all pairs of operands.

R^2 alone says little: over symmetric normal pre-activations ReLU has 0.967, 0.734 of it linear. A neuron that works as
a square shows in what the square adds to the line, 0.23 there, 1 of a square about 0, 0 where only one side of a ReLU
is reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from grokjax.analysis.stored import Snapshot, Steps, all_pairs_bytes, asked_snapshots, measured
from grokjax.models.activations import activate
from grokjax.models.network import preactivations
from grokjax.models.params import Params
from grokjax.probes.fourier import share
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.tasks.all import table

DEAD = 1e-3  # of the std of its layer's most active neuron, below which a neuron's activation is that of a dead one
QUANTILES = (0.1, 0.5, 0.9)
FITS = ("linear", "quadratic", "beyond")


class Fit(NamedTuple):
    """One number a neuron, over all examples."""

    linear: Float[Array, " m"]  # R^2 of the best a + b x; 0 where the activation is constant
    quadratic: Float[Array, " m"]  # R^2 of the best a + b x + c x^2
    std: Float[Array, " m"]  # of the activation
    low: Float[Array, " m"]  # least and largest pre-activation
    high: Float[Array, " m"]
    positive: Float[Array, " m"]  # share of examples whose pre-activation is above 0


def quadratic_fit(x: Float[Array, "m n"], y: Float[Array, "m n"]) -> Fit:
    """Of activations y to pre-activations x, a row a neuron."""
    u = x - x.mean(1, keepdims=True)
    u = u / jnp.maximum(jnp.abs(u).max(1, keepdims=True), jnp.finfo(x.dtype).tiny)  # so that squares neither under-
    v = y - y.mean(1, keepdims=True)
    v = v / jnp.maximum(jnp.abs(v).max(1, keepdims=True), jnp.finfo(x.dtype).tiny)  # nor overflow
    q = jnp.square(u)
    q = q - q.mean(1, keepdims=True)
    q = q - share((q * u).sum(1), jnp.square(u).sum(1))[:, None] * u  # what the line cannot say of the square
    linear = _explained(u, v)
    spread = jnp.square(q).mean(1) > 1e-12  # of two values the square says nothing more
    beyond = jnp.where(spread, _explained(q, v), 0)
    return Fit(linear, linear + beyond, y.std(1), x.min(1), x.max(1), (x > 0).mean(1, dtype=x.dtype))


def _explained(x: Float[Array, "m n"], y: Float[Array, "m n"]) -> Float[Array, " m"]:
    return share(share(jnp.square((x * y).sum(1)), jnp.square(x).sum(1)), jnp.square(y).sum(1))


def fits(spec: RunSpec, tokens: Int[np.ndarray, "n L"], params: Params) -> dict[str, Float[Array, " m"]]:
    """`LAYER/NAME` -> each neuron's number of that name in `Fit`."""
    numbers = {}
    for layer, x in preactivations(spec, params, jnp.asarray(tokens)).items():
        fit = quadratic_fit(x, activate(spec.model, x))
        numbers |= {f"{layer}/{name}": value for name, value in fit._asdict().items()}
    return numbers


def each_neuron(
    results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps | Literal["last"] = None
) -> pd.DataFrame:
    """One row a neuron: run_id, step, layer, neuron, linear, quadratic (R^2), beyond (their difference), std, low,
    high, positive as in `Fit`, and dead: its std is less than a thousandth of the most active neuron's of its layer.

    Of an MLP every hidden layer, of a transformer the last layer's MLP at the last position. Examples are all of the
    task's. run_ids, steps: None is all that is stored, steps "last" each run's end; without run_ids, runs that have no
    snapshot at a step are left out there. Raises ValueError for an unknown run, a step without a snapshot, no snapshots
    at all, and where no network has neurons.
    """
    return pd.concat([_headed(*at, frame) for at, frame in _measured(results, run_ids, steps)], ignore_index=True)


def neurons(
    results: Results, run_ids: str | Iterable[str] | None = None, steps: Steps | Literal["last"] = None
) -> pd.DataFrame:
    """One row a snapshot and layer, from `each_neuron`, whose arguments these are: run_id, step, layer, neurons (how
    many), dead (share of them), and of those that are not dead (nan where all are): linear, quadratic and beyond, means
    weighted by the variance of the activation, each with /q10, /q50 and /q90, its quantiles over neurons; low, high
    and positive, medians over neurons."""
    rows = [(*at, _of_layer(frame)) for at, frame in _measured(results, run_ids, steps)]
    return pd.DataFrame([{"run_id": run_id, "step": step, "layer": layer} | row for run_id, step, layer, row in rows])


def _measured(
    results: Results, run_ids: str | Iterable[str] | None, steps: Steps | Literal["last"]
) -> list[tuple[tuple[str, int, int], pd.DataFrame]]:
    """(run, step, layer) and a row a neuron, by run and step."""
    chosen = asked_snapshots(results, run_ids, steps)
    with_neurons = [snapshot for snapshot in chosen if snapshot.spec.model.has_neurons]
    if not with_neurons:
        raise ValueError(f"no network of these in {results.path} has neurons: they are attention only")

    for snapshot in with_neurons:
        if snapshot.spec.task.is_drawn:
            name = snapshot.spec.task.name
            raise ValueError(f"neurons are fitted over a table of all examples, and task {name} has none")

    def measure(spec: RunSpec, params: Params) -> dict[str, Array]:
        return fits(spec, np.asarray(table(spec.task).inputs), params)

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        return (results.params(snapshot.run_id, snapshot.step),)

    layers_of = {
        (snapshot.run_id, snapshot.step): _layers(values)
        for snapshot, values in measured(measure, with_neurons, inputs, all_pairs_bytes)
    }
    keys = [(snapshot.run_id, snapshot.step) for snapshot in with_neurons]
    return [((*key, layer), frame) for key in keys for layer, frame in layers_of[key].items()]


def _layers(values: dict[str, np.ndarray]) -> dict[int, pd.DataFrame]:
    """Layer -> a row a neuron."""
    frames = {}
    for layer in sorted({int(name.partition("/")[0]) for name in values}):
        frame = pd.DataFrame({name: values[f"{layer}/{name}"].astype(np.float64) for name in Fit._fields})
        frame.insert(2, "beyond", frame["quadratic"] - frame["linear"])
        frames[layer] = frame.assign(dead=frame["std"] <= DEAD * frame["std"].max())
    return frames


def _headed(run_id: str, step: int, layer: int, frame: pd.DataFrame) -> pd.DataFrame:
    head = {"run_id": run_id, "step": step, "layer": layer, "neuron": np.arange(len(frame))}
    return pd.concat([pd.DataFrame(head), frame], axis=1)


def _of_layer(each: pd.DataFrame) -> dict[str, float | int]:
    live = each[~each["dead"]]
    summary: dict[str, float | int] = {"neurons": len(each), "dead": float(each["dead"].mean())}
    weights = np.square(live["std"].to_numpy())
    for name in FITS:
        values = live[name].to_numpy()
        summary[name] = float(values @ weights / weights.sum()) if len(live) else np.nan
        at = np.quantile(values, QUANTILES) if len(live) else [np.nan] * len(QUANTILES)
        summary |= {
            f"{name}/q{quantile * 100:.0f}": float(value) for quantile, value in zip(QUANTILES, at, strict=True)
        }
    return summary | {name: float(live[name].median()) for name in ("low", "high", "positive")}
