"""W&B: what is written is what the results hold, once, whatever happens in between. Nothing here has a network."""

import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import grokjax
from grokjax.analysis import curve_batches
from grokjax.analysis.thinning import AROUND, kept_records, largest_since
from grokjax.cli import app
from grokjax.launch import run
from grokjax.results.files import Damaged
from grokjax.results.lock import Locked
from grokjax.results.verify import verify
from grokjax.results.written import log_files, read_written, writing
from grokjax.sinks import logs, sync, watch
from grokjax.sinks.cells import QUARTILES_OF
from grokjax.sinks.heads import cell_heads, run_names
from grokjax.sinks.logfile import BEGIN, packed, records
from grokjax.sinks.sync import Options

KEY = "5e11713e1" + 31 * "a"  # a sentinel: it must not be in anything that is written
SWEEP = """
# Question: does weight decay matter?
# Cost: a second.
name: shown
base:
  task: {p: 5, train_fraction: 0.6}
  model: {d_model: 8, heads: 2, d_mlp: 16}
  train: {steps: 300}
  optimizer: {lr: 1e-2}
log: {every: 1, eval_every: 10}
events: {fit: 0.6}
arms:
  decay:
    parameters:
      optimizer.weight_decay: {values: [0, 1]}
      seed: {values: [0, 1, 2]}
  wild:
    base: {optimizer: {lr: 1e30}, train: {steps: 40}}
    parameters:
      seed: {values: [0]}
"""
OFFLINE = Options(mode="offline", rows=40)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True, scope="module")
def _no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        patch.setenv("WANDB_API_KEY", KEY)
        for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep that was shown in W&B as it trained, and what the command said."""
    folder = tmp_path_factory.mktemp("wandb")
    (folder / "shown.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "SECONDS", 0.0)
        said = call("run", folder / "shown.yaml", "--out", folder / "out", "--wandb", "--mode", "offline")
    assert said.exit_code == 0, said.output
    return folder, said.output


@pytest.fixture
def plain(trained, tmp_path):
    """The same results, as if W&B had never been asked."""
    out = tmp_path / "out"
    shutil.copytree(trained[0] / "out", out, ignore=shutil.ignore_patterns("wandb"))
    return grokjax.open_results(out)


def inspect(log):
    """All records of a log, as W&B reads them."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(log):
    """(head, summary, history) of a log."""
    records = inspect(log)
    assert records[-1]["type"] == "exit"
    head = next(record["run"] for record in records if record["type"] == "run")
    summary = {}
    for record in records:
        if record["type"] == "summary":
            summary |= record["summary"]["update"]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    return head, summary, history


def values_of(row):
    return {name: float(value) for name, value in row.items() if not name.startswith("_")}


def by_type(out, job_type):
    marks = read_written(out).runs
    return {wandb_id: path for wandb_id, path in log_files(out).items()
            if wandb_id in marks and marks[wandb_id].job_type == job_type}  # fmt: skip


def contents(out):
    return {path: path.read_bytes() for path in sorted((out / "wandb").rglob("*")) if path.is_file()}


def test_every_run_that_ended_and_every_cell_is_written_once(trained):
    out = trained[0] / "out"
    kinds = {kind: len(by_type(out, kind)) for kind in ("decay", "wild", "cell")}
    assert kinds == {"decay": 6, "wild": 1, "cell": 3}
    assert "7 runs and 3 cells written" in trained[1]
    assert "grokjax sync" in trained[1]
    assert "--mode online" in trained[1]
    live = [name for name in log_files(out) if name.startswith("sweep-")]
    assert len(live) == 1


