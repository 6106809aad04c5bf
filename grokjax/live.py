"""What is shown while a sweep trains: one line a bucket, rewritten on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.control import Control
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from grokjax.analysis.events import thresholds_of
from grokjax.analysis.tally import DIVERGED, GENERALIZED, KINDS, SLINGSHOT, Tally
from grokjax.plan.plan import Bucket, Chunk, Plan
from grokjax.results.follow import listening
from grokjax.results.segment import Segment

PLAIN_SECONDS = 10.0  # between lines where the output is no terminal
SPEED_SECONDS = 20.0  # the speed shown is that of about so many last seconds
PATIENCE_SECONDS = 1.0  # work that takes less says nothing
ANY_WIDTH = 10_000
LONG = {SLINGSHOT: "slingshots"}
SHORT = {GENERALIZED: "gen", SLINGSHOT: "sling", DIVERGED: "div"}  # where a line is narrow


@dataclass
class Line:
    """Progress of one bucket, of what this process has to train of it."""

    bucket: Bucket
    tally: Tally
    steps: dict[str, int]  # run id -> steps it is to take at most, beyond those of a shorter run that it goes on with
    begun: Mapping[str, int]  # run id -> steps of that shorter run
    total: int = 0  # run-steps
    before: int = 0  # of them, taken before this process
    done: int = 0
    lane_steps: int = 0
    ended: int = 0
    speed: float = 0.0  # run-steps a second; 0 before the second segment
    last: float | None = None  # when the last segment came; None: the program has yet to compile

    def __post_init__(self) -> None:
        self.total = sum(self.steps.values())

    @property
    def left(self) -> int:
        """Run-steps still to take."""
        return self.total - self.before - self.done

    def resume(self, steps: Mapping[str, int], ended: Collection[str], did: Mapping[str, set[str]]) -> None:
        """Runs of a chunk that goes on: their steps so far, those that had ended, what they had done."""
        for run_id, step in steps.items():
            taken = max(0, step - self.begun.get(run_id, 0))
            self.before += taken
            if run_id in ended:
                self.total -= self.steps[run_id] - taken
        self.ended += len(ended)
        self.tally.begin(did)

    def update(self, segment: Segment, now: float) -> None:
        self.tally.update(segment)
        self.done += segment.run_steps
        self.lane_steps += segment.lane_steps
        self.ended += len(segment.ends)
        if self.last is not None:  # the first segment had to wait for the compiler: it tells no speed
            took = max(now - self.last, 1e-9)
            weight = min(1.0, took / SPEED_SECONDS) if self.speed else 1.0
            self.speed += weight * (segment.run_steps / took - self.speed)
        self.last = now
        for end in segment.ends:  # a run that ends early leaves its other steps undone
            self.total -= self.steps[end.run_id] - (end.step - self.begun.get(end.run_id, 0))

    def text(self, many: bool, width: int = ANY_WIDTH) -> str:
        """Progress, speed and what the runs did, as much as has room. many: say which bucket it is."""
        forms = list(self._forms(f"bucket {self.bucket.index}: " if many else ""))
        return next((form for form in forms if len(form) <= width), forms[-1])

    def _forms(self, head: str) -> Iterable[str]:
        """The line, ever shorter: the counts stay."""
        share = f"{1 - self.left / max(self.total, 1):.0%}"
        speed = f", {self.speed:,.0f} run-steps/s" if self.speed else ""
        left = f", {duration(self.left / self.speed)} left" if self.speed and self.left > 0 else ""
        lanes = f", lanes {self.done / max(self.lane_steps, 1):.0%} used"
        counts = self.tally.counts()
        ended = f"{self.ended:,} of {len(self.steps):,} ended"
        long = f"{ended}: {', '.join(f'{counts[kind]:,} {LONG.get(kind, kind)}' for kind in KINDS)}"
        did = ", ".join(f"{counts[kind]} {SHORT.get(kind, kind)}" for kind in KINDS)
        short = f"{self.ended}/{len(self.steps)} ended, {did}"
        yield f"{head}{share}{speed}{left}{lanes} | {long}"
        yield f"{head}{share}{speed}{left} | {long}"
        yield f"{head}{share}{left} | {long}"
        yield f"{head}{share}{left} | {short}"
        yield f"{head}{share} | {short}"
        yield f"{head}{short}"
        yield short


class LiveScreen:
    """Shows a sweep as it trains. Compiling is said too: it is silent and takes seconds."""

    def __init__(self, console: Console):
        self.console = console
        self.lines: dict[int, Line] = {}
        self._live: Live | None = None
        self._printed = 0.0

    def started(self, plan: Plan, done: set[int], begun: Mapping[str, int]) -> None:
        for bucket in plan.buckets:
            chunks = [chunk for chunk in plan.chunks if chunk.bucket is bucket and chunk.index not in done]
            if chunks:
                self.lines[bucket.index] = line_of(bucket, chunks, begun)
        if done:
            self.say(f"{len(done)} of {len(plan.chunks)} chunks were finished before")
        if self.console.is_terminal and self.lines:
            self._live = Live(self._render(), console=self.console, refresh_per_second=4, transient=False)
            self._live.start()

    def compiling(self, bucket: Bucket) -> None:
        if self._live is None:
            self.say(f"bucket {bucket.index}: compiling")
        else:
            self._live.update(self._render(bucket.index))

    def resumed(
        self, bucket: Bucket, steps: Mapping[str, int], ended: Collection[str], did: Mapping[str, set[str]]
    ) -> None:
        self.lines[bucket.index].resume(steps, ended, did)

    def segment(self, bucket: Bucket, segment: Segment) -> None:
        line = self.lines[bucket.index]
        line.update(segment, time.monotonic())
        if self._live is not None:
            self._live.update(self._render())
        elif time.monotonic() - self._printed > PLAIN_SECONDS or line.ended == len(line.steps):
            self._printed = time.monotonic()
            self.say(line.text(many=True))

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def finished(self) -> None:
        if self._live is not None:
            self._live.update(self._render())
            self._live.stop()

    def abandon(self) -> None:
        """Leave the terminal as it was, whatever another thread holds: the process is about to end."""
        if self._live is not None:
            self.console.file.write(f"\n{Control.show_cursor(True)}")
            self.console.file.flush()

    def _render(self, compiling: int | None = None) -> Text:
        """One line a bucket; on a terminal with too few lines, those of the buckets that train now."""
        rows = {index: self._row(index, compiling) for index in self.lines}
        room = max(3, self.console.size.height - 2)
        shown = list(rows.values())
        if len(shown) > room:
            training = [rows[index] for index, line in self.lines.items() if line.done > 0 and line.left > 0]
            shown = [*(training or shown)[: room - 1], f"... {len(rows)} buckets in all"]
        return Text("\n".join(shown), overflow="ellipsis", no_wrap=True)

    def _row(self, index: int, compiling: int | None) -> str:
        line = self.lines[index]
        if line.done > 0:
            return line.text(len(self.lines) > 1, self.console.size.width)
        state = "compiling" if index == compiling else "waiting"
        return f"bucket {index}: {state}, {len(line.steps)} runs"


@contextmanager
def long_work(console: Console | None = None) -> Iterator[None]:
    """On a terminal, a line that says how far work is that takes longer than a moment; elsewhere nothing."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    shown, tasks, begin = Progress(*columns, console=console, transient=True), {}, time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        if time.monotonic() - begin < PATIENCE_SECONDS:
            return
        shown.start()
        if what not in tasks:
            tasks[what] = shown.add_task(what)
        shown.update(tasks[what], completed=done, total=total)

    try:
        with listening(tell):
            yield
    finally:
        shown.stop()


def line_of(bucket: Bucket, chunks: Iterable[Chunk], begun: Mapping[str, int]) -> Line:
    """What is to be trained of a bucket. begun: run id -> steps of a shorter run that it goes on with."""
    runs = [run for chunk in chunks for run in chunk.runs]
    prior_steps = {run.run_id: run.origin.prior_steps for run in runs if run.origin}
    tally = Tally(thresholds_of(bucket.spec), prior_steps)
    steps = {run.run_id: run.spec.train.steps - begun.get(run.run_id, 0) for run in runs}
    return Line(bucket, tally, steps, begun)


def duration(seconds: float) -> str:
    """72 -> '0:01:12'"""
    return str(timedelta(seconds=round(seconds)))


def size(count: float) -> str:
    """Bytes in words: 1.5 MB"""
    return decimal(round(count))
