"""DIR/wandb: one folder a W&B run, as W&B's own offline runs lie, and a sealed list of what was written whole.

    DIR/wandb/offline-run-ID/run-ID.wandb   its log, whole or not there; its SHA-256 in a hidden file beside it
    DIR/wandb/written.json                  what is written, so that nothing is written twice
    DIR/wandb/lock                          one process at a time writes here

A run's place follows from its id alone, so what a kill left without an entry in the list is written over, not beside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from grokjax.results.files import Damaged, flush, read_json, write_json, write_view
from grokjax.results.lock import locked

FOLDER = "wandb"
LIST = "written.json"
FORMAT = 1
THEIRS = re.compile(r"run-.*\.wandb\.(synced|syncstate)|debug.*\.log")  # what `wandb sync` leaves here


@dataclass(frozen=True)
class Mark:
    """A W&B run that was written. digest: of its config, tags and summary; uploaded: the server has it."""

    name: str
    job_type: str
    digest: str
    uploaded: bool = False


@dataclass(frozen=True)
class Written:
    """What was written, by W&B id, and for which project."""

    project: str
    entity: str | None = None
    group: str | None = None
    runs: dict[str, Mark] = field(default_factory=dict)


def log_file(out: Path, wandb_id: str) -> Path:
    return out / FOLDER / f"offline-run-{wandb_id}" / f"run-{wandb_id}.wandb"


def log_files(out: Path) -> dict[str, Path]:
    """W&B id -> file, of all that is there."""
    paths = sorted((out / FOLDER).glob("offline-run-*/run-*.wandb"))
    return {path.name.removeprefix("run-").removesuffix(".wandb"): path for path in paths}


def is_uploaded(path: Path) -> bool:
    """Whether `wandb sync` has left its mark, whoever called it."""
    return path.with_name(f"{path.name}.synced").exists()


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Hold DIR/wandb. Raises Locked where another process does."""
    (out / FOLDER).mkdir(exist_ok=True)
    with locked(out / FOLDER, "writes"):
        yield


def keep_log(out: Path, wandb_id: str, log: Path) -> Path:
    """Put a finished log where it belongs: whole, flushed to disk, with its checksum."""
    path, data = log_file(out, wandb_id), log.read_bytes()
    write_view(path, lambda temporary: temporary.write_bytes(data))
    return path


def read_written(out: Path) -> Written | None:
    """The list of what was written; None where nothing was. Raises Damaged."""
    path = out / FOLDER / LIST
    if not path.exists():
        return None
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise Damaged(path, f"format {value.get('format')}, this version reads {FORMAT}")
    runs = {wandb_id: Mark(**mark) for wandb_id, mark in value["runs"].items()}
    return Written(value["project"], value["entity"], value["group"], runs)


def add_marks(out: Path, written: Written, marks: dict[str, Mark]) -> Written:
    """The list with more marks, on disk: after this, what they name is never written again."""
    if not marks:
        return written
    flush(out / FOLDER)
    written = replace(written, runs=written.runs | marks)
    write_json(out / FOLDER / LIST, {"format": FORMAT} | asdict(written))
    return written


def is_ours(parts: tuple[str, ...]) -> bool:
    """Whether a file in DIR/wandb holds nothing to check: the lock, and what W&B's own commands leave."""
    return parts == (FOLDER, "lock") or (parts[0] == FOLDER and THEIRS.fullmatch(parts[-1]) is not None)
