"""Results directories in buckets, against a server that speaks S3: the same bits, whoever dies, sleeps or loses."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bits import BASE, bits, often_in_short_chunks, write
from three_chunks import SWEEP, after, never
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.cluster.worker import Part, Worker, WorkerError, open_worker, work
from grokjax.launch import plan_into, repair, run, verify_results
from grokjax.results.bucket import Bucket, Stat, open_bucket
from grokjax.results.copies import copy_to_read, read_folder, refresh
from grokjax.results.workers import ask_to_stop, failures, may_go_on, workers
from grokjax.spec.files import is_url
from grokjax.standing import outcome_text
from grokjax.stopping import Interrupted
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError

pytest.importorskip("s3fs", reason="no s3fs: pip install 'grokjax[remote]'")
moto_server = pytest.importorskip("moto.server", reason="no moto: pip install 'moto[s3]' flask flask-cors")

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
OF_A_CHUNK = ("curves", "done.json", "snapshots", "summary")


class Killed(BaseException):
    """What ends a worker without a last word."""


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    started = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    started.start()
    host, port = started.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch, often_in_short_chunks():
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("grokjax.results.shipping.SHIP_SECONDS", -1.0)
        patch.setattr("grokjax.results.shipping.LOOK_SECONDS", -1.0)
        # what the server keeps is the process's, which may be given these tests in two parts
        open_bucket("s3://bucket/x").files.makedirs("bucket", exist_ok=True)
        yield
    started.stop()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one process and a local directory."""
    folder = tmp_path_factory.mktemp("alone")
    run(write(folder, SWEEP), folder / "out")
    return bits(folder / "out")


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return f"s3://bucket/{request.node.name.replace('[', '-').replace(']', '')}"


@pytest.fixture
def planned(url: str, tmp_path: Path) -> str:
    plan_into(load_sweep(write(tmp_path, SWEEP)), url, print, 1)
    return url


def worker(url: str, say: Callable[[str], None] = lambda text: None) -> Worker:
    return open_worker(url, False, str, say)


def killed() -> None:
    raise Killed


def names(url: str) -> list[str]:
    return sorted(open_bucket(url).listing())


def assert_whole(url: str, wanted: dict[str, Any], chunks: int = 3) -> None:
    assert bits(url) == wanted  # type: ignore[arg-type]
    report = verify_results(copy_to_read(url))
    assert not report.damaged
    homes = [f"chunks/000/{chunk:06d}/" for chunk in range(chunks)]
    of_chunks = [name for name in names(url) if name.startswith("chunks")]
    assert [name.rpartition("/")[0] + "/" for name in of_chunks] == [home for home in homes for _ in OF_A_CHUNK]
    assert [name.rpartition("/")[2].partition("-")[0] for name in of_chunks] == [*OF_A_CHUNK] * chunks


