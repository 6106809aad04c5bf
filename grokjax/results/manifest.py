"""plan.json: the runs of a results directory, with every resolved value, and how they are trained.

It is read and checked once a command, into a `Manifest`; the `Plan` that is trained is made of that. plan.json itself
is small: the runs lie beside it by column (`shards.py`), and are made into objects when they are asked for. A worker
reads those of its chunk alone (`chunk_plan.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokjax.plan.plan import Bucket, Chunk, Device, Plan, Schedule
from grokjax.plan.tuning import Tuned, tuned_from
from grokjax.results.files import Damaged, read_json
from grokjax.results.formats import FORMAT, from_one_file, upgraded
from grokjax.results.lock import NAME as LOCK
from grokjax.results.plan_check import check_head, check_rows, check_whole
from grokjax.results.rebuild import SpecMaker
from grokjax.results.run_table import NONE, ChunkOf, EveryRun, RunsInOrder, RunTable, StoredRun
from grokjax.results.shards import FOLDER, Shard, read_shards, shards_of
from grokjax.results.workers import SLURM
from grokjax.spec.memo import nothing_is_garbage
from grokjax.spec.section import Families
from grokjax.spec.tasks import Sizes
from grokjax.spec.wording import some_of
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.run import Run, Sweep

NONSENSE = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration, RecursionError,
    pa.ArrowException,
)  # fmt: skip
FOLDERS = ("chunks", "curves", "snapshots", "checkpoints", "figures", "replays", "report", "wandb", FOLDER)


@dataclass(frozen=True)
class StoredBucket:
    """How the runs of one program are trained."""

    width: int
    queue: int
    schedule: Schedule
    memory: int
    tuned: bool
    parameters: dict[str, tuple[int, ...]]  # name -> shape
    sizes: Sizes | None  # None: not stored, and of a family that is not known here


@dataclass(frozen=True)
class StoredChunk:
    """The runs that one process trains, which follow each other, and the number of their bucket."""

    bucket: int
    start: int  # its first row
    stop: int
    ids: pa.StringArray = field(repr=False, compare=False)  # of all rows

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        return tuple(self.ids[self.start : self.stop].to_pylist())


@dataclass(frozen=True)
class Manifest:
    """What the stored plan says, checked."""

    path: Path
    name: str
    text: str  # of the sweep file
    overrides: dict[str, Any]
    axes: dict[str, tuple[str, ...]]  # arm -> the keys that it varies
    keys: tuple[str, ...]  # of all runs' values, in the order that they are shown in
    device: Device
    machines: tuple[Device, ...]  # that it was trained on, one after the other
    tuning: dict[str, Tuned]
    buckets: tuple[StoredBucket, ...]
    chunks: tuple[StoredChunk, ...]
    table: RunTable  # those too that an earlier form of the sweep had
    format: int = field(compare=False)  # of the files
    shards: tuple[Shard, ...] = field(compare=False)

    @cached_property
    def order(self) -> np.ndarray:
        """The rows of the sweep's runs, in its order."""
        rows = np.flatnonzero(self.table.place != NONE)
        return rows[np.argsort(self.table.place[rows], kind="stable")]

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        """Of the sweep, in its order."""
        return tuple(self.table.ids.take(self.order).to_pylist())

    @property
    def runs(self) -> Sequence[StoredRun]:
        """The sweep's, in its order."""
        return RunsInOrder(self.table, self.order)

    @property
    def every_run(self) -> Mapping[str, StoredRun]:
        """Run id -> run, those too that an earlier form of the sweep had."""
        return EveryRun(self.table)

    @cached_property
    def chunk_of(self) -> Mapping[str, int]:
        """run id -> the chunk that trains it."""
        return ChunkOf(self.table, np.array([chunk.start for chunk in self.chunks], np.int64))

    @cached_property
    def chunk_of_rows(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.chunks)), [chunk.stop - chunk.start for chunk in self.chunks])

    def place_of(self, run_ids: pa.Array) -> np.ndarray:
        """The place of each run in the sweep's order; NONE: it is not one of the sweep's."""
        rows = self.table.rows_of(run_ids)
        return np.where(rows == NONE, NONE, self.table.place[rows])

    def chunks_with(self, run_ids: Sequence[str] | None) -> list[int]:
        """Those that train some runs; None: the sweep's, which may be a few of all (see `only`)."""
        rows = self.order if run_ids is None else self.table.rows_of(pa.array(run_ids, pa.string()))
        starts = np.array([chunk.start for chunk in self.chunks], np.int64)
        return np.unique(np.searchsorted(starts, rows[rows != NONE], side="right") - 1).tolist()

    @cached_property
    def continues(self) -> dict[str, str]:
        """Run id -> the shorter run that it goes on with."""
        later = self.table.ids.filter(self.table.continues.is_valid())
        return dict(zip(later.to_pylist(), self.table.continues.drop_null().to_pylist(), strict=True))

    @cached_property
    def common(self) -> dict[str, Any]:
        """Values that all runs share."""
        columns = {key: self.table.column(key) for key in self.keys}
        same = {key: column for key, column in columns.items() if (column.codes == column.codes[0]).all()}
        return {key: column[0] for key, column in same.items() if column.codes[0] != NONE}

    @property
    def uses(self) -> str | None:
        """The user's file of families of their own, if the sweep has one."""
        column = self.table.column("uses.file")
        return column.levels[column.used[0]] if column.used else None

    @property
    def matmuls(self) -> list[str]:
        """What its programs ask for as `numerics.matmul`."""
        return [values["numerics.matmul"] for values in self.table.common]

    def only(self, run_ids: Sequence[str], axes: dict[str, tuple[str, ...]]) -> Manifest:
        """As if the sweep had these runs only, in this order, and these axes."""
        place = np.full(len(self.table), NONE, np.int64)
        place[[self.table.row_of(run_id) for run_id in run_ids]] = np.arange(len(run_ids))
        return replace(self, table=replace(self.table, place=place), axes=axes)

    def bucket_of(self, run_id: str) -> StoredBucket:
        return self.buckets[int(self.table.bucket[self.table.row_of(run_id)])]

    def run(self, run_id: str) -> Run:
        """A run with its spec; families of a user's file are taken as they stand."""
        stored, specs = self.every_run[run_id], SpecMaker()
        spec = specs.spec_of(stored.values)
        specs.check_id(run_id, spec, stored.origin)
        return Run(run_id, spec, stored.arms, stored.origin)

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was made: nothing is planned anew, and no code of a user's file is run. Raises Damaged."""
        return self.plan_with(None)

    def plan_with(self, families: Families | None) -> Plan:
        """The plan, to be trained with these families. Raises Damaged."""
        try:
            with nothing_is_garbage():
                return _rebuild(self, SpecMaker(families))
        except NONSENSE as error:
            raise Damaged(self.path, f"it makes no sense: {str(error)[:300]}") from None


