"""The commands, as a user calls them: what they print, write and exit with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app

SWEEP = """
name: small
base:
  task: {p: 7, train_fraction: 0.6}
  model: {d_model: 8, heads: 2, d_mlp: 16}
  train: {steps: 30}
log: {every: 10, eval_every: 10}
parameters:
  optimizer.weight_decay: {values: [0, 1]}
  seed: {values: [0, 1]}
"""


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(SWEEP)
    result = call("run", folder / "small.yaml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder


def test_run_says_its_device_and_what_the_runs_did(tmp_path):
    (tmp_path / "small.yaml").write_text(SWEEP)
    result = call(
        "run", tmp_path / "small.yaml", "--out", tmp_path / "out", "--set", "seed=0", "--set", "train.steps=5"
    )
    assert result.exit_code == 0, result.output
    assert "2 runs" in result.output
    assert "(cpu, jax" in result.output
    assert "2 ended" in result.output
    runs = grokjax.open_results(tmp_path / "out").runs()
    assert set(runs["train.steps"]) == {5}
    assert set(runs["seed"]) == {0}


def test_run_warns_of_an_accelerator_that_jax_does_not_use(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SWEEP)
    monkeypatch.setattr("grokjax.engine.devices.shutil.which", lambda name: f"/usr/bin/{name}")
    result = call(
        "run", tmp_path / "small.yaml", "--out", tmp_path / "out", "--set", "seed=0", "--set", "train.steps=1"
    )
    assert result.exit_code == 0, result.output
    assert "note: this machine has an NVIDIA GPU, but the installed JAX computes on the CPU" in result.output
    assert "pip install 'grokjax[cuda]'" in result.output


def test_a_second_run_of_the_same_command_changes_nothing(trained):
    curves = sorted(path for path in (trained / "out" / "chunks").rglob("*") if path.is_file())
    before = [(path, path.stat().st_mtime_ns) for path in curves]
    result = call("run", trained / "small.yaml", "--out", trained / "out")
    assert result.exit_code == 0, result.output
    assert "were finished before" in result.output
    assert [(path, path.stat().st_mtime_ns) for path in curves] == before


def test_another_sweep_in_the_same_directory_is_refused_and_told(trained):
    result = call("run", trained / "small.yaml", "--out", trained / "out", "--set", "optimizer.lr=0.5")
    assert result.exit_code == 2
    assert "holds another sweep" in result.output
    assert "4 of its 4 runs are gone, 4 are new; optimizer.lr 0.001 -> 0.5" in result.output
    (trained / "other.yaml").write_text(SWEEP.replace("p: 7", "p: 5"))
    result = call("run", trained / "other.yaml", "--out", trained / "out")
    assert result.exit_code == 2
    assert "-  task: {p: 7, train_fraction: 0.6}\n  +  task: {p: 5, train_fraction: 0.6}" in result.output


def test_a_directory_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "small.yaml").write_text(SWEEP)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    result = call("run", tmp_path / "small.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "no results directory" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_bad_input_exits_2_with_every_mistake_and_writes_nothing(tmp_path):
    bad = SWEEP.replace("d_model: 8", "d_modl: 8").replace("steps: 30", "steps: many")
    (tmp_path / "bad.yaml").write_text(bad)
    result = call("run", tmp_path / "bad.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "bad.yaml:5:11: model.d_modl: unknown key" in result.output
    assert "did you mean d_model?" in result.output
    assert "bad.yaml:6:11: train.steps: wrong type" in result.output
    assert not (tmp_path / "out").exists()


def test_plan_tells_runs_buckets_lanes_memory_records_and_disk(trained):
    result = call("plan", trained / "small.yaml", "--set", "loss.precision=float32")
    assert result.exit_code == 0, result.output
    for word in ("4 runs, 1 bucket,", "lanes", "memory", "records of", "disk", "GFLOP"):
        assert word in result.output
    assert "hours" not in result.output


def test_plan_measures_hours(trained):
    result = call("plan", trained / "small.yaml", "--measure")
    assert result.exit_code == 0, result.output
    assert "ms a run-step" in result.output
    assert "time: " in result.output


def test_status_counts_outcomes(trained):
    result = call("status", trained / "out")
    assert result.exit_code == 0
    assert "arm main: 4 ended" in result.output


def test_status_of_no_results_directory_is_bad_input(tmp_path):
    result = call("status", tmp_path)
    assert result.exit_code == 2
    assert "no plan.json" in result.output


def test_params_are_what_init_from_file_reads(trained):
    results = grokjax.open_results(trained / "out")
    run_id = results.runs()["run_id"][0]
    result = call("params", trained / "out", run_id, "--out", trained / "end.safetensors")
    assert result.exit_code == 0, result.output
    stored = load_file(trained / "end.safetensors")
    assert stored["W_O.0"].shape == (2, 4, 8)
    for name, value in results.params(run_id).items():
        np.testing.assert_array_equal(stored[name], value)
    overrides = {"init.from_file": str(trained / "end.safetensors"), "optimizer.weight_decay": 0, "train.steps": 1}
    again = grokjax.run(trained / "small.yaml", trained / "again", set={**overrides, "seed": 0})
    norms = again.curves("norm/W_E").query("step == 0")["norm/W_E"]
    np.testing.assert_allclose(norms, np.linalg.norm(stored["W_E"]), rtol=1e-6)


def test_params_of_an_unknown_run_or_step_say_what_there_is(trained):
    run_id = grokjax.open_results(trained / "out").runs()["run_id"][0]
    result = call("params", trained / "out", run_id[:-1] + "x", "--out", trained / "no.safetensors")
    assert result.exit_code == 2
    assert f"did you mean {run_id}?" in result.output
    result = call("params", trained / "out", run_id, "--step", 7, "--out", trained / "no.safetensors")
    assert result.exit_code == 2
    assert "has snapshots at step 30, none at 7; make it with: grokjax replay" in result.output


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("table", ["curves", "runs", "events"])
def test_export_writes_what_the_api_gives(trained, table, ending):
    path = trained / f"{table}.{ending}"
    result = call("export", trained / "out", "--table", table, "--out", path)
    assert result.exit_code == 0, result.output
    read = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    wanted = getattr(grokjax.open_results(trained / "out"), table)()
    assert list(read.columns) == list(wanted.columns)
    assert list(read["run_id"]) == list(wanted["run_id"])
    if table == "curves":
        np.testing.assert_allclose(read["train/loss"], wanted["train/loss"], rtol=1e-6)


def test_export_refuses_an_unknown_metric(trained):
    result = call("export", trained / "out", "--metric", "train/los")
    assert result.exit_code == 2
    assert "did you mean train/loss?" in result.output


@pytest.mark.parametrize("table", ["curves", "runs", "events"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_writes_the_file_that_its_help_names(trained, table, ending):
    told = " ".join(call("export", "--help").output.split())
    assert "default DIR/TABLE-export.csv, or .parquet with --format parquet" in told
    result = call("export", trained / "out", "--table", table, "--format", ending)
    assert result.output.strip() == str(trained / "out" / f"{table}-export.{ending}")
    assert (trained / "out" / f"{table}-export.{ending}").exists()


def test_export_refuses_an_ending_that_says_another_format(trained):
    result = call("export", trained / "out", "--format", "parquet", "--out", trained / "a.csv")
    assert result.exit_code == 2
    assert "a.csv ends in .csv, and --format is parquet" in result.output
    assert call("export", trained / "out", "--format", "parquet", "--out", trained / "a.table").exit_code == 0


def test_a_network_goes_to_the_file_that_the_help_of_export_names(trained):
    run_id = grokjax.open_results(trained / "out").run_ids[0]
    told = "".join(call("export", "--help").output.split())
    assert "DIR/RUN-STEP-transformer_lens.safetensors" in told
    result = call("export", trained / "out", "--to", "transformer_lens", "--run", run_id[:6])
    assert result.exit_code == 0, result.output
    path = trained / "out" / f"{run_id}-30-transformer_lens.safetensors"
    assert result.output.startswith(f"{path}: run {run_id} at step 30\n")
    assert repr(str(path)) in result.output
    back = trained / "back.safetensors"
    assert call("convert", path, "--out", back).exit_code == 0
    params = grokjax.open_results(trained / "out").params(run_id)
    assert all((load_file(back)[name] == value).all() for name, value in params.items())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "onnx"], "--to takes transformer_lens, got 'onnx'"),
        (["--to", "transformer_lens"], "give one --run RUN"),
        (
            ["--to", "transformer_lens", "--run", "a", "--table", "runs"],
            "--table, --format and --metric are for tables",
        ),
        (["--step", "3"], "give --to transformer_lens too"),
        (["--table", "weights"], "table must be curves, runs or events, got 'weights'"),
        (["--format", "json"], "format must be csv or parquet, got 'json'"),
    ],
)
def test_export_refuses_what_does_not_go_together(trained, options, says):
    result = call("export", trained / "out", *options)
    assert result.exit_code == 2
    assert says in result.output


@pytest.fixture
def places(tmp_path):
    """Where nothing can be written, and what is said of it."""
    (tmp_path / "folder.tar.gz").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link.tar.gz").symlink_to(tmp_path / "gone" / "away")
    (tmp_path / "to_folder").symlink_to(tmp_path / "gone")
    return tmp_path


BAD_PLACES = {
    "folder.tar.gz": "is a directory; name a file to write",
    "link.tar.gz": "is a link to .*away, which is not there",
    "file/x.tar.gz": "file is a file, so there can be no folder",
    "to_folder/x.tar.gz": "to_folder is a link to .*gone, which is not there",
}
WRITERS = {
    "export": "export OUT --out PLACE",
    "export a network": "export OUT --to transformer_lens --run RUN --out PLACE",
    "params": "params OUT RUN --out PLACE",
    "convert": "convert PARAMS --out PLACE",
    "report": "report OUT --out PLACE",
    "bundle": "bundle OUT --out PLACE",
    "progress": "progress OUT --out PLACE",
    "replay": "replay OUT RUN --from 0 --to 2 --out PLACE",
    "run": "run SWEEP --out PLACE",
}


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("command", WRITERS)
def test_a_place_where_nothing_can_be_is_told_in_words(trained, places, command, place):
    run_id = grokjax.open_results(trained / "out").run_ids[0]
    call("params", trained / "out", run_id, "--out", trained / "params.safetensors")
    words = {"OUT": trained / "out", "RUN": run_id, "PARAMS": trained / "params.safetensors"}
    words |= {"PLACE": places / place, "SWEEP": trained / "small.yaml"}
    if place == "folder.tar.gz" and command in ("replay", "run"):
        return  # that is a place for a folder
    before = sorted(places.rglob("*"))
    result = call(*[words.get(word, word) for word in WRITERS[command].split()])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert re.search(BAD_PLACES[place], result.output.splitlines()[-1])
    assert sorted(places.rglob("*")) == before


def test_a_folder_of_results_directories_says_what_is_in_it(trained, tmp_path):
    result = call("status", trained)
    assert result.exit_code == 2
    assert re.search(f"is no results directory: it has no plan.json; there is .*{trained / 'out'}\n", result.output)
    assert call("status", tmp_path).output.endswith("it has no plan.json\n")


def test_folders_that_are_missing_are_made(trained, tmp_path):
    for name, ending in (("export", "csv"), ("bundle", "zip"), ("report", "html")):
        path = tmp_path / name / "a" / f"b.{ending}"
        assert call(name, trained / "out", "--out", path).exit_code == 0
        assert path.stat().st_size


def test_figure_writes_png_svg_and_csv(trained):
    result = call("figure", "curves", trained / "out")
    assert result.exit_code == 0, result.output
    for ending in ("png", "svg", "csv"):
        assert (trained / "out" / "figures" / f"curves.{ending}").stat().st_size > 1000


def test_an_unknown_figure_is_bad_input(trained):
    result = call("figure", "curvs", trained / "out")
    assert result.exit_code == 2
    assert "curves" in result.output


def test_help_starts_no_jax_and_imports_no_wandb_or_matplotlib():
    code = (
        "import sys, grokjax.cli\n"
        "try: grokjax.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('jax', 'wandb', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_ends_with_75_and_what_is_recorded_can_be_read_and_gone_on_with(tmp_path):
    (tmp_path / "small.yaml").write_text(SWEEP)
    settings = ["--set", "train.steps=200000", "--set", "log.every=100", "--set", "log.eval_every=1000"]
    command = [sys.executable, "-m", "grokjax.cli", "run", "small.yaml", "--out", "out", *settings]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/chunks/*/*/work/*/curves/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "the same command goes on" in said
    results = grokjax.open_results(tmp_path / "out")
    curves = results.curves("train/loss")
    assert f"4 stopped at step {curves['step'].max():,} of 200,000" in call("status", tmp_path / "out").output
    assert len(curves) > 0
    assert set(results.runs()["status"]) <= {"running", "planned"}
    assert curves.groupby("run_id")["step"].is_monotonic_increasing.all()
    assert not [path.name for path in tmp_path.glob("out/**/*.part")]
    (bucket,) = json.loads((tmp_path / "out" / "plan.json").read_text())["buckets"]
    assert bucket["common"]["train.steps"] == 200000
