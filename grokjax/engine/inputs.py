"""The arrays of a chunk: hyperparameters, splits and starting values, stacked over its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file

from grokjax.engine.lanes import draw_params
from grokjax.engine.states import Flat, flat_names, unflatten
from grokjax.results.segment import Stored
from grokjax.sweep.check import train_size
from grokjax.sweep.expand import Run
from grokjax.sweep.identity import by_matrix
from grokjax.sweep.shapes import parameter_shapes
from grokjax.sweep.spec import SGD, FixedNorm, RunSpec
from grokjax.tasks.modular import Indices, split
from grokjax.train.state import Hyper, Params, State
from grokjax.train.step import start


def dealt(runs: int, queue: int, devices: int) -> np.ndarray:
    """[devices, places]: which run stands where in each device's part of the queue, dealt round; -1 is padding."""
    order = np.arange(queue).reshape(-1, devices).T
    return np.where(order < runs, order, -1)


def stack_hyper(runs: Sequence[Run], real: Sequence[bool] | np.ndarray) -> Hyper:
    """Hyperparameters [runs]; a run that is not `real` has 0 steps, so it never trains."""
    rows = [
        hyper_of(run.spec, run.spec.train.steps if own else 0, run.origin.begun if run.origin else 0)
        for run, own in zip(runs, real, strict=True)
    ]
    return jax.tree.map(lambda *values: np.stack(values), *rows)


def hyper_of(spec: RunSpec, steps: int, begun: int = 0) -> Hyper:
    """One run's numbers, in explicit dtypes; a number that its optimizer has not is 0."""
    optimizer = spec.optimizer
    names = list(parameter_shapes(spec))
    moments = {} if isinstance(optimizer, SGD) else {"b1": optimizer.b1, "b2": optimizer.b2, "eps": optimizer.eps}
    after = spec.stop.after_generalization
    radius = spec.constraint.radius if isinstance(spec.constraint, FixedNorm) else None

    def array(value: int | float, dtype: Any = spec.numerics.params) -> Any:
        return np.asarray(value, dtype)

    def factors(table: dict[str, float], overall: int | float = 1.0) -> dict[str, Any]:
        given = by_matrix(table, names)
        return {name: array(overall * given.get(name, 1.0)) for name in names}

    return Hyper(
        seed=array(spec.seed, np.uint32),
        steps=array(steps, np.int32),
        begun=array(begun, np.int32),
        lr=array(optimizer.lr),
        b1=array(moments.get("b1", 0)),
        b2=array(moments.get("b2", 0)),
        eps=array(moments.get("eps", 0)),
        momentum=array(optimizer.momentum if isinstance(optimizer, SGD) else 0),
        weight_decay=array(optimizer.weight_decay),
        warmup_steps=array(optimizer.warmup_steps),
        clip_norm=array(optimizer.clip_norm or 0),
        logit_scale=array(spec.model.logit_scale),
        radius=array(np.nan if radius is None else radius),
        scale=factors(spec.init.scale_by_matrix, spec.init.scale),
        lr_factor=factors(optimizer.lr_by_matrix),
        weight_decay_factor=factors(optimizer.weight_decay_by_matrix),
        stop_accuracy=array(spec.events.generalization, np.float32),
        stop_hold=array(spec.events.hold, np.int32),
        stop_after=array(-1 if after is None else min(after, spec.train.steps), np.int32),
    )


def stack_indices(runs: Sequence[Run], n: int) -> Indices:
    """Train and test rows [runs, ...] of a table of n examples."""
    rows = [split(run.spec.task, n, train_size(run.spec)) for run in runs]
    return Indices(np.stack([row.train for row in rows]), np.stack([row.test for row in rows]))


Find = Callable[[Run], Stored | None]


