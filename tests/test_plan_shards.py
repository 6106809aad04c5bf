"""The stored plan of many runs: shards, what a worker reads of them, and directories of the format before."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_formats import CPU, PLANS, planned, sweep, written

import grokjax
from grokjax.cluster.worker import open_worker
from grokjax.launch import train, verify_results
from grokjax.plan.growth import extend
from grokjax.results import describe, shards
from grokjax.results.chunk_plan import chunk_plan
from grokjax.results.describe import write_manifest
from grokjax.results.directory import stamp_of
from grokjax.results.files import Damaged, read_json
from grokjax.results.manifest import read_manifest
from grokjax.results.planned import planned_runs, with_statuses
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError

OLD = Path(__file__).parent / "golden" / "format_5.tar.gz"


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small plan has several shards, and chunks lie across them."""
    monkeypatch.setattr(shards, "ROWS", 5)


def names(out: Path) -> set[str]:
    return {path.name for path in (out / "plan").iterdir()}


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_a_worker_s_chunk_is_the_one_of_the_plan_and_has_its_stamp(tmp_path: Path, make: Any):
    plan = make()
    manifest = written(plan, tmp_path)
    assert len(manifest.shards) > 2
    for index, chunk in enumerate(read_manifest(tmp_path).plan.chunks):
        alone = chunk_plan(tmp_path, index)
        assert alone == chunk
        assert chunk == alone
        assert stamp_of(alone) == stamp_of(chunk) == stamp_of(plan.chunks[index])
        assert len(alone.bucket.runs) == len(chunk.bucket.runs)


def test_a_worker_reads_the_shards_of_its_chunk_alone(tmp_path: Path):
    manifest = written(planned(sweep()), tmp_path)
    last = manifest.shards[-1].name
    (tmp_path / "plan" / last).unlink()
    assert chunk_plan(tmp_path, 0).runs == planned(sweep()).chunks[0].runs
    with pytest.raises(Damaged, match=last):
        chunk_plan(tmp_path, len(manifest.chunks) - 1)
    with pytest.raises(Damaged, match=f"{last} is damaged .it is missing"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match=f"has no chunk {len(manifest.chunks)}: it has"):
        chunk_plan(tmp_path, len(manifest.chunks))


def test_plan_json_does_not_grow_with_the_runs(tmp_path: Path):
    written(planned(sweep()), tmp_path / "few")
    arms = {"mlp": {"base": {"model": {"name": "mlp"}}, "parameters": {"seed": {"min": 0, "max": 999}}}}
    plan = planned(sweep(arms=arms, engine={"lanes": 500}))
    written(plan, tmp_path / "many")
    assert (tmp_path / "many" / "plan.json").stat().st_size < 60_000  # of which 200 shards are 30,000
    assert read_manifest(tmp_path / "many").plan.chunks == plan.chunks


@pytest.mark.parametrize("bit", [3, 1000, -9])
def test_a_flipped_bit_in_a_shard_is_found(tmp_path: Path, bit: int):
    manifest = written(planned(sweep()), tmp_path)
    path = tmp_path / "plan" / manifest.shards[0].name
    data = bytearray(path.read_bytes())
    data[bit] ^= 4
    path.write_bytes(data)
    with pytest.raises(Damaged, match=path.name):
        read_manifest(tmp_path)


