"""The files of a chunk that has ended, as one of each kind: the same rows, the same snapshots, and nothing damaged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bits import PLAIN, write
from faults import Killed, dies

from grokjax.launch import run, train
from grokjax.results import compact as compacting
from grokjax.results.chunks import metas_of
from grokjax.results.compact import compact, sha256_of
from grokjax.results.files import Damaged
from grokjax.results.layout import curves_files, furthest, home_of, snapshots_files
from grokjax.results.snapshots import read_header, read_row
from grokjax.results.verify import verify
from grokjax.sweep.expand import load_sweep


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an attempt that was killed when it began to make its files one: all its runs have ended."""
    folder = tmp_path_factory.mktemp("compact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.results.write.FLUSH_SECONDS", -1.0)
        patch.setattr("grokjax.plan.plan.SHORT_SEGMENT_SECONDS", 1e-9)
        patch.setattr("grokjax.plan.plan.SEGMENT_SECONDS", 3e-3)
        patch.setattr("grokjax.results.attempts.compact", _killed)
        with pytest.raises(Killed):
            train(load_sweep(write(folder, PLAIN)), folder / "out")
    found = furthest(home_of(folder / "out", 0))
    assert found
    return found


def _killed(*_: object) -> None:
    raise Killed


@pytest.fixture
def folder(attempt: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(attempt, tmp_path / "home" / "work" / attempt.name))


@pytest.mark.parametrize("rows", [1, 50, 10**6])
def test_rows_and_when_they_were_written_are_what_they_were_in_many_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: int
):
    monkeypatch.setattr(compacting, "GROUP_ROWS", rows)
    files = curves_files(folder)
    assert len(files) > 3
    many = pd.concat([pd.read_parquet(file).assign(written=file.stat().st_mtime) for file in files], ignore_index=True)
    one = pd.read_parquet(compact(folder, folder.parents[1], 0)[0])
    pd.testing.assert_frame_equal(one[list(many)].astype({"run_id": str}), many.astype({"run_id": str}))
    for name in many.columns[2:-1]:
        assert one[name].to_numpy().tobytes() == many[name].to_numpy().tobytes()


def test_snapshots_are_bit_for_bit_those_of_many_files(folder: Path):
    files = snapshots_files(folder)
    assert len(files) > 1
    path = compact(folder, folder.parents[1], 0)[1]
    rows = [row for file in files for row in read_header(file).rows]
    assert len(read_header(path).rows) == len(rows)
    for before, after in zip(rows, read_header(path).rows, strict=True):
        assert before.entry == after.entry
        old, new = read_row(before), read_row(after)
        assert old.keys() == new.keys()
        assert all(old[name].tobytes() == new[name].tobytes() for name in old)


def test_one_file_has_the_metadata_of_all_and_is_the_same_each_time(folder: Path):
    metas = metas_of(folder)
    home = folder.parents[1]
    paths = compact(folder, home, 0)
    digests = [sha256_of(path) for path in paths]
    assert [sha256_of(path) for path in compact(folder, home, 0)] == digests
    meta = compacting.metas_of(folder, 0)
    assert sum(of["run_steps"] for of in meta) == sum(of["run_steps"] for of in metas)


@pytest.mark.parametrize("kind", ["curves", "snapshots"])
def test_of_a_damaged_file_nothing_is_made(folder: Path, kind: str):
    path = sorted((folder / kind).iterdir())[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match=path.name):
        compact(folder, folder.parents[1], 0)
    assert not list(folder.parents[1].glob(f"{kind}-*"))


# Counted from where files begin to be made one: before, there are writes by the clock, more of them on a busy machine.
@pytest.mark.parametrize("after", [0, 3, 6, 9, 12])
def test_the_same_command_ends_what_was_killed_before_its_commit(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep, out = write(tmp_path, PLAIN), tmp_path / "killed"
    with dies(out, None) as fault, monkeypatch.context() as patch:

        def compact_and_die(*arguments: Any) -> Any:
            fault.at = fault.seen + after
            return compact(*arguments)

        patch.setattr("grokjax.results.attempts.compact", compact_and_die)
        with pytest.raises(Killed):
            run(sweep, out)
    assert not (home_of(out, 0) / "done.json").exists()
    results = run(sweep, out)
    assert set(results.runs()["status"]) == {"ended"}
    assert not verify(out).damaged
    assert not verify(out).unknown


def test_a_part_of_the_chunks_is_verified_and_all_parts_are_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("grokjax.plan.plan.QUEUE", 1)
    out = tmp_path / "out"
    run(write(tmp_path, PLAIN | {"parameters": {"seed": {"min": 0, "max": 11}}}), out)
    parts = [verify(out, (index, 3)) for index in range(3)]
    assert sum(part.files for part in parts) == verify(out).files
    (path,) = home_of(out, 1).glob("curves-*")
    path.write_bytes(path.read_bytes()[:-1])
    assert [bool(verify(out, (index, 3)).damaged) for index in range(3)] == [False, True, False]
    shutil.rmtree(home_of(out, 2))
    assert [len(verify(out, (index, 3)).damaged) for index in range(3)] == [0, 1, 1]  # as runs.parquet says
    assert len(verify(out).damaged) == 2