def test_a_run_says_what_the_results_say(trained):
    results = grokjax.open_results(trained[0] / "out")
    runs = results.runs().set_index("run_id")
    run_id = runs.index[runs["slingshots"].to_numpy().argmax()]
    wandb_id, path = next((name, path) for name, path in log_files(results.path).items() if name.startswith(run_id))
    head, summary, history = told(path)
    row = runs.loc[run_id]
    assert (head["run_id"], head["project"], head["run_group"], head["job_type"]) == (
        wandb_id, "grokjax", "shown", "decay")  # fmt: skip
    config = head["config"]["update"]
    assert config["optimizer"]["weight_decay"] == row["optimizer.weight_decay"]
    assert config["seed"] == row["seed"]
    assert config["task"]["split"]["method"] == "numpy"
    assert {row["status"], row["outcome"]} <= set(head["tags"])
    assert summary["outcome"] == row["outcome"]
    assert summary["slingshots"] == row["slingshots"]
    assert summary["final/test/loss"] == pytest.approx(float(row["final/test/loss"]), rel=1e-6)
    assert summary.get("fit_step") == (None if np.isnan(row["fit_step"]) else row["fit_step"])
    stored = results.curves(runs=run_id).set_index("step")
    steps = [item["_step"] for item in history]
    assert steps == sorted(set(steps))
    assert {0, 300} <= set(steps)
    before = -1
    for item in history:
        there = stored.loc[item["_step"]].drop("run_id").dropna().astype(float).to_dict()
        there["train/loss_max"] = stored["train/loss_max"][before + 1 : item["_step"] + 1].max()
        assert values_of(item) == {name: pytest.approx(value, rel=1e-6) for name, value in there.items()}
        before = item["_step"]


def test_a_run_that_diverges_keeps_what_is_not_finite(trained):
    results = grokjax.open_results(trained[0] / "out")
    (path,) = by_type(results.path, "wild").values()
    head, summary, history = told(path)
    assert "diverged" in head["tags"]
    assert summary["status"] == "diverged"
    assert len(history) == len(results.curves(runs=head["run_id"].split("-")[0]))


def test_a_cell_is_the_median_and_quartiles_of_its_seeds(trained):
    results = grokjax.open_results(trained[0] / "out")
    checked = 0
    for path in by_type(results.path, "cell").values():
        head, summary, history = told(path)
        config = head["config"]["update"]
        if config["arm"] != "decay":
            continue
        assert config["seeds"] == 3 == summary["seeds"]
        assert "seed" not in config
        table = results.curves(["train/loss", "norm/total"], config["run_ids"])
        for item in history[:: len(history) // 5]:
            own = table[table["step"] == item["_step"]]
            for name in ("train/loss", "norm/total"):
                assert item[name] == pytest.approx(own[name].median(), rel=1e-6)
                assert item[f"q25/{name}"] == pytest.approx(own[name].quantile(0.25), rel=1e-6)
                assert item[f"q75/{name}"] == pytest.approx(own[name].quantile(0.75), rel=1e-6)
            assert item["n_seeds"] == item["n_live"] == len(own)
        shown = {name for item in history for name in values_of(item)}
        assert {name.partition("/")[2] for name in shown if name.startswith("q25/")} == set(QUARTILES_OF)
        assert not any("margin" in name for name in shown)  # single runs have it
        checked += 1
    assert checked == 2


def test_a_cell_s_median_step_counts_the_seeds_that_never_did_as_later(trained):
    results = grokjax.open_results(trained[0] / "out")
    runs = results.runs()
    of_cell = (runs["arm"] == "decay") & (runs["optimizer.weight_decay"] == 0)
    reached = {(10.0, np.nan, np.nan): None, (10.0, 30.0, np.nan): 30.0, (10.0, 20.0, 30.0): 20.0}
    for steps, median in reached.items():
        runs.loc[of_cell, "generalization_step"] = steps
        (head,) = (
            head for head in cell_heads(results, runs) if head.config["run_ids"] == list(runs.loc[of_cell, "run_id"])
        )
        assert head.summary.get("generalization_step") == median
        assert head.summary["seeds/generalized"] == np.isfinite(steps).sum()


def test_every_run_has_the_sweep_s_question_as_its_note(trained):
    for path in log_files(trained[0] / "out").values():
        assert told(path)[0]["notes"] == "Does weight decay matter?"


def test_runs_last_as_long_as_they_trained(plain):
    out = plain.path
    (file,) = out.glob("chunks/*/*/curves-*")
    (written,) = pd.read_parquet(file)["written"].unique()
    begun = int(written) - 600
    os.utime(out / "plan.json", (begun, begun))
    sync.sync(plain, OFFLINE, print)
    for path in by_type(out, "decay").values():
        head, summary, history = told(path)
        assert head["start_time"] == f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%dT%H:%M:%SZ}"
        assert summary["_wandb.runtime"] == 600
        for item in history:
            assert item["_runtime"] == pytest.approx((written - begun) * item["_step"] / 300, abs=1e-3)
            assert item["_timestamp"] == pytest.approx(begun + item["_runtime"], abs=1e-3)


