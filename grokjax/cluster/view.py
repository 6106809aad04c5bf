"""What all workers of a results directory have done so far, shown while one waits for them: from the records that they
leave there, whichever hosts they are on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from grokjax.results.activity import MOST_NAMED
from grokjax.results.bucket import bucket_of
from grokjax.results.chunks import steps_of, while_it_trains
from grokjax.results.copies import refresh
from grokjax.results.files import Damaged
from grokjax.results.layout import survey
from grokjax.results.workers import workers
from grokjax.spec.wording import count_text, some_of

if TYPE_CHECKING:
    from grokjax.results.manifest import Manifest

LOOK_SECONDS = 2.0  # from one look at the directory to the next
BUCKET_SECONDS = 15.0  # of a bucket's copy, which is brought up to date each time
PLAIN_SECONDS = 30.0  # from one line to the next where there is no terminal


@dataclass(frozen=True)
class Seen:
    """At one moment. time: of it, in seconds. taken, planned: run-steps; of chunks that have ended early, planned is
    what they took."""

    time: float
    done: int
    chunks: int
    hosts: tuple[str, ...]  # of each worker that is at work
    taken: int
    planned: int


def chunk_steps(manifest: Manifest) -> np.ndarray:
    """Run-steps of each chunk, if all its runs train to their end."""
    steps = manifest.table.column("train.steps")
    each = np.concatenate([[0], np.cumsum(np.array(steps.levels, np.int64)[steps.codes])])
    return np.array([each[chunk.stop] - each[chunk.start] for chunk in manifest.chunks], np.int64)


def look_at(out: Path, steps: np.ndarray, now: float) -> Seen:
    """steps: of each chunk. Raises Damaged."""

    def look() -> Seen:
        homes = survey(out)
        ended = [home.commit for home in homes if home.commit]
        taken, _ = steps_of(out, homes)
        saved = sum(int(steps[commit.chunk]) - commit.run_steps for commit in ended if commit.chunk < len(steps))
        hosts = tuple(worker.host for worker in workers(out, homes=homes))
        return Seen(now, len(ended), len(steps), hosts, taken, int(steps.sum()) - saved)

    return while_it_trains(look)


def text_of(seen: Seen, first: Seen) -> str:
    """`3 of 8 chunks done, 2 workers (n1, n2); 120,000 of 300,000 run-steps (40 %), 5,000 a second`, since the first
    look."""
    hosts = list(dict.fromkeys(seen.hosts))
    who = f"{count_text(len(seen.hosts), 'worker')} ({some_of(hosts, MOST_NAMED)})" if hosts else "no worker"
    share = seen.taken / seen.planned if seen.planned else 1.0
    text = f"{seen.done:,} of {seen.chunks:,} chunks done, {who}; "
    text += f"{seen.taken:,} of {seen.planned:,} run-steps ({share:.0%})"
    if seen.taken > first.taken:
        text += f", {(seen.taken - first.taken) / (seen.time - first.time):,.0f} a second"
    return text


@dataclass
class View:
    """A line on a terminal that is kept up to date; elsewhere lines now and then. To be used in a `with`.

    steps: of each chunk (see `chunk_steps`).
    """

    out: Path
    steps: np.ndarray
    console: Console = field(default_factory=lambda: Console(highlight=False))
    _live: Live | None = None
    _looked: float = -np.inf
    _said: float = -np.inf
    _first: Seen | None = None

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live = Live("", console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def _seen(self, now: float) -> str:
        refresh(self.out)
        seen = look_at(self.out, self.steps, now)
        self._first = self._first or seen
        return text_of(seen, self._first)

    def look(self, more: str = "") -> None:
        """To be called often; looks now and then. A look that fails is said, and ends nothing. more: what else is to be
        said."""
        now = time.monotonic()
        if now - self._looked < (BUCKET_SECONDS if bucket_of(self.out) else LOOK_SECONDS):
            return
        self._looked = now
        try:
            text = self._seen(now)
        except (OSError, Damaged) as error:
            text = f"how far it is cannot be seen: {error}"
        text += f"; {more}" if more else ""
        if self._live:
            self._live.update(Text(text))
        elif now - self._said > PLAIN_SECONDS:
            self._said = now
            self.say(text)