def _inside(folder: Path) -> str:
    """'; there is a/b' where results directories lie in a folder that is none, or what is to make it one."""
    if (folder / SLURM).is_dir():
        return f"; a job of SLURM is to plan it, and prints to {folder / SLURM}"
    found = sorted(str(plan.parent) for plan in folder.glob("*/plan.json"))
    return f"; there is {some_of(found, 3)}" if found else ""


def read_manifest(out: Path) -> Manifest:
    """Raises SweepError if there is no plan.json, or it is not ours, and Damaged."""
    path = out / "plan.json"
    with telling_nonsense(out):
        refuse_links(out)
        raw = upgraded(read_json(path))
        if raw["format"] != FORMAT:
            head, table = from_one_file(raw)
            check_head(head)
        else:
            head = raw
            check_head(head)
            table = read_rows(out, head, shards_of(head["shards"]), 0)
        check_rows(head, table)
        check_whole(table)
        return manifest_of(path, head, table)


@contextmanager
def telling_nonsense(out: Path) -> Iterator[None]:
    """What is wrong with a plan that is being read. Raises SweepError."""
    try:
        yield
    except FileNotFoundError:
        what = f"is no results directory: it has no plan.json{_inside(out)}"
        raise SweepError([Mistake(str(out), 0, 0, "", what)]) from None
    except NotADirectoryError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is a file, not a results directory")]) from None
    except NONSENSE as error:
        what = f"cannot be read as a plan: {str(error)[:300]}"
        raise SweepError([Mistake(str(out / "plan.json"), 0, 0, "", what)]) from None


def read_rows(out: Path, head: dict[str, Any], shards: Sequence[Shard], first: int) -> RunTable:
    """The runs of some shards that follow each other. first: their first row. Raises Damaged."""
    counts = [chunk["runs"] for chunk in head["chunks"]]
    rows = sum(shard.rows for shard in shards)
    if sum(counts) != sum(shard.rows for shard in shards_of(head["shards"])):
        raise ValueError("its runs are not those of its chunks")
    starts = np.concatenate([[0], np.cumsum(counts)])
    chunks = np.searchsorted(starts, np.arange(first, first + rows), side="right") - 1
    buckets = np.array([chunk["bucket"] for chunk in head["chunks"]], np.int32)[chunks]
    return read_shards(out, shards, buckets, [bucket["common"] for bucket in head["buckets"]])


