"""The arrays of a chunk: hyperparameters, splits and starting values, stacked over its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file

from grokjax.engine.draws import draw_params
from grokjax.engine.states import Flat, flat_names, unflatten
from grokjax.models.network import starting_numbers
from grokjax.results.segment import Stored
from grokjax.spec.hypers import Hyper, hyper_of
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.sweep.run import Run
from grokjax.tasks.all import choice
from grokjax.tasks.examples import Indices, Own, Table
from grokjax.train.state import State
from grokjax.train.step import start


def distribute(runs: int, queue: int, devices: int) -> np.ndarray:
    """[devices, places]: which run stands where in each device's part of the queue, dealt round; -1 is padding."""
    order = np.arange(queue).reshape(-1, devices).T
    return np.where(order < runs, order, -1)


def stack_hyper(runs: Sequence[Run], real: Sequence[bool] | np.ndarray) -> Hyper:
    """Hyperparameters [runs]; a run that is not `real` has 0 steps, so it never trains."""
    rows = []
    for run, is_real in zip(runs, real, strict=True):
        hyper = hyper_of(run.spec, run.origin.prior_steps if run.origin else 0)
        if not is_real:
            hyper["train"]["steps"] = np.zeros_like(hyper["train"]["steps"])
        rows.append(hyper)
    return jax.tree.map(lambda *values: np.stack(values), *rows)


def stack_examples(runs: Sequence[Run], table: Table) -> Indices | Own:
    """What each run trains and tests on [runs, ...]: rows of the table, or examples of its own."""
    choices = [choice(run.spec.task, table) for run in runs]
    return jax.tree.map(lambda *values: np.stack(values), *choices)


Find = Callable[[Run], Stored | None]


class Starts:
    """What runs start from: values drawn by seed and scheme, a file, or a snapshot. Keeps what it compiled.

    find: the snapshot that a run starts from, if it does. find_first: what it had at its step 0, where `find` may give
    a later snapshot of its own.
    """

    def __init__(self, find: Find = lambda run: None, find_first: Find = lambda run: None) -> None:
        self._find, self._find_first = find, find_first
        self._draws: dict[tuple[Any, ...], Callable[[Any, Any], dict[str, np.ndarray]]] = {}

    def of(self, runs: Sequence[Run], hyper: Hyper) -> dict[str, np.ndarray] | State:
        """Unscaled parameters [runs, ...]; or states, where some run goes on with its optimizer."""
        return self._of(runs, hyper, self._find)

    def first(self, runs: Sequence[Run], hyper: Hyper) -> dict[str, Any]:
        """Parameters [runs, ...] at each run's own step 0."""
        state, spec = self._of(runs, hyper, self._find_first), runs[0].spec
        if not isinstance(state, State):
            state = jax.device_get(jax.jit(jax.vmap(partial(start, spec)))(state, hyper))
        return state.params

    def _of(self, runs: Sequence[Run], hyper: Hyper, find: Find) -> dict[str, np.ndarray] | State:
        stored = {run.run_id: find(run) for run in runs}
        params = self.stack(runs, stored)
        if all(snapshot is None or snapshot.how == "params" for snapshot in stored.values()):
            return params
        spec = runs[0].spec
        states = jax.device_get(jax.jit(jax.vmap(partial(start, spec)))(params, hyper))
        names, leaves = flat_names(states), [np.array(leaf) for leaf in jax.tree.leaves(states)]
        flat = dict(zip(names, leaves, strict=True))
        for row, run in enumerate(runs):
            snapshot = stored[run.run_id]
            if snapshot and snapshot.how != "params":
                numbers = jax.tree.map(lambda value, row=row: value[row], hyper)
                for name, value in _continued_state(snapshot, numbers, names).items():
                    flat[name][row] = value
        return unflatten(flat, states)

    def stack(self, runs: Sequence[Run], stored: Mapping[str, Stored | None] | None = None) -> dict[str, np.ndarray]:
        """Parameters [runs, ...] in the runs' precision, whatever a file's is."""
        shapes, dtype = parameter_shapes(runs[0].spec), runs[0].spec.numerics.params
        snapshots = {run_id: snapshot for run_id, snapshot in (stored or {}).items() if snapshot}
        drawn = self._drawn([run for run in runs if run.run_id not in snapshots])
        rows = []
        for run in runs:
            path = run.spec.init.from_file
            if run.run_id in snapshots:
                flat = snapshots[run.run_id].flat
                rows.append({name: flat[f"params/{name}"] for name in shapes})
            else:
                rows.append(load_file(path) if path else drawn[_start_key(run.spec)])
        return {name: np.stack([row[name] for row in rows]).astype(dtype) for name in shapes}

    def _drawn(self, runs: Sequence[Run]) -> dict[tuple[Any, ...], dict[str, np.ndarray]]:
        """Starting values by what decides them."""
        drawn: dict[tuple[Any, ...], dict[str, np.ndarray]] = {}
        for run in runs:
            key = _start_key(run.spec)
            if run.spec.init.from_file is not None or key in drawn:
                continue
            distribution = run.spec.init.distribution
            kinds = tuple(sorted((name, *of) for name, of in distribution.items()))
            program = run.spec.init.scheme, kinds
            if program not in self._draws:
                self._draws[program] = draw_params(run.spec)
            drawn[key] = self._draws[program](np.uint32(run.spec.seed), starting_numbers(run.spec))
        return drawn


def _start_key(spec: RunSpec) -> tuple[Any, ...]:
    """What decides the starting values of runs of one program."""
    numbers = sorted((name, *distribution.items()) for name, distribution in spec.init.distribution.items())
    return spec.init.scheme, tuple(numbers), spec.seed


def _continued_state(stored: Stored, hyper: Hyper, names: list[str]) -> Flat:
    """What a run's state takes from the snapshot it goes on from; the rest is as at any start."""
    if stored.how == "continue":
        return {name: stored.flat[name] for name in names if name != "end"} | {"end": _new_end(stored.flat, hyper)}
    taken = {name: stored.flat[name] for name in names if name.startswith("opt/")}
    is_unscaled = all(factor == 1 for factor in hyper["init"]["scale_by_matrix"].values())
    radius = [name for name in names if name.startswith("radius/")]
    holds_start_norm = not radius or bool(np.isnan(hyper["constraint"]["radius"]))  # the norm that the run starts with
    if is_unscaled and holds_start_norm and all(name in stored.flat for name in radius):
        taken |= {name: stored.flat[name] for name in names if name.startswith(("params/", "radius/"))}
    return taken


def _new_end(flat: Flat, hyper: Hyper) -> np.ndarray:
    """Where a run that is given more steps ends: its stop rule may have brought that forward."""
    return np.asarray(flat["end"] if flat["end"] < flat["steps"] else hyper["train"]["steps"], np.int32)
