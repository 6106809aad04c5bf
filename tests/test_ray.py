"""A real Ray cluster: killed workers, nodes and drivers, and nodes that are added, change no bit."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bits import write
from clusters import (
    LONGEST,
    SWEEP,
    Ray,
    assert_ended,
    at_work,
    command,
    done,
    is_training,
    one_core,
    parent_of,
    ray,
    wait_for,
)
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.cluster.on_ray import parse_per_worker, task_options
from grokjax.results.layout import home_of
from grokjax.results.workers import workers

pytestmark = pytest.mark.as_shipped
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray: pip install 'grokjax[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    folder = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))  # Ray's sockets need a short path
    with one_core(), ray(folder, 3) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


def begin(line: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@needs_ray
def test_a_killed_worker_a_lost_node_one_that_comes_late_and_one_that_was_frozen_change_no_bit(
    tmp_path: Path, cluster: Ray
):
    sweep, out, said = write(tmp_path, SWEEP), tmp_path / "out", tmp_path / "said"
    line = command("run", sweep, "--out", out, "--on", cluster.address, "--workers", 3)
    with said.open("w") as stream:
        driver = subprocess.Popen(line, stdout=stream, stderr=stream)
    wait_for(lambda: len(at_work(out)) >= 3, "workers that train")
    frozen, killed, lost = at_work(out)
    os.kill(frozen.process, signal.SIGSTOP)
    os.kill(killed.process, signal.SIGKILL)
    os.kill(parent_of(lost.process), signal.SIGKILL)
    cluster.add_node()
    wait_for(lambda: done(out) == 7, "all chunks but that of the frozen worker")
    node = parent_of(frozen.process)
    assert node in cluster.raylets()
    os.kill(node, signal.SIGSTOP)
    # another does its chunk; Ray takes a minute to give up on a node that is frozen
    other = command("work", out, "--chunk", frozen.chunk)
    assert subprocess.run(other, capture_output=True, check=False, timeout=LONGEST).returncode == 0
    wait_for(lambda: said.read_text().count("has been marked dead") == 2, "the end of Ray's patience")
    os.kill(frozen.process, signal.SIGCONT)
    wait_for(lambda: not is_training(frozen.process), "the woken worker, whose chunk is done")
    os.kill(node, signal.SIGCONT)
    assert driver.wait(LONGEST) == 0, said.read_text()
    assert "all have ended" in said.read_text()
    assert node not in cluster.raylets()
    home = home_of(out, frozen.chunk)
    assert sorted(path.name.partition("-")[0] for path in home.iterdir()) == [
        "curves",
        "done.json",
        "snapshots",
        "summary",
    ]
    assert_ended(out)


@needs_ray
def test_a_driver_that_is_interrupted_and_one_that_is_killed_change_no_bit(tmp_path: Path, cluster: Ray):
    cluster.add_node()  # for the one that was given up
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    line = command("run", sweep, "--out", out, "--on", cluster.address, "--workers", 3)
    driver = begin(line)
    wait_for(lambda: at_work(out), "a worker that trains")
    driver.send_signal(signal.SIGINT)
    said, _ = driver.communicate(timeout=LONGEST)
    assert driver.returncode == 75, said
    assert "the same command goes on" in said
    assert (out / "stop").exists()
    driver = begin(line)
    wait_for(lambda: at_work(out), "a worker that trains")
    driver.kill()
    driver.communicate()
    wait_for(lambda: not workers(out), "the end of the driver's workers", 60)
    said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "all have ended" in said.stdout
    assert_ended(out)


@needs_ray
def test_a_sweep_that_cannot_be_planned_and_a_chunk_that_cannot_be_trained_are_said_in_a_line(
    tmp_path: Path, cluster: Ray
):
    short = SWEEP["base"] | {"train": {"steps": 60}}
    sweep: dict[str, Any] = SWEEP | {"base": short, "parameters": {"seed": {"min": 0, "max": 3}}}
    path, out = write(tmp_path, sweep), tmp_path / "out"
    line = command("run", path, "--out", out, "--on", cluster.address, "--workers", 1)
    assert subprocess.run(line, capture_output=True, check=False, timeout=LONGEST).returncode == 0
    shutil.rmtree(out / "chunks" / "000")
    (out / "chunks" / "000").write_text("in the way")
    said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert said.returncode == 1
    assert "Traceback" not in said.stderr
    write(tmp_path, sweep | {"base": sweep["base"] | {"optimizer": {"lr": 0.5}}})
    said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert said.returncode == 2, said.stdout + said.stderr
    assert "holds another sweep" in said.stderr


def test_where_no_cluster_is_that_is_said_at_once(tmp_path: Path):
    line = ["run", str(write(tmp_path, SWEEP)), "--out", str(tmp_path / "out"), "--on", "ray://127.0.0.1:1"]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 2
    assert "nothing listens there" in said.stderr or "pip install 'grokjax[ray]'" in said.stderr
    assert not (tmp_path / "out").exists()


def test_what_a_worker_takes_is_read_or_refused():
    assert parse_per_worker("cpu=4, gpu=1") == {"cpu": 4.0, "gpu": 1.0}
    assert parse_per_worker(None) == {}
    options = task_options({"tpu": 1.0, "gpu": 0.5})
    assert (options["max_calls"], options["num_gpus"], options["resources"]) == (0, 0.5, {"TPU": 1.0})
    for text in ("gpu", "gpu=x", "gpu=0", "fpga=1", "gpu=1 cpu=2"):
        with pytest.raises(ValueError, match="--per-worker is gpu=1"):
            parse_per_worker(text)
