"""One chunk of a stored plan, for a worker: read from plan.json and the shards that hold its runs alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from grokjax.plan.plan import Bucket, Chunk
from grokjax.results.files import Damaged, read_json
from grokjax.results.formats import FORMAT, upgraded
from grokjax.results.manifest import (
    NONSENSE,
    Manifest,
    manifest_of,
    numbers_of_bucket,
    read_manifest,
    read_rows,
    refuse_links,
    runs_of_rows,
    telling_nonsense,
)
from grokjax.results.plan_check import check_head, check_rows
from grokjax.results.rebuild import SpecMaker
from grokjax.results.run_table import RunTable
from grokjax.results.shards import shards_of
from grokjax.spec.section import Families
from grokjax.sweep.run import Run


def chunk_plan(out: Path, index: int, families: Families | None = None) -> Chunk:
    """A chunk as `read_manifest(out).plan_with(families)` has it. Its bucket's other runs are read when they are asked
    for.

    Raises SweepError if there is no plan.json, or it is not ours, and Damaged; ValueError where there is no such chunk.
    """
    head = _head(out, index)
    if head["format"] != FORMAT:  # all its runs stand in one file
        return read_manifest(out).plan_with(families).chunks[index]
    starts = _starts(head)
    bucket = head["chunks"][index]["bucket"]
    of_bucket = [at for at, chunk in enumerate(head["chunks"]) if chunk["bucket"] == bucket]
    specs = SpecMaker(families)
    runs = _runs(out, head, starts[index], starts[index + 1], specs)
    first = starts[of_bucket[0]]
    spec = (runs if of_bucket[0] == index else _runs(out, head, first, first + 1, specs))[0].spec
    size = sum(head["chunks"][at]["runs"] for at in of_bucket)
    others = RunsOfBucket(out, bucket, size, families)
    return Chunk(index, Bucket(bucket, spec, others, **numbers_of_bucket(head["buckets"][bucket])), runs)


def some_chunks(manifest: Manifest, wanted: Iterable[int], families: Families | None = None) -> dict[int, Chunk]:
    """Chunks as `manifest.plan_with(families)` has them, in the order of training: runs of no other chunk are made.

    Raises Damaged.
    """
    stored, table, out = manifest.chunks, manifest.table, manifest.path.parent
    order = sorted(wanted, key=lambda index: (stored[index].bucket, index))
    specs = SpecMaker(families)
    firsts = {bucket: int(np.argmax(table.bucket == bucket)) for bucket in {stored[index].bucket for index in order}}
    rows = [np.arange(stored[index].start, stored[index].stop) for index in order]
    try:
        heads = dict(zip(firsts, runs_of_rows(table, np.array([*firsts.values()], np.int64), specs), strict=True))
        runs = iter(runs_of_rows(table, np.concatenate(rows), specs) if rows else ())
    except NONSENSE as error:
        raise Damaged(manifest.path, f"it makes no sense: {str(error)[:300]}") from None
    buckets = {}
    for bucket, head in heads.items():
        numbers, size = manifest.buckets[bucket], int((table.bucket == bucket).sum())
        how = (numbers.width, numbers.queue, numbers.schedule, numbers.memory, numbers.tuned)
        buckets[bucket] = Bucket(bucket, head.spec, RunsOfBucket(out, bucket, size, families), *how)
    return {
        index: Chunk(
            index, buckets[stored[index].bucket], tuple(islice(runs, stored[index].stop - stored[index].start))
        )
        for index in order
    }


def chunk_manifest(out: Path, index: int) -> Manifest:
    """The manifest of a directory as far as it is of one chunk: of others it has no runs, or not all.

    Raises as `chunk_plan` does.
    """
    head = _head(out, index)
    if head["format"] != FORMAT:
        return read_manifest(out)
    starts = _starts(head)
    table, first = _rows(out, head, starts[index], starts[index + 1])
    with telling_nonsense(out):
        return manifest_of(out / "plan.json", head, table, first)


def _head(out: Path, index: int) -> dict[str, Any]:
    with telling_nonsense(out):
        refuse_links(out)
        head = upgraded(read_json(out / "plan.json"))
        if head["format"] == FORMAT:
            check_head(head)
    if not 0 <= index < len(head["chunks"]):
        raise ValueError(f"{out} has no chunk {index}: it has {len(head['chunks'])}, counted from 0")
    return head


def _starts(head: dict[str, Any]) -> list[int]:
    """The first row of each chunk, and the end of the last."""
    return np.concatenate([[0], np.cumsum([chunk["runs"] for chunk in head["chunks"]])]).tolist()


def _rows(out: Path, head: dict[str, Any], start: int, stop: int) -> tuple[RunTable, int]:
    """The shards that hold some rows of the plan, and their first row. Raises SweepError and Damaged."""
    with telling_nonsense(out):
        shards = shards_of(head["shards"])
        ends = np.cumsum([shard.rows for shard in shards]).tolist()
        needed = [at for at, end in enumerate(ends) if end > start and end - shards[at].rows < stop]
        before = ends[needed[0]] - shards[needed[0]].rows
        table = read_rows(out, head, [shards[at] for at in needed], before)
        check_rows(head, table)
    return table, before


def _runs(out: Path, head: dict[str, Any], start: int, stop: int, specs: SpecMaker) -> tuple[Run, ...]:
    table, before = _rows(out, head, start, stop)
    try:
        return tuple(runs_of_rows(table, np.arange(start - before, stop - before), specs))
    except NONSENSE as error:
        raise Damaged(out / "plan.json", f"it makes no sense: {str(error)[:300]}") from None


@dataclass(frozen=True)
class RunsOfBucket(Sequence[Run]):
    """All runs of a stored bucket, read when they are asked for: a worker needs none but those of its chunk."""

    out: Path
    bucket: int
    size: int
    families: Families | None

    @cached_property
    def _runs(self) -> Sequence[Run]:
        return read_manifest(self.out).plan_with(self.families).buckets[self.bucket].runs

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, at: Any) -> Any:
        return self._runs[at]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and tuple(self) == tuple(other)
