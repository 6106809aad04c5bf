"""plan.json of earlier formats, as the present one writes it."""

from __future__ import annotations

from typing import Any

FORMAT = 5
READABLE = (4, 5)


def upgraded(raw: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a format that cannot be read, and LookupError or TypeError for what is no plan."""
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
    return raw if raw["format"] == FORMAT else _from_rows(raw)


def _readable() -> str:
    return " and ".join(map(str, READABLE))


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
    return rest | {"format": FORMAT, "buckets": buckets, "chunks": chunks, "runs": order}


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


def unshared_values(runs: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of each run, by key, that not all share: `common` with these is the inverse of `as_columns`."""
    rows: list[dict[str, Any]] = [{} for _ in runs["run_id"]]
    for key, column in runs["columns"].items():
        for row, value in zip(rows, column, strict=True):
            row[key] = value
    for key, some in runs["partial"].items():
        for at, value in zip(some["rows"], some["values"], strict=True):
            rows[at][key] = value
    return rows