def refuse_links(out: Path) -> None:
    """Raises ValueError where a folder of `out`, or the lock, is a link: what is written there would be elsewhere."""
    folders = [out / name for name in FOLDERS]
    within = [path for name in ("checkpoints", "replays") if (out / name).is_dir() for path in (out / name).iterdir()]
    for path in [*folders, *within, out / LOCK]:
        if path.is_symlink():
            where = path.relative_to(out)
            raise ValueError(f"{where} is a symbolic link, which could lead out of the directory; replace it")
    for path in (out / "plan.json", out / LOCK):
        if path.exists() and not path.is_file():
            raise ValueError(f"{path.name} is no regular file")


def manifest_of(path: Path, head: dict[str, Any], table: RunTable, first: int = 0) -> Manifest:
    """The manifest of the JSON values of a plan.json and its runs, which must be those of a plan.

    first: of all runs, the number of the table's first, where that is a part of them: other chunks are empty then.
    """
    chunks, start = [], -first
    for chunk in head["chunks"]:
        begin, end = (min(max(at, 0), len(table)) for at in (start, start + chunk["runs"]))
        chunks.append(StoredChunk(chunk["bucket"], begin, end, table.ids))
        start += chunk["runs"]
    return Manifest(
        path=path,
        name=head["name"],
        text=head["sweep"],
        overrides=head["set"],
        axes={arm: tuple(keys) for arm, keys in head["axes"].items()},
        keys=tuple(head["keys"]),
        device=Device(**head["device"]),
        machines=tuple(Device(**machine) for machine in head["machines"]),
        tuning=tuned_from(head["tuning"]),
        buckets=tuple(_stored_bucket(index, bucket, table) for index, bucket in enumerate(head["buckets"])),
        chunks=tuple(chunks),
        table=table,
        format=head["format"],
        shards=tuple(shards_of(head.get("shards", []))),
    )


def _stored_bucket(index: int, raw: dict[str, Any], table: RunTable) -> StoredBucket:
    return StoredBucket(
        sizes=Sizes(**raw["sizes"]) if "sizes" in raw else _sizes(table, index),
        parameters={name: tuple(shape) for name, shape in raw["parameters"].items()},
        **numbers_of_bucket(raw),
    )


def numbers_of_bucket(raw: dict[str, Any]) -> dict[str, Any]:
    """What a stored bucket and a planned one have alike."""
    numbers = {key: raw[key] for key in ("width", "queue", "memory", "tuned")}
    return numbers | {"schedule": Schedule(**raw["schedule"])}


def _sizes(table: RunTable, bucket: int) -> Sizes | None:
    """Of runs whose plan does not say it, as those of earlier versions do not."""
    first = int(np.flatnonzero(table.bucket == bucket)[0])
    try:
        return SpecMaker().spec_of(table.values(first)).task.sizes
    except NotImplementedError:  # a user's own task
        return None


def runs_of_rows(table: RunTable, rows: np.ndarray, specs: SpecMaker) -> list[Run]:
    """Runs with their specs. Raises ValueError where an id is not that of its values."""
    arms = [tuple(names) for names in table.arms.levels]
    runs = []
    for row, run_id, spec in zip(
        rows.tolist(), table.ids.take(rows).to_pylist(), specs.specs_of(table, rows), strict=True
    ):
        origin = table.run(row).origin if table.origin.codes[row] != NONE else None
        specs.check_id(run_id, spec, origin)
        runs.append(Run(run_id, spec, arms[table.arms.codes[row]], origin))
    return runs


def _rebuild(manifest: Manifest, specs: SpecMaker) -> Plan:
    table = manifest.table
    runs = runs_of_rows(table, np.arange(len(table)), specs)
    buckets = []
    for index, stored in enumerate(manifest.buckets):
        members = tuple(runs[row] for row in np.flatnonzero(table.bucket == index).tolist())
        numbers = (stored.width, stored.queue, stored.schedule, stored.memory, stored.tuned)
        buckets.append(Bucket(index, members[0].spec, members, *numbers))
    chunks = tuple(
        Chunk(index, buckets[chunk.bucket], tuple(runs[chunk.start : chunk.stop]))
        for index, chunk in enumerate(manifest.chunks)
    )
    now = tuple(runs[row] for row in manifest.order.tolist())
    sweep = Sweep(manifest.name, manifest.text, manifest.overrides, now, manifest.axes, ())
    return Plan(sweep, manifest.device, tuple(buckets), chunks, manifest.tuning, manifest.continues)
