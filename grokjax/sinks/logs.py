"""What talks to W&B: writes its local logs, uploads them, opens the run that is shown live.

Everything is written to a local log first, offline, and `wandb sync` uploads it: so the network can neither lose a run
nor write it twice, and a run of the same id replaces itself. No API key is read here or written: W&B finds its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from grokjax.results.times import Trained
from grokjax.results.written import is_uploaded
from grokjax.sinks.logfile import await_whole, set_times
from grokjax.sinks.page import Head, History

ROOM = 64 * 2**20  # bytes to be free where logs are written: W&B says nothing when a disk is full
AT_ONCE = 25  # logs that one `wandb sync` uploads, after one alone has shown that it can
ATTEMPTS = 6  # of which none gets further, before uploading is left for later
LONGEST_WAIT = 60.0
LIMIT = 900  # seconds that one `wandb sync` may take
PASSES = re.compile(r"\b(429|502|503|504)\b|rate.?limit", re.IGNORECASE)  # what passes when one waits
RETRIES = {"WANDB_X_GRAPHQL_RETRY_MAX": "3", "WANDB_X_FILE_STREAM_RETRY_MAX": "8"}  # W&B's own, below ours
NO_KEY = "no W&B API key was found: create one with `wandb login`, or set WANDB_API_KEY"


@dataclass(frozen=True)
class Target:
    """Where in W&B runs belong."""

    project: str
    entity: str | None
    group: str


def has_key() -> bool:
    """Whether W&B finds an API key, without a question and without the network."""
    import wandb

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        try:
            return bool(wandb.login(prompt=False, verify=False))
        except Exception:  # a malformed key, for instance: there is none to use
            return False


@contextmanager
def staging() -> Iterator[Path]:
    """A folder for logs that are being written, and for W&B's own notes, which nobody keeps."""
    with tempfile.TemporaryDirectory(prefix="grokjax-wandb-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def open_run(head: Head, target: Target, folder: Path, mode: Literal["offline", "online"], resume: bool = False) -> Any:
    """A W&B run that records what it is given, and nothing of its own."""
    import wandb

    settings = wandb.Settings(
        console="off",
        silent=True,
        init_timeout=60,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_graphql_retry_max=3,
        x_file_stream_retry_max=8,
    )
    return wandb.init(
        project=target.project,
        entity=target.entity,
        id=head.wandb_id,
        name=head.name,
        notes=head.notes or None,
        group=target.group,
        job_type=head.job_type,
        tags=list(head.tags),
        config=head.config,
        dir=str(folder),
        mode=mode,
        resume="allow" if resume and mode == "online" else None,
        reinit="create_new",
        settings=settings,
    )


def write_log(head: Head, history: History, target: Target, folder: Path, trained: Trained | None) -> Path:
    """The finished log of a run, in `folder`. trained: when it was; None: W&B's clock tells when this is written.
    Raises OSError where there is no room for it."""
    if shutil.disk_usage(folder).free < ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    run = open_run(head, target, folder, "offline")
    times = trained.at(np.array([step for step, _ in history], int)) if trained else []
    for index, (step, values) in enumerate(history):
        run.log(values | ({"_timestamp": float(times[index])} if trained else {}), step=step)
    run.summary.update(head.summary)
    log = finish(run, len(history))
    if trained:
        set_times(log, trained.times[0], trained.times[-1])
    return log


def finish(run: Any, rows: int | None = None) -> Path:
    """Finish a run; its log, whole where it must have so many rows."""
    log = Path(run.settings.sync_file)
    run.finish()
    if rows is not None:
        await_whole(log, rows)
    return log


def drop(log: Path) -> None:
    """Remove a log from the staging folder, with W&B's notes about it."""
    shutil.rmtree(log.parent, ignore_errors=True)


def upload(
    logs: Sequence[Path],
    target: Target,
    send: Callable[[Sequence[Path], Target], str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Upload logs; returns what went wrong, or nothing. `wandb sync` marks those that are through, so what is left is
    found again. Waits longer and longer while W&B says that it is too much; any other trouble ends it at once."""
    send = send or wandb_sync
    left, failures, at_once = [log for log in logs if not is_uploaded(log)], 0, 1
    while left:
        said = send(left[:at_once], target)
        still = [log for log in left if not is_uploaded(log)]
        if len(still) < len(left):
            failures, at_once = 0, AT_ONCE
        elif not PASSES.search(said) or failures + 1 == ATTEMPTS:
            return _reason(said)
        if PASSES.search(said):
            failures += 1
            sleep(min(LONGEST_WAIT, 2.0**failures))
        left = still
    return ""


def wandb_sync(logs: Sequence[Path], target: Target) -> str:
    """What `wandb sync` said."""
    options = ["--yes", "--project", target.project, *(["--entity", target.entity] if target.entity else [])]
    with staging() as folder:
        command = [sys.executable, "-m", "wandb", "sync", *options, *(str(log.absolute()) for log in logs)]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=RETRIES | os.environ | {"WANDB_SILENT": "false"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LIMIT,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return f"wandb sync took longer than {LIMIT} s"
    return f"{done.stdout}\n{done.stderr}"


def _reason(said: str) -> str:
    """The line that tells why, of all that was said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|not authenticated|denied|took longer", line, re.IGNORECASE)]
    return (errors or lines or ["wandb sync said nothing"])[0].removeprefix("wandb: ").removeprefix("ERROR ")[:300]
