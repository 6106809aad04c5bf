"""Several results directories read as one: their runs side by side, in arms that are named `sweep/arm`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from grokjax.results.manifest import Manifest, StoredChunk
from grokjax.results.read import Results
from grokjax.results.run_table import concatenated
from grokjax.results.snapshots import StoredSnapshot

ORDER = ["run_id", "step"]


class Joined(Results):
    """Results of several directories, which stay as they are. A run of two of them is one run, of both arms; its
    records are those of the first that has it."""

    def __init__(self, parts: Sequence[Results], names: Sequence[str]):
        first = parts[0]
        path = " and ".join(str(part.path) for part in parts)
        super().__init__(path, first._derive, _joined_manifest(parts, names), first._views)
        self.parts, self.names = tuple(parts), tuple(names)
        self._owner: dict[str, Results] = {}
        for part in self.parts:
            self._owner = dict.fromkeys(part.run_ids, part) | self._owner

    def runs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        runs = self._with_arms([part.runs() for part in self.parts])
        return runs if columns is None else runs[list(columns)]

    def planned(self) -> pd.DataFrame:
        return self._with_arms([part.planned() for part in self.parts])

    def events(self) -> pd.DataFrame:
        owned = [frame[[self._owner[run] is part for run in frame["run_id"]]] for part, frame in self._events()]
        return pd.concat(owned, ignore_index=True)

    def _events(self) -> list[tuple[Results, pd.DataFrame]]:
        return [(part, part.events()) for part in self.parts]

    def curves_table(
        self, metrics: str | Iterable[str] | None = None, runs: str | Iterable[str] | None = None
    ) -> pa.Table:
        names, asked = self._check_metrics(metrics), self.whole_run_ids(runs)
        tables = []
        for part in self.parts:
            known = part.metrics()
            of_part = [run_id for run_id in asked if self._owner[run_id] is part]
            if of_part:
                tables.append(part.curves_table([name for name in names if name in known], of_part))
        table = pa.concat_tables(tables, promote_options="default")
        for name in names:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), pa.float32()))
        return table.select([*ORDER, *names])

    def metrics(self) -> list[str]:
        return list(dict.fromkeys(name for part in self.parts for name in part.metrics()))

    def params(self, run_id: str, step: int | None = None) -> dict[str, Any]:
        return self._of(run_id).params(run_id, step)

    def snapshots(self, run_id: str, replays: bool = True) -> dict[int, StoredSnapshot]:
        return self._of(run_id).snapshots(run_id, replays)

    @property
    def ends(self) -> dict[str, dict[str, Any]]:
        return {run_id: end for part in reversed(self.parts) for run_id, end in part.ends.items()}

    def ends_of(self, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return self.ends

    @property
    def prior_steps(self) -> dict[str, int]:
        return {run_id: steps for part in self.parts for run_id, steps in part.prior_steps.items()}

    def steps_taken(self) -> tuple[int, int]:
        taken = [part.steps_taken() for part in self.parts]
        return sum(runs for runs, _ in taken), sum(lanes for _, lanes in taken)

    def _of(self, run_id: str) -> Results:
        return self._owner[self.whole_run_ids(run_id)[0]]

    def _with_arms(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """The rows of every run once, under the joined arms."""
        runs = pd.concat(frames, ignore_index=True).drop_duplicates("run_id", ignore_index=True)
        arms = [list(self.manifest.every_run[run_id].arms) for run_id in runs["run_id"]]
        runs["arm"], runs["arms"] = [of_run[0] for of_run in arms], pd.Series(arms, dtype=object)
        return runs


def join(parts: Sequence[Results]) -> Results:
    """The results of several directories as one; of a single one itself. Raises ValueError for a directory given twice.

    Arms are called `sweep/arm`; an arm `main` is called by the sweep alone; sweeps of one name by their directories.
    """
    if len(parts) == 1:
        return parts[0]
    paths = [part.path.resolve() for part in parts]
    twice = [str(part.path) for part, path in zip(parts, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    names = [part.manifest.name for part in parts]
    if len(set(names)) < len(names):
        names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(part.path) for part in parts]
    return Joined(parts, names)


def _joined_manifest(parts: Sequence[Results], names: Sequence[str]) -> Manifest:
    """Their runs, axes and programs; the rest is of the first."""
    axes: dict[str, tuple[str, ...]] = {}
    tables, buckets, heads, start = [], [], [], 0
    arms: dict[str, tuple[str, ...]] = {}
    for part, name in zip(parts, names, strict=True):
        manifest = part.manifest
        axes |= {_arm(name, arm): keys for arm, keys in manifest.axes.items()}
        for run in manifest.runs:
            own = tuple(_arm(name, arm) for arm in run.arms if arm in manifest.axes)
            arms[run.run_id] = (*arms.get(run.run_id, ()), *own)
        tables.append(manifest.table)
        heads += [(len(buckets) + chunk.bucket, start + chunk.start, start + chunk.stop) for chunk in manifest.chunks]
        buckets += manifest.buckets
        start += len(manifest.table)
    table = concatenated(tables, arms)
    return replace(
        parts[0].manifest,
        name=" and ".join(names),
        axes=axes,
        keys=tuple(dict.fromkeys(key for part in parts for key in part.manifest.keys)),
        buckets=tuple(buckets),
        chunks=tuple(StoredChunk(bucket, first, stop, table.ids) for bucket, first, stop in heads),
        table=table,
    )


def _arm(name: str, arm: str) -> str:
    return name if arm == "main" else f"{name}/{arm}"
