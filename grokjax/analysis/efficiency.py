"""Circuit efficiency: how large the logits are that a network makes of the norm of its parameters.

Varma et al. 2023 (arXiv 2309.02390): weight decay prefers the circuit that makes larger logits of less norm, the more
efficient one. A memorizing circuit's efficiency falls with the number of examples that it must hold, a generalizing
one's does not, so that they cross at a critical size of the train set. The memorizing one is measured on networks
trained on random labels (`task.op: random`); the generalizing one on networks that generalized, of whose logits only
what lies in cos w(a+b), sin w(a+b) of the key frequencies is taken, as in the restricted loss of
`grokjax.probes.progress`.

No network here is linear in its parameters, so logits over norm of one and the same circuit rise with its norm:
compare networks of about equal norm, or their train loss against norm over several weight decays. Where scaling all
parameters by c scales the logits by c^k exactly (the model's `degree`), margin / norm^k is free of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float

from grokjax.analysis.progress import final_keys
from grokjax.analysis.stored import (
    Measures,
    Snapshot,
    Steps,
    all_pairs_bytes,
    asked_snapshots,
    examples_of,
    logit_scale,
    measured,
    total_norm,
)
from grokjax.models.params import Params
from grokjax.probes.fourier import waves
from grokjax.probes.progress import key_part, see
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.tasks.all import scores
from grokjax.tasks.cycle import cycle_of
from grokjax.train.state import Examples
from grokjax.train.step import loss_and_logits

MEMORIZED = 0.5  # test accuracy below which a network that fits counts as memorizing
LOGITS = ("logit/correct", "logit/margin", "trig/correct", "trig/margin")
MEASURES = ("train/loss", "train/accuracy", "test/loss", "test/accuracy", "logit/test_correct", *LOGITS)


def efficiency(
    results: Results,
    run_ids: str | Iterable[str] | None = None,
    steps: Steps | Literal["last"] = None,
    memorized: float = MEMORIZED,
) -> pd.DataFrame:
    """One row a snapshot: run_id, step, kind, train_size, norm (of all parameters together), train/loss,
    train/accuracy, test/loss, test/accuracy, and, as the loss sees them (scaled, without `=`):

    logit/correct, logit/margin: mean over the train examples of the correct logit less the mean of all, and less the
    largest other one. logit/test_correct: the former over the test examples. trig/correct, trig/margin: both of what
    lies in the key frequencies (the final network's), mean over answers; nan where the progress measures have none.
    efficiency/...: logit/ and trig/ columns over norm. efficiency/normalized: logit/margin / norm^degree; nan without.

    kind: generalizing where test accuracy has the run's own `events.generalization`; memorizing where train accuracy
    has `events.fit` and either labels are random or test accuracy is below `memorized`; else neither. run_ids, steps:
    None is all that is stored, steps "last" each run's end; without run_ids, runs that have no snapshot at a step are
    left out there. Raises ValueError for an unknown run, a step without a snapshot, no snapshots at all, and a
    `memorized` that is no accuracy.
    """
    if not 0 <= memorized <= 1:
        raise ValueError(f"memorized is a test accuracy, from 0 to 1, not {memorized}")
    chosen = asked_snapshots(results, run_ids, steps)
    keys = final_keys(results, [snapshot for snapshot in chosen if cycle_of(snapshot.spec.task).sign])

    def inputs(snapshot: Snapshot) -> tuple[Any, ...]:
        params = results.params(snapshot.run_id, snapshot.step)
        return params, *examples_of(snapshot.spec), logit_scale(snapshot.spec), keys.get(snapshot.run_id)

    rows = {
        (snapshot.run_id, snapshot.step): _row(results, snapshot, values, memorized)
        for snapshot, values in measured(logits_of, chosen, inputs, all_pairs_bytes)
    }
    return pd.DataFrame([rows[snapshot.run_id, snapshot.step] for snapshot in chosen])


def logits_of(
    spec: RunSpec,
    params: Params,
    train: Examples,
    test: Examples,
    scale: Float[Array, ""] | float,
    keys: Bool[Array, " k"] | None,
) -> dict[str, Float[Array, ""]]:
    """MEASURES of one network, less those of `trig/` where there are no key frequencies."""
    measures = {}
    for name, part in (("train", train), ("test", test)):
        loss, logits = loss_and_logits(spec, params, part, jnp.asarray(scale))
        measures |= {f"{name}/loss": loss, f"{name}/accuracy": scores(spec.task, logits, part)["accuracy"]}
        correct, margin = _correct(logits[: spec.task.classes], part.targets)
        if name == "train":
            measures |= {"logit/correct": correct, "logit/margin": margin}
        else:
            measures["logit/test_correct"] = correct
    cycle = cycle_of(spec.task)
    if keys is None or not cycle.sign:
        return measures
    logits, basis = see(spec, params, cycle, scale).logits, waves(cycle.n, params[next(iter(params))].dtype)
    mean = logits.mean(1, keepdims=True)
    in_keys, _ = key_part(logits - mean, cycle, basis, keys)
    correct, margin = _correct(mean + in_keys, jnp.arange(cycle.n))
    return measures | {"trig/correct": correct, "trig/margin": margin}


def _correct(logits: Float[Array, "classes n"], labels: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean over columns of the label's logit, less the mean and less the largest other one."""
    is_label = jnp.arange(logits.shape[0])[:, None] == labels
    right = jnp.where(is_label, logits, 0).sum(0)
    largest_other = jnp.where(is_label, -jnp.inf, logits).max(0)
    return (right - logits.mean(0)).mean(), (right - largest_other).mean()


def _row(results: Results, snapshot: Snapshot, values: Measures, memorized: float) -> dict[str, Any]:
    norm = total_norm(results.params(snapshot.run_id, snapshot.step))
    measures = {name: float(values.get(name, np.nan)) for name in MEASURES}
    degree = snapshot.spec.model.degree
    head = {"run_id": snapshot.run_id, "step": snapshot.step, "kind": _kind(snapshot.spec, measures, memorized)}
    head |= {"train_size": len(examples_of(snapshot.spec)[0].targets), "norm": norm}
    per_norm = {f"efficiency/{name.replace('logit/', '').replace('/', '_')}": measures[name] / norm for name in LOGITS}
    normalized = measures["logit/margin"] / norm**degree if degree else np.nan
    return head | measures | per_norm | {"efficiency/normalized": normalized}


def _kind(spec: RunSpec, measures: dict[str, float], memorized: float) -> str:
    if measures["test/accuracy"] >= spec.events.generalization:
        return "generalizing"
    fits = measures["train/accuracy"] >= spec.events.fit
    can_only_memorize = spec.task.has_no_rule or measures["test/accuracy"] < memorized
    return "memorizing" if fits and can_only_memorize else "neither"
