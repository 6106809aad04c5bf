"""Wiring: a sweep file to a trained results directory, and a directory to its results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from grokjax.plan.growth import growth_text
from grokjax.plan.plan import Bucket, Chunk, Plan, in_training_order, of_arms_asked_for
from grokjax.planning import ask_for_devices, plan_sweep, prepare_jax
from grokjax.spec.families import with_families
from grokjax.stopping import Interrupted, stop_on_signal
from grokjax.sweep.expand import load_sweep, sweep_of_values
from grokjax.sweep.run import Sweep

if TYPE_CHECKING:
    import numpy as np

    from grokjax.analysis.replay import Replay
    from grokjax.engine.loop import Program
    from grokjax.results.manifest import Manifest
    from grokjax.results.read import Results
    from grokjax.results.segment import Segment
    from grokjax.results.verify import Verification
    from grokjax.spec.run import FromRun
    from grokjax.sweep.parents import Answer


class Screen(Protocol):
    """What watches a sweep train (see `grokjax.live`).

    started: done are the chunks that had ended, begun the steps that some runs had behind them (run id -> steps), since
    they go on with an earlier, shorter one. resumed: of a chunk that goes on from a checkpoint, the steps of its runs,
    those that had ended, and what each had done (see `Tally`).
    """

    def started(self, plan: Plan, done: set[int], begun: Mapping[str, int]) -> None: ...
    def compiling(self, bucket: Bucket) -> None: ...
    def resumed(
        self, bucket: Bucket, steps: Mapping[str, int], ended: Collection[str], did: Mapping[str, set[str]]
    ) -> None: ...
    def segment(self, bucket: Bucket, segment: Segment) -> None: ...
    def say(self, text: str) -> None: ...
    def finished(self) -> None: ...


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
    where = Path(out) if out else Path("runs") / loaded.name
    return train(loaded, where, screen, other_device, print)


def train(
    sweep: Sweep,
    out: Path,
    screen: Screen | None = None,
    other_device: bool = False,
    say: Callable[[str], None] | None = None,
    planned: Callable[[Plan], None] = lambda plan: None,
    leave: Callable[[Interrupted], Any] | None = None,
) -> Results:
    """Train what `out` still lacks of a sweep. What goes on with earlier chunks is planned while the directory is held.

    say: as for `plan_sweep`. planned: is told the plan before anything is trained. leave: what a second signal calls,
    which must end the process (see `stop_on_signal`). Raises Interrupted.
    """
    prepare_jax()
    from grokjax.results.attempts import tidy
    from grokjax.results.directory import enter
    from grokjax.results.manifest import read_manifest

    afresh = None if (out / "plan.json").exists() else plan_sweep(sweep, say)  # first: if it fails, nothing is written
    with enter(out, sweep.file):
        stored = read_manifest(out) if (out / "plan.json").exists() else None
        plan = plan_sweep(sweep, say, stored) if stored or afresh is None else afresh
        manifest = _settle(plan, out, stored, other_device)
        tidy(out)  # only now: a sweep that is refused changes nothing
        planned(plan)
        if say and stored and (grown := growth_text(plan, stored.every_run)):
            say(grown)
        _train_to_the_end(of_arms_asked_for(plan), manifest, screen, leave)
    results = open_results(out, manifest)
    results.runs()  # writes the derived tables
    return results


def _settle(plan: Plan, out: Path, stored: Manifest | None, other_device: bool) -> Manifest:
    """Write the plan where it is new, and this machine where it is another. Raises SweepError unless that is
    allowed."""
    from grokjax.engine.devices import describe_device
    from grokjax.results.describe import write_manifest
    from grokjax.results.directory import check_machine

    here = describe_device()
    machines = check_machine(out, stored.machines, here, other_device) if stored else [here]
    return write_manifest(plan, out, machines, stored)


def _train_to_the_end(
    plan: Plan, manifest: Manifest, screen: Screen | None, leave: Callable[[Interrupted], Any] | None
) -> None:
    """Train all chunks that have not ended, shown on the screen. Raises Interrupted."""
    from grokjax.results.activity import going_on
    from grokjax.results.continued import continued

    out = manifest.path.parent
    interrupted = Interrupted(out, going_on(out, manifest, plan.sweep.only))
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
    from grokjax.engine.devices import describe_device
    from grokjax.engine.inputs import Starts
    from grokjax.engine.loop import Program
    from grokjax.results.directory import drop_checkpoints
    from grokjax.results.origins import find_origin, find_start

    out, devices, program = manifest.path.parent, describe_device().count, None
    for chunk in in_training_order(plan):
        if chunk.index in done:
            drop_checkpoints(out, chunk.index)
            continue
        if program is None or program.bucket is not chunk.bucket:
            starts = Starts(find_start(manifest, open_results), find_origin(open_results))
            program = Program(chunk.bucket, devices, starts)
            if screen:
                screen.compiling(chunk.bucket)
        if not _train_chunk(program, chunk, manifest, screen, stop):
            return False
    return True


def _train_chunk(
    program: Program, chunk: Chunk, manifest: Manifest, screen: Screen | None, stop: Callable[[], bool]
) -> bool:
    """Whether the chunk is done, by this process or by another that was first; not where a stop was asked for."""
    from grokjax.analysis.summary import derive
    from grokjax.engine.devices import describe_device
    from grokjax.engine.loop import train_chunk
    from grokjax.results.attempts import Overtaken, attempt, commit, is_done
    from grokjax.results.summaries import write_summary

    out, say = manifest.path.parent, screen.say if screen else print
    tell = partial(screen.segment, chunk.bucket) if screen else None
    while not is_done(out, chunk):
        try:
            with attempt(out, chunk, tell, say) as this:
                if screen and this.stored:
                    _tell_resumed(screen, chunk, manifest, this.stored)
                ended = train_chunk(program, chunk, this.writer, stop, this.stored)
            if not ended:
                return False
            summarize = partial(write_summary, derive, manifest, chunk.index, this.folder)
            commit(out, this, describe_device().text, summarize)
        except Overtaken as overtaken:
            say(str(overtaken))
    return True


def _tell_resumed(screen: Screen, chunk: Chunk, manifest: Manifest, stored: Mapping[str, np.ndarray]) -> None:
    from grokjax.analysis.tally import did_before

    run_ids = [run.run_id for run in chunk.runs]
    ended = [run_id for run_id, has in zip(run_ids, stored["book/ended"], strict=True) if has]
    steps = dict(zip(run_ids, stored["book/step"].tolist(), strict=True))
    screen.resumed(chunk.bucket, steps, ended, did_before(open_results(manifest.path.parent, manifest), run_ids))


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
    unknown run or probe, or steps outside the run.
    """
    prepare_jax()
    from grokjax.analysis.replay import begin
    from grokjax.engine.devices import describe_device
    from grokjax.results.directory import check_machine

    here = describe_device()
    check_machine(results.path, results.manifest.machines, here, other_device)
    (run_id,) = results.whole_run_ids(run_id)
    plan = _plan_to_train(results.manifest, print)
    return begin(results, plan, run_id, start, stop, every, tuple(probes), here.count, open_results)


