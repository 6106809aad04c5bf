"""Several processes at one directory, on one host or many, with locks or without: each chunk once, the same bits."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bits import BASE, bits, often_in_short_chunks, write
from three_chunks import SWEEP, Stop, after, never

import grokjax
from grokjax.cluster.worker import Part, Worker, WorkerError, open_worker, parse_part, part_of_environment, work
from grokjax.launch import plan_into, run
from grokjax.results import attempts, lock
from grokjax.results.attempts import Overtaken
from grokjax.results.chunk_plan import chunk_plan
from grokjax.results.files import read_json, write_json
from grokjax.results.layout import home_of
from grokjax.results.verify import verify
from grokjax.results.workers import SILENT_SECONDS, ask_to_stop, failures, note_progress, workers
from grokjax.stopping import Interrupted
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError


@pytest.fixture(scope="module", autouse=True)
def _often() -> Iterator[None]:
    with often_in_short_chunks():
        yield


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one process that nothing happened to."""
    folder = tmp_path_factory.mktemp("alone")
    run(write(folder, SWEEP), folder / "out")
    return bits(folder / "out")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Planned, and nothing trained."""
    plan_into(load_sweep(write(tmp_path, SWEEP)), tmp_path / "out", print, 1)
    return tmp_path / "out"


def worker(out: Path) -> Worker:
    return open_worker(out, False, str, lambda text: None)


def assert_whole(out: Path, wanted: dict[str, Any]) -> None:
    assert bits(out) == wanted
    report = verify(out)
    assert not report.damaged
    assert not report.unknown
    for home in (out / "chunks" / "000").iterdir():
        assert {path.name.partition("-")[0] for path in home.iterdir()} == {
            "done.json",
            "curves",
            "snapshots",
            "summary",
        }


def test_workers_of_parts_end_with_the_bits_of_one_process(out: Path, wanted: dict[str, Any]):
    for index in (2, 0, 1):
        work(worker(out), Part(index, 3), never)
    assert_whole(out, wanted)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_worker_that_slept_while_another_trained_its_chunk_finds_it_done(
    out: Path, wanted: dict[str, Any], segments: int
):
    other = worker(out)
    work(worker(out), Part(), after(segments, lambda: work(other, Part(), never)))
    assert_whole(out, wanted)


def test_a_worker_whose_folder_was_cleared_away_goes_on_from_the_attempt_that_took_over(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def take_over_and_stop() -> None:
        (folder,) = attempts.attempts(home_of(out, 0))
        monkeypatch.setattr(attempts, "OLD_SECONDS", -1.0)  # as if it had slept for an hour
        with pytest.raises(Interrupted):
            work(worker(out), Part(), after_then_stop(2))
        assert not (folder / "progress.json").exists()  # Orbax may make the folder again for what it was writing

    work(worker(out), Part(), after(3, take_over_and_stop))
    assert_whole(out, wanted)


def test_who_is_at_work_is_seen_and_who_was_killed_is_not(out: Path):
    seen: list[Any] = []
    with pytest.raises(Interrupted):
        work(worker(out), Part(), lambda: bool(seen) or seen.extend(workers(out)) or False)
    assert [(one.process, one.chunk) for one in seen] == [(os.getpid(), 0)]
    folder = attempts.attempts(home_of(out, 0))[0]
    note_progress(folder, 0)
    assert workers(out)
    assert not workers(out, seen[0].written + 2 * SILENT_SECONDS)  # a worker of another host may be silent for a while
    note = read_json(folder / "progress.json")
    write_json(folder / "progress.json", note | {"process": 2**22 + 1})
    assert not workers(out)


def after_then_stop(segments: int) -> Stop:
    left = [segments]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


@pytest.mark.parametrize("when", ["compact", "publish"])
def test_of_two_that_end_at_once_one_commits_and_the_other_leaves_nothing(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, when: str
):
    real, other, began = getattr(attempts, when), worker(out), []

    def late(*arguments: Any) -> Any:
        if not began:
            began.append(True)
            work(other, Part(), never)
        return real(*arguments)

    monkeypatch.setattr(attempts, when, late)
    work(worker(out), Part(), never)
    assert began
    assert_whole(out, wanted)


def test_one_whose_files_the_winner_has_just_cleared_away_but_not_yet_its_folder_is_overtaken(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    real, other, began = attempts.compact, worker(out), []

    def late(*arguments: Any) -> Any:
        paths = real(*arguments)
        if not began:
            began.append(True)
            with monkeypatch.context() as patch:
                patch.setattr(attempts, "discard", lambda folder: None)
                work(other, Part(0, 3), never)
        return paths

    monkeypatch.setattr(attempts, "compact", late)
    work(worker(out), Part(), never)
    assert began
    attempts.tidy(out)  # as the winner goes on to
    assert_whole(out, wanted)


def test_one_that_begins_while_the_winner_clears_away_is_overtaken(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    real, other, began = attempts._new_folder, worker(out), []

    def late(home: Path) -> Path:
        if not began:
            began.append(True)
            work(other, Part(0, 3), never)
        return real(home)

    monkeypatch.setattr(attempts, "_new_folder", late)
    work(worker(out), Part(), never)
    assert began
    assert_whole(out, wanted)


def test_a_commit_that_was_lost_is_told_and_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch):
    said = []
    one = open_worker(out, False, str, said.append)
    real, other = attempts.publish, worker(out)

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(attempts, "publish", real)
        monkeypatch.setattr(attempts, "tidy_home", lambda home: None)  # the other was frozen right after its commit
        work(other, Part(0, 3), never)
        return real(*arguments)

    monkeypatch.setattr(attempts, "publish", late)
    work(one, Part(0, 3), never)
    home = home_of(out, 0)
    assert len(list(home.glob("curves-*"))) == 1
    assert len(list((home / "work").iterdir())) == 1  # of the other


def test_a_worker_goes_on_from_the_furthest_attempt_and_from_a_damaged_checkpoint_s_earlier_one(
    out: Path, wanted: dict[str, Any]
):
    for segments in (2, 5, 1):
        with pytest.raises(Interrupted):
            work(worker(out), Part(), after_then_stop(segments))
    steps = [attempts.furthest_checkpoint(folder, 0) for folder in attempts.attempts(home_of(out, 0))]
    assert len(steps) == 3
    assert max(steps) >= 5
    listing = max(out.glob("chunks/*/*/work/*/checkpoints/chunk-00000/segment-*.json"), key=lambda path: path.name)
    listing.write_text("damaged")
    said: list[str] = []
    work(open_worker(out, False, str, said.append), Part(), never)
    assert any("the checkpoint before it is used" in text for text in said)
    assert_whole(out, wanted)


def test_a_stop_is_asked_for_in_the_directory_and_taken_back_by_the_next_launch(out: Path, wanted: dict[str, Any]):
    with pytest.raises(Interrupted):
        work(worker(out), Part(), after(2, lambda: ask_to_stop(out)))
    with pytest.raises(Interrupted):
        work(worker(out), Part(), never)
    assert not workers(out)  # all have stopped
    run(out.parent / "sweep.yaml", out)
    assert_whole(out, wanted)


def test_what_a_worker_could_not_do_is_told_with_chunk_and_host_and_by_status(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "x"))

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "compact", full)
        with pytest.raises(WorkerError, match=r"chunk 0 on .*: .*No space left .*\(and 2 more\)"):
            work(worker(out), Part(), never)
    assert [failure.chunk for failure in failures(out)] == [0, 1, 2]
    work(worker(out), Part(), never)
    assert not failures(out)
    assert_whole(out, wanted)


def test_a_disk_that_is_full_from_the_first_write_on_ends_the_attempt_and_is_told(
    out: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "x"))

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "note_progress", full)
        with pytest.raises(WorkerError, match="No space left on device"):
            work(worker(out), Part(0, 3), never)
    work(worker(out), Part(), never)
    assert_whole(out, wanted)


def test_growth_trains_what_its_runs_go_on_with_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("grokjax.results.shards.ROWS", 4)  # a worker knows of one chunk's runs at a time
    longer = SWEEP | {"base": BASE | {"train": {"steps": 90}}}
    log = {"log": {"every": 5, "eval_every": 10, "snapshot_every": 10}}
    for sweep in (SWEEP | log, longer | log):
        plan_into(load_sweep(write(tmp_path, sweep)), tmp_path / "out", print, 1)
    for index in (1, 0):
        work(worker(tmp_path / "out"), Part(index, 2), never)
    own = pd.concat(pd.read_parquet(path) for path in (tmp_path / "out").glob("chunks/000/00000[345]/curves-*"))
    assert own["step"].min() > 0  # none was trained again from the beginning
    assert not verify(tmp_path / "out").damaged
    run(write(tmp_path, longer | log), tmp_path / "clean")
    found, wanted = bits(tmp_path / "out"), bits(tmp_path / "clean")
    assert {part: found[part] for part in ("ids", "curves", "events")} == {
        part: wanted[part] for part in ("ids", "curves", "events")
    }


@pytest.mark.parametrize("locks", ["none", "that do nothing"])
def test_where_locks_are_unknown_or_do_nothing_two_launches_at_once_end_with_the_same_bits(
    tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, locks: str
):
    def flock(*_: Any) -> None:
        if locks == "none":
            raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    path, out = write(tmp_path, SWEEP), tmp_path / "out"

    class Second:
        """A screen of the first launch, during which the second runs from its beginning to its end."""

        began = False

        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

        def segment(self, *_: Any) -> None:
            if not self.began:
                self.began = True
                run(path, out)

    run(path, out, screen=Second())
    assert_whole(out, wanted)


def test_a_worker_of_another_kind_declines(out: Path, monkeypatch: pytest.MonkeyPatch):
    from grokjax.engine import devices

    here = devices.describe_device()
    monkeypatch.setattr(devices, "describe_device", lambda: here.__class__("gpu", "H100", 1, 8 * 10**10, here.versions))
    with pytest.raises(SweepError, match=r"was planned for .* core .*; here is 1 x H100"):
        worker(out)
    assert open_worker(out, True, str, print).manifest.chunks


def test_processes_that_race_for_all_chunks_train_each_once(out: Path, wanted: dict[str, Any]):
    command = [sys.executable, "-m", "grokjax.cli", "work", str(out)]
    raced = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    for process in raced:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "all chunks are done" in said
    assert bits(out) == wanted
    run(out.parent / "sweep.yaml", out)  # what races left is cleared away
    assert_whole(out, wanted)


def test_a_part_is_named_or_given_by_a_job_array():
    assert parse_part("3/32") == Part(3, 32)
    assert part_of_environment({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "5"}) == Part(2, 5)
    assert part_of_environment({"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "4"}) == Part(1, 4)
    assert part_of_environment({"SLURM_ARRAY_TASK_ID": "2"}) == Part()
    for text in ("3", "3/3", "-1/2", "a/b", "/2", ""):
        with pytest.raises(ValueError, match="--part is K/N"):
            parse_part(text)


def clear_and_write(this: attempts.Attempt) -> None:
    attempts.discard(this.folder)
    this.writer.note(1)


def test_an_overtaken_attempt_is_no_other_error(out: Path, monkeypatch: pytest.MonkeyPatch):
    chunk = chunk_plan(out, 0)
    with attempts.attempt(out, chunk, None, print) as gone:
        attempts.discard(gone.folder)
    with pytest.raises(Overtaken), attempts.attempt(out, chunk, None, print) as this:
        clear_and_write(this)
    with pytest.raises(ZeroDivisionError), attempts.attempt(out, chunk, None, print):
        _ = 1 / 0
    assert grokjax.open_results(out).runs()["status"].unique().tolist() == ["planned"]
