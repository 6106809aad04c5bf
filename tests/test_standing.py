"""What `grokjax status` says of a directory in which runs train, wait, were stopped, or have ended."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import RECYCLED, write
from typer.testing import CliRunner

import grokjax
from grokjax.analysis.median_text import reached
from grokjax.cli import app
from grokjax.launch import run
from grokjax.results.activity import activity, run_command, states_of
from grokjax.results.lock import holder, locked
from grokjax.standing import ago
from grokjax.sweep.load import read_value
from grokjax.sweep.settings import parse_overrides


class StopsAfter:
    """A screen that asks to stop, as Ctrl-C does, after some segments."""

    def __init__(self, segments: int):
        self.left = segments

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def segment(self, bucket: Any, segment: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def status(out: Path) -> str:
    done = CliRunner().invoke(app, ["status", str(out)])
    assert done.exit_code == 0, done.output
    return done.output


def counted(out: Path, trains: bool) -> Counter[str]:
    return Counter(states_of(grokjax.open_results(out).runs(), trains).tolist())


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recycled sweep of 8 runs on 4 lanes, stopped when some had begun, some had ended and some had not begun."""
    folder = tmp_path_factory.mktemp("has a space")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.plan.plan.SHORT_SEGMENT_SECONDS", 1e-9)
        patch.setattr("grokjax.plan.plan.SEGMENT_SECONDS", 3e-3)
        with pytest.raises(grokjax.Interrupted, match="the same call goes on, as does: grokjax run"):
            run(write(folder, RECYCLED), folder / "out", {"log.every": 2}, StopsAfter(3))
    return folder / "out"


def test_runs_that_were_stopped_wait_or_have_ended_are_told_apart(interrupted: Path):
    results = grokjax.open_results(interrupted)
    recorded = set(results.curves("train/loss")["run_id"])
    ended = results.ends
    wanted = Counter(
        ("diverged" if ended[run_id]["diverged"] else "ended")
        if run_id in ended
        else ("stopped" if run_id in recorded else "queued")
        for run_id in results.run_ids
    )
    assert counted(interrupted, trains=False) == wanted
    assert wanted["stopped"] > 0
    assert wanted["queued"] > 0
    text = status(interrupted)
    assert "nan" not in text
    assert "training" not in text
    assert "nothing trains there, last write" in text
    runs = results.runs()
    assert (runs["last_step"].isna() == (states_of(runs, trains=False) == "queued")).all()


def test_while_a_process_holds_the_directory_its_runs_train(interrupted: Path):
    stopped = counted(interrupted, trains=False)["stopped"]
    with locked(interrupted):
        text = status(interrupted)
    assert f"trains now: process {os.getpid()} on host {os.uname().nodename!r}" in text
    assert "stopped" not in text
    assert sum(int(count) for count in re.findall(r"(\d+) training at step", text)) == stopped
    assert holder(interrupted) is None


def test_a_process_that_was_killed_is_not_taken_for_one_that_trains(tmp_path: Path):
    (tmp_path / "lock").write_text(json.dumps({"host": "somewhere", "process": 1}))
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert holder(tmp_path) == f"process {os.getpid()} on host {os.uname().nodename!r}"
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize(
    "content", ["", "[1]", "{", '{"process": []}', '{"sweep": 3}', '{"sweep": "a\\u001b[2J"}', "[" * 9000]
)
def test_a_lock_that_makes_no_sense_is_nobody_s(tmp_path: Path, content: str):
    (tmp_path / "lock").write_text(content)
    assert holder(tmp_path) is None
    assert activity(tmp_path).written is None


def test_the_command_that_status_prints_goes_on_from_anywhere(
    interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (command,) = [line.strip() for line in status(interrupted).splitlines() if line.startswith("  grokjax run")]
    words = shlex.split(command)
    assert words[:3] == ["grokjax", "run", str(interrupted.parent / "sweep.yaml")]
    (interrupted.parent / "sweep.yaml").write_text("name: another\nparameters: {seed: {values: [1]}}\n")
    (command,) = [line.strip() for line in status(interrupted).splitlines() if line.startswith("  grokjax run")]
    words = shlex.split(command)  # the file says something else by now: the copy in the directory is what was trained
    assert words[2] == str(interrupted / "sweep.yaml")
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    assert "all have ended; last write" in status(interrupted)
    assert set(counted(interrupted, trains=False)) <= {"ended", "diverged"}


@pytest.mark.parametrize(
    "value", [1, 0.1, 1e-05, True, None, "adam", "true", "null", "3", "a b", "x'y", [1, 2.5], {"name": "sgd"}, np.inf]
)
def test_settings_of_a_printed_command_are_read_back_as_they_were(tmp_path: Path, value: object):
    words = shlex.split(run_command(tmp_path / "s.yaml", str(tmp_path), {"key": value}))
    assert parse_overrides([words[-1]]) == {"key": value}
    assert read_value(words[-1].partition("=")[2]) == value


def test_a_median_counts_those_that_did_not_get_there():
    nan = np.nan
    assert reached([730, 880, nan, nan]).text("generalized") == "2 of 4 generalized, median step 880"
    assert reached([730, nan, nan]).text("fit") == "1 of 3 fit, median step not reached: fewer than half did"
    assert reached([nan, nan]).text("generalized") == "0 of 2 generalized"
    assert reached([0, 1500, 4000]).text("generalized", "delay") == "3 of 3 generalized, median delay 1,500"
    assert reached([]).text("fit") == "0 of 0 fit"


def test_how_long_ago_is_told_in_one_unit():
    assert [ago(seconds) for seconds in (-1, 3, 119, 121, 7199, 7200, 200_000)] == [
        "0 s ago", "3 s ago", "119 s ago", "2 min ago", "120 min ago", "2 h ago", "2 days ago",
    ]  # fmt: skip