@given(st.lists(st.sampled_from([0, 1, 100, 32_747, 32_748, 32_754, 32_755, 32_761, 70_000]), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_records_that_are_packed_are_read_again(lengths):
    of_log = [bytes([index % 251]) * length for index, length in enumerate(lengths)]
    assert list(records(bytes(BEGIN) + packed(of_log))) == of_log


def test_a_log_packed_anew_is_the_same_to_the_byte(trained):
    for path in log_files(trained[0] / "out").values():
        data = path.read_bytes()
        assert data[:BEGIN] + packed(records(data)) == data


def test_the_sweep_itself_is_shown_while_it_trains(trained):
    results = grokjax.open_results(trained[0] / "out")
    runs = results.runs()
    path = next(path for name, path in log_files(results.path).items() if name.startswith("sweep-"))
    head, _, history = told(path)
    assert head["job_type"] == "sweep"
    rows = [item for item in history if "runs/fit" in item]
    last = rows[-1]
    assert last["runs/fit"] == pytest.approx(runs["fit_step"].notna().mean())
    assert last["runs/generalized"] == pytest.approx(runs["generalization_step"].notna().mean())
    assert last["runs/slingshot"] == pytest.approx((runs["slingshots"] > 0).mean())
    assert last["runs/diverged"] == pytest.approx(1 / 7)
    assert last["runs/ended"] == 1
    assert last["speed/run_steps"] == results.steps_taken()[0]
    assert all(0 < row["speed/lanes_used"] <= 1 for row in rows if "speed/lanes_used" in row)
    sampled = [item for item in history if "sampled/step" in item]
    name = next(key for key in sampled[-1] if key.startswith("sampled/train/loss/"))
    run_ids = {called: run_id for run_id, called in run_names(results).items()}
    assert "decay weight_decay=0 seed=1" in run_ids
    stored = results.curves("train/loss", run_ids[name.rpartition("/")[2]]).set_index("step")["train/loss"]
    for item in sampled:
        if name in item:
            assert item[name] == pytest.approx(stored[int(item["sampled/step"])], rel=1e-6)


def test_training_is_the_same_to_the_bit_when_it_is_shown(trained, tmp_path):
    said = call("run", trained[0] / "shown.yaml", "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    shown, alone = (grokjax.open_results(out).curves() for out in (trained[0] / "out", tmp_path / "out"))
    assert list(shown["run_id"]) == list(alone["run_id"])
    assert shown.drop(columns="run_id").to_numpy().tobytes() == alone.drop(columns="run_id").to_numpy().tobytes()


def test_a_second_sync_writes_nothing(trained):
    out = trained[0] / "out"
    before = contents(out)
    said = call("sync", out, "--mode", "offline")
    assert said.exit_code == 0, said.output
    assert "nothing new" in said.output
    assert contents(out) == before
    report = verify(out)
    assert not report.damaged
    assert not report.unknown


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("when", ["write_log", "keep_log", "add_marks"])
def test_a_kill_at_any_point_writes_nothing_twice_and_nothing_half(plain, monkeypatch, at, when):
    where = logs if when == "write_log" else sync
    real, calls = getattr(where, when), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) > at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(sync, "MARK_EVERY", 2)
    few = Options(mode="offline", rows=4)
    with monkeypatch.context() as patch:
        patch.setattr(where, when, dying)
        with pytest.raises(KeyboardInterrupt):
            sync.sync(plain, few, print)
    marked = set(read_written(plain.path).runs) if (plain.path / "wandb" / "written.json").exists() else set()
    assert len(marked) < 10
    before = {wandb_id: log_files(plain.path)[wandb_id].read_bytes() for wandb_id in marked}
    sync.sync(plain, few, print)
    files = log_files(plain.path)
    assert set(files) == set(read_written(plain.path).runs)
    assert len(files) == 10
    assert {wandb_id: files[wandb_id].read_bytes() for wandb_id in marked} == before
    report = verify(plain.path)
    assert not report.damaged
    assert not report.unknown


def test_a_half_written_file_is_no_run_and_is_known(plain):
    part = plain.path / "wandb" / "offline-run-x" / ".run-x.wandb.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    assert log_files(plain.path) == {}
    assert not verify(plain.path).unknown


def test_damage_is_found_and_written_again(plain):
    sync.sync(plain, Options(mode="offline", rows=4), print)
    path = next(iter(log_files(plain.path).values()))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    report = verify(plain.path)
    assert [damage.path for damage in report.damaged] == [path]
    grokjax.launch.repair(plain.path, report)
    assert not path.exists()
    sync.sync(plain, Options(mode="offline", rows=4), print)
    assert path.exists()
    assert not verify(plain.path).damaged
    listed = plain.path / "wandb" / "written.json"
    listed.write_bytes(listed.read_bytes().replace(b'"uploaded": false', b'"uploaded": true ', 1))
    with pytest.raises(Damaged):
        sync.sync(plain, OFFLINE, print)


def without(results, run_id):
    """The same results before a sweep had a run."""
    before = grokjax.open_results(results.path)
    kept = tuple(known for known in before.manifest.run_ids if known != run_id)
    before.manifest = before.manifest.only(kept, before.manifest.axes)
    runs, events = results.runs(), results.events()
    before.runs = lambda: runs[runs["run_id"] != run_id].reset_index(drop=True)
    before.events = lambda: events[events["run_id"] != run_id]
    return before


def test_what_a_sweep_gained_is_written_and_what_it_replaced_is_told(plain):
    few, runs = Options(mode="offline", rows=4), plain.runs()
    last = runs[runs["arm"] == "decay"].iloc[-1]["run_id"]
    sync.sync(without(plain, last), few, print)
    before = log_files(plain.path)
    lines = []
    sync.sync(plain, few, lines.append)
    assert lines[0].startswith("1 W&B runs written before are no longer in the sweep")
    assert "decay weight_decay=1 (2 seeds)" in lines[0]
    assert lines[1].startswith("1 run and 1 cell written")
    assert "; 8 were written before" in lines[1]
    assert len(log_files(plain.path)) == len(before) + 2


def test_a_run_that_has_not_ended_is_left_for_later(plain):
    runs = plain.runs()
    runs.loc[0, "outcome"] = None
    later, lines = grokjax.open_results(plain.path), []
    later.runs = lambda: runs
    sync.sync(later, Options(mode="offline", rows=4), lines.append)
    assert lines[0] == "1 run not ended yet: left for a later sync"
    assert lines[1].startswith("6 runs and 2 cells written")
    lines.clear()
    sync.sync(plain, Options(mode="offline", rows=4), lines.append)
    assert lines[0].startswith("1 run and 1 cell written")


def test_other_events_than_were_written_are_told(plain):
    sync.sync(plain, Options(mode="offline", rows=4), print)
    runs = plain.runs()
    runs.loc[0, "slingshots"] += 1
    lines = []
    plain.runs = lambda: runs
    sync.sync(plain, Options(mode="offline", rows=4), lines.append)
    assert "W&B runs written before have other events or values by now" in lines[0]
    assert lines[1].startswith("nothing new")


def test_cells_only(plain):
    lines = []
    sync.sync(plain, Options(mode="offline", rows=4, cells_only=True), lines.append)
    assert len(log_files(plain.path)) == 3
    assert "0 runs and 3 cells" in lines[0]


def test_the_key_is_written_nowhere(trained):
    folder, output = trained
    assert KEY not in output
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 20
    assert not [path for path in paths if KEY.encode() in path.read_bytes()]


def test_without_a_key_all_is_kept_and_what_to_do_is_said(plain, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(logs, "has_key", lambda: False)
    said = call("sync", plain.path, "--rows", "4")
    assert said.exit_code == 0, said.output
    assert "nothing was uploaded" in said.output
    assert "wandb login" in said.output
    said = call("sync", plain.path, "--mode", "online")
    assert said.exit_code == 1
    assert "no W&B API key was found" in said.output
    assert f"later: grokjax sync {plain.path} --mode online" in said.output


def test_without_a_network_what_is_written_waits(plain, monkeypatch):
    refused = "wandb: ERROR Error initializing run: dial tcp 127.0.0.1:9: connect: connection refused"
    asked = []
    monkeypatch.setattr(logs, "wandb_sync", lambda some, target: asked.append(len(some)) or refused)
    monkeypatch.setattr(logs, "has_key", lambda: True)
    said = call("sync", plain.path, "--rows", "4", "--mode", "online", "--project", "mine")
    assert said.exit_code == 1
    assert asked == [1], "one alone shows that there is no network"
    assert "10 W&B runs are not uploaded (Error initializing run: dial tcp" in said.output
    assert len(read_written(plain.path).runs) == 10
    said = call("sync", plain.path, "--project", "other", "--mode", "offline")
    assert said.exit_code == 2
    assert "was written for project mine, not other" in said.output


def test_training_survives_a_wandb_that_fails_or_hangs(trained, tmp_path, monkeypatch):
    file, gate = trained[0] / "shown.yaml", threading.Event()

    def broken(*_):
        gate.wait()
        raise RuntimeError("no luck")

    monkeypatch.setattr(watch, "PATIENCE", 0.05)
    monkeypatch.setattr(logs, "open_run", broken)
    monkeypatch.setattr(logs, "write_log", broken)
    try:
        results = run(file, tmp_path / "out", screen=watched(tmp_path / "out", lines := []))
    finally:
        gate.set()
    assert list(results.runs()["outcome"]) == list(grokjax.open_results(trained[0] / "out").runs()["outcome"])
    assert any("does not show this sweep live (it does not answer)" in line for line in lines)
    said = call("run", file, "--out", tmp_path / "out", "--wandb", "--mode", "offline")
    assert said.exit_code == 0, said.output
    assert "no luck; results are whole, later: grokjax sync" in said.output


class Quiet:
    def __init__(self, lines):
        self.say = lines.append
        self.started = self.segment = self.resumed = lambda *_: None
        self.compiling = lambda bucket: None
        self.finished = lambda: None


def watched(out, lines):
    return watch.Watch(Quiet(lines), out, lambda: grokjax.open_results(out), Options(mode="offline"))


def fake_logs(folder, count):
    paths = [folder / f"offline-run-{number}" / f"run-{number}.wandb" for number in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    return paths


class Server:
    """Takes so many uploads, then says 429 so many times, and so on."""

    def __init__(self, *turns):
        self.turns = list(turns)
        self.sizes = []

    def __call__(self, some, target):
        self.sizes.append(len(some))
        takes = self.turns.pop(0) if self.turns else len(some)
        for path in some[:takes]:
            path.with_name(f"{path.name}.synced").touch()
        return "" if takes >= len(some) else 'HTTP 429: {"error":"rate limit exceeded"}'


def test_429_is_waited_for_longer_and_longer(tmp_path):
    waits, server = [], Server(0, 0, 1, 10, 0)
    assert logs.upload(fake_logs(tmp_path, 60), logs.Target("p", None, "g"), server, waits.append) == ""
    assert waits == [2, 4, 2, 4]
    assert max(server.sizes) == logs.AT_ONCE
    assert len(list(tmp_path.rglob("*.synced"))) == 60


def test_429_without_end_is_given_up_and_told(tmp_path):
    waits = []
    said = logs.upload(fake_logs(tmp_path, 3), logs.Target("p", None, "g"), Server(*[0] * 99), waits.append)
    assert "429" in said
    assert len(waits) == logs.ATTEMPTS - 1
    assert max(waits) <= logs.LONGEST_WAIT


def test_a_damaged_or_rejected_upload_is_not_tried_for_ever(tmp_path):
    waits = []
    said = logs.upload(
        fake_logs(tmp_path, 3), logs.Target("p", None, "g"), lambda *_: "wandb: ERROR permission denied", waits.append
    )
    assert (said, waits) == ("permission denied", [])


def test_what_is_uploaded_is_marked_and_never_sent_again(plain, monkeypatch):
    server = Server()
    monkeypatch.setattr(logs, "wandb_sync", server)
    monkeypatch.setattr(logs, "has_key", lambda: True)
    assert sync.sync(plain, Options(mode="online", rows=4), print) == ""
    assert sum(server.sizes) == 10
    assert all(mark.uploaded for mark in read_written(plain.path).runs.values())
    assert not verify(plain.path).unknown
    for path in log_files(plain.path).values():
        shutil.rmtree(path.parent)  # as `wandb clean` does
    assert sync.sync(plain, Options(mode="online", rows=4), print) == ""
    assert sum(server.sizes) == 10
    assert log_files(plain.path) == {}


def test_one_process_at_a_time_writes(plain):
    with writing(plain.path), pytest.raises(Locked, match="writes there"):
        sync.sync(plain, OFFLINE, print)


def test_a_full_disk_is_an_error_not_a_short_run(plain, monkeypatch):
    usage = shutil.disk_usage(plain.path)
    monkeypatch.setattr(logs.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match="No space left"):
        sync.sync(plain, OFFLINE, print)
    assert log_files(plain.path) == {}


def test_memory_is_bounded_by_reading_few_runs_at_once(plain, monkeypatch):
    records = 302 * len(plain.metrics())
    monkeypatch.setattr(curve_batches, "BUDGET", 2 * records)
    sizes, real = [], sync.read_curves
    monkeypatch.setattr(sync, "read_curves", lambda results, some: sizes.append(len(some)) or real(results, some))
    sync.sync(plain, Options(mode="offline", rows=4), print)
    assert sum(sizes) == 7
    assert max(sizes) <= 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "1"], "--rows must be at least 4"),
        (["--mode", "sideways"], "--mode must be offline or online"),
    ],
)
def test_bad_options_are_told(plain, arguments, words):
    said = call("sync", plain.path, *arguments)
    assert said.exit_code == 2
    assert words in said.output
    assert not (plain.path / "wandb").exists()


