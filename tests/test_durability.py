"""Killed at any point, a sweep that is run again ends with the same bits as one that never was."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import BASE, PLAIN, RECYCLED, bits, often, write
from faults import Killed, dies

import grokjax
from grokjax.engine.devices import describe_device
from grokjax.launch import run, train
from grokjax.plan.plan import make_plan
from grokjax.results.verify import verify
from grokjax.spec.identity import program_key
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.run import Sweep


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    with often():
        yield


@pytest.mark.parametrize(("sweep", "kills"), [(PLAIN, 3), (RECYCLED, 2)], ids=["plain", "recycled"])
def test_a_kill_between_any_two_writes_changes_no_bit(tmp_path: Path, sweep: dict[str, Any], kills: int):
    loaded = load_sweep(write(tmp_path, sweep))
    with dies(tmp_path / "clean", None) as counted:
        train(loaded, tmp_path / "clean")
    wanted = bits(tmp_path / "clean")
    assert counted.seen > 50
    for at in range(3, counted.seen, counted.seen // kills):
        out = tmp_path / f"killed-{at}"
        with dies(out, at), pytest.raises(Killed):
            train(loaded, out)
        train(loaded, out)
        assert bits(out) == wanted, at
        assert not verify(out).damaged


def test_killed_again_and_again_it_still_ends_with_the_same_bits(tmp_path: Path):
    sweep = load_sweep(write(tmp_path, RECYCLED))
    train(sweep, tmp_path / "clean")
    out, kills = tmp_path / "killed", 0
    while True:
        try:
            with dies(out, 40 + 15 * kills):
                train(sweep, out)
            break
        except Killed:
            kills += 1
    assert kills >= 3
    assert bits(out) == bits(tmp_path / "clean")


def test_the_newest_two_checkpoints_are_kept_while_a_chunk_trains_and_none_after(tmp_path: Path):
    sweep = load_sweep(write(tmp_path, PLAIN))
    out = tmp_path / "out"
    with dies(out, None) as counted:
        train(sweep, tmp_path / "out")
    assert not list(out.rglob("segment-*.json"))
    shutil.rmtree(out)
    with dies(out, counted.seen - 50), pytest.raises(Killed):
        train(sweep, out)
    listings = list(out.glob("chunks/*/*/work/*/checkpoints/chunk-00000/segment-*.json"))
    assert len(listings) in (2, 3)  # the oldest goes when the newest is whole


# --- growing --------------------------------------------------------------------------------------------------


def seeds(last: int, steps: int, **top: Any) -> dict[str, Any]:
    base = BASE | {"train": {"steps": steps}, "optimizer": {"name": "adamw", "lr": 0.01}}
    log = {"every": 5, "eval_every": 10, "snapshot_every": 20}  # log-spaced ones depend on the number of steps
    return PLAIN | {"base": base, "log": log, "parameters": {"seed": {"min": 0, "max": last}}} | top


@pytest.mark.parametrize(
    ("steps", "interrupted"),
    [(60, False), (90, True), (95, False), (95, True)],
    ids=["runs", "runs and steps, interrupted", "off a round", "off a round, interrupted"],
)
def test_added_runs_and_steps_end_with_the_bits_of_a_sweep_that_had_them_at_once(
    tmp_path: Path, steps: int, interrupted: bool
):
    out = tmp_path / "out"
    first = load_sweep(write(tmp_path, seeds(3, 60)))
    if interrupted:
        with dies(out, 40), pytest.raises(Killed):
            train(first, out)
    else:
        train(first, out)
    before = {path: path.read_bytes() for path in out.glob("chunks/*/*/*-*")}
    grown = run(write(tmp_path, seeds(7, steps)), out=out)
    if not interrupted:
        assert all(path.read_bytes() == data for path, data in before.items())
    run(write(tmp_path, seeds(7, steps)), out=tmp_path / "clean")
    assert len(grown.run_ids) == 8
    placed = [run_id for chunk in grown.manifest.chunks for run_id in chunk.run_ids]
    assert len(placed) == len(set(placed)) == (8 if steps == 60 else 12)  # the shorter ones stay
    assert set(grown.runs()["status"]) == {"ended"}
    wanted, found = bits(tmp_path / "clean"), bits(out)
    for part in ("ids", "curves", "events", "runs"):
        assert found[part] == wanted[part]
    assert wanted["snapshots"].keys() <= found["snapshots"].keys()
    for key, snapshot in wanted["snapshots"].items():
        assert all(found["snapshots"][key][name] == snapshot[name] for name in snapshot if name != "end"), key
    assert not verify(out).damaged


def test_a_run_that_its_stop_rule_ended_has_ended_and_one_that_it_was_stopping_goes_on(tmp_path: Path):
    rule = {"stop": {"after_generalization": 25}, "events": {"generalization": 0.05}}
    grown, clean = (tmp_path / name for name in ("grown", "clean"))
    for out, lengths in ((grown, (30, 60, 90)), (clean, (90,))):
        for steps in lengths:
            sweep = seeds(7, steps)
            results = run(write(tmp_path, sweep | {"base": sweep["base"] | rule}), out=out)
    ends = {end["step"] for end in results.ends.values()}
    assert len(ends - {90}) > 0
    assert {part: bits(grown)[part] for part in ("ids", "curves", "events")} == {
        part: bits(clean)[part] for part in ("ids", "curves", "events")
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"log": {"every": 10, "eval_every": 10, "snapshot_every": 20}}, "log.every 5 -> 10"),
        ({"engine": {"lanes": 8}}, "engine.lanes 4 -> 8"),
        ({"parameters": {"seed": {"min": 1, "max": 4}}}, "1 of its 4 runs are gone, 1 are new; seed 0 -> 4"),
        ({"base": BASE | {"train": {"steps": 50}}}, "train.steps 60 -> 50"),
        ({"base": BASE | {"optimizer": {"name": "adamw", "lr": 0.02}}}, "optimizer.lr 0.01 -> 0.02"),
    ],
)
def test_any_other_change_is_refused_with_what_is_different(tmp_path: Path, change: dict[str, Any], said: str):
    out = tmp_path / "out"
    with dies(out, 30), pytest.raises(Killed):
        run(write(tmp_path, seeds(3, 60)), out=out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(grokjax.SweepError, match=re.escape(said)) as refused:
        run(write(tmp_path, seeds(3, 60) | change), out=out)
    assert "\n  -" in str(refused.value)  # the lines of the file, before and now
    assert "\n  +" in str(refused.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_threshold_may_change_without_training(tmp_path: Path):
    first = run(write(tmp_path, PLAIN), out=tmp_path / "out").runs()
    again = run(write(tmp_path, PLAIN | {"events": {"fit": 0.2}}), out=tmp_path / "out").runs()
    assert (again["fit_step"] < 60).all()
    assert not first["fit_step"].equals(again["fit_step"])
    assert first["run_id"].equals(again["run_id"])


# --- other machines -------------------------------------------------------------------------------------------


def test_another_number_of_devices_is_refused_and_allowed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, clean, devices = tmp_path / "out", tmp_path / "clean", 3
    sweep = write(tmp_path, RECYCLED)
    run(sweep, out=clean)
    with dies(out, 90), pytest.raises(Killed):
        run(sweep, out=out)
    here = describe_device()
    monkeypatch.setattr("grokjax.engine.devices.describe_device", lambda: replace(here, count=devices))
    with pytest.raises(grokjax.SweepError, match=f"was trained on 4 x .*; here is {devices} x .*--other-device"):
        run(sweep, out=out)
    found = run(sweep, out=out, other_device=True)
    wanted = grokjax.open_results(clean)
    assert [machine.count for machine in found.manifest.machines] == [4, devices]
    assert found.ends.keys() == wanted.ends.keys()
    for name in ("run_id", "step"):
        assert found.curves()[name].equals(wanted.curves()[name])
    np.testing.assert_allclose(found.curves()["norm/total"], wanted.curves()["norm/total"], rtol=1e-3)
    run(sweep, out=out)  # from then on it is this machine's


def test_another_version_of_jax_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sweep = write(tmp_path, PLAIN)
    run(sweep, out=tmp_path / "out")
    here = describe_device()
    monkeypatch.setattr("grokjax.engine.devices.describe_device", lambda: replace(here, versions="jax 9.9"))
    with pytest.raises(grokjax.SweepError, match=r"here is 4 x .*jax 9\.9"):
        run(sweep, out=tmp_path / "out")


def test_what_was_begun_stays_as_it_was_planned_whatever_plan_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = load_sweep(write(tmp_path, PLAIN | {"engine": {}, "parameters": {"seed": {"min": 0, "max": 7}}}))
    one, other = (make_plan(sweep, describe_device(), most_lanes={key_of(sweep): lanes}) for lanes in (4, 8))
    monkeypatch.setattr("grokjax.planning.make_plan", lambda *_: one)
    train(sweep, tmp_path / "out")
    before = (tmp_path / "out" / "plan.json").read_bytes()
    assert one.buckets[0].queue != other.buckets[0].queue or one.buckets[0].width != other.buckets[0].width
    monkeypatch.setattr("grokjax.planning.make_plan", lambda *_: other)
    train(sweep, tmp_path / "out")
    train(sweep, tmp_path / "other")
    assert (tmp_path / "other" / "plan.json").read_bytes() != before
    assert (tmp_path / "out" / "plan.json").read_bytes() == before


def key_of(sweep: Sweep) -> str:
    return program_key(sweep.runs[0].spec)
