"""What is shown of all workers while one waits for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bits import BASE, often_in_short_chunks, write
from rich.console import Console

from grokjax.cluster import view as viewing
from grokjax.cluster.view import Seen, View, chunk_steps, look_at, text_of
from grokjax.cluster.worker import Part, open_worker, work
from grokjax.launch import plan_into
from grokjax.results.manifest import read_manifest
from grokjax.sweep.expand import load_sweep

SWEEP: dict[str, Any] = {  # chunks of four runs, of 60 steps and of 20
    "base": BASE,
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 20},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 3}, "train.steps": {"values": [60, 20]}},
}


@pytest.fixture(scope="module", autouse=True)
def _often() -> Iterator[None]:
    with often_in_short_chunks():
        yield


@pytest.fixture
def out(tmp_path: Path) -> Path:
    plan_into(load_sweep(write(tmp_path, SWEEP)), tmp_path / "out", print, 1)
    return tmp_path / "out"


def test_what_all_workers_have_done_is_counted_from_what_they_left(out: Path):
    steps = chunk_steps(read_manifest(out))
    assert sorted(steps.tolist()) == [80, 240]
    assert look_at(out, steps, 0.0) == Seen(0.0, 0, 2, (), 0, 320)
    seen = []

    def stop() -> bool:
        seen.append(look_at(out, steps, 1.0))
        return False

    work(open_worker(out, False, str, lambda text: None), Part(), stop)
    assert len(seen[-1].hosts) == 1
    assert [one.taken for one in seen] == sorted(one.taken for one in seen)
    assert 0 < seen[-1].taken < 320
    assert look_at(out, steps, 2.0) == Seen(2.0, 2, 2, (), 320, 320)


def test_chunks_that_end_early_take_what_they_took(tmp_path: Path):
    stops = {"stop": {"after_generalization": 0}, "events": {"generalization": 0.01, "hold": 1}}
    path = write(tmp_path, SWEEP | {"base": BASE | stops})
    plan_into(load_sweep(path), tmp_path / "out", print, 1)
    steps = chunk_steps(read_manifest(tmp_path / "out"))
    work(open_worker(tmp_path / "out", False, str, lambda text: None), Part(), lambda: False)
    seen = look_at(tmp_path / "out", steps, 0.0)
    assert seen.taken == seen.planned < steps.sum()


def test_the_text_tells_who_how_far_and_how_fast():
    first = Seen(10.0, 0, 8, ("a",), 1000, 100_000)
    later = Seen(20.0, 3, 8, ("a", "b", "b"), 41_000, 100_000)
    assert text_of(first, first) == "0 of 8 chunks done, 1 worker (a); 1,000 of 100,000 run-steps (1%)"
    text = "3 of 8 chunks done, 3 workers (a, b); 41,000 of 100,000 run-steps (41%), 4,000 a second"
    assert text_of(later, first) == text
    many = Seen(20.0, 0, 8, tuple("abcdefg"), 0, 100)
    assert "7 workers (a, b, c, d, ...)" in text_of(many, many)
    assert "no worker" in text_of(Seen(0.0, 0, 1, (), 0, 0), first)


def test_a_look_that_fails_ends_no_wait(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(viewing, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr(viewing, "PLAIN_SECONDS", -1.0)
    said = io.StringIO()

    def fails(out: Path) -> None:
        raise OSError(None, "the network is down", "s3://bucket/x")

    with View(out, chunk_steps(read_manifest(out)), Console(file=said, width=200)) as view:
        with monkeypatch.context() as patch:
            patch.setattr(viewing, "refresh", fails)
            view.look()
        view.look()
    failed, seen = said.getvalue().splitlines()
    assert "the network is down" in failed
    assert seen.startswith("0 of 2 chunks done")


def test_lines_come_now_and_then_and_a_terminal_has_one_that_stays(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(viewing, "LOOK_SECONDS", -1.0)
    steps, said = chunk_steps(read_manifest(out)), io.StringIO()
    with View(out, steps, Console(file=said, width=200)) as view:
        for _ in range(3):
            view.look("2 jobs")
        view.say("chunk 0: done [here]")
    assert said.getvalue().splitlines() == [
        "0 of 2 chunks done, no worker; 0 of 320 run-steps (0%); 2 jobs",
        "chunk 0: done [here]",
    ]
    shown = io.StringIO()
    with View(out, steps, Console(file=shown, width=200, force_terminal=True, highlight=False)) as view:
        view.look()
        view.say("chunk 0: done")
    assert "0 of 2 chunks done" in shown.getvalue()
    assert "chunk 0: done\n" in shown.getvalue()
