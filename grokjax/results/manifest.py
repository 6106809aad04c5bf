"""plan.json: the runs of a results directory, with every resolved value, and how they are trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokjax.results.files import write_text
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.plan import Bucket, Plan
from grokjax.sweep.shapes import parameter_shapes
from grokjax.sweep.spec import RunSpec

FORMAT = 2


def describe_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values. Values that all runs share stand once, in `common`."""
    placed = {run.run_id: chunk for chunk in plan.chunks for run in chunk.runs}
    values = {run.run_id: dotted_values(run.spec) for run in plan.sweep.runs}
    first = next(iter(values.values()))
    keys = list(dict.fromkeys(key for row in values.values() for key in row))
    common = {key: value for key, value in first.items() if all(_has(row, key, value) for row in values.values())}
    runs = [
        {
            "run_id": run.run_id,
            "arms": list(run.arms),
            "chunk": placed[run.run_id].index,
            "values": {key: value for key, value in values[run.run_id].items() if key not in common},
        }
        for run in plan.sweep.runs
    ]
    plain = {
        "format": FORMAT,
        "name": plan.sweep.name,
        "set": plan.sweep.overrides,
        "axes": {arm: list(keys) for arm, keys in plan.sweep.axes.items()},
        "device": asdict(plan.device),
        "tuning": {key: asdict(tuned) for key, tuned in plan.tuning.items()},
        "buckets": [_describe_bucket(bucket) for bucket in plan.buckets],
        "chunks": [chunk.bucket.index for chunk in plan.chunks],
        "keys": keys,
        "common": common,
        "runs": runs,
    }
    return json.loads(json.dumps(plain, default=str))


def _describe_bucket(bucket: Bucket) -> dict[str, Any]:
    return {
        "runs": len(bucket.runs),
        "width": bucket.width,
        "queue": bucket.queue,
        "schedule": asdict(bucket.schedule),
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
    """plan.json of a results directory. Raises SweepError if there is none, or it is not ours."""
    path = out / "plan.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
        return manifest
    except FileNotFoundError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is no results directory: it has no plan.json")]) from None
    except NotADirectoryError:
        raise SweepError([Mistake(str(out), 0, 0, "", "is a file, not a results directory")]) from None
    except (ValueError, KeyError, TypeError) as error:
        raise SweepError([Mistake(str(path), 0, 0, "", f"cannot be read as a plan: {error}")]) from None


def settle(plan: Plan, out: Path) -> None:
    """Make `out` the directory of this plan: written if new, checked to be the same if not.

    Raises SweepError if another sweep, or the same one on another device, was begun there.
    """
    wanted = describe_plan(plan)
    if (out / "plan.json").exists():
        differences = compare(read_manifest(out), wanted)
        if differences:
            what = "holds another sweep, so nothing was changed; give another --out, or remove it. " + differences
            raise SweepError([Mistake(str(out), 0, 0, "", what)])
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SweepError([Mistake(str(out), 0, 0, "", "exists and is no results directory; give another --out")])
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "sweep.yaml", plan.sweep.text)
    write_text(out / "plan.json", json.dumps(wanted, indent=1) + "\n")


def compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs between two plans, in words; empty if nothing does."""
    if old == new:
        return ""
    before, after = ({run["run_id"] for run in plan["runs"]} for plan in (old, new))
    parts = []
    if before != after:
        parts.append(f"{len(before - after)} of its runs are gone, {len(after - before)} are new")
    changed = [
        f"{key} {old['common'].get(key)!r} -> {new['common'].get(key)!r}"
        for key in sorted(old["common"].keys() | new["common"].keys())
        if old["common"].get(key) != new["common"].get(key)
    ]
    parts += changed[:8]
    if old["device"] != new["device"]:
        parts.append(f"device {_device(old)} -> {_device(new)}")
    return "Different: " + ("; ".join(parts) or "how its runs are grouped into lanes")


def _device(plan: dict[str, Any]) -> str:
    device = plan["device"]
    return f"{device['count']} x {device['kind']} ({device['versions']})"
