"""Loss and accuracy against weight norm: stored parameters, all scaled by one factor.

Liu, Michaud and Tegmark 2022 (arXiv 2210.01117): along a ray the train loss is L-shaped and the test loss U-shaped, and
training ends where the norm that it started from leaves it, unless weight decay moves it on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from grokjax.results.manifest import stored_plan
from grokjax.results.read import Results
from grokjax.sweep.check import train_size
from grokjax.sweep.expand import Run
from grokjax.sweep.identity import program_key
from grokjax.sweep.spec import RunSpec
from grokjax.tasks.modular import Indices, Table, split, table
from grokjax.train.losses import accuracy
from grokjax.train.state import Examples, Params
from grokjax.train.step import loss_and_logits

SCALES = tuple(np.geomspace(0.25, 4, 41).tolist())
METRICS = ("train/loss", "train/accuracy", "test/loss", "test/accuracy")
TOGETHER = 8  # runs evaluated at once: their logits of all examples are in memory


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
    wanted = [run_id for run_id in results.run_ids if run_id in results.ends] if runs is None else list(runs)
    if not wanted:
        raise ValueError(f"no run in {results.path} has ended yet")
    own = {run.run_id: run for run in stored_plan(results.path).sweep.runs}
    unknown = [run_id for run_id in wanted if run_id not in own]
    if unknown:
        raise ValueError(f"no run {unknown[0]!r} in {results.path}")
    alike: dict[str, list[Run]] = {}
    for run_id in wanted:
        alike.setdefault(program_key(own[run_id].spec), []).append(own[run_id])
    frames = {run_id: frame for some in alike.values() for run_id, frame in _frames(results, some, step, scales)}
    return pd.concat([frames[run_id] for run_id in wanted], ignore_index=True)


def _frames(
    results: Results, runs: Sequence[Run], step: int | None, scales: Sequence[float]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Those of runs of one program."""
    spec = runs[0].spec
    examples = table(spec.task)
    with _precision(spec):
        measure = jax.jit(jax.vmap(partial(_along, spec, examples), in_axes=(0, 0, 0, None)))
        for first in range(0, len(runs), TOGETHER):
            some = runs[first : first + TOGETHER]
            rows = [results.snapshot(run.run_id, step) for run in some]
            params = [results.params(run.run_id, row.step) for run, row in zip(some, rows, strict=True)]
            splits = [split(run.spec.task, len(examples.labels), train_size(run.spec)) for run in some]
            dtype = spec.numerics.params
            found = jax.device_get(
                measure(
                    {name: np.stack([one[name] for one in params]) for name in params[0]},
                    Indices(np.stack([one.train for one in splits]), np.stack([one.test for one in splits])),
                    np.asarray([run.spec.model.logit_scale for run in some], dtype),
                    np.asarray(scales, dtype),
                )
            )
            for at, (run, row) in enumerate(zip(some, rows, strict=True)):
                norm = np.sqrt(sum(float(np.square(value.astype(np.float64)).sum()) for value in params[at].values()))
                columns = {
                    "run_id": run.run_id,
                    "step": row.step,
                    "scale": list(scales),
                    "norm": norm * np.array(scales),
                }
                yield run.run_id, pd.DataFrame(columns | {name: found[name][at] for name in METRICS})


def _along(
    spec: RunSpec, examples: Table, params: Params, rows: Indices, logit_scale: Float[Array, ""], scales: Array
) -> dict[str, Float[Array, " scales"]]:
    """One run, one scale after another."""
    tokens, labels = jnp.asarray(examples.tokens), jnp.asarray(examples.labels)
    parts = {"train": Examples(tokens[rows.train], labels[rows.train])}
    parts["test"] = Examples(tokens[rows.test], labels[rows.test])

    def at(scale: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
        scaled = {name: value * scale for name, value in params.items()}
        found = {}
        for name, part in parts.items():
            loss, logits = loss_and_logits(spec, scaled, part, logit_scale)
            found |= {f"{name}/loss": loss, f"{name}/accuracy": accuracy(logits, part.labels)}
        return found

    return jax.lax.map(at, scales)


@contextlib.contextmanager
def _precision(spec: RunSpec) -> Iterator[None]:
    """That of the run's own program (see `grokjax.engine.loop.Program.precision`)."""
    wide = spec.numerics.params == "float64" or getattr(spec.loss, "precision", "") == "float64"
    with jax.enable_x64(wide), jax.default_matmul_precision(spec.numerics.matmul):
        yield
