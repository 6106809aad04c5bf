"""Wiring: a sweep file to a trained results directory, and a directory to its results."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax.opened import open_results
from grokjax.plan.growth import growth_text
from grokjax.plan.plan import Chunk, Plan, in_training_order, of_arms_asked_for
from grokjax.planning import check_matmuls, plan_sweep, prepare_jax
from grokjax.stopping import Interrupted, stop_on_signal
from grokjax.sweep.expand import load_sweep, sweep_of_values
from grokjax.sweep.run import Sweep
from grokjax.training import Screen, Trainer, finished_chunks, plan_to_train, train_chunk

if TYPE_CHECKING:
    from grokjax.analysis.replay import Replay
    from grokjax.results.manifest import Manifest
    from grokjax.results.read import Results
    from grokjax.results.verify import Verification
    from grokjax.spec.run import FromRun
    from grokjax.sweep.parents import Answer


def load(sweep: str | Path | Mapping[str, Any], set: dict[str, Any] | None = None, arms: Sequence[str] = ()) -> Sweep:
    """Read, expand and check a sweep file, or the values of one; runs of other results directories are looked up.
    Raises SweepError."""
    from grokjax.results.origins import find_parents

    def look_up(wanted: FromRun) -> Answer:
        return find_parents(wanted, open_results)

    if isinstance(sweep, Mapping):
        return sweep_of_values(sweep, set, look_up, arms)
    return load_sweep(sweep, set, look_up, arms)


def run(
    sweep: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    set: dict[str, Any] | None = None,
    screen: Screen | None = None,
    other_device: bool = False,
    arms: Sequence[str] = (),
) -> Results:
    """Train every run of a sweep and return its results: `grokjax.run`, to which a screen of one's own is given."""
    loaded = load(sweep, set, arms)
    where = out or Path("runs") / loaded.name
    return train(loaded, where, screen, other_device, print)


def train(
    sweep: Sweep,
    where: str | Path,
    screen: Screen | None = None,
    other_device: bool = False,
    say: Callable[[str], None] | None = None,
    planned: Callable[[Plan], None] = lambda plan: None,
    leave: Callable[[Interrupted], Any] | None = None,
) -> Results:
    """Train what a results directory still lacks of a sweep. What goes on with earlier chunks is planned while the
    directory is held.

    where: its path, or its address in a bucket. say: as for `plan_sweep`. planned: is told the plan before anything is
    trained. leave: what a second signal calls, which must end the process (see `stop_on_signal`). Raises Interrupted.
    """
    prepare_jax()
    from grokjax.results.attempts import tidy
    from grokjax.results.bucket import bucket_of
    from grokjax.results.copies import copy_to_train, fetch_ends, place_of
    from grokjax.results.directory import enter
    from grokjax.results.manifest import read_manifest

    out = place_of(where, copy_to_train)
    afresh = None if (out / "plan.json").exists() else plan_sweep(sweep, say)  # first: if it fails, nothing is written
    with enter(out, sweep.file):
        stored = read_manifest(out) if (out / "plan.json").exists() else None
        plan = plan_sweep(sweep, say, stored) if stored or afresh is None else afresh
        manifest = _settle(plan, out, stored, other_device)
        fetch_ends(out)
        tidy(out)  # only now: a sweep that is refused changes nothing
        planned(plan)
        if say and stored and (grown := growth_text(plan, stored.every_run)):
            say(grown)
        _train_to_the_end(of_arms_asked_for(plan), manifest, screen, leave)
    results = open_results(where, None if bucket_of(out) else manifest)  # this copy of a bucket's goes with the process
    results.runs()  # writes the derived tables
    return results


def plan_into(sweep: Sweep, where: str | Path, say: Callable[[str], None], workers: int) -> Plan:
    """Plan a sweep for this machine's devices into a results directory, for workers to train: a new one, or one that
    holds this sweep or a part of it. Nothing is trained.

    where: as for `train`. workers: as for `plan_sweep`. Raises SweepError.
    """
    prepare_jax()
    from grokjax.results.copies import copy_to_train, place_of
    from grokjax.results.directory import enter
    from grokjax.results.manifest import read_manifest
    from grokjax.results.workers import may_go_on

    check_matmuls((run.spec.numerics.matmul for run in sweep.runs), sweep.file)  # first: nothing is written if it fails
    out = place_of(where, copy_to_train)
    with enter(out, sweep.file):
        stored = read_manifest(out) if (out / "plan.json").exists() else None
        plan = plan_sweep(sweep, say, stored, workers)
        _settle(plan, out, stored, other_device=True)
        may_go_on(out)
    return plan


