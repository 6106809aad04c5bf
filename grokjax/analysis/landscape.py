"""Loss and accuracy against weight norm: stored parameters, all scaled by one factor.

Liu, Michaud and Tegmark 2022 (arXiv 2210.01117): along a ray the train loss is L-shaped and the test loss U-shaped, and
training ends where the norm that it started from leaves it, unless weight decay moves it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from grokjax.analysis.stored import (
    Measures,
    Snapshot,
    all_pairs_bytes,
    examples_of,
    logit_scale,
    measured,
    specs_of,
    total_norm,
)
from grokjax.models.params import Params
from grokjax.results.read import Results
from grokjax.spec.run import RunSpec
from grokjax.tasks.all import scores
from grokjax.train.state import Examples
from grokjax.train.step import loss_and_logits

SCALES = tuple(np.geomspace(0.25, 4, 41).tolist())
METRICS = ("train/loss", "train/accuracy", "test/loss", "test/accuracy")


def ray(
    results: Results,
    runs: Sequence[str] | None = None,
    step: int | None = None,
    scales: Sequence[float] = SCALES,
) -> pd.DataFrame:
    """One row a run and scale: run_id, step, scale, norm (of all parameters together, scaled), train/loss,
    train/accuracy, test/loss and test/accuracy, in the run's own loss and precision, on all train and test examples.

    runs: ids; default every run that has ended. step: of a snapshot; None is each run's end. Raises ValueError for an
    unknown run, scales that are not positive, or a step without a snapshot.
    """
    if not len(scales) or not all(np.isfinite(scale) and scale > 0 for scale in scales):
        raise ValueError("scales must be positive numbers, at least one")
    run_ids = [run_id for run_id in results.run_ids if run_id in results.ends] if runs is None else list(runs)
    if not run_ids:
        raise ValueError(f"no run in {results.path} has ended yet")
    rows = [results.snapshot(run_id, step) for run_id in run_ids]
    specs = specs_of(results)
    snapshots = [Snapshot(run_id, row.step, specs[run_id]) for run_id, row in zip(run_ids, rows, strict=True)]
    frames = {
        snapshot.run_id: _frame(results, snapshot, scales, values)
        for snapshot, values in measured(
            partial(_along, scales=scales), snapshots, partial(_inputs, results), all_pairs_bytes
        )
    }
    return pd.concat([frames[run_id] for run_id in run_ids], ignore_index=True)


def _inputs(results: Results, snapshot: Snapshot) -> tuple[Any, ...]:
    return results.params(snapshot.run_id, snapshot.step), *examples_of(snapshot.spec), logit_scale(snapshot.spec)


def _frame(results: Results, snapshot: Snapshot, scales: Sequence[float], values: Measures) -> pd.DataFrame:
    norm = total_norm(results.params(snapshot.run_id, snapshot.step))
    columns = {"run_id": snapshot.run_id, "step": snapshot.step, "scale": list(scales), "norm": norm * np.array(scales)}
    return pd.DataFrame(columns | {name: values[name] for name in METRICS})


def _along(
    spec: RunSpec,
    params: Params,
    train: Examples,
    test: Examples,
    logit_scale: Float[Array, ""],
    scales: Sequence[float],
) -> dict[str, Float[Array, " scales"]]:
    """One run, one scale after another."""

    def at(scale: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
        scaled = {name: value * scale for name, value in params.items()}
        measures = {}
        for name, part in (("train", train), ("test", test)):
            loss, logits = loss_and_logits(spec, scaled, part, logit_scale)
            measures |= {f"{name}/loss": loss, f"{name}/accuracy": scores(spec.task, logits, part)["accuracy"]}
        return measures

    return jax.lax.map(at, jnp.asarray(scales, spec.numerics.params))
