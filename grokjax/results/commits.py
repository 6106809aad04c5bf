"""done.json: the record by which an attempt at a chunk becomes the chunk's. It is created once and never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from grokjax.results.files import RUN_ID, Damaged, create_json, read_json, version_of

NAME = "done.json"
FORMAT = 1
DIGITS = 12  # of a run id
RUN_IDS = re.compile(f"(?:{RUN_ID.pattern} )*")


@dataclass(frozen=True)
class Commit:
    """What an attempt made of a chunk. run_ids, steps: its runs, and where each ended. diverged: run id -> the matrix
    that went first. last: the number of its last segment."""

    chunk: int
    attempt: str
    device: str
    last: int
    run_steps: int
    lane_steps: int
    metrics: tuple[str, ...]
    run_ids: tuple[str, ...]
    steps: tuple[int, ...]
    diverged: Mapping[str, str | None]
    files: Mapping[str, str]  # name -> SHA-256

    @property
    def ends(self) -> list[dict[str, Any]]:
        """How each run ended, as the curve files say it."""
        return [
            {"run_id": run_id, "step": step, "diverged": run_id in self.diverged, "matrix": self.diverged.get(run_id)}
            for run_id, step in zip(self.run_ids, self.steps, strict=True)
        ]

    @property
    def meta(self) -> dict[str, Any]:
        """As the metadata of a curve file with all segments."""
        numbers = {"chunk": self.chunk, "first": 0, "last": self.last}
        counts = {"run_steps": self.run_steps, "lane_steps": self.lane_steps}
        return numbers | counts | {"ends": self.ends, "metrics": list(self.metrics)}


def create_commit(home: Path, commit: Commit) -> bool:
    """Whether this attempt is the chunk's now: False where another was first."""
    return create_json(home / NAME, as_json(commit), commit.attempt)


def as_json(commit: Commit) -> dict[str, Any]:
    return {"format": FORMAT} | asdict(commit)


def read_commit(home: Path) -> Commit | None:
    """None where no attempt has committed. Raises Damaged."""
    version = commit_version(home)
    return None if version is None else _read(home / NAME, version)


def commit_version(home: Path) -> tuple[int, ...] | None:
    """By which a commit that was read is known again; None where no attempt has committed."""
    try:
        return version_of(home / NAME)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=100_000)
def _read(path: Path, version: tuple[int, ...]) -> Commit:
    raw = read_json(path)
    try:
        commit = _checked(raw)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(path, f"it makes no sense: {str(error)[:200]}") from None
    if commit.chunk != int(path.parent.name):
        raise Damaged(path, f"it is of chunk {commit.chunk}: it was moved")
    return commit


def are_run_ids(texts: Sequence[str]) -> bool:
    """All of them, looked at as one text, since ten thousand commits name a million. Raises TypeError for no text."""
    return RUN_IDS.fullmatch(" ".join([*texts, ""])) is not None and {*map(len, texts)} <= {DIGITS}


def _checked(raw: dict[str, Any]) -> Commit:
    if raw.pop("format") != FORMAT:
        raise ValueError("its format is another")
    lists: dict[str, Any] = {name: tuple(raw.pop(name)) for name in ("metrics", "run_ids", "steps")}
    commit = Commit(**raw, **lists)
    numbers = (commit.chunk, commit.last, commit.run_steps, commit.lane_steps, *commit.steps)
    if {*map(type, numbers)} != {int} or min(numbers) < 0:
        raise ValueError("its numbers are none")
    if not RUN_ID.fullmatch(commit.attempt) or not are_run_ids(commit.run_ids):
        raise ValueError("it names no attempt, or no runs")
    if len(commit.run_ids) != len(commit.steps) or not {*commit.run_ids}.issuperset(commit.diverged):
        raise ValueError("its runs have not one end each")
    texts = (commit.device, *commit.metrics, *commit.files, *commit.files.values())
    matrices = [matrix for matrix in commit.diverged.values() if matrix is not None]
    if not all(isinstance(text, str) for text in (*texts, *matrices)):
        raise ValueError("its texts are none")
    if any("/" in name for name in commit.files):
        raise ValueError("it names files elsewhere")
    return commit
