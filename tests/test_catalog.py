"""`grokjax list`: the results directories below a folder, whole or not, read and never computed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from bits import PLAIN, write
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.launch import run, train
from grokjax.results.catalog import catalog
from grokjax.results.lock import locked
from grokjax.standing import catalog_text
from grokjax.sweep.expand import load_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two whole directories, one of them deep; one without tables; a broken one, one without a plan; other things."""
    folder = tmp_path_factory.mktemp("catalog")
    runs = folder / "runs"
    sweep = write(folder, PLAIN)
    runs.mkdir()
    whole = run(sweep, runs / "whole").path
    shutil.copytree(whole, runs / "paper" / "deep")
    bare = shutil.copytree(whole, runs / "bare")
    (bare / "runs.parquet").unlink()
    broken = shutil.copytree(whole, runs / "broken")
    (broken / "plan.json").write_text("{}")
    lost = shutil.copytree(whole, runs / "lost")
    (lost / "plan.json").unlink()
    newer = shutil.copytree(whole, runs / "newer")
    (newer / "plan.json").write_text((newer / "plan.json").read_text().replace('"format": 6', '"format": 99'))
    (runs / "notes").mkdir()
    (runs / "notes" / "a.txt").write_text("mine")
    os.symlink(whole, runs / "link")
    for age, name in enumerate(["whole", "paper/deep", "bare", "broken", "lost", "newer"]):
        for path in (runs / name).rglob("*"):
            os.utime(path, ns=(10**18, (1_700_000_000 - age) * 10**9))
    return runs


def test_each_directory_is_a_row_and_a_broken_one_says_why(folder: Path):
    found = {str(entry.path.relative_to(folder)): entry for entry in catalog(folder)}
    assert set(found) == {"whole", "paper/deep", "bare", "broken", "lost", "newer"}
    assert list(found)[:3] == ["whole", "paper/deep", "bare"]
    for name in ("whole", "paper/deep", "bare"):
        entry = found[name]
        assert (entry.runs, entry.ended, entry.going, entry.broken) == (4, 4, "", "")
        assert entry.bytes == sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
    assert found["bare"].generalized is None  # nothing is computed
    assert not (folder / "bare" / "runs.parquet").exists()
    assert "checksum" in found["broken"].broken
    assert found["lost"].broken == "is no results directory: it has no plan.json"
    assert found["newer"].broken


def test_a_directory_in_which_a_process_trains_says_so(folder: Path, tmp_path: Path):
    sweep = load_sweep(write(tmp_path, PLAIN))
    with pytest.raises(ZeroDivisionError):
        train(sweep, tmp_path / "begun", planned=lambda plan: 1 / 0)  # type: ignore[arg-type, return-value]
    (entry,) = catalog(tmp_path)
    assert (entry.ended, entry.runs, entry.going, entry.generalized) == (0, 4, "queued", None)
    with locked(tmp_path / "begun"):
        (entry,) = catalog(tmp_path / "begun")
    assert entry.going == "training"


def test_the_table_fits_the_terminal_and_is_whole_in_a_pipe(folder: Path):
    entries = [entry for entry in catalog(folder) if not entry.broken]
    whole = catalog_text(entries, time.time(), None)
    assert whole.splitlines()[0].split("  ")[0] == "results"
    assert "size" in whole.splitlines()[0]
    widest = max(map(len, whole.splitlines()))
    for width in (widest, widest - 1, 60):
        lines = catalog_text(entries, time.time(), width).splitlines()
        assert len(lines) == 4
        if width >= max(len(str(entry.path)) for entry in entries) + 10:
            assert max(map(len, lines)) <= width
    assert "size" not in catalog_text(entries, time.time(), widest - 1)


def test_the_command_lists_them_and_refuses_a_folder_that_is_none(folder: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["list", str(folder)])
    assert done.exit_code == 0, done.output
    assert "4 of 4" in done.output
    assert f"{folder / 'lost'}" in done.output
    assert "broken: is no results directory" in done.output
    assert CliRunner().invoke(app, ["list", str(tmp_path)]).output == f"no results directory below {tmp_path}\n"
    done = CliRunner().invoke(app, ["list", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "is no folder" in done.output