def test_a_kill_at_any_write_leaves_the_plan_before_or_the_one_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files are there one after the other; what does not count is removed by the next one that writes."""
    old = planned(sweep())
    before = written(old, tmp_path / "out")
    now = sweep(arms={"more": {"base": {"seed": 77}}} | json.loads(sweep().text)["arms"])
    grown = extend(old, now, planned, "out")
    after = write_manifest(grown, shutil.copytree(tmp_path / "out", tmp_path / "whole"), [CPU], before)
    assert names(tmp_path / "whole") == {shard.name for shard in after.shards}
    writes = len(after.shards) + 2
    for kill in range(writes):
        out = shutil.copytree(tmp_path / "out", tmp_path / f"killed-{kill}")
        left = iter([None] * kill)

        def replace(path: Path, to: Path, left: Any = left, really: Any = Path.replace) -> Path:
            next(left)
            return really(path, to)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with suppress(StopIteration):
                write_manifest(grown, out, [CPU], before)
        found = read_manifest(out)
        assert found.table in (before.table, after.table)
        assert write_manifest(grown, out, [CPU], found).table == after.table
        assert names(out) == names(tmp_path / "whole")


def test_a_kill_before_the_first_plan_leaves_a_folder_that_can_be_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(SMALL))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(describe, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            train(load_sweep(file), tmp_path / "out")
    assert names(tmp_path / "out")
    assert not (tmp_path / "out" / "plan.json").exists()
    assert set(train(load_sweep(file), tmp_path / "out").runs()["status"]) == {"ended"}


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS)
def test_runs_by_columns_are_the_rows_that_each_run_makes(tmp_path: Path, make: Any):
    """Values, and the types that pandas finds for them, are those of a frame made of one mapping a run."""
    manifest = written(make(), tmp_path)
    rows = []
    for run in manifest.runs:
        values = {key: run.values.get(key) for key in manifest.keys}
        sizes = manifest.bucket_of(run.run_id).sizes
        assert sizes
        size = run.values["train.batch"] or sizes.train
        head = {"run_id": run.run_id, "arm": run.arms[0], "arms": list(run.arms)}
        rows.append(head | values | {"lineage": None, "batch_size": size, "status": "planned"})
    results = grokjax.open_results(tmp_path)
    pd.testing.assert_frame_equal(results.planned(), pd.DataFrame(rows))
    shared = {
        key: value
        for key, value in manifest.runs[0].values.items()
        if all(key in run.values and run.values[key] == value for run in manifest.runs)
    }
    assert results.constants() == shared
    assert results.run_ids == [run.run_id for run in manifest.runs]
    assert results.prior_steps == {}


def test_the_status_of_each_run_follows_from_the_ends_of_its_chunk(tmp_path: Path):
    manifest = written(planned(sweep()), tmp_path)
    first, second = manifest.chunks[0].run_ids[:2]
    elsewhere = manifest.chunks[1].run_ids[0]
    ended = {0: {first: False, second: True, elsewhere: True}, 99: {}}
    planned_then, planned_now = planned_runs(manifest, {}), planned_runs(manifest, ended)
    assert with_statuses(planned_then, manifest, ended).equals(planned_now)
    status = planned_now.set_index("run_id")["status"]
    assert (status[first], status[second], status[elsewhere]) == ("ended", "diverged", "planned")
    assert (status[list(manifest.chunks[0].run_ids[2:])] == "running").all()


SMALL = {
    "name": "durable",
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [4]},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "train": {"steps": 20},
    },
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 10},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 3}},
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """SMALL, trained when all runs stood in plan.json."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "format_5"


def test_a_directory_of_the_format_before_is_read(old: Path):
    results = grokjax.open_results(old)
    assert results.manifest.format == 5
    assert list(results.runs()["status"]) == ["ended"] * 4
    assert len(results.curves()) == 4 * 5
    (chunk,) = results.manifest.plan.chunks
    assert chunk_plan(old, 0) == chunk
    assert not os.path.exists(old / "plan")


def test_a_directory_of_the_format_before_has_no_room_for_workers(old: Path):
    with pytest.raises(SweepError, match="is finished by one process"):
        open_worker(old, True, str, print)


def test_a_directory_of_the_format_before_is_grown_in_its_own(old: Path):
    before = read_json(old / "plan.json")
    file = old.parent / "sweep.yaml"
    file.write_text(json.dumps(SMALL | {"parameters": {"seed": {"min": 0, "max": 5}}}))
    results = train(load_sweep(file), old, other_device=True)
    assert list(results.runs()["status"]) == ["ended"] * 6
    after = read_json(old / "plan.json")
    assert after["format"] == before["format"] == 5
    assert after["runs"][:4] == before["runs"]
    assert len(after["machines"]) in (1, 2)
    assert after["chunks"] == [{"bucket": 0, "runs": 4}, {"bucket": 0, "runs": 2}]
    assert not (old / "plan").exists()
    assert read_manifest(old) == results.manifest
    assert verify_results(old).damaged == ()
