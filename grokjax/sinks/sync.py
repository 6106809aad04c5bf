"""A results directory to W&B: what has ended and is not there yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from grokjax.analysis.curve_batches import in_batches, read_curves
from grokjax.analysis.thinning import kept_records
from grokjax.results.follow import follow
from grokjax.results.read import Results
from grokjax.results.times import from_first_to_last, training_times
from grokjax.results.written import FOLDER, Mark, Written, add_marks, is_uploaded, keep_log, log_files, read_written
from grokjax.results.written import writing as locked_wandb
from grokjax.sinks import logs
from grokjax.sinks.cells import cell_histories
from grokjax.sinks.heads import CELL, cell_heads, run_heads
from grokjax.sinks.page import Head, History, history
from grokjax.spec.wording import count_text

Mode = Literal["offline", "online"]
Say = Callable[[str], None]
ROWS = 200
FEWEST_ROWS = 4
MARK_EVERY = 25  # W&B runs; a kill costs at most so many, which are written over at the next sync
SWEEP = "sweep-"  # begins the ids of the runs that showed a sweep live


@dataclass(frozen=True)
class Options:
    """project: default WANDB_PROJECT, or grokjax. group: default the sweep's name. mode: default online where W&B
    finds an API key. rows: records of a run's history, besides those around events. cells_only: no single runs."""

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    mode: Mode | None = None
    rows: int = ROWS
    cells_only: bool = False


def sync(results: Results, options: Options, say: Say) -> str:
    """Write every run and cell that has ended as a W&B run, once, and upload what is not uploaded where the mode is
    online. Returns what kept it from uploading, or nothing.

    Each is written whole to DIR/wandb and then marked in DIR/wandb/written.json; what a kill left unmarked is written
    over at the next sync. Raises ValueError where options contradict what was written before, Locked, Damaged.
    """
    if options.rows < FEWEST_ROWS:
        raise ValueError(f"--rows must be at least {FEWEST_ROWS}, got {options.rows}")
    mode = chosen_mode(options)
    with locked_wandb(results.path):
        written = destination(results, options)
        runs = results.runs()
        heads = [*run_heads(results, runs), *cell_heads(results, runs)]
        chosen = [head for head in heads if head.job_type == CELL or not options.cells_only]
        todo = _missing(results.path, chosen, written)
        for line in _changes(results.path, heads, written, int(runs["outcome"].isna().sum())):
            say(line)
        written = _write(results, todo, written, options.rows)
        say(_count(todo, len(chosen) - len(todo), results.path))
        return _upload(results.path, written, say) if mode == "online" else _later(results.path, say)


def sync_or_tell(results: Results, options: Options, say: Say) -> None:
    """As `sync`, for the end of training: what goes wrong is said, with what to do later."""
    try:
        problem = sync(results, options, say)
    except Exception as error:  # the runs are trained and stored, whatever W&B does
        problem = f"W&B: {str(error) or type(error).__name__}; results are whole, later: grokjax sync {results.path}"
    if problem:
        say(f"note: {problem}")


def checked_mode(mode: str | None) -> Mode | None:
    """Raises ValueError for a mode that there is not."""
    if mode not in (None, "offline", "online"):
        raise ValueError(f"--mode must be offline or online, got {mode!r}")
    return mode


def chosen_mode(options: Options) -> Mode:
    """The mode asked for, or that of WANDB_MODE; else online where there is an API key."""
    if options.mode:
        return options.mode
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return "online" if asked in ("online", "run", "shared") else "offline"
    return "online" if logs.has_key() else "offline"


def destination(results: Results, options: Options) -> Written:
    """What was written so far, and where it belongs. Raises ValueError if the options say elsewhere."""
    group = options.group or results.manifest.name
    before = read_written(results.path)
    if before is None or not before.runs:
        project = options.project or os.environ.get("WANDB_PROJECT") or "grokjax"
        return Written(project, options.entity, group)
    asked = {"project": options.project, "entity": options.entity, "group": options.group}
    for name, value in asked.items():
        stored = getattr(before, name)
        if value not in (None, stored) and stored is not None:
            raise ValueError(
                f"{results.path / FOLDER} was written for {name} {stored}, not {value}: leave out --{name}, "
                f"or move {results.path / FOLDER} away to write all runs anew"
            )
    return replace(before, entity=before.entity or options.entity)


def target_of(written: Written) -> logs.Target:
    """Where in W&B the runs belong that were written."""
    return logs.Target(written.project, written.entity, written.group or "")


def _missing(out: Path, heads: Sequence[Head], written: Written) -> list[Head]:
    """Not marked; or marked, and the log is gone before it was uploaded or since it says something else."""
    logs_by_id = log_files(out)
    missing = []
    for head in heads:
        mark = written.runs.get(head.wandb_id)
        gone = head.wandb_id not in logs_by_id
        if mark is None or (gone and (not mark.uploaded or mark.digest != head.digest)):
            missing.append(head)
    return missing


