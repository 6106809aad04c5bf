"""plan.json: the runs of a results directory, with every resolved value, and how they are trained.

It is read and checked once a command, into a `Manifest`; the `Plan` that is trained is made of that. Runs are columns
under the program (bucket) that trains them, in the order of its chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grokjax.plan.plan import Bucket, Chunk, Device, Plan, Schedule
from grokjax.plan.tuning import Tuned, tuned_from
from grokjax.results.files import Damaged, read_json
from grokjax.results.formats import as_columns, unshared_values, upgraded
from grokjax.results.lock import NAME as LOCK
from grokjax.results.plan_check import check_plan
from grokjax.results.rebuild import SpecMaker
from grokjax.spec.origin import Origin
from grokjax.spec.section import Families
from grokjax.spec.tasks import Sizes
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.run import Run, Sweep

NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration, RecursionError)
FOLDERS = ("chunks", "curves", "snapshots", "checkpoints", "figures", "replays", "report", "wandb")


@dataclass(frozen=True)
class StoredRun:
    """A run with its resolved values by their dotted keys; `unshared` are those not shared by its whole bucket."""

    run_id: str
    arms: tuple[str, ...]
    values: dict[str, Any]
    origin: Origin | None
    unshared: dict[str, Any]


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
    common: dict[str, Any]  # values that all its runs share
    runs: tuple[StoredRun, ...]  # in the order of its chunks


@dataclass(frozen=True)
class StoredChunk:
    """The runs that one process trains, and the number of their bucket."""

    bucket: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What plan.json says, checked."""

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
    continues: dict[str, str]
    run_ids: tuple[str, ...]  # of the sweep, in its order
    every_run: dict[str, StoredRun]  # those too that an earlier form of the sweep had

    @cached_property
    def runs(self) -> list[StoredRun]:
        """The sweep's, in its order."""
        return [self.every_run[run_id] for run_id in self.run_ids]

    @cached_property
    def chunk_of(self) -> dict[str, int]:
        """run id -> the chunk that trains it."""
        return {run_id: index for index, chunk in enumerate(self.chunks) for run_id in chunk.run_ids}

    @cached_property
    def common(self) -> dict[str, Any]:
        """Values that all runs share."""
        rows = [{"run_id": run.run_id, "arms": [], "values": run.values} for run in self.every_run.values()]
        return as_columns(rows)["common"]

    @property
    def uses(self) -> str | None:
        """The user's file of families of their own, if the sweep has one."""
        return next((run.values["uses.file"] for run in self.runs if "uses.file" in run.values), None)

    def bucket_of(self, run_id: str) -> StoredBucket:
        return self.buckets[self.chunks[self.chunk_of[run_id]].bucket]

    def run(self, run_id: str) -> Run:
        """A run with its spec; families of a user's file are taken as they stand."""
        stored, specs = self.every_run[run_id], SpecMaker()
        (spec,) = specs.specs_of(stored.values, [{}])
        specs.check_id(run_id, spec, stored.origin)
        return Run(run_id, spec, stored.arms, stored.origin)

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was made: nothing is planned anew, and no code of a user's file is run. Raises Damaged."""
        return self.plan_with(None)

    def plan_with(self, families: Families | None) -> Plan:
        """The plan, to be trained with these families. Raises Damaged."""
        try:
            return _rebuild(self, SpecMaker(families))
        except NONSENSE as error:
            raise Damaged(self.path, f"it makes no sense: {str(error)[:300]}") from None


def _inside(folder: Path) -> str:
    """'; there is a/b' where results directories lie in a folder that is none."""
    found = sorted(str(plan.parent) for plan in folder.glob("*/plan.json"))
    return f"; there is {', '.join(found[:3])}{', ...' * (len(found) > 3)}" if found else ""


def read_manifest(out: Path) -> Manifest:
    """Raises SweepError if there is no plan.json, or it is not ours, and Damaged."""
    path = out / "plan.json"
    try:
        refuse_links(out)
        raw = upgraded(read_json(path))
        check_plan(raw)
        return manifest_of(path, raw)
    except FileNotFoundError:
        what = f"is no results directory: it has no plan.json{_inside(out)}"
        raise SweepError([Mistake(str(out), 0, 0, "", what)]) from None
    except NotADirectoryError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is a file, not a results directory")]) from None
    except NONSENSE as error:
        raise SweepError([Mistake(str(path), 0, 0, "", f"cannot be read as a plan: {str(error)[:300]}")]) from None


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