steps_and_events = st.integers(1, 2000).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(1, 20), st.lists(st.integers(0, n - 1), max_size=5))
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(steps_and_events, st.integers(4, 300), st.integers(1, 12))
def test_thinning_keeps_the_ends_and_all_around_events_and_not_too_much(case, rows, eval_every):
    count, every, events = case
    step = np.arange(count) * every
    kept = kept_records(step, np.arange(count) % eval_every == 0, rows, [event * every for event in events])
    assert list(kept) == sorted(set(kept))
    assert {0, count - 1} <= set(kept)
    near = {at + by for at in events for by in range(-AROUND, AROUND + 1)} & set(range(count))
    assert near <= set(kept)
    assert len(kept) <= rows + len(near)
    if count <= rows:
        assert len(kept) == count


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=200), st.data())
def test_no_spike_is_lost_between_kept_records(values, data):
    loss = np.array(values, np.float32)
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, len(values) - 1))) | {len(values) - 1}))
    largest = largest_since(loss, np.ones(len(loss), bool), kept)
    assert largest.max() == loss.max()
    assert len(largest) == len(kept)


def test_the_workspace_is_built_without_a_network(trained):
    pytest.importorskip("wandb_workspaces")
    script = Path(__file__).parents[1] / "scripts" / "wandb_workspace.py"
    command = [sys.executable, str(script), str(trained[0] / "out"), "--entity", "someone", "--cells", "--print"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(script.parents[1])}
    )
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    for word in ("norm/W_E", "train/loss_max", "test/accuracy", "optimizer.weight_decay", "runs/generalized"):
        assert word in text, word
    assert "cell" in text