def _changes(out: Path, heads: Sequence[Head], written: Written, going: int) -> Iterator[str]:
    """What is not as it was when it was written."""
    if going:
        yield f"{count_text(going, 'run')} not ended yet: left for a later sync"
    now = {head.wandb_id: head for head in heads}
    gone = [mark.name for wandb_id, mark in written.runs.items() if wandb_id not in now]
    if gone:
        yield (
            f"{len(gone)} W&B runs written before are no longer in the sweep, since it was given other steps, values "
            f"or seeds: {_some(gone)}; they stay as they are, and what took their place is written beside them"
        )
    changed = [
        mark.name for wandb_id, mark in written.runs.items() if wandb_id in now and now[wandb_id].digest != mark.digest
    ]
    if changed:
        yield (
            f"{len(changed)} W&B runs written before have other events or values by now: {_some(changed)}; "
            f"to write them again, remove their folders in {out / FOLDER} and sync"
        )


def _write(results: Results, todo: Sequence[Head], written: Written, rows: int) -> Written:
    """Write what is missing. What is marked is on disk, whole."""
    fresh: dict[str, Mark] = {}
    target, times = target_of(written), training_times(results.path) if todo else {}
    try:
        with logs.staging() as folder:
            for head, history in follow(_pages(results, todo, rows), "W&B runs", len(todo)):
                trained = from_first_to_last(head.run_ids, times)
                log = logs.write_log(head, history, target, folder, trained)
                keep_log(results.path, head.wandb_id, log)
                logs.drop(log)
                fresh[head.wandb_id] = Mark(head.name, head.job_type, head.digest)
                if len(fresh) == MARK_EVERY:
                    written, fresh = add_marks(results.path, written, fresh), {}
    finally:
        written = add_marks(results.path, written, fresh)
    return written


def _pages(results: Results, heads: Sequence[Head], rows: int) -> Iterator[tuple[Head, History]]:
    """Runs, then cells; only a few are in memory at a time."""
    of_runs = {head.run_ids[0]: head for head in heads if head.job_type != CELL}
    events = results.events()
    around = {run_id: sorted(set(some)) for run_id, some in events.groupby("run_id")["step"]}
    for batch in in_batches(results, list(of_runs)):
        curves_of = read_curves(results, batch)
        for run_id in batch:
            if run_id not in curves_of:  # it diverged before its first record
                yield of_runs[run_id], []
                continue
            curves = curves_of.pop(run_id)
            rows_kept = kept_records(curves.step, curves.evaluated, rows, around.get(run_id, ()))
            yield of_runs[run_id], history(curves.at(rows_kept))
    yield from cell_histories(results, [head for head in heads if head.job_type == CELL], rows)


def _upload(out: Path, written: Written, say: Say) -> str:
    """Upload what is not uploaded yet, and mark it."""
    files = log_files(out)
    ours = {
        wandb_id: path for wandb_id, path in files.items() if wandb_id in written.runs or wandb_id.startswith(SWEEP)
    }
    done = {wandb_id for wandb_id, mark in written.runs.items() if mark.uploaded}
    left = {wandb_id: path for wandb_id, path in ours.items() if wandb_id not in done and not is_uploaded(path)}
    problem = ""
    if left:
        say(f"uploading {len(left)} W&B runs to project {written.project}")
        problem = logs.upload(list(left.values()), target_of(written)) if logs.has_key() else logs.NO_KEY
    fresh = {
        wandb_id: replace(mark, uploaded=True)
        for wandb_id, mark in written.runs.items()
        if not mark.uploaded and wandb_id in files and is_uploaded(files[wandb_id])
    }
    add_marks(out, written, fresh)
    waiting = sum(not is_uploaded(path) for path in left.values())
    if not waiting:
        say(f"all are uploaded to project {written.project}")
        return ""
    return f"{waiting} W&B runs are not uploaded ({problem}); they are kept in {out / FOLDER}, later: {_command(out)}"


def _later(out: Path, say: Say) -> str:
    waiting = [path for path in log_files(out).values() if not is_uploaded(path)]
    if waiting:
        say(f"nothing was uploaded; when there is a network and an API key (`wandb login`): {_command(out)}")
    return ""


def _command(out: Path) -> str:
    return f"grokjax sync {out} --mode online"


def _count(todo: Sequence[Head], before: int, out: Path) -> str:
    cells = sum(head.job_type == CELL for head in todo)
    earlier = f"; {before} were written before" if before else ""
    if not todo:
        return f"nothing new to write to {out / FOLDER}{earlier}"
    runs = count_text(len(todo) - cells, "run")
    return f"{runs} and {count_text(cells, 'cell')} written to {out / FOLDER}{earlier}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
