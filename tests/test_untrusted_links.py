"""Links and listings in a results directory from elsewhere: nothing is read, written or removed outside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bits import bits, often, write
from faults import Killed, dies
from hostile import LONG, SWEEP, first_run, invoke, precious

from grokjax.launch import train
from grokjax.results.files import read_json, write_json
from grokjax.sweep.expand import load_sweep

HOME = "chunks/000/000000"
CHECKPOINTS = f"{HOME}/work/*/checkpoints/chunk-00000"


@pytest.fixture(scope="module", autouse=True)
def _often() -> Iterator[None]:
    with often():
        yield


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    with precious(tmp_path / "outside") as folder:
        yield folder


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrusted")
    train(load_sweep(write(folder, SWEEP)), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Killed where checkpoints are, and what it would have ended with."""
    folder = tmp_path_factory.mktemp("cut")
    sweep = load_sweep(write(folder, LONG))
    with dies(folder / "whole", None) as counted:
        train(sweep, folder / "whole")
    with dies(folder / "out", counted.seen - 50), pytest.raises(Killed):
        train(sweep, folder / "out")
    assert len(list(folder.glob(f"out/{CHECKPOINTS}/segment-*.json"))) >= 2
    return folder / "out", bits(folder / "whole")


@pytest.fixture
def out(tmp_path: Path, ended: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "out"))


# --- links ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["chunks", "curves", "replays", "figures", "lock", "plan", "plan.json"])
def test_a_link_in_place_of_a_folder_or_the_lock_is_refused(tmp_path: Path, out: Path, outside: Path, place: str):
    path = out / place
    path.parent.mkdir(exist_ok=True)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(outside / "precious.txt" if place in ("lock", "plan.json") else outside)
    for said in (*[invoke(word, out) for word in ("status", "verify")], invoke("verify", out, "--repair")):
        assert said.exit_code in (1, 2), said.output
        assert place in said.stderr
    assert invoke("run", write(tmp_path, SWEEP), "--out", out).exit_code in (1, 2)


@pytest.mark.parametrize("place", ["chunks/000", HOME])
def test_a_link_in_place_of_a_chunk_s_home_is_named_and_repair_removes_only_that(
    tmp_path: Path, out: Path, outside: Path, place: str
):
    wanted = bits(out)
    shutil.rmtree(out / place)
    (out / place).symlink_to(outside)
    for said in (invoke("status", out), invoke("verify", out), invoke("run", write(tmp_path, SWEEP), "--out", out)):
        assert said.exit_code == 1, said.output
        assert str(out / place) in said.stderr
    assert invoke("verify", out, "--repair").exit_code == 0
    assert bits(out) == wanted


@pytest.mark.parametrize("place", [f"{HOME}/work", f"{HOME}/work/0123456789ab"])
def test_a_link_in_place_of_an_attempt_leads_nowhere(
    tmp_path: Path, cut: tuple[Path, dict], out: Path, outside: Path, place: str
):
    """Of a chunk that is done, where it does not count, and of one that trains."""
    (out / place).parent.mkdir(exist_ok=True)
    (out / place).symlink_to(outside)
    assert invoke("run", write(tmp_path, SWEEP), "--out", out).exit_code == 0
    assert not (out / HOME / "work").exists()
    trains = Path(shutil.copytree(cut[0], tmp_path / "trains"))
    shutil.rmtree(trains / place, ignore_errors=True)
    (trains / place).symlink_to(outside)
    for said in (invoke("verify", trains), invoke("run", write(tmp_path, LONG), "--out", trains)):
        assert said.exit_code == 1, said.output
        assert place in said.stderr
    assert invoke("verify", trains, "--repair").exit_code == 0
    assert bits(trains) == cut[1]


