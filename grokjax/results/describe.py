"""plan.json as it is written: a plan as JSON values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokjax.plan.plan import Bucket, Device, Plan
from grokjax.results.files import write_json, write_whole
from grokjax.results.formats import FORMAT, as_columns
from grokjax.results.layout import CHUNKS
from grokjax.results.manifest import Manifest, manifest_of
from grokjax.spec.memo import Memo
from grokjax.spec.origin import Origin
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Section
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.walk import dotted, fields_of, plain
from grokjax.sweep.run import Run


def _describe_origin(origin: Origin) -> dict[str, Any]:
    return {"digest": origin.digest, "begun": origin.prior_steps, "lineage": list(origin.lineage)}


def describe_plan(plan: Plan, machines: Sequence[Device]) -> dict[str, Any]:
    """The plan as JSON values.

    machines: what it was trained on, one after the other.
    """
    memo = Memo()
    now = {run.run_id: run for run in plan.sweep.runs}
    planned = {run.run_id: run for bucket in plan.buckets for run in bucket.runs}
    runs = now | {run_id: run for run_id, run in planned.items() if run_id not in now}  # thresholds and arms as of now
    values = {run_id: dotted_values(run.spec, memo) for run_id, run in runs.items()}
    described = {
        "format": FORMAT,
        "name": plan.sweep.name,
        "sweep": plan.sweep.text,
        "set": plan.sweep.overrides,
        "axes": {arm: list(keys) for arm, keys in plan.sweep.axes.items()},
        "device": asdict(plan.device),
        "machines": [asdict(machine) for machine in machines],
        "tuning": {key: asdict(tuned) for key, tuned in plan.tuning.items()},
        "keys": list(dict.fromkeys(key for row in values.values() for key in row)),
        "buckets": [_describe_bucket(bucket, plan, runs, values) for bucket in plan.buckets],
        "chunks": [{"bucket": chunk.bucket.index, "runs": len(chunk.runs)} for chunk in plan.chunks],
        "continues": plan.continues,
        "runs": list(now),
    }
    return json.loads(json.dumps(described, default=str))


def _describe_bucket(
    bucket: Bucket, plan: Plan, runs: dict[str, Run], values: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    rows = []
    members = [run.run_id for chunk in plan.chunks if chunk.bucket is bucket for run in chunk.runs]
    for run_id in members:
        run = runs[run_id]
        row: dict[str, Any] = {"run_id": run_id, "arms": list(run.arms), "values": values[run_id]}
        if run.origin:
            row["origin"] = _describe_origin(run.origin)
        rows.append(row)
    return {
        "width": bucket.width,
        "queue": bucket.queue,
        "schedule": asdict(bucket.schedule),
        "memory": bucket.memory,
        "tuned": bucket.tuned,
        "sizes": bucket.spec.task.sizes._asdict(),
        "parameters": {name: list(shape) for name, shape in parameter_shapes(bucket.spec).items()},
        "runs": as_columns(rows),
    }


def dotted_values(spec: RunSpec, memo: Memo | None = None) -> dict[str, Any]:
    """Every resolved value by its dotted key; lists stay lists, empty mappings have none.

    memo: kept from run to run where many are described.
    """
    memo = memo or Memo()
    flat: dict[str, Any] = {}
    for name in fields_of(RunSpec):
        value = getattr(spec, name)
        if isinstance(value, Section):
            flat |= {f"{name}.{key}": item for key, item in memo.of(_dotted, value).items()}
        elif name != "uses":
            flat[name] = value
    return flat


def _dotted(section: Section) -> dict[str, Any]:
    return dotted(plain(section))


def write_manifest(plan: Plan, out: Path, machines: Sequence[Device], stored: Manifest | None) -> Manifest:
    """Make `out` the directory of this plan: plan.json first, then sweep.yaml, which is a copy for people.

    stored: what plan.json says now, so that it is written only where it changes.
    """
    raw = describe_plan(plan, machines)
    manifest = manifest_of(out / "plan.json", raw)
    if stored is None:
        (out / CHUNKS).mkdir(exist_ok=True)  # by which the new layout is known, see `grokjax.results.layout`
    if manifest != stored:
        write_json(out / "plan.json", raw)
    copy = out / "sweep.yaml"
    if not copy.exists() or copy.read_bytes() != plan.sweep.text.encode():
        write_whole(copy, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
    return manifest
