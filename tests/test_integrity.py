"""Whatever happens to a file of a results directory, it is found, named, and never read as numbers."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits import bits, often_in_short_chunks, write
from corruption import flip, kinds, truncate
from faults import Killed, dies
from typer.testing import CliRunner, Result

import grokjax
from grokjax.cli import app
from grokjax.launch import train
from grokjax.results.files import Damaged
from grokjax.results.verify import verify
from grokjax.sweep.expand import load_sweep

Harm = Callable[[Path, random.Random], str]
SWEEP: dict[str, Any] = {  # three chunks of four runs
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [16]},
        "optimizer": {"lr": 0.01},
        "train": {"steps": 40},
    },
    "log": {"every": 5, "eval_every": 10, "snapshot_every": 10},
    "engine": {"lanes": 4},
    "parameters": {"seed": {"min": 0, "max": 11}},
}
HOME = "chunks/000/00000{}"
UNDER_WAY = f"{HOME.format(2)}/work/*"
FROM_THE_END = 50  # writes, of which the last are those that make a chunk's files one and commit them


@pytest.fixture(scope="module", autouse=True)
def _often() -> Iterator[None]:
    with often_in_short_chunks():
        yield


def trained(folder: Path, name: str, sweep: dict[str, Any], dies_at: int | None = None) -> tuple[Path, int]:
    """A results directory, and how many writes that took."""
    loaded = load_sweep(write(folder, sweep))
    with dies(folder / name, dies_at) as counted:
        if dies_at is None:
            train(loaded, folder / name)
        else:
            with pytest.raises(Killed):
                train(loaded, folder / name)
    return folder / name, counted.seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("integrity")


@pytest.fixture(scope="module")
def ended(folder: Path) -> tuple[Path, int]:
    """All runs have ended; with a replay and an export."""
    out, writes = trained(folder, "ended", SWEEP)
    run_id = grokjax.open_results(out).run_ids[0]
    for arguments in (["replay", out, run_id, "--from", "10", "--to", "12"], ["export", out, "--table", "runs"]):
        assert CliRunner().invoke(app, [str(word) for word in arguments]).exit_code == 0
    return out, writes


@pytest.fixture(scope="module")
def whole(ended: tuple[Path, int]) -> Path:
    return ended[0]


@pytest.fixture(scope="module")
def cut(folder: Path, ended: tuple[Path, int]) -> Path:
    """Killed in its last chunk, where there are checkpoints."""
    out, _ = trained(folder, "cut", SWEEP, ended[1] - FROM_THE_END)
    assert len(list(out.glob(f"{UNDER_WAY}/checkpoints/chunk-00002/segment-*.json"))) >= 2
    assert not verify(out).damaged
    return out


@pytest.fixture(scope="module")
def wanted(whole: Path) -> dict[str, Any]:
    return bits(whole)


@pytest.fixture(scope="module")
def others(folder: Path) -> dict[str, Path]:
    """Another directory's: of other seeds, and of the same runs, recorded at other steps."""
    seeds, _ = trained(folder, "seeds", SWEEP | {"parameters": {"seed": {"min": 12, "max": 15}}})
    log = {**SWEEP["log"], "every": 10}
    every, _ = trained(folder, "every", SWEEP | {"log": log, "parameters": {"seed": {"min": 0, "max": 3}}})
    return {"seeds": seeds, "every": every}


def copied(origin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(origin, tmp_path / "out", dirs_exist_ok=True))


def verified(out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["verify", str(out), *options])


def newest_checkpoint(out: Path) -> tuple[Path, Path]:
    """Its listing and its folder."""
    listing = max(out.glob(f"{UNDER_WAY}/checkpoints/chunk-00002/segment-*.json"))
    return listing, listing.with_name(str(int(listing.stem[8:])))


def bits_or_error(out: Path) -> dict[str, Any] | str:
    try:
        return bits(out)
    except (Damaged, grokjax.SweepError) as error:
        return str(error)


def assert_found(out: Path, path: Path) -> None:
    """By the command, naming the file."""
    said = verified(out)
    assert said.exit_code == 1, said.output
    view = path.name.removeprefix(".").removesuffix(".sha256")  # a view's checksum is named by the view
    assert view in said.stderr, said.output


