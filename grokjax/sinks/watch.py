"""One W&B run that shows a sweep while it trains: what its runs have done, how fast it is, and a few of their curves.

It only looks: rows go through a bounded queue to a thread of their own, which alone talks to W&B. Where W&B is slow,
rows are left out; where it fails, that is said once, and training goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from grokjax.plan.plan import Bucket, Plan
from grokjax.results.read import Results
from grokjax.results.segment import Segment
from grokjax.results.written import Written, keep_log, log_file
from grokjax.sinks import logs
from grokjax.sinks.counts import Counts, LiveRow, by_name, done_before
from grokjax.sinks.heads import notes_of, run_names
from grokjax.sinks.page import Head, short_hash
from grokjax.sinks.sync import SWEEP, Options, chosen_mode, destination, target_of

SECONDS = 5.0  # between rows
QUEUED = 64
PATIENCE = 60.0  # seconds that the end of training waits for W&B


class Watch:
    """Shows a sweep in W&B, and tells another screen all that it is told."""

    def __init__(self, screen: Any, out: Path, results: Callable[[], Results], options: Options):
        self.screen, self._out, self._results, self._options = screen, out, results, options
        self._rows: queue.Queue[list[LiveRow] | None] = queue.Queue(QUEUED)
        self._counts: Counts | None = None
        self._thread: threading.Thread | None = None
        self._told = 0.0
        self._failed = False

    def started(self, plan: Plan, done: set[int], begun: Mapping[str, int]) -> None:
        self.screen.started(plan, done, begun)
        self._safely(lambda: self._begin(plan, done))

    def compiling(self, bucket: Bucket) -> None:
        self.screen.compiling(bucket)

    def resumed(
        self, bucket: Bucket, steps: Mapping[str, int], ended: Collection[str], did: Mapping[str, set[str]]
    ) -> None:
        self.screen.resumed(bucket, steps, ended, did)

    def segment(self, bucket: Bucket, segment: Segment) -> None:
        self.screen.segment(bucket, segment)
        self._safely(lambda: self._take(bucket, segment))

    def say(self, text: str) -> None:
        self.screen.say(text)

    def finished(self) -> None:
        self._safely(self._end)
        self.screen.finished()

    def _begin(self, plan: Plan, done: set[int]) -> None:
        if len(done) == len(plan.chunks):
            return
        self._counts = Counts(plan)
        self._thread = threading.Thread(target=self._show, name="grokjax-wandb", daemon=True)
        self._thread.start()

    def _take(self, bucket: Bucket, segment: Segment) -> None:
        if self._counts is None or self._failed:
            return
        self._counts.update(bucket, segment)
        now = time.monotonic()
        if now - self._told >= SECONDS and not self._rows.full():
            self._told = now
            self._rows.put_nowait(self._counts.rows(now))

    def _end(self) -> None:
        if self._thread is None or self._counts is None:
            return
        if not self._failed:
            self._rows.put(self._counts.rows(time.monotonic()), timeout=PATIENCE)
            self._rows.put(None, timeout=PATIENCE)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._fail("it does not answer")

    def _safely(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # whatever it is: training goes on
            self._fail(str(error) or type(error).__name__)

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self.screen.say(f"note: W&B does not show this sweep live ({why}); training goes on, results are whole")

    def _show(self) -> None:
        """What the thread does."""
        try:
            results = self._results()
            with logs.staging() as folder:
                self._show_in(folder, destination(results, self._options), results)
        except Exception as error:
            self._fail(str(error) or type(error).__name__)

    def _show_in(self, folder: Path, written: Written, results: Results) -> None:
        if self._counts is not None:
            self._counts.begin(done_before(results))
        target, mode = target_of(written), chosen_mode(self._options)
        if mode == "online" and not logs.has_key():
            self.screen.say(f"note: {logs.NO_KEY}; what W&B would show is kept in {self._out / 'wandb'}")
            mode = "offline"
        run, mode, head = self._open(target, folder, mode, results)
        define(run)
        count, names = 0, run_names(results)
        while (rows := self._rows.get()) is not None:
            count += len(rows)
            for row in rows:
                run.log(by_name(row, names))
        if mode == "offline":
            keep_log(self._out, head.wandb_id, logs.finish(run, count))
        else:
            logs.finish(run)

    def _open(
        self, target: logs.Target, folder: Path, mode: Literal["offline", "online"], results: Results
    ) -> tuple[Any, Literal["offline", "online"], Head]:
        """The live run; where the network fails, a local one that is uploaded later."""
        name = results.manifest.name
        if mode == "online":
            head = sweep_head(name, results, "0")
            try:
                run = logs.open_run(head, target, folder, mode, resume=True)
                self.screen.say(f"live in W&B: {run.url}")
                return run, mode, head
            except Exception as error:
                self.screen.say(f"note: W&B cannot be reached ({_line(error)}); what it would show is kept for later")
        part = 1
        while log_file(self._out, sweep_head(name, results, str(part)).wandb_id).exists():
            part += 1
        head = sweep_head(name, results, str(part))
        return logs.open_run(head, target, folder, "offline"), "offline", head


def define(run: Any) -> None:
    """What the horizontal axes are: run-steps of the sweep, and of each sampled run its own steps."""
    run.define_metric("runs/*", step_metric="speed/run_steps")
    run.define_metric("sampled/*", step_metric="sampled/step")


def sweep_head(name: str, results: Results, part: str) -> Head:
    """The W&B run that shows a sweep live. part: 0 online, else the number of a local one."""
    counts = Counter(run.arms[0] for run in results.manifest.runs)
    config = {"sweep": name, "runs": len(results.run_ids), "arms": dict(counts), "axes": results.manifest.axes}
    wandb_id = f"{SWEEP}{short_hash(name + str(sorted(results.run_ids)))}-{part}"
    title = f"{name} (all runs)" if part in "01" else f"{name} (all runs, part {part})"
    return Head(wandb_id, title, "sweep", ("sweep",), config, {}, (), notes_of(results))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
