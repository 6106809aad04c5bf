"""Training chunks of a results directory: where engine and results meet, whichever process it is in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from grokjax.ahead import Ahead, Coming
from grokjax.opened import open_results
from grokjax.plan.cost import COMPILED_AT_ONCE
from grokjax.plan.plan import Bucket, Chunk, Plan
from grokjax.spec.families import with_families

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from grokjax.engine.loop import Program
    from grokjax.results.manifest import Manifest
    from grokjax.results.segment import Segment, Stored
    from grokjax.spec.section import Families
    from grokjax.sweep.run import Run


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


@dataclass
class Trainer:
    """What a process keeps from chunk to chunk: the compiled program of the bucket that it is at.

    manifest: of the directory that is trained. say: is told what there is to say of a chunk. coming: of a bucket, the
    one that is trained after it and the first chunk of that, where there is one.
    """

    manifest: Manifest
    screen: Screen | None = None
    say: Callable[[str], None] = print
    program: Program | None = None
    is_compiling: bool = False
    coming: Coming = lambda bucket: None
    _ahead: dict[int, Ahead] = field(default_factory=dict)
    _find: Callable[[Run], Stored | None] | None = None

    @property
    def out(self) -> Path:
        return self.manifest.path.parent

    def take(self, manifest: Manifest) -> None:
        """Go on with another part of the same directory's runs."""
        self.manifest, self._find = manifest, None

    def start_of(self, run: Run) -> Stored | None:
        """The snapshot that a run starts from, if it does: by the manifest at hand, not by the one that the program was
        made with."""
        from grokjax.results.origins import find_start

        if self._find is None:
            self._find = find_start(self.manifest, open_results)
        return self._find(run)

    def program_of(self, bucket: Bucket, stop: Callable[[], bool]) -> Program:
        """The one at hand, the one that was compiled ahead, or a new one, which compiles when it is called."""
        if self.program is None or self.program.bucket.index != bucket.index:
            self.is_compiling = True
            if self.screen:
                self.screen.compiling(bucket)
            ahead = self._ahead.pop(bucket.index, None)
            self.program = (ahead.take(stop) if ahead else None) or self._new_program(bucket)
        return self.program

    def _new_program(self, bucket: Bucket) -> Program:
        from grokjax.engine.devices import describe_device
        from grokjax.engine.inputs import Starts
        from grokjax.engine.loop import Program
        from grokjax.results.origins import find_origin

        return Program(bucket, describe_device().count, Starts(self.start_of, find_origin(open_results)))

    def compile_next(self, bucket: Bucket) -> None:
        """Begin to compile the buckets that come after this one, while this one trains: a few, each once."""
        at = bucket.index
        for _ in range(COMPILED_AT_ONCE):
            coming = self.coming(at)
            if coming is None:
                return
            at, first = coming
            if at not in self._ahead and sum(ahead.is_busy() for ahead in self._ahead.values()) < COMPILED_AT_ONCE:
                self._ahead[at] = Ahead()
                self._ahead[at].begin(partial(self._compiled, first))

    def _compiled(self, first: Callable[[], Chunk]) -> Program:
        from grokjax.engine.ahead import compile_ahead

        chunk = first()
        program = self._new_program(chunk.bucket)
        compile_ahead(program, chunk)
        return program


def train_chunk(trainer: Trainer, chunk: Chunk, stop: Callable[[], bool]) -> bool:
    """Train a chunk until it is done, by this process or by another that was first. Returns False where `stop()` asked
    for an end before."""
    from grokjax.analysis.summary import derive
    from grokjax.engine import loop
    from grokjax.engine.devices import describe_device
    from grokjax.results.attempts import Overtaken, attempt, commit, is_done
    from grokjax.results.summaries import write_summary

    out, screen = trainer.out, trainer.screen

    def tell(segment: Segment) -> None:
        trainer.is_compiling = False
        trainer.compile_next(chunk.bucket)
        if screen:
            screen.segment(chunk.bucket, segment)

    while not is_done(out, chunk):
        program = trainer.program_of(chunk.bucket, stop)
        try:
            with attempt(out, chunk, tell, trainer.say) as this:
                if screen and this.stored:
                    _tell_resumed(screen, chunk, trainer.manifest, this.stored)
                ended = loop.train_chunk(program, chunk, this.writer, stop, this.stored)
            if not ended:
                return False
            summarize = partial(write_summary, derive, trainer.manifest, chunk.index, this.folder)
            commit(out, this, describe_device().text, summarize)
        except Overtaken as overtaken:
            trainer.say(str(overtaken))
    return True


def _tell_resumed(screen: Screen, chunk: Chunk, manifest: Manifest, stored: Mapping[str, np.ndarray]) -> None:
    from grokjax.analysis.tally import did_before

    run_ids = [run.run_id for run in chunk.runs]
    ended = [run_id for run_id, has in zip(run_ids, stored["book/ended"], strict=True) if has]
    steps = dict(zip(run_ids, stored["book/step"].tolist(), strict=True))
    screen.resumed(chunk.bucket, steps, ended, did_before(open_results(manifest.path.parent, manifest), run_ids))


def finished_chunks(plan: Plan, out: Path) -> set[int]:
    """Chunks all of whose runs have ended."""
    from grokjax.results.attempts import done_chunks
    from grokjax.results.chunks import ends_of
    from grokjax.results.layout import is_flat

    if not is_flat(out):
        return done_chunks(out)
    ends = ends_of(out)
    return {chunk.index for chunk in plan.chunks if all(run.run_id in ends.get(chunk.index, {}) for run in chunk.runs)}


def plan_to_train(manifest: Manifest, say: Callable[[str], None]) -> Plan:
    """The plan of a results directory whose runs are to be trained again; its user's file of families is run.
    Raises SweepError where that has changed."""
    families = families_to_train(manifest, say)
    if families is None:
        return manifest.plan
    from grokjax.results.own import own_of

    plan = manifest.plan_with(families)
    return replace(plan, sweep=replace(plan.sweep, own=own_of(manifest)))


def families_to_train(manifest: Manifest, say: Callable[[str], None]) -> Families | None:
    """Those of the user's file that a sweep uses, which is run, and that is said; None where there is no such file.
    Raises SweepError where it has changed."""
    if manifest.uses is None:
        return None
    from grokjax.results.own import own_of

    own = own_of(manifest)
    say(f"runs the code of {own.file}")
    return with_families(own.families)