class FakeServer(BaseHTTPRequestHandler):
    """As much of W&B's server as it takes to create runs and to keep their files."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {"exitcode": None, "limits": {}}
        if self.path == "/graphql":
            answer = {"data": self.answer(json.loads(body))}
        elif self.path.endswith("/file_stream"):
            self.server.streamed.append((self.path.split("/")[4], json.loads(body)))
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def answer(self, question):
        name, given = question["query"], question.get("variables") or {}
        if "UpsertBucket" in name:
            self.server.created.append(given["name"])
            project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "someone"}}
            bucket = {"id": "b", "name": given["name"], "displayName": "", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "CreateRunFiles" in name:
            address = f"http://127.0.0.1:{self.server.server_port}/put"
            files = [{"name": file, "uploadUrl": address} for file in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeServer) as server:
        server.created, server.streamed = [], []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        yield server
        server.shutdown()


def test_a_sweep_is_shown_live_and_uploaded_and_the_key_stays_in_the_environment(trained, tmp_path, server):
    command = [sys.executable, "-c", "from grokjax.cli import main; main()"]
    arguments = ["run", trained[0] / "shown.yaml", "--out", tmp_path / "out", "--set", "train.steps=20", "--wandb"]
    environment = os.environ | {"PYTHONPATH": str(Path(grokjax.__file__).parents[1])}
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "live in W&B: http://127.0.0.1" in done.stdout
    assert "all are uploaded to project grokjax" in done.stdout, done.stdout + done.stderr
    written = read_written(tmp_path / "out").runs
    assert set(written) | {next(name for name in server.created if name.startswith("sweep-"))} == set(server.created)
    assert all(mark.uploaded for mark in written.values())
    ended = {name for name, sent in server.streamed if sent.get("complete")}
    assert ended == set(server.created)
    report = verify(tmp_path / "out")
    assert not report.damaged
    assert not report.unknown
    assert KEY not in done.stdout + done.stderr + json.dumps(server.streamed)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
