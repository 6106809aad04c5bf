"""runs.parquet and events.parquet: what was derived of the records, by chunk, as long as its records are the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.chunks import META, ended_of, metrics_of, while_it_trains
from grokjax.results.commits import Commit, commit_version, read_commit
from grokjax.results.files import Damaged, read_sealed, write_sealed
from grokjax.results.frames import plain_memory, to_arrow, to_pandas
from grokjax.results.layout import Home, chunk_of, curves_files, furthest, home_of, homes, is_flat
from grokjax.results.manifest import Manifest
from grokjax.results.planned import with_statuses
from grokjax.results.read import Results, in_order
from grokjax.results.run_table import NONE
from grokjax.results.summaries import read_summary
from grokjax.results.write import seal_table

FINAL = "final/"  # how columns of last values begin
Frames = tuple[pd.DataFrame, pd.DataFrame]
Tables = tuple[pa.Table, pa.Table]
States = dict[int, str]
Placed = tuple[np.ndarray, pa.Table]  # the place of each row's run in the order of the sweep, and the rows


@dataclass(frozen=True)
class Derivation:
    """of_runs: (rows of `Results.runs()`, of `Results.events()`) of some runs, found in their curves. nothing: what is
    in the former, besides what was planned, for a run without records."""

    of_runs: Callable[[Results, Sequence[str]], Frames]
    nothing: Mapping[str, Any]


def cached(derivation: Derivation) -> Callable[[Results], Tables]:
    """Both tables of a directory: of chunks that have not changed as they were stored, of those that have ended as it
    was derived then, of others derived now. Stored where they can be."""

    def read_or_derive(results: Results) -> Tables:
        with plain_memory():
            return while_it_trains(lambda: _read_or_derive(results, derivation))

    return read_or_derive


def _read_or_derive(results: Results, derivation: Derivation) -> Tables:
    stored = _read_both(results.path)
    now = _stamp(results.path, stored.stamp if stored else None)
    if stored and (stored.stamp.plan, stored.stamp.states) == (now.plan, now.states):
        return stored.runs, stored.events
    same = {}
    if stored and stored.stamp.plan == now.plan:
        same = {chunk: state for chunk, state in now.states.items() if stored.stamp.states.get(chunk) == state}
    meta = {"plan": now.plan, "chunks": now.states, "commits": now.commits}
    tables = [seal_table(table, meta) for table in _together(results, derivation, stored, same, now)]
    for path, table in zip(_paths(results.path), tables, strict=True):
        with contextlib.suppress(OSError):  # a read-only directory can be read all the same
            write_sealed(path, partial(pq.write_table, table, compression="zstd"))
    return tables[0], tables[1]


def stored_runs(out: Path, columns: list[str], seen: Sequence[Home] | None = None) -> pd.DataFrame | None:
    """Columns of `Results.runs()` where they are stored and up to date; nothing is computed. seen: by a `survey` of a
    moment ago."""
    if not (out / "plan.json").exists():
        return None
    table = _read(_paths(out)[0], columns)
    stored = None if table is None else _stamp_in(table)
    if table is None or stored is None:
        return None
    now = _stamp(out, stored, seen)
    return to_pandas(table) if (stored.plan, stored.states) == (now.plan, now.states) else None


class _Stamp(NamedTuple):
    """What tables were derived from: by plan and states they are known to be up to date."""

    plan: str
    states: States  # chunk -> the attempt that counts, or a digest of names, sizes and times of the files there are
    commits: States  # chunk that has ended -> by what its commit is known again, so that it need not be read


def _stamp(out: Path, known: _Stamp | None, seen: Sequence[Home] | None = None) -> _Stamp:
    """Of what is there now. known: of what was there before: a commit that is the same still is not read again. seen:
    by a `survey` of a moment ago."""
    stat = (out / "plan.json").stat()
    plan = _digest((stat.st_size, stat.st_mtime_ns))
    if is_flat(out):
        files: dict[int, list[Path]] = {}
        for path in curves_files(out):
            files.setdefault(chunk_of(path), []).append(path)
        return _Stamp(plan, {chunk: _state(paths) for chunk, paths in files.items()}, {})
    if seen is not None:
        return _Stamp(plan, {home.chunk: state for home in seen if (state := _state_of(home.path, home.commit))}, {})
    states, commits = {}, {}
    for chunk, home in homes(out):
        version = commit_version(home)
        if version:
            commits[chunk] = _digest(version)[:16]
        is_known = known is not None and version is not None and known.commits.get(chunk) == commits[chunk]
        state = known.states[chunk] if known and is_known else _state_of(home, read_commit(home))
        if state:
            states[chunk] = state
    return _Stamp(plan, states, commits)


def _state_of(home: Path, commit: Commit | None) -> str | None:
    """None where nothing was recorded yet."""
    folder = None if commit else furthest(home)
    paths = curves_files(folder) if folder else []
    return commit.attempt if commit else _state(paths) if paths else None


def _state(paths: Iterable[Path]) -> str:
    return _digest([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths])


def _digest(numbers: Any) -> str:
    return hashlib.sha256(repr(numbers).encode()).hexdigest()


def _together(results: Results, derivation: Derivation, stored: _Stored | None, same: States, now: _Stamp) -> Tables:
    """Both tables: a row each run of the sweep, and its events, in the order of the sweep. same: chunks of which what
    is stored is taken over."""
    manifest, changed = results.manifest, sorted(now.states.keys() - same.keys())
    before = _still_planned(results, derivation.nothing, stored, changed, now) if same else None
    planned, metrics = before or (results.planned(), results.metrics())
    nothing = dict(derivation.nothing) | dict.fromkeys(_final_names(metrics), np.float32(np.nan))
    found: list[Placed] = []
    events: list[pa.Table] = []
    if stored and same:
        found.append(_of_chunks(manifest, stored.runs.select(["run_id", *_there(nothing, stored.runs)]), same))
        events.append(_of_chunks(manifest, stored.events, same)[1])
    left: list[str] = []
    for chunk in changed:
        summary = None if is_flat(results.path) else read_summary(manifest, home_of(results.path, chunk))
        if summary:
            rows = slice(manifest.chunks[chunk].start, manifest.chunks[chunk].stop)
            found.append((manifest.table.place[rows], summary[0]))
            events.append(summary[1])
        elif chunk < len(manifest.chunks):  # else the file is of another directory, which `verify` tells
            left += manifest.chunks[chunk].run_ids
    if left or not any(map(len, events)):
        runs_left, events_left = map(to_arrow, _derive_only(results, derivation, left))
        found.append((manifest.place_of(runs_left["run_id"].combine_chunks()), runs_left))
        events = [*(part for part in events if len(part)), events_left]
    runs = _with_found(planned, found, nothing, results.constants())
    return to_arrow(runs), _in_order(manifest, events)


def _still_planned(
    results: Results, nothing: Collection[str], stored: _Stored | None, changed: Sequence[int], now: _Stamp
) -> tuple[pd.DataFrame, list[str]] | None:
    """What `results.planned` and `results.metrics` say, by what is stored and what the changed chunks say; None where
    that is not enough: records are gone, or there are new metrics."""
    if stored is None or not stored.stamp.states.keys() <= now.states.keys():
        return None
    names = stored.runs.column_names
    metrics = [name.removeprefix(FINAL) for name in names if name.startswith(FINAL)]
    if not {*_final_names(metrics_of(results.path, changed))} <= {*names}:
        return None
    planned = to_pandas(
        stored.runs.select([name for name in names if name not in nothing and not name.startswith(FINAL)])
    )
    return with_statuses(planned, results.manifest, ended_of(results.path, changed)), metrics


def _derive_only(results: Results, derivation: Derivation, run_ids: Sequence[str]) -> Frames:
    """Of some runs, as if there were no others: what they cost does not depend on how many these are."""
    place, manifest = results.manifest.place_of(pa.array(run_ids, pa.string())), results.manifest
    mine = [run_id for run_id, at in zip(run_ids, place.tolist(), strict=True) if at != NONE]
    alone = Results(results.path, lambda _: (pd.DataFrame(), pd.DataFrame()), manifest.only(mine, manifest.axes))
    return derivation.of_runs(alone, mine)


def _of_chunks(manifest: Manifest, table: pa.Table, chunks: Collection[int]) -> Placed:
    """The rows of a table that are of runs of these chunks."""
    is_wanted = np.isin(manifest.chunk_of_rows, list(chunks))
    ids = table["run_id"].combine_chunks()
    in_order = manifest.table.ids.take(pa.array(manifest.order))
    rows = manifest.order if ids.equals(in_order.cast(ids.type)) else manifest.table.rows_of(ids)
    wanted = (rows != NONE) & is_wanted[rows]
    return manifest.table.place[rows[wanted]], table.filter(pa.array(wanted))


def _one_table(parts: Sequence[pa.Table]) -> pa.Table:
    plain = [part.replace_schema_metadata(None) for part in parts]
    return pa.concat_tables(plain, promote_options="permissive").combine_chunks()


def _with_found(
    planned: pd.DataFrame, parts: Sequence[Placed], nothing: Mapping[str, Any], constants: Collection[str]
) -> pd.DataFrame:
    """Of each planned run what was found, in the order in which `Results.runs` has its columns. nothing: what there is
    to find, and what stands there for a run of which nothing was."""
    columns: dict[str, Any] = {str(name): column for name, column in planned.items()}
    parts = [(place, table) for place, table in parts if len(table)]
    found = _one_table([table for _, table in parts]) if parts else pa.table({})
    place = np.concatenate([place for place, _ in parts] or [np.zeros(0, np.int64)])
    for name, default in nothing.items():
        columns[name] = np.full(len(planned), default, object if default is None else type(default))
        if name in found.column_names:
            columns[name][place[place != NONE]] = found[name].to_numpy()[place != NONE]
    return pd.DataFrame({name: columns[name] for name in in_order(columns, constants)}, copy=False)


def _in_order(manifest: Manifest, parts: Sequence[pa.Table]) -> pa.Table:
    """Events by run in the order of the sweep, those of a run as they were found."""
    events = _one_table([part for part in parts if len(part)] or parts[:1])
    place = manifest.place_of(events["run_id"].combine_chunks())
    order = np.argsort(place, kind="stable")
    return events.take(pa.array(order[place[order] != NONE]))


def _there(names: Iterable[str], table: pa.Table) -> list[str]:
    return [name for name in names if name in table.column_names]


def _final_names(metrics: Iterable[str]) -> list[str]:
    return [f"{FINAL}{name}" for name in metrics if not name.startswith("update_norm/")]


@dataclass(frozen=True)
class _Stored:
    runs: pa.Table
    events: pa.Table
    stamp: _Stamp


def _paths(out: Path) -> tuple[Path, Path]:
    return out / "runs.parquet", out / "events.parquet"


def _read_both(out: Path) -> _Stored | None:
    runs, events = map(_read, _paths(out))
    stamps = [None if table is None else _stamp_in(table) for table in (runs, events)]
    if runs is None or events is None or stamps[0] is None or stamps[0] != stamps[1]:
        return None
    return _Stored(runs, events, stamps[0])


def _stamp_in(table: pa.Table) -> _Stamp | None:
    """None where a table is of an earlier version."""
    meta = json.loads((table.schema.metadata or {}).get(META, b"{}"))
    if "plan" not in meta or "chunks" not in meta:
        return None
    states, commits = ({int(chunk): of for chunk, of in meta.get(key, {}).items()} for key in ("chunks", "commits"))
    return _Stamp(meta["plan"], states, {chunk: of for chunk, of in commits.items() if chunk in states})


def _read(path: Path, columns: list[str] | None = None) -> pa.Table | None:
    try:
        return pq.read_table(pa.BufferReader(read_sealed(path)), columns=columns)
    except (OSError, pa.ArrowException, Damaged):  # it is made again
        return None
