"""A results directory as one file: what is in it, that it opens and verifies elsewhere, and what it leaves out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bits import PLAIN, RECYCLED, bits, write
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.launch import run
from grokjax.results.bundle import write_bundle
from grokjax.results.files import Damaged
from grokjax.results.left_out import NAME
from grokjax.results.lock import locked
from grokjax.results.verify import verify


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recycled sweep with a picture, a file of somebody else's and checkpoints that a kill left."""
    folder = tmp_path_factory.mktemp("bundle")
    results = run(write(folder, RECYCLED), folder / "mine")
    out = results.path
    assert CliRunner().invoke(app, ["export", str(out), "--table", "runs"]).exit_code == 0
    (out / "thesis.tex").write_text("mine")
    left = out / "chunks" / "000" / "000000" / "work" / "0123456789ab" / "checkpoints" / "chunk-00000"
    left.mkdir(parents=True)
    (left / "left").write_text("")
    return out


def unpacked(path: Path, where: Path) -> Path:
    shutil.unpack_archive(path, where)
    (folder,) = where.iterdir()
    return folder


@pytest.mark.parametrize(("ending", "kept"), [(".tar.gz", "all"), (".zip", "end"), (".tar.gz", "none")])
def test_unpacked_it_opens_reads_alike_and_verifies(trained: Path, tmp_path: Path, ending: str, kept: str):
    packed = write_bundle(grokjax.open_results(trained), tmp_path / f"b{ending}", kept)
    there = unpacked(packed.path, tmp_path / "there")
    assert there.name == "mine"
    checked = verify(there)
    assert not checked.damaged
    assert not checked.unknown
    assert checked.left_out == packed.left_out
    wanted, found = bits(trained), bits(there)
    for part in ("ids", "curves", "events", "runs"):
        assert found[part] == wanted[part]
    ends = {(run_id, end["step"]) for run_id, end in grokjax.open_results(trained).ends.items()}
    expected = {"all": set(wanted["snapshots"]), "end": ends, "none": set()}[kept]
    assert set(found["snapshots"]) == expected
    for key in expected:
        assert found["snapshots"][key] == wanted["snapshots"][key]
    assert (there / "export.csv").exists() == (trained / "export.csv").exists()
    assert not (there / "thesis.tex").exists()
    assert not list(there.rglob("checkpoints"))
    text = (there / "README.txt").read_text()
    assert 'grokjax.open_results("mine")' in text
    assert all(f"Left out: {what}." in text for what in packed.left_out)
    assert "1 file that grokjax did not write" in packed.left_out
    assert any(what.startswith("checkpoints/") for what in packed.left_out)


def test_what_is_missing_though_it_was_not_left_out_is_found(trained: Path, tmp_path: Path):
    packed = write_bundle(grokjax.open_results(trained), tmp_path / "b.zip", "end")
    there = unpacked(packed.path, tmp_path / "there")
    for file in there.glob("chunks/*/*/snapshots-*"):
        file.unlink()
    assert {damage.path.name.partition("-")[0] for damage in verify(there).damaged} == {"snapshots"}
    (there / NAME).write_text((there / NAME).read_text().replace('"end"', '"none"'))
    assert any(damage.path.name == NAME for damage in verify(there).damaged)


def test_equal_directories_are_packed_to_equal_bytes(trained: Path, tmp_path: Path):
    results = grokjax.open_results(trained)
    for ending in (".tar.gz", ".zip"):
        one, other = (write_bundle(results, tmp_path / f"{name}{ending}").path for name in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_a_run_with_more_steps_keeps_the_snapshot_that_it_goes_on_from(tmp_path: Path):
    out = tmp_path / "grown"
    run(write(tmp_path, PLAIN), out, {"train.steps": 27})  # off a round: it goes on from the snapshot at 20
    results = run(write(tmp_path, PLAIN), out, {"train.steps": 60})
    packed = write_bundle(results, tmp_path / "b.zip", "none")
    there = unpacked(packed.path, tmp_path / "there")
    assert not verify(there).damaged
    assert bits(there)["curves"] == bits(out)["curves"]
    assert np.isfinite(grokjax.open_results(there).curves("train/loss")["train/loss"]).all()


def test_it_refuses_what_would_overwrite_or_is_no_bundle_or_changes_under_its_hands(trained: Path, tmp_path: Path):
    results = grokjax.open_results(trained)
    (tmp_path / "there.zip").write_text("mine")
    for out, kept, said in [
        (tmp_path / "there.zip", "end", "exists; remove it"),
        (tmp_path / "b.rar", "end", "ends in .tar.gz or .zip"),
        (tmp_path / "b.zip", "some", "must be end, all, none"),
    ]:
        with pytest.raises(ValueError, match=said):
            write_bundle(results, out, kept)
    with locked(trained), pytest.raises(ValueError, match="trains there; wait for it"):
        write_bundle(results, tmp_path / "b.zip")
    assert (tmp_path / "there.zip").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.zip"]


def test_what_is_damaged_is_not_handed_on(trained: Path, tmp_path: Path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    file = next(copy.glob("chunks/*/*/snapshots-*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(Damaged):
        write_bundle(grokjax.open_results(copy), tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_the_command_says_what_is_in_it_and_how_large(trained: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["bundle", str(trained), "--out", str(tmp_path / "b.tar.gz")])
    assert done.exit_code == 0, done.output
    for word in ("  curves: ", "  snapshots: ", "  left out: ", "b.tar.gz: ", "README.txt"):
        assert word in done.output
    done = CliRunner().invoke(app, ["bundle", str(trained), "--out", str(tmp_path / "b.tar.gz")])
    assert done.exit_code == 2
