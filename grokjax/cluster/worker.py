"""A worker: a process, anywhere, that trains chunks of a results directory. It needs no other, and locks nothing."""

from __future__ import annotations

import socket
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grokjax.plan.plan import Chunk, Device
from grokjax.planning import check_matmuls, prepare_jax
from grokjax.stopping import Interrupted
from grokjax.sweep.load import Mistake, SweepError
from grokjax.training import Trainer, families_to_train, train_chunk

if TYPE_CHECKING:
    from grokjax.results.manifest import Manifest
    from grokjax.spec.section import Families

Say = Callable[[str], None]


class WorkerError(Exception):
    """A chunk that a worker could not train: who, which chunk, and what to do, in one line."""


@dataclass(frozen=True)
class Part:
    """Every `count`th chunk from the `index`th on."""

    index: int = 0
    count: int = 1

    def chunks(self, manifest: Manifest) -> list[int]:
        """Their numbers, those of one bucket after each other."""
        mine = range(self.index, len(manifest.chunks), self.count)
        return sorted(mine, key=lambda index: (manifest.chunks[index].bucket, index))


@dataclass
class Worker:
    """What a worker keeps: the program that it compiled last. manifest: of the directory, with the runs of a part of it
    only: of a million runs a worker reads those that it trains. explain: an error in a line."""

    manifest: Manifest
    families: Families | None
    trainer: Trainer
    explain: Callable[[BaseException], str]
    say: Say = print

    @property
    def out(self) -> Path:
        return self.trainer.out


def open_worker(where: str | Path, other_device: bool, explain: Callable[[BaseException], str], say: Say) -> Worker:
    """A worker of a results directory that was planned. Raises SweepError where it is none, or was planned for another
    kind of device, unless other_device allows that, or needs a dot algorithm that the devices here lack.

    where: its path, or its address in a bucket.
    """
    from grokjax.results.chunk_plan import chunk_manifest
    from grokjax.results.copies import copy_to_train, place_of

    out = place_of(where, copy_to_train)
    manifest = chunk_manifest(out, 0)
    check_layout(out)
    prepare_jax(manifest.device.count if manifest.device.platform == "cpu" else None)
    from grokjax.engine.devices import describe_device

    check_device(out, manifest.device, describe_device(), other_device)
    check_matmuls(manifest.matmuls, str(out))
    return Worker(manifest, families_to_train(manifest, say), Trainer(manifest, say=say), explain, say)


def check_layout(out: Path) -> None:
    """Raises SweepError for a directory up to format 5, in which there is no room for two processes."""
    from grokjax.results.layout import is_flat

    if (out / "plan.json").exists() and is_flat(out):
        what = "was begun by an earlier version of grokjax, and is finished by one process: grokjax run, without --on"
        raise SweepError([Mistake(str(out), 0, 0, "", what)])


def check_device(out: Path, planned: Device, here: Device, allowed: bool) -> None:
    """Raises SweepError unless this machine's devices are of the kind, number and versions of the plan."""
    if (planned.text, planned.platform) != (here.text, here.platform) and not allowed:
        what = (
            f"was planned for {planned.text}; here is {here.text}. To train it here all the same give --other-device: "
            "lanes stay as planned, but bits are no longer those of the planned kind"
        )
        raise SweepError([Mistake(str(out), 0, 0, "", what)])


def work(worker: Worker, part: Part, stop: Callable[[], bool]) -> None:
    """Train all chunks of a part that are not done. Raises WorkerError, after the others were tried, and Interrupted
    where a stop was asked for: by `stop`, or by DIR/stop."""
    failed, mine = [], part.chunks(worker.manifest)
    worker.trainer.coming = partial(_coming, worker, mine)
    for index in mine:
        try:
            train_one(worker, index, stop)
        except WorkerError as error:
            failed.append(str(error))
            worker.say(str(error))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise WorkerError(f"{failed[0]}{more}")


def _coming(worker: Worker, mine: list[int], bucket: int) -> tuple[int, Callable[[], Chunk]] | None:
    """The bucket after one, and the first chunk of it (see `Trainer`)."""
    from grokjax.results.chunk_plan import chunk_plan

    chunks = worker.manifest.chunks
    at = bisect_right(mine, bucket, key=lambda index: chunks[index].bucket)
    if at == len(mine):
        return None
    return chunks[mine[at]].bucket, partial(chunk_plan, worker.out, mine[at], worker.families)


def train_one(worker: Worker, index: int, stop: Callable[[], bool]) -> None:
    """Train a chunk, and before it those that its runs go on with. Raises WorkerError, and Interrupted."""
    from grokjax.results.bucket import name_of
    from grokjax.results.commits import read_commit
    from grokjax.results.layout import home_of
    from grokjax.results.shipping import fetch_home
    from grokjax.results.workers import is_asked_to_stop, note_failure

    out = worker.out
    begun = time.monotonic()
    try:
        fetch_home(out, index)
        if read_commit(home_of(out, index)):
            return
        chunk = _take(worker, index)
        for earlier in _needed(worker.trainer.manifest, chunk):
            train_one(worker, earlier, stop)
            chunk = _take(worker, index)
        worker.say(f"chunk {index}: {len(chunk.runs)} runs")
        ended = train_chunk(worker.trainer, chunk, lambda: stop() or is_asked_to_stop(out))
    except (WorkerError, Interrupted):
        raise
    except Exception as error:
        what = worker.explain(error)
        note_failure(out, index, what)
        raise WorkerError(f"chunk {index} on {socket.gethostname()}: {what}") from error
    if not ended:
        raise Interrupted(out, f"grokjax work {name_of(out)}", name_of(out))
    worker.say(f"chunk {index}: done in {time.monotonic() - begun:.0f} s")


def _take(worker: Worker, index: int) -> Chunk:
    """A chunk, with what is to be known of its runs: of those that go on with others, of these too."""
    from grokjax.results.chunk_plan import chunk_manifest, chunk_plan
    from grokjax.results.manifest import read_manifest

    manifest = chunk_manifest(worker.out, index)
    if any(run_id in manifest.continues for run_id in manifest.chunks[index].run_ids):
        manifest = read_manifest(worker.out)
    worker.trainer.take(manifest)
    return chunk_plan(worker.out, index, worker.families)


def _needed(manifest: Manifest, chunk: Chunk) -> list[int]:
    """Chunks with shorter runs that the runs of this one go on with, which must have ended before."""
    earlier = [manifest.continues[run.run_id] for run in chunk.runs if run.run_id in manifest.continues]
    return sorted({manifest.chunk_of[run_id] for run_id in earlier})


def parse_part(text: str) -> Part:
    """`3/32`. Raises ValueError."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"--part is K/N with K from 0 to N - 1, as 3/32, not {text!r}")
    return Part(int(index), int(count))


def part_of_environment(environment: dict[str, str]) -> Part:
    """The part that a job array gives its task: SLURM's, or that of an indexed Job of Kubernetes; else all."""
    for index, count in (
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
        ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ):
        if environment.get(index, "").isdecimal() and environment.get(count, "").isdecimal():
            return Part(int(environment[index]) % int(environment[count]), int(environment[count]))
    return Part()