def test_a_link_that_waits_to_be_written_through_is_not_followed(tmp_path: Path, out: Path, outside: Path):
    for name in (
        "runs.parquet",
        "events.parquet",
        "plan.json",
        "sweep.yaml",
        "runs-export.csv",
        ".runs-export.csv.sha256",
    ):
        (out / f".{name}.part").symlink_to(outside / "precious.txt")
    for name in ("runs.parquet", "sweep.yaml"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(outside / "precious.txt")
    for name in ("summary-0123456789ab.parquet", ".done.json.part", ".0123456789ab.part"):
        (out / HOME / name).symlink_to(outside / "precious.txt")
    invoke("status", out)
    invoke("export", out, "--table", "runs")
    assert invoke("run", write(tmp_path, SWEEP), "--out", out).exit_code == 0
    assert invoke("verify", out, "--repair").exit_code == 0


@pytest.mark.parametrize("kind", ["curves", "snapshots"])
def test_a_link_or_a_pipe_in_place_of_a_file_is_named_and_repair_removes_only_that(out: Path, outside: Path, kind: str):
    wanted = bits(out)
    (path,) = out.glob(f"{HOME}/{kind}-*")
    path.unlink()
    path.symlink_to(outside / "chunk-00000-segment-000000.parquet")
    (out / HOME / "more").symlink_to(outside)
    (summary,) = out.glob(f"{HOME}/summary-*")
    summary.unlink()
    os.mkfifo(summary)
    for command in (
        ["verify", out],
        ["export", out] if kind == "curves" else ["params", out, first_run(out), "--out", out / "x"],
    ):
        said = invoke(*command)
        assert said.exit_code == 1
        assert path.name in said.stderr
    assert invoke("verify", out, "--repair").exit_code == 0
    assert bits(out) == wanted


# --- checkpoints ----------------------------------------------------------------------------------------------


def listed_elsewhere(listing: dict[str, Any]) -> dict[str, Any]:
    return listing | {"files": {"../../../../outside/precious.txt": "0" * 64, "/etc/passwd": "0" * 64}}


LISTINGS: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    listed_elsewhere,
    lambda listing: listing | {"files": ["../x"]},
    lambda listing: listing | {"segment": "../../outside"},
    lambda listing: {"segment": listing["segment"]},
]


def test_listings_that_name_other_folders_are_passed_over(tmp_path: Path, cut: tuple[Path, dict], outside: Path):
    out = Path(shutil.copytree(cut[0], tmp_path / "out"))
    listing = max(out.glob(f"{CHECKPOINTS}/segment-*.json"))
    for change in LISTINGS:
        shutil.copy(cut[0] / listing.relative_to(out), listing)
        write_json(listing, change(read_json(listing)))
        said = invoke("verify", out)
        assert said.exit_code == 1
        assert str(listing.parent) in said.stderr
    train(load_sweep(write(tmp_path, LONG)), out)
    assert bits(out) == cut[1]


def test_clearing_up_before_going_on_removes_links_and_not_what_they_lead_to(
    tmp_path: Path, cut: tuple[Path, dict], outside: Path
):
    out = Path(shutil.copytree(cut[0], tmp_path / "out"))
    listing = max(out.glob(f"{CHECKPOINTS}/segment-*.json"))
    folder = listing.parent
    newest = folder / str(int(listing.stem[8:]))
    shutil.rmtree(newest)
    newest.symlink_to(outside)
    for name in ("99", "100.orbax-checkpoint-tmp", "stray"):
        (folder / name).symlink_to(outside)
    (folder / ".stray.part").symlink_to(outside / "precious.txt")
    shutil.copy(listing, folder / "segment-000099.json")
    found = invoke("verify", out)
    assert found.exit_code == 1
    assert str(folder / "99") in found.stderr
    train(load_sweep(write(tmp_path, LONG)), out)
    assert bits(out) == cut[1]
    assert not folder.exists()


def test_repair_removes_links_among_checkpoints_and_not_what_they_lead_to(
    tmp_path: Path, cut: tuple[Path, dict], outside: Path
):
    out = Path(shutil.copytree(cut[0], tmp_path / "out"))
    (folder,) = out.glob(CHECKPOINTS)
    for name in ("stray", "99", "1/stray"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(outside)
    assert invoke("verify", out, "--repair").exit_code == 0
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
