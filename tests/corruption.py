"""Damage that disks and transfers do: a flipped bit, a file that ends too early. For tests, and for torture."""

from __future__ import annotations

import random
from pathlib import Path


def kinds(out: Path) -> dict[str, list[Path]]:
    """Kind of file -> all such files of a results directory that are not empty, in an order that is always the same.

    The lock, parts of files and what a checkpoint without a listing consists of hold nothing that is ever read.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.stat().st_size):
        kind = _kind(out, path)
        if kind is not None:
            found.setdefault(kind, []).append(path)
    return found


def _kind(out: Path, path: Path) -> str | None:
    place = list(path.relative_to(out).parts)
    if path.name in ("lock", "progress.json") or path.name.endswith(".part"):
        return None
    if place[0] == "chunks":
        return _kind_at_home(out.joinpath(*place[:3]), place[3:], path)
    return f"{place[0]}/*{path.suffix}" if len(place) > 1 else place[0]


def _kind_at_home(home: Path, place: list[str], path: Path) -> str | None:
    """Of a chunk that has ended, `curves-*.parquet` and its like; of one that trains, `curves/*.parquet`."""
    if place[0] != "work":
        return f"{path.stem.partition('-')[0]}-*{path.suffix}" if "-" in path.stem else path.name
    if place[2] != "checkpoints":
        return f"{place[2]}/*{path.suffix}"
    if len(place) == 5:
        return "checkpoint listing"
    listing = home.joinpath(*place[:4]) / f"segment-{int(place[4]):06d}.json" if place[4].isdigit() else None
    return "file of a checkpoint" if listing and listing.is_file() else None


def flip(path: Path, rng: random.Random) -> str:
    """Flip one bit of a file; says which."""
    data = bytearray(path.read_bytes())
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {at} of {len(data)}"


def truncate(path: Path, rng: random.Random) -> str:
    """Cut the end off a file, once in five times all of it; says where."""
    data = path.read_bytes()
    length = 0 if rng.random() < 0.2 else rng.randrange(len(data))
    path.write_bytes(data[:length])
    return f"{length} of {len(data)} bytes left"