class Starts:
    """What runs start from: values drawn by seed and scheme, a file, or a snapshot. Keeps what it compiled.

    find: the snapshot that a run starts from, if it does. find_first: what it had at its step 0, where `find` may give
    a later snapshot of its own.
    """

    def __init__(self, find: Find = lambda run: None, find_first: Find = lambda run: None) -> None:
        self._find, self._find_first = find, find_first
        self._draws: dict[str, Callable[[Any], Params]] = {}

    def of(self, runs: Sequence[Run], hyper: Hyper) -> dict[str, np.ndarray] | State:
        """Unscaled parameters [runs, ...]; or states, where some run goes on with its optimizer."""
        return self._of(runs, hyper, self._find)

    def first(self, runs: Sequence[Run], hyper: Hyper) -> dict[str, Any]:
        """Parameters [runs, ...] at each run's own step 0."""
        began, spec = self._of(runs, hyper, self._find_first), runs[0].spec
        if not isinstance(began, State):
            began = jax.device_get(jax.jit(jax.vmap(partial(start, spec)))(began, hyper))
        return began.params

    def _of(self, runs: Sequence[Run], hyper: Hyper, find: Find) -> dict[str, np.ndarray] | State:
        stored = {run.run_id: find(run) for run in runs}
        params = self.stack(runs, stored)
        if all(one is None or one.how == "params" for one in stored.values()):
            return params
        spec = runs[0].spec
        begun = jax.device_get(jax.jit(jax.vmap(partial(start, spec)))(params, hyper))
        names, leaves = flat_names(begun), [np.array(leaf) for leaf in jax.tree.leaves(begun)]
        flat = dict(zip(names, leaves, strict=True))
        for row, run in enumerate(runs):
            one = stored[run.run_id]
            if one and one.how != "params":
                numbers = jax.tree.map(lambda value, row=row: value[row], hyper)
                for name, value in _going_on(one, numbers, names).items():
                    flat[name][row] = value
        return unflatten(flat, begun)

    def stack(self, runs: Sequence[Run], stored: Mapping[str, Stored | None] | None = None) -> dict[str, np.ndarray]:
        """Parameters [runs, ...] in the runs' precision, whatever a file's is."""
        shapes, dtype = parameter_shapes(runs[0].spec), runs[0].spec.numerics.params
        known = {run_id: one for run_id, one in (stored or {}).items() if one}
        drawn = self._drawn([run for run in runs if run.run_id not in known])
        rows = []
        for run in runs:
            path = run.spec.init.from_file
            if run.run_id in known:
                flat = known[run.run_id].flat
                rows.append({name: flat[f"params/{name}"] for name in shapes})
            else:
                rows.append(load_file(path) if path else drawn[(run.spec.init.scheme or "", run.spec.seed)])
        return {name: np.stack([row[name] for row in rows]).astype(dtype) for name in shapes}

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
            for seed in seeds:
                found[(scheme, seed)] = jax.device_get(self._draws[scheme](np.uint32(seed)))
        return found


def _going_on(stored: Stored, hyper: Hyper, names: list[str]) -> Flat:
    """What a run's state takes from the snapshot it goes on from; the rest is as at any start."""
    if stored.how == "continue":
        return {name: stored.flat[name] for name in names if name != "end"} | {"end": _new_end(stored.flat, hyper)}
    taken = {name: stored.flat[name] for name in names if name.startswith("opt/")}
    as_it_was = all(factor == 1 for factor in hyper.scale.values())
    radius = [name for name in names if name.startswith("radius/")]
    if as_it_was and (not radius or (np.isnan(hyper.radius) and all(name in stored.flat for name in radius))):
        taken |= {name: stored.flat[name] for name in names if name.startswith(("params/", "radius/"))}
    return taken


def _new_end(flat: Flat, hyper: Hyper) -> np.ndarray:
    """Where a run that is given more steps ends: its stop rule may have brought that forward."""
    return np.asarray(flat["end"] if flat["end"] < flat["steps"] else hyper.steps, np.int32)