def _settle(plan: Plan, out: Path, stored: Manifest | None, other_device: bool) -> Manifest:
    """Write the plan where it is new, and this machine where it is another. Raises SweepError unless that is
    allowed."""
    from grokjax.engine.devices import describe_device
    from grokjax.results.describe import write_manifest
    from grokjax.results.directory import check_machine
    from grokjax.results.shipping import publish_plan

    here = describe_device()
    machines = check_machine(out, stored.machines, here, other_device) if stored else [here]
    manifest = write_manifest(plan, out, machines, stored)
    if manifest is not stored:
        publish_plan(out, is_new=stored is None)
    return manifest


def _train_to_the_end(
    plan: Plan, manifest: Manifest, screen: Screen | None, leave: Callable[[Interrupted], Any] | None
) -> None:
    """Train all chunks that have not ended, shown on the screen. Raises Interrupted."""
    from grokjax.results.activity import going_on
    from grokjax.results.bucket import name_of
    from grokjax.results.continued import continued

    out = manifest.path.parent
    interrupted = Interrupted(out, going_on(out, manifest, plan.sweep.only), name_of(out))
    done = finished_chunks(plan, out)
    try:
        with stop_on_signal(screen.say if screen else print, partial(leave, interrupted) if leave else None) as stop:
            if screen:
                screen.started(plan, done, {run_id: row.step for run_id, row in continued(out, manifest).items()})
            try:
                ended = _train_chunks(plan, manifest, done, screen, stop)
            finally:
                if screen:
                    screen.finished()
    except KeyboardInterrupt:
        raise interrupted from None
    if not ended:
        raise interrupted


def _train_chunks(
    plan: Plan, manifest: Manifest, done: set[int], screen: Screen | None, stop: Callable[[], bool]
) -> bool:
    """Whether all have ended; not where a stop was asked for."""
    from grokjax.results.directory import drop_checkpoints
    from grokjax.results.shipping import fetch_home

    chunks = in_training_order(plan)
    left = [chunk for chunk in chunks if chunk.index not in done]
    buckets = [chunk.bucket.index for chunk in left]

    def coming(bucket: int) -> tuple[int, Callable[[], Chunk]] | None:
        at = bisect_right(buckets, bucket)
        return (buckets[at], lambda: left[at]) if at < len(left) else None

    trainer = Trainer(manifest, screen, screen.say if screen else print, coming=coming)
    for chunk in chunks:
        if chunk.index in done:
            drop_checkpoints(trainer.out, chunk.index)
            continue
        fetch_home(trainer.out, chunk.index)
        if not train_chunk(trainer, chunk, stop):
            return False
    return True


def replay(
    results: Results,
    run_id: str,
    start: int,
    stop: int,
    every: int = 1,
    probes: Sequence[str] = (),
    other_device: bool = False,
) -> Replay:
    """Iterates over the states of a run before the updates of steps start, start + every, ..., stop (and at its end):
    each has step, params, opt and record. Restarts from the nearest snapshot, in the program and at the width that
    trained the run; the replay's `difference` is the first stored record that it does not meet to the bit.

    probes: names from `grokjax.probes.all.PROBES`, evaluated apart from the trajectory. Raises ValueError for an
    unknown run or probe, or steps outside the run, SweepError where it is not to be trained on this machine.
    """
    prepare_jax()
    from grokjax.analysis.replay import begin
    from grokjax.engine.devices import describe_device
    from grokjax.results.directory import check_machine

    here = describe_device()
    check_machine(results.path, results.manifest.machines, here, other_device)
    (run_id,) = results.whole_run_ids(run_id)
    check_matmuls([results.manifest.every_run[run_id].values["numerics.matmul"]], str(results.path))
    plan = plan_to_train(results.manifest, print)
    return begin(results, plan, run_id, start, stop, every, tuple(probes), here.count, open_results)


def verify_results(out: Path, part: tuple[int, int] = (0, 1)) -> Verification:
    """Read every byte of a results directory, or of a part of it (see `grokjax.results.verify`). Raises Damaged where
    its plan is broken."""
    from grokjax.results.copies import fetch_all
    from grokjax.results.verify import verify

    fetch_all(out)
    return verify(out, part)


def repair(
    out: Path,
    report: Verification,
    screen: Screen | None = None,
    other_device: bool = False,
    leave: Callable[[Interrupted], Any] | None = None,
) -> Results:
    """Remove what is damaged, and train the chunks again that it was a part of. leave: as for `train`."""
    prepare_jax()
    from grokjax.results.attempts import tidy
    from grokjax.results.bucket import name_of
    from grokjax.results.directory import enter
    from grokjax.results.manifest import read_manifest
    from grokjax.results.repair import clear
    from grokjax.results.shipping import withdraw

    manifest = read_manifest(out)
    plan = plan_to_train(manifest, print)
    check_matmuls(manifest.matmuls, str(out))
    with enter(out):
        broken = clear(out, plan, report.damaged)
        tidy(out)
    withdraw(out, broken)
    if broken:
        return train(plan.sweep, name_of(out), screen, other_device, leave=leave)
    return open_results(out, manifest)
