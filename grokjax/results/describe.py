"""A plan as it is stored: the values of plan.json, and its runs by column."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from grokjax.plan.plan import Bucket, Device, Plan
from grokjax.results.files import write_json, write_whole
from grokjax.results.formats import FORMAT, IN_ONE_FILE, in_one_file
from grokjax.results.layout import CHUNKS
from grokjax.results.manifest import Manifest, manifest_of
from grokjax.results.run_table import NONE, Column, RunTable
from grokjax.results.shards import as_json, drop_shards, write_shards
from grokjax.spec.origin import Origin
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Section
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.walk import dotted, fields_of, plain


def describe_plan(plan: Plan, machines: Sequence[Device]) -> tuple[dict[str, Any], RunTable]:
    """What plan.json says of the plan, as JSON values, and its runs in the order of the chunks.

    machines: what it was trained on, one after the other.
    """
    now = {run.run_id: run for run in plan.sweep.runs}  # thresholds and arms as of now
    runs = [now.get(run.run_id, run) for chunk in plan.chunks for run in chunk.runs]
    counts = [len(chunk.runs) for chunk in plan.chunks]
    bucket = np.repeat(np.array([chunk.bucket.index for chunk in plan.chunks], np.int32), counts)
    place_of = {run_id: at for at, run_id in enumerate(now)}
    place = np.array([place_of.get(run.run_id, NONE) for run in runs], np.int64)
    keys, columns = _columns([run.spec for run in runs], place)
    common = _take_common(columns, bucket, len(plan.buckets))
    table = RunTable(
        ids=pa.array([run.run_id for run in runs], pa.string()),
        bucket=bucket,
        arms=_coded([run.arms for run in runs], lambda arms: list(arms)),
        origin=_coded([run.origin for run in runs], _describe_origin),
        place=place,
        continues=pa.array([plan.continues.get(run.run_id) for run in runs], pa.string()),
        columns={key: column for key, column in columns.items() if column.used},
        common=tuple(common),
    )
    buckets = [_describe_bucket(each) | {"common": shared} for each, shared in zip(plan.buckets, common, strict=True)]
    head = {
        "format": FORMAT,
        "name": plan.sweep.name,
        "sweep": plan.sweep.text,
        "set": plan.sweep.overrides,
        "axes": {arm: list(keys) for arm, keys in plan.sweep.axes.items()},
        "device": asdict(plan.device),
        "machines": [asdict(machine) for machine in machines],
        "tuning": {key: asdict(tuned) for key, tuned in plan.tuning.items()},
        "keys": keys,
        "buckets": buckets,
        "chunks": [{"bucket": chunk.bucket.index, "runs": len(chunk.runs)} for chunk in plan.chunks],
    }
    return json.loads(json.dumps(head, default=str)), table


def _describe_bucket(bucket: Bucket) -> dict[str, Any]:
    return {
        "width": bucket.width,
        "queue": bucket.queue,
        "schedule": asdict(bucket.schedule),
        "memory": bucket.memory,
        "tuned": bucket.tuned,
        "sizes": bucket.spec.task.sizes._asdict(),
        "parameters": {name: list(shape) for name, shape in parameter_shapes(bucket.spec).items()},
    }


def _describe_origin(origin: Origin) -> dict[str, Any]:
    return {"digest": origin.digest, "begun": origin.prior_steps, "lineage": list(origin.lineage)}


def _coded(values: list[Any], describe: Callable[[Any], Any]) -> Column:
    """A column of values that can be compared, each described once; None has no text."""
    code_of: dict[Any, int] = {None: NONE}
    codes = [code_of.setdefault(value, len(code_of) - 1) for value in values]
    return Column(np.array(codes, np.int32), [json.dumps(describe(value)) for value in list(code_of)[1:]])


def _columns(specs: list[RunSpec], place: np.ndarray) -> tuple[list[str], dict[str, Column]]:
    """All keys, in the order that the sweep's runs have them, and the values of each: a section that many runs share is
    looked at once."""
    columns: dict[str, Column] = {}
    sections = {name: _sections(name, specs) for name in fields_of(RunSpec)}
    for which, described in sections.values():
        for key in dict.fromkeys(key for values in described for key in values):
            code_of: dict[str, int] = {}
            codes = [
                code_of.setdefault(json.dumps(values[key], default=str), len(code_of)) if key in values else NONE
                for values in described
            ]
            columns[key] = Column(np.array(codes, np.int32)[which], list(code_of))
    return _keys(list(sections.values()), place), columns


def _sections(name: str, specs: list[RunSpec]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Of each run which of some sections it has, and the values of these by dotted keys."""
    numbers: dict[Any, int] = {}
    found: list[Any] = []
    which = np.empty(len(specs), np.int32)
    for at, spec in enumerate(specs):
        section = getattr(spec, name)
        stamp = id(section) if isinstance(section, Section) else section
        if stamp not in numbers:
            numbers[stamp] = len(found)
            found.append(section)
        which[at] = numbers[stamp]
    return which, [_values_of(name, section) for section in found]


