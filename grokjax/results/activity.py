"""What goes on in a results directory at this moment: who trains there, how fast, and where each run stands."""

from __future__ import annotations

import heapq
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grokjax.results.bucket import name_of
from grokjax.results.chunks import meta_of, while_it_trains
from grokjax.results.commits import NAME as COMMIT
from grokjax.results.commits import read_commit
from grokjax.results.layout import Home, curves_files, is_flat, survey
from grokjax.results.lock import holder, trained_file
from grokjax.results.manifest import Manifest
from grokjax.results.workers import Failure, Seen, failures, workers
from grokjax.spec.wording import count_text, some_of
from grokjax.sweep.load import read_value
from grokjax.sweep.nodes import shown

MOST_NAMED = 4  # workers
RATE_FILES = 8  # newest files of records, of whose times the speed is taken
TRAINING, STOPPED, QUEUED, ENDED, DIVERGED = "training", "stopped", "queued", "ended", "diverged"


@dataclass(frozen=True)
class Activity:
    """holder: who trains there now; None: nobody. written: when a file was last written, as time.time(), if any was.
    rate: run-steps a second, where somebody trains and enough was written to tell. failures: of chunks that are not
    done."""

    holder: str | None
    written: float | None
    rate: float | None
    failures: tuple[Failure, ...] = ()


def activity(out: Path) -> Activity:
    """Raises Damaged."""
    return while_it_trains(lambda: activity_of(out, survey(out)))


def activity_of(out: Path, seen: Sequence[Home]) -> Activity:
    """The same of what a survey found a moment ago. Raises Damaged, and FileNotFoundError where something is gone."""
    written = ((path.stat().st_mtime, path) for path in _records(out, seen))
    newest = heapq.nlargest(RATE_FILES, written)[::-1]
    who = holder(out) or _holders(workers(out, homes=seen))
    rate = _rate(newest) if who else None
    return Activity(who, newest[-1][0] if newest else None, rate, tuple(failures(out, seen)))


def _records(out: Path, seen: Sequence[Home]) -> Iterator[Path]:
    """Files that were written with records, or after the last: of a copy of a bucket's that has no others."""
    if is_flat(out):
        yield from curves_files(out)
    for home in seen:
        yield from [home.path / COMMIT] if home.commit else curves_files(out, seen=[home])


def _holders(seen: Sequence[Seen]) -> str | None:
    """`3 workers (process 12 on n1, process 7 on n2, ...)`"""
    if not seen:
        return None
    names = list(dict.fromkeys(worker.text for worker in seen))
    return f"{count_text(len(names), 'worker')} ({some_of(names, MOST_NAMED)})"


def _rate(files: list[tuple[float, Path]]) -> float | None:
    """Of the steps in all files but the first, which had begun when that was written."""
    if len(files) < 2 or files[-1][0] <= files[0][0]:
        return None
    return sum(map(_run_steps, (path for _, path in files[1:]))) / (files[-1][0] - files[0][0])


def _run_steps(path: Path) -> int:
    committed = read_commit(path.parent) if path.name == COMMIT else None
    return committed.run_steps if committed else meta_of(path)["run_steps"]


def states_of(runs: pd.DataFrame, trains: bool) -> np.ndarray:
    """Where each run stands, by its row of `Results.runs()`: training | stopped | queued | ended | diverged. A run that
    has no record waits, even where others of its chunk are at work.

    trains: whether a process is at it.
    """
    status, has_records = runs["status"].to_numpy(), runs["last_step"].notna().to_numpy()
    has_begun = (status == "running") & has_records
    going = np.where(has_begun, TRAINING if trains else STOPPED, QUEUED)
    return np.where(np.isin(status, (ENDED, DIVERGED)), status, going)


def going_on(out: Path, manifest: Manifest, arms: Sequence[str] = ()) -> str:
    """The command that trains what a directory still lacks: from the file that it was trained from, where that says
    the same still, or else from its own copy. arms: only these."""
    file = Path(trained_file(out) or out / "sweep.yaml")
    try:
        same = file.read_bytes() == manifest.text.encode()
    except OSError:
        same = False
    return run_command(file if same else out / "sweep.yaml", name_of(out), manifest.overrides, arms)


def run_command(file: Path, out: str, overrides: Mapping[str, Any], arms: Sequence[str] = ()) -> str:
    """`grokjax run`, as a shell takes it."""
    here = Path.cwd()
    shown_file = file.relative_to(here) if file.is_relative_to(here) else file
    settings = [word for key, value in overrides.items() for word in ("--set", f"{key}={_value(value)}")]
    only = [word for arm in arms for word in ("--arm", arm)]
    return shlex.join(["grokjax", "run", str(shown_file), "--out", out, *settings, *only])


def _value(value: Any) -> str:
    """As --set reads it: JSON is YAML, but for what is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return shown(value)
    if isinstance(value, str) and value.isidentifier() and read_value(value) == value:
        return value
    return json.dumps(value)
