"""plan.json of earlier formats: read as the present one, and written where a directory was begun in it.

Format 6 has the runs in files of their own (`shards.py`), 5 in plan.json by column, 4 by row.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from grokjax.results.run_table import NONE, Column, RunTable

FORMAT = 6
IN_ONE_FILE = 5  # runs stand in plan.json itself
READABLE = (4, 5, 6)


def upgraded(raw: dict[str, Any]) -> dict[str, Any]:
    """The values of a plan.json, those of format 4 as format 5 has them. Raises ValueError for a format that cannot be
    read, and LookupError or TypeError for what is no plan."""
    if raw["format"] not in READABLE:
        if isinstance(raw["format"], int) and raw["format"] < READABLE[0]:
            raise ValueError(
                f"it was written by an earlier version of grokjax; this one reads format {_readable()}: read it with "
                "that version, or train the sweep again in another directory"
            )
        if isinstance(raw["format"], int) and raw["format"] > FORMAT:
            raise ValueError(
                f"it was written by a newer version of grokjax (format {raw['format']}, this one reads {_readable()}); "
                "upgrade to read it: pip install --upgrade grokjax"
            )
        raise ValueError(f"format {raw['format']}, this version reads {_readable()}")
    return _from_rows(raw) if raw["format"] == READABLE[0] else raw


def _readable() -> str:
    *others, last = map(str, READABLE)
    return f"{', '.join(others)} and {last}"


def _from_rows(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 4 had a row a run, whose values it kept apart from those of its bucket."""
    rows = {row["run_id"]: row for row in [*raw["runs"], *raw["earlier"]]}
    if len(rows) < len(raw["runs"]) + len(raw["earlier"]):
        raise ValueError("a run stands there twice")
    members: list[list[dict[str, Any]]] = [[] for _ in raw["buckets"]]
    for chunk in raw["chunks"]:
        members[chunk["bucket"]] += [rows[run_id] for run_id in chunk["runs"]]
    if sum(map(len, members)) != len(rows):
        raise ValueError("its runs are not those of its chunks")
    buckets = [
        bucket | {"runs": as_columns([row | {"values": raw["common"] | row["values"]} for row in rows_of_bucket])}
        for bucket, rows_of_bucket in zip(raw["buckets"], members, strict=True)
    ]
    chunks = [{"bucket": chunk["bucket"], "runs": len(chunk["runs"])} for chunk in raw["chunks"]]
    rest = {key: value for key, value in raw.items() if key not in ("common", "earlier")}
    order = [row["run_id"] for row in raw["runs"]]
    return rest | {"format": IN_ONE_FILE, "buckets": buckets, "chunks": chunks, "runs": order}


