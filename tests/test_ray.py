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
from bits import bits, write
from clusters import LONGEST, SWEEP, Ray, at_work, command, done, ray, wait_for
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.cluster.on_ray import parse_per_worker, task_options
from grokjax.launch import run
from grokjax.results.verify import verify
from grokjax.results.workers import workers

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray: pip install 'grokjax[ray]'")


@pytest.fixture
def cluster() -> Iterator[Ray]:
    folder = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))  # Ray's sockets need a short path
    with ray(folder, 3) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


@needs_ray
def test_a_killed_worker_node_and_driver_and_a_node_that_comes_late_change_no_bit(tmp_path: Path, cluster: Ray):
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    line = command("run", sweep, "--out", out, "--on", cluster.address, "--workers", 3)
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: len(at_work(out)) >= 2, "workers that train")
    os.kill(at_work(out)[0].process, signal.SIGKILL)
    os.kill(cluster.raylets()[1], signal.SIGKILL)  # a node, not the head
    cluster.add_node()
    wait_for(lambda: done(out) >= 2, "chunks that are done")
    driver.send_signal(signal.SIGINT)
    said, _ = driver.communicate(timeout=LONGEST)
    assert driver.returncode == 75, said
    assert "the same command goes on" in said
    assert (out / "stop").exists()
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: at_work(out), "a worker that trains")
    driver.kill()
    driver.communicate()
    wait_for(lambda: not workers(out), "the end of the driver's workers", 60)
    said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "all have ended" in said.stdout
    run(sweep, tmp_path / "alone")
    assert bits(out) == bits(tmp_path / "alone")
    assert not verify(out).damaged


@needs_ray
def test_a_sweep_that_cannot_be_planned_and_a_chunk_that_cannot_be_trained_are_said_in_a_line(
    tmp_path: Path, cluster: Ray
):
    sweep: dict[str, Any] = SWEEP | {"parameters": {"seed": {"min": 0, "max": 3}}}
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