def manifest_of(path: Path, raw: dict[str, Any]) -> Manifest:
    """The manifest of the JSON values of a plan.json, which must be those of a plan."""
    buckets = tuple(_stored_bucket(bucket) for bucket in raw["buckets"])
    waiting = [iter(bucket.runs) for bucket in buckets]
    chunks = []
    for chunk in raw["chunks"]:
        run_ids = tuple(next(waiting[chunk["bucket"]]).run_id for _ in range(chunk["runs"]))
        chunks.append(StoredChunk(chunk["bucket"], run_ids))
    return Manifest(
        path=path,
        name=raw["name"],
        text=raw["sweep"],
        overrides=raw["set"],
        axes={arm: tuple(keys) for arm, keys in raw["axes"].items()},
        keys=tuple(raw["keys"]),
        device=Device(**raw["device"]),
        machines=tuple(Device(**machine) for machine in raw["machines"]),
        tuning=tuned_from(raw["tuning"]),
        buckets=buckets,
        chunks=tuple(chunks),
        continues=raw["continues"],
        run_ids=tuple(raw["runs"]),
        every_run={run.run_id: run for bucket in buckets for run in bucket.runs},
    )


def _stored_bucket(raw: dict[str, Any]) -> StoredBucket:
    numbers = {key: raw[key] for key in ("width", "queue", "memory", "tuned")}
    return StoredBucket(
        sizes=Sizes(**raw["sizes"]) if "sizes" in raw else _sizes(raw["runs"]),
        schedule=Schedule(**raw["schedule"]),
        parameters={name: tuple(shape) for name, shape in raw["parameters"].items()},
        common=raw["runs"]["common"],
        runs=tuple(_stored_runs(raw["runs"])),
        **numbers,
    )


def _sizes(runs: dict[str, Any]) -> Sizes | None:
    """Of runs whose plan does not say it, as those of earlier versions do not."""
    (spec,) = SpecMaker().specs_of(runs["common"], unshared_values(runs)[:1])
    try:
        return spec.task.sizes
    except NotImplementedError:  # a user's own task
        return None


def _stored_runs(raw: dict[str, Any]) -> Iterator[StoredRun]:
    origins = raw.get("origin", [None] * len(raw["run_id"]))
    for run_id, arms, unshared, origin in zip(raw["run_id"], raw["arms"], unshared_values(raw), origins, strict=True):
        yield StoredRun(run_id, tuple(arms), raw["common"] | unshared, _origin(origin) if origin else None, unshared)


def _rebuild(manifest: Manifest, specs: SpecMaker) -> Plan:
    runs: dict[str, Run] = {}
    buckets = []
    for index, stored in enumerate(manifest.buckets):
        bucket_specs = specs.specs_of(stored.common, [run.unshared for run in stored.runs])
        for run, spec in zip(stored.runs, bucket_specs, strict=True):
            specs.check_id(run.run_id, spec, run.origin)
            runs[run.run_id] = Run(run.run_id, spec, run.arms, run.origin)
        members = tuple(runs[run.run_id] for run in stored.runs)
        numbers = (stored.width, stored.queue, stored.schedule, stored.memory, stored.tuned)
        buckets.append(Bucket(index, members[0].spec, members, *numbers))
    chunks = [
        Chunk(index, buckets[chunk.bucket], tuple(runs[run_id] for run_id in chunk.run_ids))
        for index, chunk in enumerate(manifest.chunks)
    ]
    now = tuple(runs[run_id] for run_id in manifest.run_ids)
    sweep = Sweep(manifest.name, manifest.text, manifest.overrides, now, manifest.axes, ())
    return Plan(sweep, manifest.device, tuple(buckets), tuple(chunks), manifest.tuning, manifest.continues)


def _origin(row: dict[str, Any]) -> Origin:
    return Origin(row["digest"], row["begun"], tuple(row["lineage"]))
