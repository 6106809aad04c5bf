"""plan.json: the runs of a results directory, with every resolved value, and how they are trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokjax.results.files import RUN_ID, Damaged, read_json, write_json, write_whole
from grokjax.sweep.expand import Run, Sweep
from grokjax.sweep.identity import run_id
from grokjax.sweep.keys import split_key
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.parents import Origin
from grokjax.sweep.plan import Bucket, Chunk, Device, Plan, Schedule
from grokjax.sweep.shapes import parameter_shapes
from grokjax.sweep.spec import RunSpec
from grokjax.sweep.tuning import tuned_from

FORMAT = 3
FOLDERS = ("curves", "snapshots", "checkpoints", "figures", "replays", "report", "wandb")


def describe_plan(plan: Plan, machines: Sequence[Device]) -> dict[str, Any]:
    """The plan as JSON values. Values that all runs share stand once, in `common`.

    machines: what it was trained on, one after the other.
    """
    now = {run.run_id for run in plan.sweep.runs}
    earlier = [run for chunk in plan.chunks for run in chunk.runs if run.run_id not in now]
    runs = [*plan.sweep.runs, *earlier]
    values = {run.run_id: dotted_values(run.spec) for run in runs}
    first = next(iter(values.values()))
    keys = list(dict.fromkeys(key for row in values.values() for key in row))
    common = {key: value for key, value in first.items() if all(_has(row, key, value) for row in values.values())}
    rows = [
        {
            "run_id": run.run_id,
            "arms": list(run.arms),
            "values": {key: value for key, value in values[run.run_id].items() if key not in common},
        }
        | ({"origin": asdict(run.origin)} if run.origin else {})
        for run in runs
    ]
    plain = {
        "format": FORMAT,
        "name": plan.sweep.name,
        "sweep": plan.sweep.text,
        "set": plan.sweep.overrides,
        "axes": {arm: list(keys) for arm, keys in plan.sweep.axes.items()},
        "device": asdict(plan.device),
        "machines": [asdict(machine) for machine in machines],
        "tuning": {key: asdict(tuned) for key, tuned in plan.tuning.items()},
        "buckets": [_describe_bucket(bucket) for bucket in plan.buckets],
        "chunks": [{"bucket": chunk.bucket.index, "runs": [run.run_id for run in chunk.runs]} for chunk in plan.chunks],
        "continues": plan.continues,
        "keys": keys,
        "common": common,
        "runs": rows[: len(now)],
        "earlier": rows[len(now) :],
    }
    return json.loads(json.dumps(plain, default=str))


def _describe_bucket(bucket: Bucket) -> dict[str, Any]:
    return {
        "width": bucket.width,
        "queue": bucket.queue,
        "schedule": asdict(bucket.schedule),
        "memory": bucket.memory,
        "tuned": bucket.tuned,
        "parameters": {name: list(shape) for name, shape in parameter_shapes(bucket.spec).items()},
    }


def dotted_values(spec: RunSpec) -> dict[str, Any]:
    """Every resolved value by its dotted key; lists stay lists, empty mappings have none."""
    flat: dict[str, Any] = {}

    def walk(node: dict[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    walk(spec.model_dump(), "")
    return flat


def _has(row: dict[str, Any], key: str, value: Any) -> bool:
    return key in row and row[key] == value and type(row[key]) is type(value)


def read_manifest(out: Path) -> dict[str, Any]:
    """plan.json of a results directory. Raises SweepError if there is none, or it is not ours, and Damaged."""
    path = out / "plan.json"
    try:
        for name in FOLDERS:
            if (out / name).is_symlink():
                raise ValueError(f"{name} is a symbolic link, which could lead out of the directory; replace it")
        if b'"format": 2' in path.read_bytes()[:40]:
            raise ValueError(f"it was written by an earlier version of grokjax; this one reads format {FORMAT}")
        manifest = read_json(path)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
        return manifest
    except FileNotFoundError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is no results directory: it has no plan.json")]) from None
    except NotADirectoryError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is a file, not a results directory")]) from None
    except (ValueError, KeyError, TypeError) as error:
        raise SweepError([Mistake(str(path), 0, 0, "", f"cannot be read as a plan: {error}")]) from None


def stored_plan(out: Path) -> Plan:
    """The plan of a results directory, as it was made: nothing is planned anew. Raises SweepError and Damaged."""
    manifest = read_manifest(out)
    try:
        return _rebuild(manifest)
    except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise Damaged(out / "plan.json", f"it makes no sense: {error}") from None


def _rebuild(manifest: dict[str, Any]) -> Plan:
    common = manifest["common"]
    runs = {row["run_id"]: _run(row, common) for row in [*manifest["runs"], *manifest["earlier"]]}
    parts = [(chunk["bucket"], tuple(runs[run_id] for run_id in chunk["runs"])) for chunk in manifest["chunks"]]
    buckets = []
    for index, row in enumerate(manifest["buckets"]):
        own = tuple(run for bucket, queue in parts if bucket == index for run in queue)
        kept = {key: row[key] for key in ("width", "queue", "memory", "tuned")}
        buckets.append(Bucket(index, own[0].spec, own, schedule=Schedule(**row["schedule"]), **kept))
    sweep = Sweep(
        manifest["name"],
        manifest["sweep"],
        manifest["set"],
        tuple(runs[row["run_id"]] for row in manifest["runs"]),
        {arm: tuple(keys) for arm, keys in manifest["axes"].items()},
        (),
    )
    chunks = tuple(Chunk(index, buckets[bucket], queue) for index, (bucket, queue) in enumerate(parts))
    device, tuning = Device(**manifest["device"]), tuned_from(manifest["tuning"])
    return Plan(sweep, device, tuple(buckets), chunks, tuning, manifest["continues"])


def _run(row: dict[str, Any], common: dict[str, Any]) -> Run:
    """The run of a stored row. Its id must be that of its values: nothing else is used as a name later."""
    nested: dict[str, Any] = {}
    for key, value in (common | row["values"]).items():
        *above, last = split_key(key)
        node = nested
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    spec = RunSpec.model_validate(nested)
    origin = Origin(**row["origin"] | {"lineage": tuple(row["origin"]["lineage"])}) if "origin" in row else None
    found = run_id(spec, origin) if spec.init.from_file is None else row["run_id"]  # of a file only the digest counts
    if found != row["run_id"] or not RUN_ID.fullmatch(found):
        raise ValueError(f"run {row['run_id']} has the values of run {found}")
    return Run(found, spec, tuple(row["arms"]), origin)


def run_of(manifest: dict[str, Any], run_id: str) -> Run:
    """A run of a stored plan, with its resolved values."""
    rows = [*manifest["runs"], *manifest["earlier"]]
    return _run(next(row for row in rows if row["run_id"] == run_id), manifest["common"])


def machines_of(out: Path) -> list[Device]:
    """What a results directory was trained on so far."""
    return [Device(**machine) for machine in read_manifest(out)["machines"]]


def settle(plan: Plan, out: Path, machines: Iterable[Device]) -> None:
    """Make `out` the directory of this plan: plan.json first, then sweep.yaml, which is a copy for people."""
    wanted = describe_plan(plan, list(machines))
    if not (out / "plan.json").exists() or read_manifest(out) != wanted:
        write_json(out / "plan.json", wanted)
    copy = out / "sweep.yaml"
    if not copy.exists() or copy.read_bytes() != plan.sweep.text.encode():
        write_whole(copy, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
