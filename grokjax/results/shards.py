"""plan/runs-00000-DIGEST.parquet: the runs of a plan, at most ROWS a file, whole, sealed, and named by their content.

Only those that plan.json names count. They are there before it is, and a shard whose content changes gets another name,
so a kill at any moment leaves the plan as it was, or as it is to be. A value is the text of its JSON, in a column of
its key; a row without the key has null there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grokjax.results.files import Damaged, check_seal, remove, write_sealed
from grokjax.results.run_table import NONE, Column, RunTable
from grokjax.results.write import seal_table

FOLDER = "plan"
NAME = re.compile(r"runs-\d{5}-[0-9a-f]{12}\.parquet")
ROWS = 50_000
HEAD = {
    "run_id": pa.string(),
    "arms": pa.string(),
    "origin": pa.string(),
    "place": pa.int64(),
    "continues": pa.string(),
}


@dataclass(frozen=True)
class Shard:
    """What plan.json says of a shard."""

    name: str
    sha256: str  # of all its bytes
    rows: int


def write_shards(out: Path, table: RunTable, known: Sequence[Shard]) -> list[Shard]:
    """Write the runs; what is `known` to be there already is left as it is."""
    names = {shard.name: shard for shard in known}
    return [names.get(name) or _write(out / FOLDER / name, part) for name, part in _named(table)]


def _named(table: RunTable) -> Iterator[tuple[str, pa.Table]]:
    """The parts of a table, each with its name."""
    for number, start in enumerate(range(0, len(table), ROWS)):
        part = seal_table(_as_arrow(table, slice(start, start + ROWS)), {})
        buffer = pa.BufferOutputStream()
        _write_parquet(part, buffer)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        yield f"runs-{number:05d}-{digest[:12]}.parquet", part


def _write(path: Path, part: pa.Table) -> Shard:
    write_sealed(path, lambda temporary: _write_parquet(part, temporary))
    return Shard(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), len(part))


def _write_parquet(table: pa.Table, where: Any) -> None:
    pq.write_table(table, where, compression="zstd", write_page_checksum=True)


def _as_arrow(table: RunTable, rows: slice) -> pa.Table:
    place = table.place[rows]
    columns: dict[str, pa.Array] = {
        "run_id": table.ids[rows],
        "arms": _texts(table.arms, rows),
        "origin": _texts(table.origin, rows),
        "place": pa.array(place, mask=place == NONE),
        "continues": table.continues[rows],
    }
    return pa.table(columns | {key: _texts(column, rows) for key, column in table.columns.items()})


def _texts(column: Column, rows: slice) -> pa.Array:
    codes = column.codes[rows]
    return pa.array(column.texts, pa.string()).take(pa.array(codes, mask=codes == NONE))


def drop_shards(out: Path, but: Iterable[Shard]) -> None:
    """Remove those that no plan names: a kill left them, or the plan has grown."""
    kept = {shard.name for shard in but}
    folder = out / FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        if NAME.fullmatch(path.name) and path.name not in kept:
            remove(path)


def shards_of(raw: list[dict[str, Any]]) -> list[Shard]:
    """As plan.json has them. Raises ValueError for what could lead elsewhere."""
    shards = [Shard(**each) for each in raw]
    if not all(isinstance(shard.name, str) and NAME.fullmatch(shard.name) for shard in shards):
        raise ValueError("the name of a file of its runs is none")
    if not all(type(shard.rows) is int and shard.rows > 0 for shard in shards):
        raise ValueError("a file of its runs has no rows")
    return shards


def as_json(shards: Iterable[Shard]) -> list[dict[str, Any]]:
    return [asdict(shard) for shard in shards]


def read_shards(out: Path, shards: Sequence[Shard], buckets: np.ndarray, common: Sequence[dict[str, Any]]) -> RunTable:
    """The runs of some shards.

    buckets: of each row. common: of each bucket, what its runs share. Raises Damaged.
    """
    if not shards:
        raise ValueError("it has no runs")
    tables = [_read(out / FOLDER / shard.name, shard) for shard in shards]
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return RunTable(
        ids=_array(whole, "run_id"),
        bucket=buckets,
        arms=_column(whole, "arms"),
        origin=_column(whole, "origin"),
        place=_array(whole, "place").fill_null(NONE).to_numpy(),
        continues=_array(whole, "continues"),
        columns={key: _column(whole, key) for key in whole.column_names if key not in HEAD},
        common=tuple(common),
    )


def _read(path: Path, shard: Shard) -> pa.Table:
    """Raises Damaged."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(path, "it is missing") from None
    check_seal(path, data)
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise Damaged(path, "it is not the one that plan.json names")
    try:
        schema = pq.read_schema(pa.BufferReader(data))
        texts = [name for name in schema.names if name not in ("run_id", "place", "continues")]
        plain = schema.names[: len(HEAD)] == list(HEAD) and len(set(schema.names)) == len(schema.names)
        if not plain or any(schema.field(name).type != HEAD.get(name, pa.string()) for name in schema.names):
            raise ValueError(f"{path.name} has other columns than those of runs")
        table = pq.read_table(pa.BufferReader(data), read_dictionary=texts)
    except (OSError, pa.ArrowException) as error:
        raise Damaged(path, f"it cannot be read: {error}") from None
    if len(table) != shard.rows:
        raise ValueError(f"{path.name} has {len(table)} rows, not {shard.rows}")
    return table.replace_schema_metadata(None)


def _array(table: pa.Table, name: str) -> Any:
    chunked = table[name]
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def _column(table: pa.Table, name: str) -> Column:
    array = _array(table, name)
    return Column(array.indices.fill_null(NONE).to_numpy(), array.dictionary.to_pylist())
