"""A real SLURM cluster: what it requeues, kills and cancels ends with the bits of one process."""

from __future__ import annotations

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
from clusters import LONGEST, SWEEP, at_work, command, done, jobs, no_slurm, slurm, wait_for

from grokjax.launch import run
from grokjax.results.verify import verify
from grokjax.results.workers import workers

pytestmark = pytest.mark.skipif(no_slurm() is not None, reason=f"no SLURM: {no_slurm()}")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    with slurm(folder) as conf:
        yield conf
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    run(write(folder, SWEEP), folder / "out")
    return bits(folder / "out")


def submit(sweep: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = command("run", sweep, "--out", out, "--on", "slurm", "--workers", 3, *more)
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)


def assert_ended(out: Path, alone: dict[str, Any]) -> None:
    assert bits(out) == alone
    assert not verify(out).damaged


def test_what_is_requeued_and_a_node_that_is_lost_change_no_bit(tmp_path: Path, alone: dict[str, Any]):
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    said = submit(sweep, out)
    assert said.returncode == 0, said.stderr
    assert "3 workers" in said.stdout
    wait_for(lambda: len(at_work(out)) >= 2, "workers that train")
    (array,) = {job.partition("_")[0] for job, _ in jobs() if "_" in job}
    # near its time limit one task asks to be requeued: it alone, and the others go on
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{array}_0"], check=True)
    again = submit(sweep, out)
    assert f"job {array} is at it already" in again.stdout, again.stdout + again.stderr
    wait_for(lambda: "stopping after this segment" in (out / "slurm" / f"{array}_0.log").read_text(), "the signal")
    # the process of another is killed, as by a node that fails
    for seen in workers(out)[-1:]:
        os.kill(seen.process, signal.SIGKILL)
    wait_for(lambda: not jobs(), "the end of all jobs")
    if done(out) < 8:  # a task whose process was killed has failed, and is submitted again by the same command
        assert submit(sweep, out, "--wait").returncode == 0
    assert_ended(out, alone)


def test_what_is_cancelled_stays_cancelled_until_the_same_command_submits_it_again(
    tmp_path: Path, alone: dict[str, Any]
):
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    assert submit(sweep, out).returncode == 0
    wait_for(lambda: at_work(out), "a worker that trains")
    (array,) = {job.partition("_")[0] for job, _ in jobs() if "_" in job}
    subprocess.run(["scancel", array], check=True)
    wait_for(lambda: not jobs(), "the end of what was cancelled", 60)
    assert done(out) < 8
    said = submit(sweep, out, "--wait")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "all have ended" in said.stdout
    assert submit(sweep, out).stdout.startswith("all 8 chunks are done")
    assert_ended(out, alone)


def test_options_that_slurm_does_not_take_are_said_in_its_words(tmp_path: Path):
    said = submit(write(tmp_path, SWEEP), tmp_path / "out", "--sbatch", "partition=none")
    assert said.returncode == 1
    assert "invalid partition" in said.stderr
    assert "Traceback" not in said.stderr