# --- flipped bits, truncations --------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", [flip, truncate])
@pytest.mark.parametrize("state", ["whole", "cut"])
def test_a_flipped_bit_or_a_truncation_in_any_kind_of_file_is_named_and_never_read_as_numbers(
    tmp_path: Path, request: pytest.FixtureRequest, state: str, harm: Harm
):
    origin: Path = request.getfixturevalue(state)
    before, rng, places = bits(origin), random.Random(f"{state} {harm.__name__}"), kinds(origin)
    assert {"plan.json", "sweep.yaml", "done.json", "curves-*.parquet", "snapshots-*.safetensors"} < places.keys()
    more = {"runs.parquet", "events.parquet", "replays/*.parquet", "replays/*.safetensors", "runs-export.csv"}
    under_way = {"curves/*.parquet", "snapshots/*.safetensors", "checkpoint listing", "file of a checkpoint"}
    assert (more if state == "whole" else under_way) < places.keys()
    for kind, paths in places.items():
        for origin_path in rng.sample(paths, min(2, len(paths))):
            out = copied(origin, tmp_path)
            path = out / origin_path.relative_to(origin)
            told = f"{kind} {path.name}: {harm(path, rng)}"
            assert_found(out, path)
            read = bits_or_error(out)
            assert read == before or (isinstance(read, str) and str(path) in read), told
            if kind.startswith(("curves", "snapshots", "plan", "done")):
                assert isinstance(read, str), told  # a part of what was read