def test_a_run_into_a_bucket_has_the_bits_of_one_into_a_directory(
    url: str, tmp_path: Path, wanted: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    results = run(write(tmp_path, SWEEP), url)
    assert len(results.runs()) == 12
    assert_whole(url, wanted)
    before = names(url)
    run(write(tmp_path, SWEEP), url)
    assert names(url) == before


def test_workers_of_parts_have_the_bits_of_one_process(planned: str, wanted: dict[str, Any]):
    for index in (2, 0, 1):
        work(worker(planned), Part(index, 3), never)
    assert_whole(planned, wanted)


def test_where_a_worker_dies_another_goes_on_from_what_it_shipped(planned: str, wanted: dict[str, Any]):
    first = worker(planned)
    with pytest.raises(Killed):
        work(first, Part(), after(7, killed))
    shipped = [name for name in names(planned) if "/checkpoints/" in name]
    assert shipped
    resumed: list[Any] = []
    second = worker(planned)
    second.trainer.screen = Told(resumed)
    work(second, Part(), never)
    assert resumed
    assert_whole(planned, wanted)


class Told:
    """A screen that notes from what steps a chunk goes on."""

    def __init__(self, resumed: list[Any]):
        self._resumed = resumed

    def resumed(self, bucket: Any, steps: Any, ended: Any, did: Any) -> None:
        self._resumed.append(steps)

    def compiling(self, bucket: Any) -> None: ...

    def segment(self, bucket: Any, segment: Any) -> None: ...


@pytest.mark.parametrize("segments", [1, 3])
def test_a_worker_that_slept_while_another_trained_its_chunk_finds_it_done(
    planned: str, wanted: dict[str, Any], segments: int
):
    other = worker(planned)
    work(worker(planned), Part(), after(segments, lambda: work(other, Part(), never)))
    assert_whole(planned, wanted)


def test_of_two_that_end_a_chunk_at_once_one_counts(
    planned: str, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    create, others = Bucket.create, [worker(planned)]

    def create_second(self: Bucket, name: str, data: bytes) -> bool:
        if others:
            work(others.pop(), Part(), never)
        return create(self, name, data)

    monkeypatch.setattr(Bucket, "create", create_second)
    work(worker(planned), Part(), never)
    assert_whole(planned, wanted)


def test_a_commit_whose_answer_was_lost_is_known_as_ones_own(
    planned: str, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    create = Bucket.create

    def create_twice(self: Bucket, name: str, data: bytes) -> bool:
        create(self, name, data)
        return create(self, name, data)

    monkeypatch.setattr(Bucket, "create", create_twice)
    work(worker(planned), Part(), never)
    assert_whole(planned, wanted)


def test_where_shipping_fails_for_a_while_training_goes_on_and_that_is_said(
    planned: str, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    put, left, said = Bucket.put, [2], []

    def put_later(self: Bucket, names: Any, out: Path) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(None, "the network is down", self.url)
        put(self, names, out)

    monkeypatch.setattr(Bucket, "put", put_later)
    work(worker(planned, said.append), Part(), never)
    assert any("the network is down" in text and "tried again" in text for text in said)
    assert_whole(planned, wanted)


def test_a_chunk_that_cannot_be_shipped_at_its_end_is_told_and_trained_again(
    planned: str, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def refused(self: Bucket, name: str, data: bytes) -> bool:
        raise OSError(None, "no such key", self.url)

    first = worker(planned)
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "create", refused)
        with pytest.raises(WorkerError, match=r"chunk 0 on .*no such key"):
            work(first, Part(0, 3), never)
    assert [failure.chunk for failure in failures(copy_to_read(planned))] == [0]
    work(worker(planned), Part(), never)
    assert_whole(planned, wanted)


def test_a_stop_that_is_asked_for_in_the_bucket_reaches_a_worker(planned: str, wanted: dict[str, Any]):
    out = copy_to_read(planned)
    with pytest.raises(Interrupted, match=planned):
        work(worker(planned), Part(), after(1, lambda: ask_to_stop(out)))
    assert "stop" in names(planned)
    seen = [name for name in names(planned) if "/checkpoints/" in name]
    assert seen  # what it had, it shipped
    assert workers(copy_to_read(planned)) == []
    may_go_on(out)
    work(worker(planned), Part(), never)
    assert_whole(planned, wanted)


def test_who_is_at_work_is_seen_and_its_records_are_read(planned: str):
    seen: list[Any] = []

    def look() -> None:
        out = copy_to_read(planned)
        seen.append((workers(out), len(grokjax.open_results(planned).curves())))

    work(worker(planned), Part(0, 3), after(4, look))
    ((at_work, rows),) = seen
    assert [one.process for one in at_work] == [os.getpid()]
    assert rows > 0


def test_a_sweep_in_a_bucket_grows(url: str, tmp_path: Path):
    steps = {"train.steps": {"values": [25, 60]}, "seed": {"min": 0, "max": 3}}
    short = SWEEP | {"parameters": {"train.steps": {"values": [25]}, "seed": {"min": 0, "max": 3}}}
    run(write(tmp_path, short), url)
    plan_into(load_sweep(write(tmp_path, SWEEP | {"parameters": steps})), url, print, 1)
    work(worker(url), Part(), never)
    run(write(tmp_path, SWEEP | {"parameters": steps}), tmp_path / "alone")
    grown, alone = grokjax.open_results(url), grokjax.open_results(tmp_path / "alone")
    for run_id in alone.run_ids:
        assert grown.curves(runs=[run_id]).equals(alone.curves(runs=[run_id]))
    assert not verify_results(copy_to_read(url)).damaged


def test_runs_start_from_runs_in_a_bucket_as_from_those_in_a_directory(planned: str, tmp_path: Path):
    work(worker(planned), Part(), never)
    sweep = write(tmp_path, SWEEP)
    run(sweep, tmp_path / "alone")
    forks = {}
    for parents in (planned, str(tmp_path / "alone")):
        started = {"results": parents, "select": {"seed": 0}, "step": "final"}
        base = BASE | {"train": {"steps": 20}, "init": {"from_run": started}}
        forks[parents] = run({"name": "forks", "base": base}, tmp_path / f"forks of {len(forks)}")
    of_bucket, of_directory = forks.values()
    assert of_bucket.run_ids == of_directory.run_ids
    assert of_bucket.curves().equals(of_directory.curves())


def test_who_reads_copies_curves_only_when_they_are_asked_for(planned: str):
    work(worker(planned), Part(), never)
    out = copy_to_read(planned)
    results = grokjax.open_results(planned)
    assert len(results.runs()) == 12
    assert "12 ended" in outcome_text(results)
    assert not list(out.rglob("curves-*"))
    results.curves(runs=results.run_ids[:1])
    assert len(list(out.rglob("curves-*"))) == 1
    assert not list(out.rglob("snapshots-*"))


def test_what_is_gone_from_a_bucket_goes_from_its_copy(planned: str):
    work(worker(planned), Part(0, 3), never)
    out, bucket = copy_to_read(planned), open_bucket(planned)
    assert (out / "chunks/000/000000/done.json").exists()
    bucket.remove(bucket.listing("chunks"))
    refresh(out)
    assert not [path for path in (out / "chunks").rglob("*") if path.is_file()]


def test_what_was_changed_in_a_bucket_is_found_and_repaired(planned: str, wanted: dict[str, Any]):
    work(worker(planned), Part(), never)
    bucket = open_bucket(planned)
    (name,) = (name for name in bucket.listing("chunks/000/000001") if "/curves-" in name)
    data = bytearray(bucket.read(name))
    data[len(data) // 2] ^= 1
    bucket.write(name, bytes(data))
    out = copy_to_read(planned)
    report = verify_results(out)
    assert [damage.path.relative_to(out).as_posix() for damage in report.damaged] == [name]
    repair(out, report)
    assert_whole(planned, wanted)


def test_objects_that_grokjax_did_not_write_are_not_copied(planned: str):
    bucket = open_bucket(planned)
    for name in ("evil.py", "lock", "plan/../../up.json", "chunks/000/000000/work/x", "chunks/000/000000/curves.json"):
        bucket.write(name, b"x")
    out = copy_to_read(planned)
    copied = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {name.partition("-")[0] for name in copied} == {"plan.json", "sweep.yaml", "plan/runs"}
    assert not (out.parent / "up.json").exists()


def test_a_folder_of_a_bucket_that_holds_something_else_is_left_alone(url: str, tmp_path: Path):
    open_bucket(url).write("photo.jpg", b"x")
    with pytest.raises(SweepError, match=r"photo\.jpg in it, and is no results directory"):
        run(write(tmp_path, SWEEP), url)
    assert names(url) == ["photo.jpg"]


def test_a_second_plan_at_the_same_moment_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sweep = load_sweep(write(tmp_path, SWEEP))
    longer = load_sweep(write(tmp_path, SWEEP | {"parameters": {"seed": {"min": 0, "max": 15}}}))
    create, others = Bucket.create, [lambda: plan_into(longer, url, print, 1)]

    def create_second(self: Bucket, name: str, data: bytes) -> bool:
        if others:
            others.pop()()
        return create(self, name, data)

    monkeypatch.setattr(Bucket, "create", create_second)
    with pytest.raises(SweepError, match="planned by another process"):
        plan_into(sweep, url, print, 1)


COMMANDS = (["status"], ["verify"], ["work"], ["gather"], ["report"], ["figure", "curves"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("s3://nowhere/x", "no results directory"),
        ("s3://bucket/nothing", "no results directory"),
        ("s3://bucket", "s3://BUCKET/NAME"),
        ("ftp://bucket/x", "s3://BUCKET/NAME"),
    ],
)
def test_an_address_where_nothing_is_is_said_in_a_line(command: list[str], address: str, what: str):
    said = CliRunner().invoke(app, [*command, address])
    assert said.exit_code == 2, said.output
    assert what in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert "Traceback" not in said.output


def test_a_bucket_that_cannot_be_reached_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said_by = [
        CliRunner().invoke(app, ["status", "s3://bucket/x"]),
        CliRunner().invoke(app, ["run", str(write(tmp_path, SWEEP)), "--out", "s3://bucket/x"]),
    ]
    for said in said_by:
        assert said.exit_code in (1, 2)
        assert "s3://bucket/x" in said.stderr
        assert "Traceback" not in said.output


def test_without_the_packages_that_is_said(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("grokjax.results.bucket.import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'grokjax\[remote\]'"):
        open_bucket("s3://bucket/x")


def test_slurm_is_told_that_it_needs_a_directory(tmp_path: Path):
    line = ["run", str(write(tmp_path, SWEEP)), "--out", "s3://bucket/slurm", "--on", "slurm"]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 2
    assert "give an --out that all nodes see" in said.stderr


def test_an_address_is_told_from_a_path():
    assert is_url("s3://bucket/x")
    assert is_url("gs://bucket/x")
    assert not is_url("runs/x")
    assert not is_url("/runs/s3:/x")
    assert read_folder("s3://bucket/x") != read_folder("gs://bucket/x")
    assert open_bucket("s3://bucket/a/b/").url == "s3://bucket/a/b"


def test_times_of_objects_are_read_as_each_store_tells_them():
    from grokjax.results.bucket import _time

    assert _time({"mtime": 12.5}) == 12.5
    assert _time({"updated": "2026-01-01T00:00:00+00:00"}) == 1767225600.0
    assert Stat(1, 2.0) == Stat(1, 2.0)