def verify_results(out: Path, part: tuple[int, int] = (0, 1)) -> Verification:
    """Read every byte of a results directory, or of a part of it (see `grokjax.results.verify`). Raises Damaged where
    its plan is broken."""
    from grokjax.results.verify import verify

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
    from grokjax.results.directory import enter
    from grokjax.results.manifest import read_manifest
    from grokjax.results.repair import clear

    manifest = read_manifest(out)
    plan = _plan_to_train(manifest, print)
    with enter(out):
        broken = clear(out, plan, report.damaged)
        tidy(out)
    return train(plan.sweep, out, screen, other_device, leave=leave) if broken else open_results(out, manifest)


def _plan_to_train(manifest: Manifest, say: Callable[[str], None]) -> Plan:
    """The plan of a results directory whose runs are to be trained again: a user's file of families is run, which is
    said. Raises SweepError where that has changed."""
    if manifest.uses is None:
        return manifest.plan
    from grokjax.results.own import own_of

    own = own_of(manifest)
    say(f"runs the code of {own.file}")
    plan = manifest.plan_with(with_families(own.families))
    return replace(plan, sweep=replace(plan.sweep, own=own))


def finished_chunks(plan: Plan, out: Path) -> set[int]:
    """Chunks all of whose runs have ended."""
    from grokjax.results.attempts import done_chunks
    from grokjax.results.chunks import ends_of
    from grokjax.results.layout import is_flat

    if not is_flat(out):
        return done_chunks(out)
    ends = ends_of(out)
    return {chunk.index for chunk in plan.chunks if all(run.run_id in ends.get(chunk.index, {}) for run in chunk.runs)}


def open_results(path: str | Path, manifest: Manifest | None = None) -> Results:
    """Open a results directory, finished or not. Raises SweepError if it is none.

    manifest: what its plan.json says, where that was read already.
    """
    from grokjax.analysis.summary import DERIVATION
    from grokjax.results.derived import cached
    from grokjax.results.read import Results, Views

    ask_for_devices()  # before what is computed of results starts JAX: a sweep may be trained after it
    views = Views(
        summary=_late("grokjax.analysis.cell_summary", "summarize"),
        dataset=_late("grokjax.analysis.dataset", "dataset"),
        html=_late("grokjax.figures.notebook", "html"),
    )
    return Results(path, cached(DERIVATION), manifest, views)


def _late(module: str, name: str) -> Callable[..., Any]:
    """A function that is imported when it is called: most commands need none of these."""
    return lambda *arguments: getattr(import_module(module), name)(*arguments)
