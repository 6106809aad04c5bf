"""plan.json: the runs of a results directory, with every resolved value, and how they are trained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokjax.plan.plan import Bucket, Chunk, Device, Plan, Schedule
from grokjax.plan.tuning import tuned_from
from grokjax.results.files import RUN_ID, Damaged, read_json, write_json, write_whole
from grokjax.results.lock import NAME as LOCK
from grokjax.spec.families import validate
from grokjax.spec.identity import run_id
from grokjax.spec.origin import Origin
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.walk import plain
from grokjax.sweep.expand import Run, Sweep
from grokjax.sweep.keys import split_key
from grokjax.sweep.load import Mistake, SweepError

FORMAT = 4
EARLIER = re.compile(rb'"format": [123],?\s')
NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration, RecursionError)
NEEDED = {"train.steps", "stop.after_generalization", "events.fit", "events.generalization", "events.hold"}
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
        | ({"origin": _describe_origin(run.origin)} if run.origin else {})
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

    walk(plain(spec), "")
    return flat


def _has(row: dict[str, Any], key: str, value: Any) -> bool:
    return key in row and row[key] == value and type(row[key]) is type(value)


def read_manifest(out: Path) -> dict[str, Any]:
    """plan.json of a results directory. Raises SweepError if there is none, or it is not ours, and Damaged."""
    path = out / "plan.json"
    try:
        refuse_links(out)
        if EARLIER.search(path.read_bytes()[:150]):
            raise ValueError(f"it was written by an earlier version of grokjax; this one reads format {FORMAT}")
        manifest = read_json(path)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
        _check_manifest(manifest)
        return manifest
    except FileNotFoundError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is no results directory: it has no plan.json")]) from None
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


def _check_manifest(manifest: dict[str, Any]) -> None:
    """What is used without the plan being rebuilt must be of the kinds that it is taken for, and run ids nothing else:
    they become names of files. Raises one of NONSENSE."""
    rows = [*manifest["runs"], *manifest["earlier"]]
    known = {row["run_id"]: manifest["common"] | row["values"] for row in rows}
    placed = [run_id for chunk in manifest["chunks"] for run_id in chunk["runs"]]
    if not all(RUN_ID.fullmatch(run_id) for run_id in known) or sorted(placed) != sorted(known):
        raise ValueError("its runs are not those of its chunks")
    if not manifest["runs"] or len(rows) > len(known) or not all(chunk["runs"] for chunk in manifest["chunks"]):
        raise ValueError("a run stands there twice, or none")
    if not all(_is_plain(value) for values in known.values() for value in values.values()):
        raise ValueError("a value is no number, text or list of them")
    for row in rows:
        origin = row.get("origin", {"begun": 0, "lineage": []})
        if not (
            row["arms"]
            and _texts(row["arms"])
            and type(origin["begun"]) is int
            and _is_plain(origin["begun"])
            and _texts(origin["lineage"])
        ):
            raise ValueError(f"run {row['run_id']} is of no arm, or of no parent")
    for chunk in manifest["chunks"]:
        if type(chunk["bucket"]) is not int or not 0 <= chunk["bucket"] < len(manifest["buckets"]):
            raise ValueError("a chunk is of no bucket")
    for bucket in manifest["buckets"]:
        if type(bucket["schedule"]["round"]) is not int or bucket["schedule"]["round"] < 1:
            raise ValueError("a bucket has no schedule")
        if not all(type(size) is int for shape in bucket["parameters"].values() for size in shape):
            raise ValueError("a bucket has no parameters")
    for later, earlier in manifest["continues"].items():
        if not 0 < known[earlier]["train.steps"] < known[later]["train.steps"]:  # so that no run continues itself
            raise ValueError(f"run {later} goes on with a run that is not shorter")
    if {*manifest["keys"]} != {key for values in known.values() for key in values}:
        raise ValueError("its keys are not those of its runs")
    if not all(values.keys() >= NEEDED for values in known.values()) or not isinstance(manifest["name"], str):
        raise ValueError("it lacks a key")
    if not (_texts(manifest["keys"]) and all(_texts(keys) for keys in manifest["axes"].values())):
        raise ValueError("its keys are no text")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return abs(value) < 2**63 if type(value) is int else value is None or isinstance(value, bool | float | str)


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def stored_plan(out: Path) -> Plan:
    """The plan of a results directory, as it was made: nothing is planned anew. Raises SweepError and Damaged."""
    manifest = read_manifest(out)
    try:
        return _rebuild(manifest)
    except NONSENSE as error:
        raise Damaged(out / "plan.json", f"it makes no sense: {str(error)[:300]}") from None


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
    spec = validate(nested)
    origin = _origin(row["origin"]) if "origin" in row else None
    found = run_id(spec, origin) if spec.init.from_file is None else row["run_id"]  # of a file only the digest counts
    if found != row["run_id"] or not RUN_ID.fullmatch(found):
        raise ValueError(f"run {row['run_id']} has the values of run {found}")
    return Run(found, spec, tuple(row["arms"]), origin)


def _describe_origin(origin: Origin) -> dict[str, Any]:
    return {"digest": origin.digest, "begun": origin.prior_steps, "lineage": list(origin.lineage)}


def _origin(row: dict[str, Any]) -> Origin:
    return Origin(row["digest"], row["begun"], tuple(row["lineage"]))


def run_of(manifest: dict[str, Any], run_id: str) -> Run:
    """A run of a stored plan, with its resolved values."""
    rows = [*manifest["runs"], *manifest["earlier"]]
    return _run(next(row for row in rows if row["run_id"] == run_id), manifest["common"])


def machines_of(out: Path) -> list[Device]:
    """What a results directory was trained on so far."""
    try:
        first, *later = read_manifest(out)["machines"]
        return [Device(**machine) for machine in (first, *later)]
    except NONSENSE as error:
        raise Damaged(out / "plan.json", f"it names no machine: {str(error)[:300]}") from None


def settle(plan: Plan, out: Path, machines: Iterable[Device]) -> None:
    """Make `out` the directory of this plan: plan.json first, then sweep.yaml, which is a copy for people."""
    wanted = describe_plan(plan, list(machines))
    if not (out / "plan.json").exists() or read_manifest(out) != wanted:
        write_json(out / "plan.json", wanted)
    copy = out / "sweep.yaml"
    if not copy.exists() or copy.read_bytes() != plan.sweep.text.encode():
        write_whole(copy, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
