"""runs.parquet and events.parquet: what was derived of the records, by chunk, as long as its records are the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.chunks import META, while_it_trains
from grokjax.results.commits import read_commit
from grokjax.results.files import Damaged, read_sealed, write_sealed
from grokjax.results.frames import frame_of, to_arrow, to_pandas
from grokjax.results.layout import chunk_of, curves_files, furthest, home_of, homes, is_flat
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
        return while_it_trains(lambda: _read_or_derive(results, derivation))

    return read_or_derive


def _read_or_derive(results: Results, derivation: Derivation) -> Frames:
    plan, states = plan_stamp(results.path), chunk_states(results.path)
    stored = _read_both(results.path)
    if stored and stored.plan == plan and stored.states == states:
        return to_pandas(stored.runs), to_pandas(stored.events)
    same = {}
    if stored and stored.plan == plan:
        same = {chunk: state for chunk, state in states.items() if stored.states.get(chunk) == state}
    frames = _together(results, derivation, stored, same, states)
    meta = {"plan": plan, "chunks": states}
    tables = [seal_table(to_arrow(frame), meta) for frame in frames]
    for path, table in zip(_paths(results.path), tables, strict=True):
        with contextlib.suppress(OSError):  # a read-only directory can be read all the same
            write_sealed(path, partial(pq.write_table, table, compression="zstd"))
    runs, events = map(to_pandas, tables)
    return runs, events


def stored_runs(out: Path, columns: list[str]) -> pd.DataFrame | None:
    """Columns of `Results.runs()` where they are stored and up to date; nothing is computed."""
    if not (out / "plan.json").exists():
        return None
    stored = _read(_paths(out)[0], columns)
    if stored is None or _meta(stored) != (plan_stamp(out), chunk_states(out)):
        return None
    return to_pandas(stored)


def plan_stamp(out: Path) -> str:
    stat = (out / "plan.json").stat()
    return hashlib.sha256(repr((stat.st_size, stat.st_mtime_ns)).encode()).hexdigest()


def chunk_states(out: Path) -> States:
    """chunk -> what its records are known by: the attempt that counts, or the names, sizes and times of their files."""
    if is_flat(out):
        files: dict[int, list[Path]] = {}
        for path in curves_files(out):
            files.setdefault(chunk_of(path), []).append(path)
        return {chunk: _state(paths) for chunk, paths in files.items()}
    states = {}
    for chunk, home in homes(out):
        commit = read_commit(home)
        folder = None if commit else furthest(home)
        if commit:
            states[chunk] = commit.attempt
        elif folder and (paths := curves_files(folder)):
            states[chunk] = _state(paths)
    return states


def _state(paths: Iterable[Path]) -> str:
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


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
    runs = _with_found(planned, found, derivation.nothing, _final_names(results))
    runs = runs[in_order(runs.columns, results.constants())]  # stored so, a million rows need not be put in order
    return runs, _in_order(events, planned["run_id"]) if any(map(len, events)) else derivation.of_runs(results, [])[1]


def _with_found(
    planned: pd.DataFrame, parts: Sequence[pd.DataFrame], nothing: Mapping[str, Any], finals: Sequence[str]
) -> pd.DataFrame:
    nothing = dict(nothing) | dict.fromkeys(finals, np.float32(np.nan))
    columns = {}
    found = pd.concat([part.set_index("run_id") for part in parts]) if parts else pd.DataFrame()
    at = found.index.get_indexer(pd.Index(planned["run_id"]))
    for name, default in nothing.items():
        filled = np.full(len(planned), default, object if default is None else type(default))
        if name in found:
            filled[at >= 0] = found[name].to_numpy()[at[at >= 0]]
        columns[name] = filled
    return frame_of(dict(planned.items()) | columns)


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
    plan: str
    states: States


def _paths(out: Path) -> tuple[Path, Path]:
    return out / "runs.parquet", out / "events.parquet"


def _read_both(out: Path) -> _Stored | None:
    runs, events = map(_read, _paths(out))
    if runs is None or events is None or _meta(runs) is None or _meta(runs) != _meta(events):
        return None
    plan, states = _meta(runs) or ("", {})
    return _Stored(runs, events, plan, states)


def _meta(table: pa.Table) -> tuple[str, States] | None:
    """What a table was derived from; None where it is of an earlier version."""
    meta = json.loads((table.schema.metadata or {}).get(META, b"{}"))
    if "plan" not in meta or "chunks" not in meta:
        return None
    return meta["plan"], {int(chunk): state for chunk, state in meta["chunks"].items()}


def _read(path: Path, columns: list[str] | None = None) -> pa.Table | None:
    try:
        return pq.read_table(pa.BufferReader(read_sealed(path)), columns=columns)
    except (OSError, pa.ArrowException, Damaged):  # it is made again
        return None
