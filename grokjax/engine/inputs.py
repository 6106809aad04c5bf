"""The arrays of a chunk: hyperparameters, splits and starting values, stacked over lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import jax
import numpy as np
from safetensors.numpy import load_file

from grokjax.engine.lanes import draw_params
from grokjax.sweep.check import train_size
from grokjax.sweep.expand import Run
from grokjax.sweep.shapes import matches, parameter_shapes
from grokjax.sweep.spec import SGD, FixedNorm, RunSpec
from grokjax.tasks.modular import Indices, split
from grokjax.train.state import Hyper, Params

T = TypeVar("T")


def stack_hyper(runs: Sequence[Run], width: int) -> Hyper:
    """Hyperparameters [width]; lanes beyond the runs repeat the last run with 0 steps, so they never train."""
    padded = pad(runs, width)
    rows = [hyper_of(run.spec, run.spec.train.steps if lane < len(runs) else 0) for lane, run in enumerate(padded)]
    return jax.tree.map(lambda *values: np.stack(values), *rows)


def hyper_of(spec: RunSpec, steps: int) -> Hyper:
    """One run's numbers, in explicit dtypes; a number that its optimizer has not is 0."""
    real = partial(np.asarray, dtype=spec.numerics.params)
    optimizer = spec.optimizer
    names = list(parameter_shapes(spec))
    moments = {} if isinstance(optimizer, SGD) else {"b1": optimizer.b1, "b2": optimizer.b2, "eps": optimizer.eps}
    after = spec.stop.after_generalization
    radius = spec.constraint.radius if isinstance(spec.constraint, FixedNorm) else None

    def factors(table: dict[str, float]) -> dict[str, np.ndarray]:
        full = dict.fromkeys(names, 1.0)
        for key, factor in table.items():
            full |= {name: full[name] * factor for name in names if matches(key, name)}
        return {name: real(factor) for name, factor in full.items()}

    overall = factors(spec.init.scale_by_matrix)
    return Hyper(
        seed=np.asarray(spec.seed, np.uint32),
        steps=np.asarray(steps, np.int32),
        lr=real(optimizer.lr),
        b1=real(moments.get("b1", 0)),
        b2=real(moments.get("b2", 0)),
        eps=real(moments.get("eps", 0)),
        momentum=real(optimizer.momentum if isinstance(optimizer, SGD) else 0),
        weight_decay=real(optimizer.weight_decay),
        warmup_steps=real(optimizer.warmup_steps),
        clip_norm=real(optimizer.clip_norm or 0),
        logit_scale=real(spec.model.logit_scale),
        radius=real(np.nan if radius is None else radius),
        scale={name: real(spec.init.scale * factor) for name, factor in overall.items()},
        lr_factor=factors(optimizer.lr_by_matrix),
        weight_decay_factor=factors(optimizer.weight_decay_by_matrix),
        stop_accuracy=np.asarray(spec.events.generalization, np.float32),
        stop_hold=np.asarray(spec.events.hold, np.int32),
        stop_after=np.asarray(-1 if after is None else after, np.int32),
    )


def stack_indices(runs: Sequence[Run], width: int, n: int) -> Indices:
    """Train and test rows [width, ...] of a table of n examples."""
    rows = [split(run.spec.task, n, train_size(run.spec)) for run in runs]
    padded = pad(rows, width)
    return Indices(np.stack([row.train for row in padded]), np.stack([row.test for row in padded]))


class Starts:
    """Starting values of runs, unscaled: drawn by seed and scheme, or read from a file. Keeps what it compiled."""

    def __init__(self) -> None:
        self._draws: dict[str, Callable[[np.ndarray], Params]] = {}

    def stack(self, runs: Sequence[Run], width: int) -> dict[str, np.ndarray]:
        """Parameters [width, ...] in their drawn or stored precision."""
        shapes = parameter_shapes(runs[0].spec)
        drawn = self._drawn(runs)
        rows = []
        for run in runs:
            path = run.spec.init.from_file
            rows.append(load_file(path) if path else drawn[(run.spec.init.scheme or "", run.spec.seed)])
        padded = pad(rows, width)
        return {name: np.stack([row[name] for row in padded]) for name in shapes}

    def _drawn(self, runs: Sequence[Run]) -> dict[tuple[str, int], dict[str, np.ndarray]]:
        wanted: dict[str, set[int]] = {}
        for run in runs:
            if run.spec.init.from_file is None:
                wanted.setdefault(run.spec.init.scheme or "", set()).add(run.spec.seed)
        found = {}
        for scheme, seeds in wanted.items():
            spec = next(run.spec for run in runs if run.spec.init.scheme == scheme)
            if scheme not in self._draws:
                self._draws[scheme] = draw_params(spec)
            order = sorted(seeds)
            values = jax.device_get(self._draws[scheme](np.array(order, np.uint32)))
            for row, seed in enumerate(order):
                found[(scheme, seed)] = {name: value[row] for name, value in values.items()}
        return found


def pad(items: Sequence[T], width: int) -> list[T]:
    return [*items, *[items[-1]] * (width - len(items))]