def as_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs of one bucket as columns. Values that all of them share stand once, in `common`; of keys that only some have
    (a factor of one matrix), `partial` has these rows and their values.

    rows: run_id, arms, values and, of forked runs, origin.
    """
    values = [row["values"] for row in rows]
    keys = dict.fromkeys(key for row in values for key in row)
    common, columns, partial = {}, {}, {}
    for key in keys:
        present = [at for at, row in enumerate(values) if key in row]
        column = [values[at][key] for at in present]
        if len(present) < len(values):
            partial[key] = {"rows": present, "values": column}
        elif len(set(map(repr, column))) == 1:  # by ==, 0.0 is -0.0 and 1 is 1.0
            common[key] = column[0]
        else:
            columns[key] = column
    runs = {
        "run_id": [row["run_id"] for row in rows],
        "arms": [row["arms"] for row in rows],
        "common": common,
        "columns": columns,
        "partial": partial,
    }
    origins = [row.get("origin") for row in rows]
    return runs | ({"origin": origins} if any(origins) else {})


def from_one_file(raw: dict[str, Any]) -> tuple[dict[str, Any], RunTable]:
    """What plan.json of format 5 says besides its runs, and these. Raises ValueError, LookupError or TypeError for what
    is none."""
    buckets = [bucket["runs"] for bucket in raw["buckets"]]
    for runs in buckets:
        _check_columns(runs)
    order = _in_chunk_order(raw["chunks"], [len(runs["run_id"]) for runs in buckets])
    ids = pa.array([run_id for runs in buckets for run_id in runs["run_id"]], pa.string()).take(order)
    place = {run_id: at for at, run_id in enumerate(raw["runs"])}
    if len(place) < len(raw["runs"]) or not place.keys() <= set(ids.to_pylist()):
        raise ValueError("its runs are not those of its buckets")
    if not raw["continues"].keys() <= set(ids.to_pylist()):
        raise ValueError("a run that goes on is none of its runs")
    origins = [origin for runs in buckets for origin in runs.get("origin", [None] * len(runs["run_id"]))]
    forked = [at for at, origin in enumerate(origins) if origin is not None]
    arms = [arms for runs in buckets for arms in runs["arms"]]
    keys, count = dict.fromkeys(key for runs in buckets for key in (*runs["columns"], *runs["partial"])), len(arms)
    table = RunTable(
        ids=ids,
        bucket=np.repeat(np.arange(len(buckets), dtype=np.int32), [len(runs["run_id"]) for runs in buckets])[order],
        arms=coded(arms, list(range(count)), count).rows(order),
        origin=coded([origins[at] for at in forked], forked, count).rows(order),
        place=np.array([place.get(run_id, NONE) for run_id in ids.to_pylist()], np.int64),
        continues=pa.array([raw["continues"].get(run_id) for run_id in ids.to_pylist()], pa.string()),
        columns={key: coded(*_spread(key, buckets), count).rows(order) for key in keys},
        common=tuple(runs["common"] for runs in buckets),
    )
    apart = ("buckets", "runs", "continues")
    rest = [
        {key: value for key, value in bucket.items() if key != "runs"} | {"common": bucket["runs"]["common"]}
        for bucket in raw["buckets"]
    ]
    return {key: value for key, value in raw.items() if key not in apart} | {"buckets": rest}, table


def coded(values: list[Any], rows: list[int], count: int) -> Column:
    """A column of `count` rows with JSON values in some of them."""
    code_of: dict[str, int] = {}
    column = np.full(count, NONE, np.int32)
    column[rows] = [code_of.setdefault(json.dumps(value), len(code_of)) for value in values]
    return Column(column, list(code_of))


def _spread(key: str, buckets: list[dict[str, Any]]) -> tuple[list[Any], list[int]]:
    """The values of a key that not all runs of a bucket share, and the rows that they are of."""
    values, rows, start = [], [], 0
    for runs in buckets:
        count = len(runs["run_id"])
        some = runs["partial"].get(key, {"rows": [], "values": []})
        whole = runs["columns"].get(key, [])
        values += [*whole, *some["values"]]
        rows += [*range(start, start + len(whole)), *(start + row for row in some["rows"])]
        start += count
    return values, rows


def in_one_file(head: dict[str, Any], table: RunTable) -> dict[str, Any]:
    """A plan as format 5 has it."""
    buckets = []
    for index, bucket in enumerate(head["buckets"]):
        rows = np.flatnonzero(table.bucket == index)
        rest = {key: value for key, value in bucket.items() if key != "common"}
        buckets.append(rest | {"runs": _as_one(table, index, rows)})
    order = np.flatnonzero(table.place != NONE)
    order = order[np.argsort(table.place[order])]
    goes_on = table.continues.drop_null().to_pylist()
    later = table.ids.filter(table.continues.is_valid()).to_pylist()
    apart = {"buckets": buckets, "runs": table.ids.take(order).to_pylist()}
    return head | apart | {"format": IN_ONE_FILE, "continues": dict(zip(later, goes_on, strict=True))}


def _as_one(table: RunTable, bucket: int, rows: np.ndarray) -> dict[str, Any]:
    columns, partial = {}, {}
    for key, column in table.columns.items():
        present = rows[column.codes[rows] != NONE]
        values = [column[row] for row in present]
        if len(present) == len(rows):
            columns[key] = values
        elif values:
            partial[key] = {"rows": np.searchsorted(rows, present).tolist(), "values": values}
    runs = {
        "run_id": table.ids.take(rows).to_pylist(),
        "arms": [table.arms[row] for row in rows],
        "common": table.common[bucket],
        "columns": columns,
        "partial": partial,
    }
    origins = [None if table.origin.codes[row] == NONE else table.origin[row] for row in rows]
    return runs | ({"origin": origins} if any(origins) else {})


def _check_columns(runs: dict[str, Any]) -> None:
    count = len(runs["run_id"])
    columns = [*runs["columns"].values(), runs["arms"], *([runs["origin"]] if "origin" in runs else [])]
    if any(not isinstance(column, list) or len(column) != count for column in columns):
        raise ValueError("a column has not one value a run")
    for some in runs["partial"].values():
        rows = some["rows"]
        if not all(type(row) is int and 0 <= row < count for row in rows) or len(rows) != len(some["values"]):
            raise ValueError("a column has values of no run")


def _in_chunk_order(chunks: list[dict[str, Any]], counts: list[int]) -> np.ndarray:
    """The rows of the buckets, one bucket after the other, in the order of the chunks."""
    check_chunks(chunks, len(counts))
    taken = np.concatenate([[0], np.cumsum(counts)])[:-1].tolist()
    ends = np.cumsum(counts).tolist()
    rows = []
    for chunk in chunks:
        first = taken[chunk["bucket"]]
        taken[chunk["bucket"]] += chunk["runs"]
        rows.append(np.arange(first, min(taken[chunk["bucket"]], ends[chunk["bucket"]])))
    if taken != ends:
        raise ValueError("its runs are not those of its chunks")
    return np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64)


def check_chunks(chunks: list[dict[str, Any]], buckets: int) -> None:
    """Raises ValueError unless each is a number of runs of a bucket."""
    for chunk in chunks:
        if type(chunk["bucket"]) is not int or not 0 <= chunk["bucket"] < buckets:
            raise ValueError("a chunk is of no bucket")
        if type(chunk["runs"]) is not int or chunk["runs"] < 1:
            raise ValueError("a chunk has no runs")
