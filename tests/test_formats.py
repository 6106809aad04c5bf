"""plan.json: what is written is read back, and plans of the format before say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import in_one_file_now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import grokjax
from grokjax.plan.growth import extend
from grokjax.plan.plan import Device, Plan, make_plan
from grokjax.plan.tuning import Tuned
from grokjax.results.describe import write_manifest
from grokjax.results.files import read_json, write_json
from grokjax.results.formats import as_columns, from_one_file, in_one_file
from grokjax.results.manifest import Manifest, read_manifest
from grokjax.results.shards import read_shards, write_shards
from grokjax.spec.identity import tuning_key
from grokjax.spec.walk import dotted, plain
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep
from grokjax.sweep.run import Sweep

CPU = Device("cpu", "cpu", 4, 2**34, "jax 0")
OTHER = Device("gpu", "gpu", 1, 2**36, "jax 1")
SWEEP: dict[str, Any] = {  # several programs; some values that only some runs have; a list; tables by matrix
    "base": {"task": {"p": 7, "train_fraction": 0.6}, "train": {"steps": 20}},
    "log": {"every": 5, "eval_every": 10},
    "arms": {
        "mlp": {"base": {"model": {"name": "mlp", "widths": [9, 8]}}, "parameters": {"seed": {"min": 0, "max": 9}}},
        "slow": {
            "base": {"model": {"d_model": 8, "heads": 2}, "optimizer": {"filters": [{"name": "grokfast_ema"}]}},
            "parameters": {"optimizer.lr_by_matrix.W_U": {"values": [0.5, 1.0]}},
        },
        "some": {
            "base": {"model": {"d_model": 8, "heads": 2}, "optimizer": {"name": "sgd"}},
            "parameters": {"optimizer.lr_by_matrix": {"values": [{}, {"W_E": 0.5}, {"W_O": 2.0}]}},
        },
        "again": {"base": {"model": {"name": "mlp", "widths": [9, 8]}, "seed": 3}},
    },
}


def sweep(steps: int = 20, **top: Any) -> Sweep:
    text = json.dumps(SWEEP | {"base": SWEEP["base"] | {"train": {"steps": steps}}} | top)
    return expand(parse_sweep(text, "s.yaml", Path(".")))


def planned(loaded: Sweep, continues: dict[str, str] | None = None) -> Plan:
    tuning = {tuning_key(loaded.runs[0].spec): Tuned(4, 1e-3)}
    return make_plan(loaded, CPU, tuning, None, continues)


def grown() -> Plan:
    """With runs that the sweep has no more, which others go on with."""
    return extend(planned(sweep()), sweep(40), planned, "out")


PLANS = {"new": lambda: planned(sweep()), "grown": grown}


def written(plan: Plan, out: Path) -> Manifest:
    out.mkdir(exist_ok=True)
    return write_manifest(plan, out, [CPU, OTHER], None)


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path, make: Any):
    plan = make()
    manifest = written(plan, tmp_path)
    assert read_manifest(tmp_path) == manifest
    read = read_manifest(tmp_path).plan
    assert read.sweep.runs == plan.sweep.runs
    assert (read.sweep.name, read.sweep.text, read.sweep.axes) == (plan.sweep.name, plan.sweep.text, plan.sweep.axes)
    assert [bucket.runs for bucket in read.buckets] == [bucket.runs for bucket in plan.buckets]
    assert read.chunks == plan.chunks
    assert (read.device, read.tuning, read.continues) == (plan.device, plan.tuning, plan.continues)
    assert manifest.machines == (CPU, OTHER)
    for run in plan.sweep.runs:
        stored = manifest.every_run[run.run_id].values
        wanted = {key: value for key, value in dotted(plain(run.spec)).items() if not key.startswith("uses")}
        assert typed(stored) == typed(wanted)
        assert manifest.every_run[run.run_id].arms == run.arms
        assert manifest.bucket_of(run.run_id).width == next(b for b in plan.buckets if run in b.runs).width


def test_a_grown_plan_keeps_runs_that_are_gone_on_with_and_shows_none_of_them(tmp_path: Path):
    manifest = written(grown(), tmp_path)
    count = len(sweep().runs)
    assert len(manifest.runs) == count
    assert len(manifest.every_run) == 2 * count
    assert set(manifest.continues) == set(manifest.run_ids)
    assert set(manifest.continues.values()) == manifest.every_run.keys() - set(manifest.run_ids)
    assert len(manifest.buckets) == len(planned(sweep()).buckets)  # a program is one bucket, however often it grows


def as_format_4(raw: dict[str, Any]) -> dict[str, Any]:
    """The same plan as format 4 had it: a row a run, with what not all runs share."""
    values: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    by_bucket = []
    for bucket in raw["buckets"]:
        runs = bucket["runs"]
        by_bucket.append(list(runs["run_id"]))
        for at, run_id in enumerate(runs["run_id"]):
            own = dict(runs["common"])
            own |= {key: column[at] for key, column in runs["columns"].items()}
            for key, some in runs["partial"].items():
                if at in some["rows"]:
                    own[key] = some["values"][some["rows"].index(at)]
            values[run_id] = own
            rows[run_id] = {"run_id": run_id, "arms": runs["arms"][at]}
    shared = dict(values[raw["runs"][0]])
    for own in values.values():
        shared = {key: value for key, value in shared.items() if key in own and repr(own[key]) == repr(value)}
    for run_id, own in values.items():
        rows[run_id]["values"] = {key: value for key, value in own.items() if key not in shared}
    chunks = []
    for chunk in raw["chunks"]:
        waiting = by_bucket[chunk["bucket"]]
        chunks.append({"bucket": chunk["bucket"], "runs": waiting[: chunk["runs"]]})
        del waiting[: chunk["runs"]]
    return raw | {
        "format": 4,
        "buckets": [{key: value for key, value in bucket.items() if key != "runs"} for bucket in raw["buckets"]],
        "chunks": chunks,
        "common": shared,
        "runs": [rows[run_id] for run_id in raw["runs"]],
        "earlier": [row for run_id, row in rows.items() if run_id not in raw["runs"]],
    }


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_a_plan_of_format_4_says_the_same(tmp_path: Path, make: Any):
    manifest = written(make(), tmp_path)
    path = tmp_path / "plan.json"
    in_one_file_now(tmp_path)
    assert read_manifest(tmp_path) == manifest
    old = as_format_4(read_json(path))
    assert len(old["runs"]) == len(manifest.runs)
    write_json(path, old)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path).plan.chunks == manifest.plan.chunks


HARMS = {
    "a run twice": lambda old: old["runs"].append(old["runs"][0]),
    "a run in two chunks": lambda old: old["chunks"].append(old["chunks"][0]),
    "a run in no chunk": lambda old: old["chunks"][0]["runs"].pop(),
    "an unknown run in a chunk": lambda old: old["chunks"][0]["runs"].append("0123456789ab"),
    "a chunk of no bucket": lambda old: old["chunks"][0].update(bucket=99),
    "a chunk of a bucket from the end": lambda old: old["chunks"][0].update(bucket=-1),
    "rows that are none": lambda old: old.update(runs=["0123456789ab"]),
    "no earlier runs": lambda old: old.pop("earlier"),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_broken_plan_of_format_4_is_refused_in_words(tmp_path: Path, harm: Any):
    written(planned(sweep()), tmp_path)
    in_one_file_now(tmp_path)
    old = as_format_4(read_json(tmp_path / "plan.json"))
    harm(old)
    write_json(tmp_path / "plan.json", old)
    with pytest.raises(grokjax.SweepError, match="cannot be read as a plan"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (
            3,
            "written by an earlier version of grokjax; this one reads format 4, 5 and 6: read it with that version",
        ),
        (7, "it was written by a newer version of grokjax .format 7, this one reads 4, 5 and 6.; upgrade to read it"),
        ("5", "format 5, this version reads 4, 5 and 6"),
        (None, "format None, this version reads 4, 5 and 6"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, number: Any, said: str):
    written(planned(sweep()), tmp_path)
    write_json(tmp_path / "plan.json", read_json(tmp_path / "plan.json") | {"format": number})
    with pytest.raises(grokjax.SweepError, match=said):
        read_manifest(tmp_path)


VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=2) | st.just([1, 2])
VALUES |= st.sampled_from([0.0, -0.0, float("nan"), float("inf"), {"a": [1.0, None]}, {}, [], "null", 2**62])
ROWS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), min_size=1, max_size=5)


@given(ROWS, st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_columns_hold_every_value_of_every_row_and_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[dict[str, Any]], rows: int
):
    """In one file, and in shards of a few rows."""
    monkeypatch.setattr("grokjax.results.shards.ROWS", rows)
    ids = [f"{at:012x}" for at in range(len(values))]
    columns = as_columns([{"run_id": ids[at], "arms": ["main"], "values": row} for at, row in enumerate(values)])
    raw = {"buckets": [{"runs": columns}], "chunks": [{"bucket": 0, "runs": len(values)}], "runs": ids, "continues": {}}
    head, table = from_one_file(json.loads(json.dumps(raw)))
    shards = write_shards(tmp_path, table, ())
    read = read_shards(tmp_path, shards, table.bucket, table.common)
    assert [shard.rows for shard in shards[:-1]] == [rows] * (len(shards) - 1)
    assert read == table
    assert json.dumps(in_one_file(head, table)["buckets"]) == json.dumps(raw["buckets"])
    for found in (table, read):
        assert [typed(found.values(at)) for at in range(len(values))] == list(map(typed, values))
        assert found.ids.to_pylist() == ids


def typed(row: dict[str, Any]) -> dict[str, str]:
    return {key: repr(value) for key, value in sorted(row.items())}


def test_a_value_of_all_runs_stands_once(tmp_path: Path):
    table = written(planned(sweep()), tmp_path).table
    for bucket, common in enumerate(read_json(tmp_path / "plan.json")["buckets"]):
        assert common["common"]["task.p"] == 7
        (rows,) = np.nonzero(table.bucket == bucket)
        assert all((table.columns[key].codes[rows] < 0).all() for key in common["common"].keys() & table.columns.keys())
    assert "seed" in table.columns


def test_what_a_sweep_says_now_of_runs_that_are_planned_already_is_written(tmp_path: Path):
    """Thresholds are no part of a run's id, nor are the arms that name it; chunks stay as they were."""
    old = planned(sweep())
    arms = SWEEP["arms"] | {"more": {"base": {"model": {"name": "mlp", "widths": [9, 8]}, "seed": 5}}}
    now = sweep(arms=arms, events={"fit": 0.5})
    manifest = written(extend(old, now, planned, "out"), tmp_path)
    assert [chunk.run_ids for chunk in manifest.chunks] == [
        tuple(run.run_id for run in chunk.runs) for chunk in old.chunks
    ]
    assert {run.values["events.fit"] for run in manifest.runs} == {0.5}
    assert [run.arms for run in manifest.runs] == [run.arms for run in now.runs]
    assert ("mlp", "more") in [run.arms for run in manifest.runs]
