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

from grokjax.results.chunks import META, while_it_trains
from grokjax.results.commits import Commit, commit_version, read_commit
from grokjax.results.files import Damaged, read_sealed, write_sealed
from grokjax.results.frames import plain_memory, to_arrow, to_pandas
from grokjax.results.layout import Home, chunk_of, curves_files, furthest, home_of, homes, is_flat
from grokjax.results.read import Results, in_order
from grokjax.results.summaries import read_summary
from grokjax.results.write import seal_table

Frames = tuple[pd.DataFrame, pd.DataFrame]
States = dict[int, str]


@dataclass(frozen=True)
class Derivation:
    """of_runs: (rows of `Results.runs()`, of `Results.events()`) of some runs, found in their curves. nothing: what is
    in the former, besides what was planned, for a run without records."""

    of_runs: Callable[[Results, Sequence[str]], Frames]
    nothing: Mapping[str, Any]


def cached(derivation: Derivation) -> Callable[[Results], Frames]:
    """Both tables of a directory: of chunks that have not changed as they were stored, of those that have ended as it
    was derived then, of others derived now. Stored where they can be."""

    def read_or_derive(results: Results) -> Frames:
        with plain_memory():
            return while_it_trains(lambda: _read_or_derive(results, derivation))

    return read_or_derive


def _read_or_derive(results: Results, derivation: Derivation) -> Frames:
    stored = _read_both(results.path)
    now = _stamp(results.path, stored.stamp if stored else None)
    if stored and (stored.stamp.plan, stored.stamp.states) == (now.plan, now.states):
        return to_pandas(stored.runs), to_pandas(stored.events)
    same = {}
    if stored and stored.stamp.plan == now.plan:
        same = {chunk: state for chunk, state in now.states.items() if stored.stamp.states.get(chunk) == state}
    frames = _together(results, derivation, stored, same, now.states)
    meta = {"plan": now.plan, "chunks": now.states, "commits": now.commits}
    tables = [seal_table(to_arrow(frame), meta) for frame in frames]
    for path, table in zip(_paths(results.path), tables, strict=True):
        with contextlib.suppress(OSError):  # a read-only directory can be read all the same
            write_sealed(path, partial(pq.write_table, table, compression="zstd"))
    runs, events = map(to_pandas, tables)
    return runs, events


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


def _together(results: Results, derivation: Derivation, stored: _Stored | None, same: States, states: States) -> Frames:
    """Both tables: a row each run of the sweep, and its events, in the order of the sweep."""
    planned = results.planned()
    mine = set(planned["run_id"])
    found, events = [], []
    if stored and same:
        kept = {run_id for chunk in same for run_id in results.manifest.chunks[chunk].run_ids}
        for table, parts in ((stored.runs, found), (stored.events, events)):
            frame = to_pandas(table)
            parts.append(frame[frame["run_id"].isin(kept)])
    left, summaries = [], []
    for chunk in states.keys() - same.keys():
        summary = None if is_flat(results.path) else read_summary(results.manifest, home_of(results.path, chunk))
        if summary:
            summaries.append(summary)
        elif chunk < len(results.manifest.chunks):  # else the file is of another directory, which `verify` tells
            left += results.manifest.chunks[chunk].run_ids
    for tables, parts in zip(zip(*summaries, strict=True), (found, events), strict=False):
        parts.append(to_pandas(pa.concat_tables(tables, promote_options="permissive")))
    if left:
        runs_left, events_left = derivation.of_runs(results, [run_id for run_id in left if run_id in mine])
        found.append(runs_left)
        events.append(events_left)
    nothing = dict(derivation.nothing) | dict.fromkeys(_final_names(results), np.float32(np.nan))
    runs = _with_found(planned, found, nothing, results.constants())
    return runs, _in_order(events, planned["run_id"]) if any(map(len, events)) else derivation.of_runs(results, [])[1]


def _with_found(
    planned: pd.DataFrame, parts: Sequence[pd.DataFrame], nothing: Mapping[str, Any], constants: Collection[str]
) -> pd.DataFrame:
    """Of each planned run what was found, in the order in which `Results.runs` has its columns. nothing: what there is
    to find, and what stands there for a run of which nothing was."""
    columns = {}
    found = pd.concat([part.set_index("run_id") for part in parts]) if parts else pd.DataFrame()
    at = found.index.get_indexer(pd.Index(planned["run_id"]))
    for name, default in nothing.items():
        filled = np.full(len(planned), default, object if default is None else type(default))
        if name in found:
            filled[at >= 0] = found[name].to_numpy()[at[at >= 0]]
        columns[name] = filled
    whole = dict(planned.items()) | columns
    return pd.DataFrame({name: whole[name] for name in in_order(whole, constants)}, copy=False)


def _in_order(parts: Sequence[pd.DataFrame], run_ids: pd.Series) -> pd.DataFrame:
    """Events by run in the order of the sweep, those of a run as they were found."""
    events = pd.concat([part for part in parts if len(part)], ignore_index=True)
    at = pd.Index(run_ids).get_indexer(pd.Index(events["run_id"]))
    order = np.argsort(at, kind="stable")
    return events.iloc[order[at[order] >= 0]].reset_index(drop=True)


def _final_names(results: Results) -> list[str]:
    return [f"final/{name}" for name in results.metrics() if not name.startswith("update_norm/")]


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
