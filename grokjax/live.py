"""What is shown while a sweep trains: one line a bucket, rewritten on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from grokjax.analysis.events import Thresholds
from grokjax.analysis.tally import Tally
from grokjax.plan.plan import Bucket, Plan
from grokjax.results.segment import Segment

PLAIN_SECONDS = 10.0  # between lines where the output is no terminal
NARROW = 110  # columns below which a line is shortened
SPEED_SECONDS = 20.0  # the speed shown is that of about so many last seconds


@dataclass
class Line:
    """Progress of one bucket."""

    bucket: Bucket
    tally: Tally
    total: int  # run-steps
    before: int = 0  # taken before this process
    done: int = 0
    lane_steps: int = 0
    segments_done: int = 0
    ended: int = 0
    speed: float = 0.0  # run-steps a second
    last: float = field(default=0.0)

    def update(self, segment: Segment, now: float) -> None:
        self.tally.update(segment)
        self.done += segment.run_steps
        self.lane_steps += segment.lane_steps
        self.segments_done += 1
        self.ended += len(segment.ends)
        took = max(now - self.last, 1e-9)
        fresh = min(1.0, took / SPEED_SECONDS) if self.speed else 1.0
        self.speed += fresh * (segment.run_steps / took - self.speed)
        self.last = now
        for end in segment.ends:  # a run that ends early leaves its other steps undone
            longest = next(run.spec.train.steps for run in self.bucket.runs if run.run_id == end.run_id)
            self.total -= longest - end.step

    def text(self, many: bool, narrow: bool = False) -> str:
        counts = self.tally.counts()
        names = ("fit", "generalized", "slingshot", "diverged")
        head = f"bucket {self.bucket.index}: " if many else ""
        steps = self.total - self.before - self.done
        left = f", {duration(steps / self.speed)} left" if self.speed and steps > 0 else ""
        return (
            f"{head}{1 - steps / max(self.total, 1):.0%}, {self.speed:,.0f} run-steps/s{left}, "
            f"lanes {self.done / max(self.lane_steps, 1):.0%} used | "
            f"{len(self.bucket.runs)} runs: " + ", ".join(f"{counts[name]} {name}" for name in names)
        )


class LiveScreen:
    """Shows a sweep as it trains. Compiling is said too: it is silent and takes seconds."""

    def __init__(self, console: Console):
        self.console = console
        self.lines: dict[int, Line] = {}
        self._live: Live | None = None
        self._printed = 0.0

    def started(self, plan: Plan, done: set[int]) -> None:
        for bucket in plan.buckets:
            chunks = [chunk for chunk in plan.chunks if chunk.bucket is bucket and chunk.index not in done]
            if not chunks:
                continue
            total = sum(run.spec.train.steps for chunk in chunks for run in chunk.runs)
            events = bucket.spec.events
            prior_steps = {run.run_id: run.origin.prior_steps for run in bucket.runs if run.origin}
            tally = Tally(Thresholds(events.fit, events.generalization, events.hold), prior_steps)
            self.lines[bucket.index] = Line(bucket, tally, total)
        if done:
            self.console.print(f"{len(done)} of {len(plan.chunks)} chunks were finished before", highlight=False)
        if self.console.is_terminal and self.lines:
            self._live = Live(self._render(), console=self.console, refresh_per_second=4, transient=False)
            self._live.start()

    def compiling(self, bucket: Bucket) -> None:
        self.lines[bucket.index].last = time.monotonic()
        if self._live is None:
            self.console.print(f"bucket {bucket.index}: compiling", highlight=False)
        else:
            self._live.update(self._render(bucket.index))

    def resumed(self, bucket: Bucket, run_steps: int) -> None:
        self.lines[bucket.index].before += run_steps

    def segment(self, bucket: Bucket, segment: Segment) -> None:
        line = self.lines[bucket.index]
        line.update(segment, time.monotonic())
        if self._live is not None:
            self._live.update(self._render())
        elif time.monotonic() - self._printed > PLAIN_SECONDS or line.ended == len(bucket.runs):
            self._printed = time.monotonic()
            self.console.print(line.text(many=True), highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def finished(self) -> None:
        if self._live is not None:
            self._live.update(self._render())
            self._live.stop()

    def _render(self, compiling: int | None = None) -> Text:
        many = len(self.lines) > 1
        rows = []
        for index, line in self.lines.items():
            waiting = "compiling" if index == compiling else "waiting"
            begun = line.segments_done > 0
            narrow = self.console.size.width < NARROW
            rows.append(
                line.text(many, narrow) if begun else f"bucket {index}: {waiting}, {len(line.bucket.runs)} runs"
            )
        room = max(3, self.console.size.height - 2)
        if len(rows) > room:  # a small terminal shows the buckets that move
            busy = [
                row
                for row, line in zip(rows, self.lines.values(), strict=True)
                if 0 < line.done < line.total - line.before
            ]
            rows = [*(busy or rows)[: room - 1], f"... {len(rows)} buckets in all"]
        return Text("\n".join(rows), overflow="ellipsis", no_wrap=True)


def duration(seconds: float) -> str:
    """72 -> '1 min 12 s'"""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes in words: 1.5 MB"""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