def _keys(sections: list[tuple[np.ndarray, list[dict[str, Any]]]], place: np.ndarray) -> list[str]:
    """Keys as they are met when runs are read one after the other, those of the sweep first, in its order."""
    kinds = np.zeros(len(place), np.int64)
    for which, described in sections:
        met: dict[tuple[str, ...], int] = {}
        kind = np.array([met.setdefault(tuple(values), len(met)) for values in described])[which]
        kinds = np.unique(kinds * len(met) + kind, return_inverse=True)[1] if len(met) > 1 else kinds
    order = np.argsort(np.where(place == NONE, len(place), place), kind="stable")
    firsts = order[np.sort(np.unique(kinds[order], return_index=True)[1])]
    keys: dict[str, None] = {}
    for row in firsts.tolist():
        keys |= dict.fromkeys(key for which, described in sections for key in described[which[row]])
    return list(keys)


def _take_common(columns: dict[str, Column], bucket: np.ndarray, count: int) -> list[dict[str, Any]]:
    """What all runs of a bucket share, taken out of the columns."""
    common: list[dict[str, Any]] = [{} for _ in range(count)]
    for index in range(count):
        rows = np.flatnonzero(bucket == index)
        for key, column in columns.items():
            codes = column.codes[rows]
            if codes[0] != NONE and (codes == codes[0]).all():
                common[index][key] = column.levels[codes[0]]
                column.codes[rows] = NONE
    return common


def _values_of(name: str, value: Any) -> dict[str, Any]:
    """Of a section of a spec, or of a value that stands by itself."""
    if isinstance(value, Section):
        return {f"{name}.{key}": item for key, item in dotted(plain(value)).items()}
    return {} if name == "uses" else {name: value}


def write_manifest(plan: Plan, out: Path, machines: Sequence[Device], stored: Manifest | None) -> Manifest:
    """Make `out` the directory of this plan: its runs first, then plan.json, by which they count, then sweep.yaml,
    which is a copy for people. A directory that was begun in an earlier format stays in it.

    stored: what plan.json says now, so that it is written only where it changes.
    """
    head, table = describe_plan(plan, machines)
    if stored is None:
        (out / CHUNKS).mkdir(exist_ok=True)  # by which the new layout is known, see `grokjax.results.layout`
    manifest = manifest_of(out / "plan.json", head, table)
    manifest = stored if stored and manifest == stored else _write(out, head, table, stored)
    drop_shards(out, manifest.shards)
    copy = out / "sweep.yaml"
    if not copy.exists() or copy.read_bytes() != plan.sweep.text.encode():
        write_whole(copy, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
    return manifest


def _write(out: Path, head: dict[str, Any], table: RunTable, stored: Manifest | None) -> Manifest:
    if stored and stored.format != FORMAT:
        head = head | {"format": IN_ONE_FILE}
        write_json(out / "plan.json", in_one_file(head, table))
    else:
        head = head | {"shards": as_json(write_shards(out, table, stored.shards if stored else ()))}
        write_json(out / "plan.json", head)
    return manifest_of(out / "plan.json", head, table)
