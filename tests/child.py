"""Trains one sweep in this process, by the command, with a fault armed: `python tests/child.py SWEEP OUT OPTIONS`.

OPTIONS is JSON, see `Options`. Every segment is written and followed by a checkpoint. The exit status is the command's.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults import changed


@dataclass
class Options:
    """What befalls the process just before its write number `at` inside OUT, from 0 on; what Orbax writes counts too,
    as far as it does so in Python. event: only writes of this kind count, such as os.mkdir.

    send: the signal it gets. fails: with this errno this write fails, and all later ones. vanishes: OUT is gone, at
    the next listing of a checkpoint: Orbax, which would make it anew, does not write then. limit: bytes that a file
    may have. waits: checkpoints are waited for, so that there is one after every segment.
    """

    at: int | None = None
    event: str | None = None
    send: int | None = None
    fails: int | None = None
    vanishes: bool = False
    limit: int | None = None
    waits: bool = True
    segment_seconds: float = 3e-3


def start(sweep: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    """A process of its own session, so that whatever it leaves behind can be found."""
    command = [sys.executable, __file__, str(sweep), str(out), json.dumps(asdict(Options(**options)))]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=sweep.parent
    )


@dataclass
class Writes:
    """Counts what is about to be written inside a folder; there the fault happens."""

    folder: str
    options: Options
    seen: int = 0

    def hook(self, name: str, arguments: tuple) -> None:
        paths = changed(self.folder, name, arguments)
        if not paths or self.options.event not in (None, name):
            return
        self.seen += 1
        now = self.seen - 1
        if self.options.at is None:
            return
        if self.options.fails is not None and now >= self.options.at:
            raise OSError(self.options.fails, os.strerror(self.options.fails), str(arguments[0]))
        if self.options.vanishes and now >= self.options.at and any("/.segment-" in path for path in paths):
            self.options.vanishes = False
            os.rename(self.folder, f"{self.folder}.gone")
        if self.options.send is not None and now == self.options.at:
            os.kill(os.getpid(), self.options.send)


def do_everything_often(options: Options) -> None:
    import grokjax.plan.plan as plan
    import grokjax.results.checkpoints as checkpoints
    import grokjax.results.write as write

    write.FLUSH_SECONDS = write.CHECKPOINT_SECONDS = -1.0
    plan.SHORT_SEGMENT_SECONDS, plan.SEGMENT_SECONDS = 1e-9, options.segment_seconds
    if options.waits:
        checkpoints.Checkpoints.is_busy = lambda self: False


def main(sweep: str, out: str, text: str = "{}") -> None:
    options = Options(**json.loads(text))
    do_everything_often(options)
    from grokjax.cli import main as command

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if options.limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))
    writes = Writes(str(Path(out).absolute()), options)
    sys.addaudithook(writes.hook)
    try:
        command(["run", sweep, "--out", out])
    finally:
        print(f"writes {writes.seen}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
