"""Where runs start from that do not start afresh: snapshots of other results, and of runs that were shorter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from grokjax.results.bucket import name_of
from grokjax.results.continued import continued
from grokjax.results.files import Damaged
from grokjax.results.manifest import Manifest
from grokjax.results.read import Results
from grokjax.results.segment import Stored
from grokjax.results.snapshots import StoredSnapshot, read_row
from grokjax.spec.run import FromRun
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.parents import Answer, Parent, ParentError, event_of
from grokjax.sweep.run import Run
from grokjax.sweep.spelling import did_you_mean

Open = Callable[[str], Results]


def find_parents(request: FromRun, open_results: Open) -> Answer:
    """The stored runs that `init.from_run` asks for. Raises ParentError."""
    try:
        results = open_results(request.results)
    except SweepError as error:
        raise ParentError("results", "; ".join(mistake.what for mistake in error.mistakes)) from None
    except OSError as error:
        raise ParentError("results", f"cannot be read: {error.strerror or error}") from None
    except (Damaged, ValueError) as error:
        raise ParentError("results", str(error)) from None
    try:
        return _answer(request, results)
    except Damaged as damage:
        raise ParentError("results", str(damage)) from None


def _answer(request: FromRun, results: Results) -> Answer:
    run_ids = [request.run] if request.run else _selected(results, request.select or {})
    events = results.events() if event_of(request.step) else None
    parents, without = [], []
    for run_id in run_ids:
        step = _step(results, run_id, request, events)
        if step is None:
            without.append(run_id)
        else:
            parents.append(_parent(results, run_id, step))
    notes = ()
    if without:
        if request.run:
            raise ParentError("step", f"run {request.run} has no snapshot {request.step}")
        notes = (f"{len(without)} of {len(run_ids)} selected runs have no snapshot {request.step}, and are left out",)
    return Answer(tuple(parents), notes)


def _selected(results: Results, select: dict[str, Any]) -> list[str]:
    """Runs that have ended, and whose columns have the values asked for."""
    runs = results.runs()
    rows = runs["status"].isin(["ended", "diverged"])
    for column, value in select.items():
        if column not in runs:
            hint = did_you_mean(column, list(runs.columns))
            raise ParentError("select", f"{results.path} has no column {column!r} in its runs{hint}")
        allowed = value if isinstance(value, list) else [value]
        rows &= runs[column].map(lambda stored, allowed=allowed: any(_equal(stored, option) for option in allowed))
    return list(runs["run_id"][rows])


def _equal(stored: Any, asked: Any) -> bool:
    if asked is None:
        return stored is None or (isinstance(stored, float) and np.isnan(stored))
    return bool(stored == asked) and isinstance(stored, bool | np.bool_) == isinstance(asked, bool)


def _step(results: Results, run_id: str, request: FromRun, events: pd.DataFrame | None) -> int | None:
    """The step of the snapshot that is asked for; None if the run has none such."""
    try:
        if events is None:
            return results.snapshot(run_id, None if request.step == "final" else int(request.step)).step
        event = event_of(request.step)
        assert event
        steps = events[(events["run_id"] == run_id) & (events["kind"] == event[0])]["step"].sort_values()
        if len(steps) < event[1]:
            return None
        # a spike is recorded at the first record after it
        earliest = int(steps.iloc[event[1] - 1]) - results.manifest.run(run_id).spec.log.every
        return max((step for step in results.snapshots(run_id) if step <= earliest), default=None)
    except ValueError as error:
        raise ParentError("step" if run_id in results.run_ids else "run", str(error)) from None


def _parent(results: Results, run_id: str, step: int) -> Parent:
    run = results.manifest.run(run_id)
    row = results.snapshot(run_id, step)
    origin = run.origin
    lineage = (*(origin.lineage if origin else ()), f"{run_id}@{step}")
    prior_steps = origin.prior_steps if origin else 0
    return Parent(name_of(results.path.absolute()), run_id, step, run.spec, row.sha256, prior_steps, lineage)


def find_start(manifest: Manifest, open_results: Open) -> Callable[[Run], Stored | None]:
    """For each run of a plan the snapshot that it starts from, if it does: one of its own, where it was shorter, or its
    origin. Raises SweepError where that is gone."""
    out = manifest.path.parent
    earlier: dict[str, StoredSnapshot] = {}
    find_parent = find_origin(open_results)

    def find(run: Run) -> Stored | None:
        if run.run_id in manifest.continues and run.run_id not in earlier:
            earlier.update(continued(out, manifest))
        if run.run_id in earlier:
            row = earlier[run.run_id]
            return Stored("continue", flat_of(row, manifest.every_run[row.run_id].values["train.steps"]))
        return find_parent(run)

    return find


def find_origin(open_results: Open) -> Callable[[Run], Stored | None]:
    """For each run the other run's snapshot that it began with at its step 0, if it did. Raises SweepError where that
    is gone."""
    results_of: dict[str, Results] = {}

    def find(run: Run) -> Stored | None:
        origin = run.spec.init.from_run
        if origin is None:
            return None
        if origin.results not in results_of:
            results_of[origin.results] = open_results(origin.results)
        row = results_of[origin.results].snapshot(str(origin.run), int(origin.step))
        if run.origin is None or row.sha256 != run.origin.digest:
            what = f"run {origin.run} at step {origin.step} is not what it was when this sweep was planned"
            raise SweepError([Mistake(origin.results, 0, 0, "", what)])
        return Stored("keep" if origin.optimizer == "keep" else "params", flat_of(row, run.spec.train.steps))

    return find


def flat_of(row: StoredSnapshot, steps: int) -> dict[str, np.ndarray]:
    """All that a snapshot holds, as the engine names it. steps: of the run that it is of."""
    numbers = {"step": row.step, "end": row.end, "held": row.held, "finite": row.finite, "loss_max": row.loss_max}
    return read_row(row) | {name: np.asarray(value) for name, value in (numbers | {"steps": steps}).items()}
