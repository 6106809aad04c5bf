"""`grokjax bench --tune`: the best number of lanes of a program on this machine, for the per-user tuning table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from grokjax.bench.cases import FOREVER, Case, planned
from grokjax.bench.measure import lane_seconds
from grokjax.bench.report import local_device
from grokjax.plan.plan import Device, lane_bytes, make_plan
from grokjax.plan.tuning import Tuned, write_tuning
from grokjax.planning import check_matmuls
from grokjax.spec.identity import tuning_key
from grokjax.spec.run import Engine, Train
from grokjax.sweep.run import Run, Sweep

WORSE = 1.1  # a width that is so much slower than the best
PATIENCE = 2  # so many times in a row ends the search


def tune_cases(cases: Iterable[Case], say: Callable[[str], None]) -> Path:
    """Tune the bench's own cases."""
    device = local_device()
    return _tune([planned(case.base, 1, device).sweep for case in cases], device, say)


def tune_sweep(sweep: Sweep, say: Callable[[str], None]) -> Path:
    """Tune every program of a sweep."""
    device = local_device()
    check_matmuls((run.spec.numerics.matmul for run in sweep.runs), sweep.file)
    first = {tuning_key(run.spec): run for run in reversed(sweep.runs)}
    return _tune([replace(sweep, runs=(run,)) for run in first.values()], device, say)


def _tune(sweeps: Iterable[Sweep], device: Device, say: Callable[[str], None]) -> Path:
    say(device.text)
    measured = {tuning_key(sweep.runs[0].spec): best_width(sweep, device, say) for sweep in sweeps}
    return write_tuning(device.text, measured)


def best_width(sweep: Sweep, device: Device, say: Callable[[str], None]) -> Tuned:
    """Double the lanes until they were `WORSE` than the best `PATIENCE` times, or memory ends."""
    (run,) = sweep.runs
    best, worse, lanes = Tuned(1, float("inf")), 0, 1
    while worse < PATIENCE and (lanes == 1 or lane_bytes(run.spec, device) * lanes < 0.9 * device.memory):
        plan = make_plan(replace(sweep, runs=_copies(run, lanes * device.count)), device)
        seconds = lane_seconds(plan)
        say(f"{run.spec.model.name} on {run.spec.task.name}: {lanes} lanes a device, "
            f"{seconds * 1e3 / device.count:.4g} ms a run-step")  # fmt: skip
        worse = worse + 1 if seconds > WORSE * best.seconds else 0
        best = Tuned(lanes, seconds) if seconds < best.seconds else best
        lanes *= 2
    return best


def _copies(run: Run, lanes: int) -> tuple[Run, ...]:
    """The same run in every lane, without an end."""
    spec = run.spec.model_copy(
        update={"engine": Engine(lanes=lanes), "train": Train(steps=FOREVER, batch=run.spec.train.batch)}
    )
    return tuple(replace(run, spec=spec, run_id=f"{lane:012x}") for lane in range(lanes))
