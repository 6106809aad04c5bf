"""Faults from outside, on real processes: signals, full disks, second launches, folders that go, memory that ends."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from bits import PLAIN, RECYCLED, bits, write
from child import start
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.launch import run
from grokjax.results.lock import Locked, locked
from grokjax.results.verify import verify


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], int]:
    """A sweep, what it ends with, and how many writes that took."""
    folder = tmp_path_factory.mktemp("clean")
    sweep = write(folder, RECYCLED)
    child = start(sweep, folder / "out")
    said, wrong = child.communicate(timeout=120)
    assert child.returncode == 0, wrong
    return sweep, bits(folder / "out"), int(said.split("writes ")[1])


def end_of(sweep: Path, out: Path, **options: Any) -> tuple[int, str, int]:
    """Exit status, standard error, and the session, of a child that a fault befalls."""
    child = start(sweep, out, **options)
    _, wrong = child.communicate(timeout=120)
    return child.returncode, wrong, child.pid


def alive_in(session: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def goes_on(sweep: Path, out: Path, wanted: dict[str, Any]) -> None:
    run(sweep, out=out)
    assert bits(out) == wanted
    report = verify(out)
    assert not report.damaged
    assert not report.unknown


@pytest.mark.parametrize("share", [0.2, 0.67])
def test_a_killed_process_leaves_no_other_behind_and_all_that_is_needed_to_go_on(
    tmp_path: Path, clean: tuple[Path, dict[str, Any], int], share: float
):
    sweep, wanted, writes = clean
    status, _, session = end_of(sweep, tmp_path / "out", at=int(share * writes), send=signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not alive_in(session)
    goes_on(sweep, tmp_path / "out", wanted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_finishes_the_segment_and_keeps_a_checkpoint(
    tmp_path: Path, clean: tuple[Path, dict[str, Any], int], number: int
):
    sweep, wanted, writes = clean
    out = tmp_path / "out"
    status, wrong, session = end_of(sweep, out, at=writes // 2, send=number)
    assert status == 75
    assert wrong.startswith(f"interrupted; what is recorded in {out} can be read, the same command goes on")
    assert not alive_in(session)
    (chunk,) = {path.parent for path in out.glob("chunks/*/*/work/*/checkpoints/*/segment-*.json")}
    kept = max(int(path.stem.split("-")[1]) for path in chunk.glob("segment-*.json"))
    recorded = [path.stem.rpartition("-")[2] for path in chunk.parents[1].glob(f"curves/{chunk.name}-*")]
    assert kept == max(int(number) for number in recorded)  # nothing will be trained twice
    goes_on(sweep, out, wanted)


FULL = "No space left on device; what is recorded is kept, and the same command goes on once there is room"


@pytest.mark.parametrize(
    ("share", "number", "said"),
    [(0.3, errno.ENOSPC, FULL), (0.6, errno.ENOSPC, FULL), (0.45, errno.EROFS, "Read-only file system")],
    ids=["full", "full later", "read-only"],
)
def test_a_disk_that_takes_no_more_is_said_in_one_line_and_the_sweep_goes_on_once_it_does(
    tmp_path: Path, clean: tuple[Path, dict[str, Any], int], share: float, number: int, said: str
):
    sweep, wanted, writes = clean
    status, wrong, _ = end_of(sweep, tmp_path / "out", at=int(share * writes), fails=number)
    assert status == 1
    assert said in wrong
    assert "Traceback" not in wrong
    assert len(wrong.strip().splitlines()) == 1, wrong
    goes_on(sweep, tmp_path / "out", wanted)


@pytest.mark.parametrize("at", [6, 9, 14])
def test_a_folder_that_cannot_be_made_is_said_at_once_and_nothing_waits_for_it(
    tmp_path: Path, clean: tuple[Path, dict[str, Any], int], at: int
):
    sweep, wanted, _ = clean
    out = tmp_path / "out"
    status, wrong, _ = end_of(sweep, out, event="os.mkdir", at=at, fails=errno.EROFS)
    assert status == 1
    assert re.fullmatch(rf"{out}/\S+: Read-only file system\n", wrong)
    goes_on(sweep, out, wanted)


@pytest.mark.parametrize("limit", [4_000, 15_000], ids=["the plan", "a snapshot"])
def test_files_that_may_not_grow_are_a_clear_error_and_the_sweep_goes_on_once_they_may(
    tmp_path: Path, clean: tuple[Path, dict[str, Any], int], limit: int
):
    sweep, wanted, _ = clean
    status, wrong, _ = end_of(sweep, tmp_path / "out", limit=limit)
    assert status == 1
    assert re.search(r"File too large|no room|No space", wrong), wrong
    assert "Traceback" not in wrong
    goes_on(sweep, tmp_path / "out", wanted)


def test_a_directory_that_vanishes_is_a_clear_error(tmp_path: Path, clean: tuple[Path, dict[str, Any], int]):
    sweep, wanted, writes = clean
    out = tmp_path / "out"
    status, wrong, _ = end_of(sweep, out, at=writes // 2, vanishes=True)
    assert status == 1
    assert f"{out}" in wrong
    assert "No such file or directory" in wrong
    assert "Traceback" not in wrong
    assert not out.exists()  # it is not made again, half empty
    goes_on(sweep, Path(f"{out}.gone").rename(out), wanted)


def test_where_no_directory_can_be_made_nothing_is_trained(tmp_path: Path):
    (tmp_path / "file").write_text("")
    said = CliRunner().invoke(app, ["run", str(write(tmp_path, PLAIN)), "--out", str(tmp_path / "file" / "out")])
    assert said.exit_code == 2
    assert f"{tmp_path}/file is a file, so there can be no folder {tmp_path}/file/out" in said.stderr


def test_a_second_launch_is_refused_with_host_and_process(tmp_path: Path, clean: tuple[Path, dict[str, Any], int]):
    sweep, wanted, _ = clean
    out = tmp_path / "out"
    out.mkdir()
    with locked(out):
        status, wrong, _ = end_of(sweep, out)
        assert status == 1
        assert f"process {os.getpid()} on host {os.uname().nodename!r} trains there" in wrong
        with pytest.raises(Locked):
            run(sweep, out=out)
        assert [path.name for path in out.iterdir()] == ["lock"]
    goes_on(sweep, out, wanted)


def test_two_launched_at_once_do_not_mix(tmp_path: Path, clean: tuple[Path, dict[str, Any], int]):
    sweep, wanted, _ = clean
    out = tmp_path / "out"
    both = [start(sweep, out), start(sweep, out)]
    wrong = [child.communicate(timeout=120)[1] for child in both]
    ends = [child.returncode for child in both]
    assert sorted(ends) in ([0, 0], [0, 1])  # both, where one began after the other had ended
    assert all("trains there" in wrong[at] for at in range(2) if ends[at] == 1)
    goes_on(sweep, out, wanted)


# --- memory ---------------------------------------------------------------------------------------------------


def out_of_memory(*_: Any, **__: Any):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 137438953472 bytes.")


def with_room_for(lanes: int, stepper: Callable[..., Any]) -> Callable[..., Any]:
    def limited(program: Any, chunk: Any) -> Callable[[int], Any]:
        return out_of_memory if chunk.bucket.width > lanes else stepper(program, chunk)

    return limited


def test_what_does_not_fit_into_memory_is_planned_again_with_half_the_lanes_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from grokjax.engine import memory

    monkeypatch.setattr(memory, "TRIED_FROM", 0.0)
    monkeypatch.setattr(memory, "stepper", with_room_for(4, memory.stepper))
    out = tmp_path / "out"
    sweep = write(tmp_path, PLAIN | {"engine": {}, "parameters": {"seed": {"min": 0, "max": 15}}})
    said = CliRunner().invoke(app, ["run", str(sweep), "--out", str(out)])
    assert said.exit_code == 0, said.output
    for lanes in (16, 8):
        assert f"bucket 0 is out of device memory with {lanes} lanes; planned again with {lanes // 2}" in said.stdout
    results = grokjax.open_results(out)
    assert {bucket.width for bucket in results.manifest.buckets} == {4}
    again = CliRunner().invoke(app, ["run", str(sweep), "--out", str(out)])
    assert "out of device memory" not in again.stdout  # what was begun keeps its width


def test_a_run_that_fits_no_memory_at_all_is_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from grokjax.engine import memory

    monkeypatch.setattr(memory, "TRIED_FROM", 0.0)
    monkeypatch.setattr(memory, "stepper", with_room_for(0, memory.stepper))
    said = CliRunner().invoke(app, ["run", str(write(tmp_path, PLAIN)), "--out", str(tmp_path / "out")])
    assert said.exit_code == 1
    assert "a single run of bucket 0 does not fit into the memory of" in said.stderr
    assert not (tmp_path / "out").exists()


def test_memory_that_ends_while_training_is_a_clear_error_and_the_plan_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = write(tmp_path, PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr("grokjax.engine.loop.Program.advance", out_of_memory)
        said = CliRunner().invoke(app, ["run", str(sweep), "--out", str(tmp_path / "out")])
    assert said.exit_code == 1
    assert said.stderr.splitlines()[-1].startswith("what is recorded is kept; free the device for the same command")
    plan = (tmp_path / "out" / "plan.json").read_bytes()
    run(sweep, out=tmp_path / "out")
    assert (tmp_path / "out" / "plan.json").read_bytes() == plan