def test_a_flip_that_leaves_size_and_time_alone_is_found_in_the_process_that_read_the_file_before(
    tmp_path: Path, whole: Path
):
    out = copied(whole, tmp_path)
    before = bits(out)
    assert not verify(out).damaged
    for pattern in ("curves-*", "snapshots-*", "done.json"):
        (path,) = out.glob(f"{HOME.format(1)}/{pattern}")
        for at in (12, path.stat().st_size // 2, path.stat().st_size - 30):  # header, data, footer
            data, stat = path.read_bytes(), path.stat()
            path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert [damage.path for damage in verify(out).damaged] == [path]
            read = bits_or_error(out)
            assert isinstance(read, str), (pattern, at)
            assert str(path) in read
            path.write_bytes(data)
    assert bits(out) == before


@pytest.mark.parametrize("harm", [flip, truncate])
@pytest.mark.parametrize("kind", ["checkpoint listing", "file of a checkpoint"])
def test_where_the_newest_checkpoint_is_damaged_the_one_before_is_used_and_said_and_the_end_is_the_same(
    tmp_path: Path, cut: Path, wanted: dict[str, Any], capsys: pytest.CaptureFixture[str], kind: str, harm: Harm
):
    out = copied(cut, tmp_path)
    listing, folder = newest_checkpoint(out)
    path = listing if kind == "checkpoint listing" else max(folder.rglob("d/*"), key=lambda file: file.stat().st_size)
    harm(path, random.Random(kind))
    assert_found(out, path)
    train(load_sweep(write(tmp_path, SWEEP)), out)
    said = capsys.readouterr().out
    assert f"{path} is damaged" in said
    assert "the checkpoint before it is used" in said
    assert bits(out) == wanted
    assert not verify(out).damaged


# --- missing, renamed, exchanged, foreign and extra files -----------------------------------------------------

MISSING = [
    ("whole", "sweep.yaml"),
    ("whole", "runs-export.csv"),
    ("whole", f"{HOME.format(0)}/curves-*"),
    ("whole", f"{HOME.format(1)}/done.json"),
    ("whole", f"{HOME.format(2)}/snapshots-*"),
    ("cut", f"{HOME.format(1)}/curves-*"),
    ("cut", f"{UNDER_WAY}/curves/*-000000.parquet"),
    ("cut", f"{UNDER_WAY}/snapshots/*-000001.safetensors"),
]


@pytest.mark.parametrize(("state", "pattern"), MISSING)
def test_a_missing_file_is_named(tmp_path: Path, request: pytest.FixtureRequest, state: str, pattern: str):
    out = copied(request.getfixturevalue(state), tmp_path)
    path = max(out.glob(pattern))
    path.unlink()
    said = verified(out)
    assert said.exit_code == 1, said.output
    assert path.name in said.stderr, said.output


def test_a_missing_file_of_a_checkpoint_is_found(tmp_path: Path, cut: Path):
    out = copied(cut, tmp_path)
    listing, folder = newest_checkpoint(out)
    (folder / "_CHECKPOINT_METADATA").unlink()
    assert_found(out, folder)
    shutil.rmtree(folder)
    assert_found(out, folder)
    listing.unlink()
    assert verified(out).exit_code == 0  # as if it had never been written


def test_a_chunk_that_is_gone_altogether_is_missing(tmp_path: Path, whole: Path):
    out = copied(whole, tmp_path)
    shutil.rmtree(out / HOME.format(1))
    assert_found(out, Path("000001/done.json"))


EXCHANGED = {
    "segments' records": ("cut", f"{UNDER_WAY}/curves/*-000001.parquet", f"{UNDER_WAY}/curves/*-000002.parquet"),
    "chunks' records": ("whole", f"{HOME.format(0)}/curves-*", f"{HOME.format(1)}/curves-*"),
    "segments' snapshots": ("cut", f"{UNDER_WAY}/snapshots/*1.safetensors", f"{UNDER_WAY}/snapshots/*3.safetensors"),
    "chunks' snapshots": ("whole", f"{HOME.format(0)}/snapshots-*", f"{HOME.format(1)}/snapshots-*"),
    "commits": ("whole", f"{HOME.format(0)}/done.json", f"{HOME.format(1)}/done.json"),
    "homes": ("whole", HOME.format(0), HOME.format(1)),
    "tables": ("whole", "runs.parquet", "events.parquet"),
    "a replay's records and a chunk's": ("whole", f"{HOME.format(1)}/curves-*", "replays/*/curves/*.parquet"),
}


@pytest.mark.parametrize("case", EXCHANGED)
def test_exchanged_files_are_named_and_never_read_as_numbers(
    tmp_path: Path, request: pytest.FixtureRequest, wanted: dict[str, Any], case: str
):
    state, *patterns = EXCHANGED[case]
    out = copied(request.getfixturevalue(state), tmp_path)
    one, other = (min(out.glob(pattern)) for pattern in patterns)
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    assert_found(out, one)
    assert bits_or_error(out) == wanted if case == "tables" else isinstance(bits_or_error(out), str)


def test_checkpoints_in_another_chunks_folder_or_under_another_number_are_named(tmp_path: Path, cut: Path):
    out = copied(cut, tmp_path)
    listing, place = newest_checkpoint(out)
    folder = listing.parent
    shutil.copytree(folder, folder.with_name("chunk-00001"))
    assert_found(out, folder.with_name("chunk-00001"))
    shutil.rmtree(folder.with_name("chunk-00001"))
    listing.rename(folder / "segment-000099.json")
    place.rename(folder / "99")
    assert_found(out, folder / "segment-000099.json")


@pytest.mark.parametrize("kind", ["curves", "snapshots"])
def test_a_file_of_other_runs_under_the_same_name_is_named(
    tmp_path: Path, whole: Path, others: dict[str, Path], kind: str
):
    out = copied(whole, tmp_path)
    (path,) = out.glob(f"{HOME.format(0)}/{kind}-*")
    shutil.copy(next(others["seeds"].glob(f"{HOME.format(0)}/{kind}-*")), path)
    assert_found(out, path)
    assert str(path) in str(bits_or_error(out))


def test_a_chunk_of_another_directory_is_named(tmp_path: Path, whole: Path, others: dict[str, Path]):
    out = copied(whole, tmp_path)
    shutil.rmtree(out / HOME.format(0))
    shutil.copytree(others["seeds"] / HOME.format(0), out / HOME.format(0))
    (path,) = out.glob(f"{HOME.format(0)}/curves-*")
    assert_found(out, path)
    assert_found(out, path.with_name("done.json"))
    assert str(path) in str(bits_or_error(out))


def test_records_of_the_same_runs_at_other_steps_are_found(tmp_path: Path, whole: Path, others: dict[str, Path]):
    out = copied(whole, tmp_path)
    shutil.rmtree(out / HOME.format(0))
    shutil.copytree(others["every"] / HOME.format(0), out / HOME.format(0))
    assert_found(out, next(out.glob(f"{HOME.format(0)}/curves-*")))


def test_files_too_many_are_named(tmp_path: Path, whole: Path):
    out = copied(whole, tmp_path)
    (out / "notes.txt").write_text("mine")
    said = verified(out)
    assert said.exit_code == 0  # it can be anybody's, and nothing reads it
    assert f"{out / 'notes.txt'} was not written by grokjax, so it was not checked" in said.stdout
    shutil.copytree(out / HOME.format(0), out / HOME.format(9))
    name = f"{HOME.format(9)}/done.json"
    assert_found(out, out / name)
    assert name in str(bits_or_error(out))


def test_what_was_left_by_an_attempt_that_was_not_first_is_no_damage_and_is_cleared_away(
    tmp_path: Path, whole: Path, wanted: dict[str, Any]
):
    out = copied(whole, tmp_path)
    (curves,) = out.glob(f"{HOME.format(0)}/curves-*")
    shutil.copy(curves, curves.with_name("curves-0123456789ab.parquet"))
    (out / HOME.format(0) / "work" / "0123456789ab" / "curves").mkdir(parents=True)
    shutil.copy(
        curves, out / HOME.format(0) / "work" / "0123456789ab" / "curves" / "chunk-00000-segment-000000.parquet"
    )
    assert verified(out).exit_code == 0
    assert bits(out) == wanted
    train(load_sweep(write(tmp_path, SWEEP)), out)
    names = {path.name.partition("-")[0] for path in (out / HOME.format(0)).iterdir()}
    assert names == {"curves", "snapshots", "summary", "done.json"}


# --- repair ---------------------------------------------------------------------------------------------------


def state_of(out: Path, *patterns: str) -> dict[str, tuple[int, int]]:
    paths = [path for pattern in patterns for path in out.glob(pattern)]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_repair_trains_the_broken_chunk_again_to_the_same_bits_and_leaves_the_others_alone(
    tmp_path: Path, whole: Path, wanted: dict[str, Any]
):
    out, rng = copied(whole, tmp_path), random.Random(0)
    flip(next(out.glob(f"{HOME.format(1)}/curves-*")), rng)
    truncate(next(out.glob(f"{HOME.format(1)}/snapshots-*")), rng)
    before = state_of(out, f"{HOME.format(0)}/*", f"{HOME.format(2)}/*")
    said = verified(out, "--repair")
    assert said.exit_code == 0, said.output
    assert "0 damaged" in said.stdout.splitlines()[-1]
    assert bits(out) == wanted
    assert state_of(out, f"{HOME.format(0)}/*", f"{HOME.format(2)}/*") == before


def test_repair_makes_what_needs_no_training_again_at_once(tmp_path: Path, whole: Path, wanted: dict[str, Any]):
    out, rng = copied(whole, tmp_path), random.Random(0)
    for name in ("sweep.yaml", "runs.parquet", "events.parquet", "runs-export.csv"):
        flip(out / name, rng)
    flip(next(out.glob(f"{HOME.format(0)}/summary-*")), rng)
    shutil.copytree(out / HOME.format(0), out / HOME.format(9))
    kept = [f"chunks/000/*/{kind}-*" for kind in ("curves", "snapshots")]
    before = set(state_of(out, *kept)), state_of(out, f"{HOME.format(1)}/*")
    said = verified(out, "--repair")
    assert said.exit_code == 0, said.output
    assert not (out / HOME.format(9)).exists()
    assert (set(state_of(out, *kept)), state_of(out, f"{HOME.format(1)}/*")) == before
    assert (out / "sweep.yaml").read_bytes() == (whole / "sweep.yaml").read_bytes()
    assert not (out / "runs-export.csv").exists()  # only who asked for it can have it again
    assert bits(out) == wanted


def test_repair_of_an_interrupted_sweep_ends_it_with_the_same_bits(tmp_path: Path, cut: Path, wanted: dict[str, Any]):
    out = copied(cut, tmp_path)
    truncate(max(out.glob(f"{UNDER_WAY}/curves/*")), random.Random(1))
    flip(newest_checkpoint(out)[0], random.Random(1))
    assert verified(out, "--repair").exit_code == 0
    assert bits(out) == wanted


def test_every_stored_number_is_covered_by_a_checksum(whole: Path):
    """Each bit of a small file, one by one."""
    (path,) = whole.glob(f"{HOME.format(1)}/snapshots-*")
    from grokjax.results.snapshots import check_snapshots

    data = path.read_bytes()
    try:
        for at in np.random.default_rng(0).choice(len(data), 200, replace=False):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(Damaged):
                check_snapshots(path)
    finally:
        path.write_bytes(data)
