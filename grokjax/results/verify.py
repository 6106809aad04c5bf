"""Reading every byte of a results directory, and making whole what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.checkpoints import CHUNK_FOLDER, LISTING, Checkpoints, check_checkpoint
from grokjax.results.chunks import META
from grokjax.results.files import (
    CURVES,
    PART,
    SNAPSHOTS,
    Damaged,
    chunk_of,
    digest_file,
    read_sealed,
    segment_of,
    snapshots_file,
    view_digest,
    write_whole,
)
from grokjax.results.lock import NAME
from grokjax.results.manifest import stored_plan
from grokjax.results.snapshots import check_snapshots
from grokjax.results.write import drop_after
from grokjax.results.written import FOLDER, LIST, is_ours
from grokjax.sweep.plan import Plan

DERIVED = (("runs.parquet",), ("events.parquet",))
CHUNK = ("curves", "snapshots")  # folders whose files cost training to make again


@dataclass(frozen=True)
class Report:
    files: int
    bytes: int
    damaged: tuple[Damaged, ...]
    unknown: tuple[Path, ...]  # files that grokjax did not write, so nothing can be said of them


def verify(out: Path) -> Report:
    """Read every file of a results directory. Raises SweepError if it is none, and Damaged where its plan is broken."""
    plan = stored_plan(out)
    paths = sorted(path for path in out.rglob("*") if path.is_file() or path.is_symlink())
    damaged, unknown = [], []
    for path in paths:
        try:
            if not _check(out, path, plan):
                unknown.append(path)
        except Damaged as damage:
            damaged.append(damage)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            damaged.append(Damaged(path, str(error)))
    damaged += _gaps(out, plan, {damage.path for damage in damaged})
    return Report(len(paths), sum(path.lstat().st_size for path in paths), tuple(damaged), tuple(unknown))


def _check(out: Path, path: Path, plan: Plan) -> bool:
    """Whether a file is one of ours; raises Damaged if it is and is not as it was written."""
    place = path.relative_to(out).parts
    if path.is_symlink():
        raise Damaged(path, "it is a symbolic link, and grokjax makes none")
    if place == ("plan.json",) or place == (NAME,) or PART.fullmatch(path.name) or is_ours(place):
        return True  # the plan was read; the others hold no results
    if place == ("sweep.yaml",):
        if path.read_bytes() != plan.sweep.text.encode():
            raise Damaged(path, "it is not the sweep that plan.json holds")
    elif (place[0] in ("curves", "replays") and CURVES.fullmatch(path.name)) or place in DERIVED:
        pq.read_table(pa.BufferReader(read_sealed(path)))
    elif place == (FOLDER, LIST):
        read_sealed(path)
    elif place[0] in ("snapshots", "replays") and SNAPSHOTS.fullmatch(path.name):
        check_snapshots(path)
    elif place[0] == "checkpoints" and len(place) > 2 and CHUNK_FOLDER.fullmatch(place[1]):
        return _check_of_checkpoint(out / place[0] / place[1], place[2:])
    elif path.name.startswith(".") and path.name.endswith(".sha256"):
        view = path.with_name(path.name[1 : -len(".sha256")])
        if not view.exists():
            raise Damaged(view, "it is gone, its checksum is there")
    elif digest_file(path).exists():
        if digest_file(path).read_text(encoding="utf-8", errors="replace") != view_digest(path):
            raise Damaged(path, "its checksum, in the hidden file beside it, is another")
    else:
        return False
    return True


def _check_of_checkpoint(folder: Path, place: tuple[str, ...]) -> bool:
    """Files of a checkpoint are checked with its listing; those without one are what a kill left."""
    listing = LISTING.fullmatch(place[0])
    if listing:
        check_checkpoint(folder, int(listing[1]))
    return bool(listing or len(place) > 1)


def _gaps(out: Path, plan: Plan, broken: set[Path]) -> list[Damaged]:
    """Files that must be there and are not: records between others, snapshots of runs that have ended."""
    found = []
    for chunk in plan.chunks:
        reached, wanted = 0, set()
        for path in sorted((out / "curves").glob(f"chunk-{chunk.index:05d}-segment-*.parquet")):
            if path in broken or not CURVES.fullmatch(path.name):
                break
            meta = json.loads(pq.read_schema(pa.BufferReader(read_sealed(path))).metadata[META])
            if (meta["chunk"], meta["first"], meta["last"]) != (chunk.index, reached, segment_of(path)):
                found.append(Damaged(path, "a file of records before it is missing"))
                break
            reached = meta["last"] + 1
            wanted |= {(end["run_id"], end["step"]) for end in meta["ends"]}
        files = sorted((out / "snapshots").glob(f"chunk-{chunk.index:05d}-segment-*.safetensors"))
        files = [path for path in files if path not in broken and SNAPSHOTS.fullmatch(path.name)]
        there = {(row.run_id, row.step) for path in files for row in check_snapshots(path).rows}
        if wanted - there and not any(
            chunk_of(path) == chunk.index for path in broken if SNAPSHOTS.fullmatch(path.name)
        ):
            path = snapshots_file(out, chunk.index, reached - 1)
            found.append(Damaged(path, f"{len(wanted - there)} runs of the chunk lack the snapshot at their end"))
    return found


def broken_chunks(out: Path, plan: Plan, damaged: Iterable[Damaged]) -> set[int]:
    """Chunks whose records or snapshots are damaged."""
    found = set()
    for damage in damaged:
        place = damage.path.relative_to(out).parts
        if place[0] in CHUNK:
            named = CURVES.fullmatch(damage.path.name) or SNAPSHOTS.fullmatch(damage.path.name)
            found |= {int(named[1])} if named else {chunk.index for chunk in plan.chunks}
    return found


def clear(out: Path, plan: Plan, damaged: Iterable[Damaged]) -> set[int]:
    """Remove what is damaged, so that training again makes it whole; what people drew must be drawn again. Returns the
    chunks that were cleared."""
    damaged = list(damaged)
    chunks = broken_chunks(out, plan, damaged)
    for index in sorted(chunks):
        drop_after(out, index)
        Checkpoints(out, index, "").drop()
    for damage in damaged:
        place = damage.path.relative_to(out).parts
        if place == ("sweep.yaml",):
            write_whole(damage.path, lambda temporary: temporary.write_bytes(plan.sweep.text.encode()))
        elif place[0] == "checkpoints":
            listing = LISTING.fullmatch(place[2])
            Checkpoints(out, int(place[1][6:]), "").remove(int(listing[1] if listing else place[2]))
        elif place[0] not in CHUNK:
            damage.path.unlink(missing_ok=True)
            digest_file(damage.path).unlink(missing_ok=True)
    return chunks
