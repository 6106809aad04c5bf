"""What is shown while a sweep trains: one line a bucket, rewritten on a terminal, printed now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.text import Text

from grokjax.analysis.events import Thresholds
from grokjax.analysis.tally import Tally
from grokjax.plan.plan import Bucket, Plan
from grokjax.results.segment import Segment

PLAIN_SECONDS = 10.0  # between lines where the output is no terminal
SPEED_SECONDS = 20.0  # the speed shown is that of about so many last seconds
SHOWN = ("fit", "generalized", "slingshot", "diverged")


@dataclass
class Line:
    """Progress of one bucket."""

    bucket: Bucket
    tally: Tally
    total: int  # run-steps
    before: int = 0  # run-steps taken before this process
    done: int = 0
    lane_steps: int = 0
    ended: int = 0
    speed: float = 0.0  # run-steps a second; 0 before the first segment
    last: float = 0.0  # when the last segment came, or the program began to compile

    @property
    def left(self) -> int:
        """Run-steps still to take."""
        return self.total - self.before - self.done

    def update(self, segment: Segment, now: float) -> None:
        self.tally.update(segment)
        self.done += segment.run_steps
        self.lane_steps += segment.lane_steps
        self.ended += len(segment.ends)
        took = max(now - self.last, 1e-9)
        weight = min(1.0, took / SPEED_SECONDS) if self.speed else 1.0
        self.speed += weight * (segment.run_steps / took - self.speed)
        self.last = now
        for end in segment.ends:  # a run that ends early leaves its other steps undone
            planned = next(run.spec.train.steps for run in self.bucket.runs if run.run_id == end.run_id)
            self.total -= planned - end.step

    def text(self, many: bool) -> str:
        """Progress, speed and what the runs did. many: say which bucket it is."""
        head = f"bucket {self.bucket.index}: " if many else ""
        time_left = f", {duration(self.left / self.speed)} left" if self.speed and self.left > 0 else ""
        counts = self.tally.counts()
        outcomes = ", ".join(f"{counts[name]} {name}" for name in SHOWN)
        return (
            f"{head}{1 - self.left / max(self.total, 1):.0%}, {self.speed:,.0f} run-steps/s{time_left}, "
            f"lanes {self.done / max(self.lane_steps, 1):.0%} used | {len(self.bucket.runs)} runs: {outcomes}"
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
            return line.text(many=len(self.lines) > 1)
        state = "compiling" if index == compiling else "waiting"
        return f"bucket {index}: {state}, {len(line.bucket.runs)} runs"


def duration(seconds: float) -> str:
    """72 -> '0:01:12'"""
    return str(timedelta(seconds=round(seconds)))


def size(count: float) -> str:
    """Bytes in words: 1.5 MB"""
    return decimal(round(count))
