"""A real SLURM cluster: what it requeues, kills and cancels ends with the bits of one process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bits import write
from clusters import (
    LONGEST,
    SWEEP,
    Slurm,
    assert_ended,
    at_work,
    command,
    done,
    is_told,
    jobs,
    no_slurm,
    node_of,
    one_core,
    restarts,
    slurm,
    submit_urgent,
    wait_for,
)

from grokjax.cluster.on_slurm import grace_seconds
from grokjax.results.workers import Seen

pytestmark = pytest.mark.as_shipped
needs_slurm = pytest.mark.skipif(no_slurm() is not None, reason=f"no SLURM: {no_slurm()}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    with one_core(), slurm(folder) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


def submit(sweep: Path, out: Path, workers: int, *more: str) -> subprocess.CompletedProcess[str]:
    line = command("run", sweep, "--out", out, "--on", "slurm", "--workers", workers, *more)
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)


def the_array() -> str:
    (array,) = {job.partition("_")[0] for job, _ in jobs() if "_" in job}
    return array


def at_part(out: Path, part: int, of: int) -> Seen:
    """The worker that trains a part, once it has recorded something."""
    return wait_for(lambda: next((seen for seen in at_work(out) if seen.chunk % of == part), None), f"part {part}")


def log_of(out: Path, array: str, task: int) -> str:
    return (out / "slurm" / f"{array}_{task}.log").read_text()


@needs_slurm
def test_tasks_that_are_requeued_preempted_killed_and_that_lose_their_node_change_no_bit(
    tmp_path: Path, cluster: Slurm
):
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    said = submit(sweep, out, 4)
    assert said.returncode == 0, said.stderr
    assert "4 workers" in said.stdout
    _, preempted, _, killed = [at_part(out, part, 4) for part in range(4)]
    array = the_array()
    # one is preempted: frozen until then, as SLURM takes up to half a minute; with SIGTERM it sends SIGCONT
    os.kill(preempted.process, signal.SIGSTOP)
    submit_urgent(node_of(f"{array}_1"))
    cluster.lose_power(node_of(f"{array}_2"))
    os.kill(killed.process, signal.SIGKILL)
    # one asks to be requeued, as near its time limit: it alone
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{array}_0"], check=True)
    again = submit(sweep, out, 4)
    assert f"job {array} is at it already" in again.stdout, again.stdout + again.stderr
    wait_for(lambda: "stopping after this segment" in log_of(out, array, 0), "the signal")
    wait_for(lambda: not jobs(), "the end of all jobs")
    assert restarts(array) == {0: 1, 1: 1, 2: 1, 3: 0}
    assert log_of(out, array, 1).count("DUE TO PREEMPTION") == 1
    assert log_of(out, array, 1).count("stopping after this segment") == 1
    assert log_of(out, array, 2).count("all chunks are done") == 1
    # what was killed has failed, and is submitted again by the same command
    assert 1 <= 8 - done(out) <= 2
    assert submit(sweep, out, 4, "--wait").returncode == 0
    assert_ended(out)


@needs_slurm
def test_what_is_cancelled_stays_so_and_a_task_near_its_time_limit_or_frozen_for_long_change_no_bit(
    tmp_path: Path, cluster: Slurm
):
    sweep, out = write(tmp_path, SWEEP), tmp_path / "out"
    assert submit(sweep, out, 2).returncode == 0
    wait_for(lambda: at_work(out), "a worker that trains")
    array = the_array()
    subprocess.run(["scancel", array], check=True)
    wait_for(lambda: not jobs(), "the end of what was cancelled", 60)
    assert done(out) < 8
    assert restarts(array) == {0: 0, 1: 0}
    assert submit(sweep, out, 2, "--sbatch", "time=00:01:00").returncode == 0
    array = the_array()
    limited, frozen = [at_part(out, part, 2) for part in range(2)]
    for seen in (limited, frozen):
        os.kill(seen.process, signal.SIGSTOP)
    subprocess.run(["scontrol", "update", f"jobid={array}_1", "timelimit=30"], check=True)
    # another does the chunk of the one that is frozen
    line = command("work", out, "--chunk", frozen.chunk)
    other = subprocess.run(line, capture_output=True, text=True, check=False, timeout=LONGEST)
    assert other.returncode == 0, other.stderr
    os.kill(frozen.process, signal.SIGCONT)
    wait_for(lambda: is_told(limited.process, signal.SIGTERM), "the time limit")
    os.kill(limited.process, signal.SIGCONT)
    wait_for(lambda: not jobs(), "the end of all jobs")
    assert restarts(array)[0] >= 1
    assert restarts(array)[1] == 0
    assert "stopping after this segment" in log_of(out, array, 0)
    assert f"chunk {frozen.chunk}: another process was first" in log_of(out, array, 1)
    said = submit(sweep, out, 2)
    assert said.stdout.startswith("all 8 chunks are done"), said.stdout + said.stderr
    assert_ended(out)


@needs_slurm
def test_options_that_slurm_does_not_take_are_said_in_its_words(tmp_path: Path, cluster: Slurm):
    said = submit(write(tmp_path, SWEEP), tmp_path / "out", 3, "--sbatch", "partition=none")
    assert said.returncode == 1
    assert "invalid partition" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize(
    ("sbatch", "seconds"),
    [
        ("partition=gpu time=04:00:00", 300),
        ("time=20", 300),
        ("--time=00:01:00 partition=gpu", 15),
        ("time=1", 15),
        ("time=2:30", 37),
        ("time=0-00:10", 150),
        ("time=1-0", 300),
        ("time=UNLIMITED", 300),
        ("", 300),
        ("time-min=1", 300),
    ],
)
def test_a_task_is_told_of_its_time_limit_when_it_has_had_the_most_of_it(sbatch: str, seconds: int):
    assert grace_seconds(sbatch, {}) == seconds
    assert grace_seconds(sbatch, {"SBATCH_TIMELIMIT": "8"}) == 120  # which sbatch prefers to what a script says
