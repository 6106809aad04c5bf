"""The runs of a plan by column, in the order of its chunks: a million of them are a few arrays, and a run is made of
them when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grokjax.spec.origin import Origin

NONE = -1  # of a code, or a place: there is none
DIGITS = 12  # of a run id
VALUE = np.array([int(chr(letter), 16) if chr(letter) in "0123456789abcdef" else 0 for letter in range(256)], np.int64)


@dataclass(frozen=True, eq=False)
class Column:
    """One value a row: the number of its text, which is the value's JSON. So 1 is not 1.0, and null not nothing."""

    codes: np.ndarray  # int32 [rows], into `texts`; NONE: the row has no such value
    texts: Sequence[str]

    @cached_property
    def levels(self) -> list[Any]:
        """The value of each text."""
        return [json.loads(text) for text in self.texts]

    def __getitem__(self, row: int) -> Any:
        """The value of a row that has one."""
        return self.levels[self.codes[row]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Column) and np.array_equal(self._told(), other._told())

    def _told(self) -> np.ndarray:
        """The text of each row, None where it has none."""
        return np.array([*self.texts, None], object)[self.codes]

    def rows(self, rows: np.ndarray) -> Column:
        return Column(self.codes[rows], self.texts)

    @property
    def used(self) -> list[int]:
        """The codes that there are, in rising order."""
        return [code for code in self.numbered()[0] if code != NONE]

    def numbered(self) -> tuple[list[int], np.ndarray]:
        """The codes that there are, in rising order, NONE too, and of each row which of them it has: without sorting
        the rows, of which there are many more than codes."""
        if len(self.codes) < len(self.texts):
            there, which = np.unique(self.codes, return_inverse=True)
            return there.tolist(), which
        there = np.flatnonzero(np.bincount(self.codes - NONE, minlength=len(self.texts) + 1))
        which = np.zeros(len(self.texts) + 1, np.int64)
        which[there] = np.arange(len(there))
        return (there + NONE).tolist(), which[self.codes - NONE]

    def value_of(self, code: int) -> Any:
        """The value of one code; None of NONE."""
        return None if code == NONE else json.loads(self.texts[code])


@dataclass(frozen=True)
class StoredRun:
    """A run; its resolved values, by their dotted keys, are put together when they are asked for."""

    run_id: str
    arms: tuple[str, ...]
    origin: Origin | None
    table: RunTable
    row: int

    @cached_property
    def values(self) -> dict[str, Any]:
        return self.table.values(self.row)


@dataclass(frozen=True, eq=False)
class RunTable:
    """One row a run. Values that all runs of a bucket share stand in `common`, the others in `columns`."""

    ids: pa.StringArray
    bucket: np.ndarray  # int32 [rows]
    arms: Column  # lists of names
    origin: Column
    place: np.ndarray  # int64 [rows]: in the sweep's order; NONE: an earlier form of the sweep had the run
    continues: pa.StringArray  # the shorter run that it goes on with, or null
    columns: dict[str, Column]  # by key
    common: tuple[dict[str, Any], ...]  # of each bucket, by key

    def __len__(self) -> int:
        return len(self.bucket)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunTable) and all(
            (
                self.ids.equals(other.ids),
                np.array_equal(self.bucket, other.bucket),
                np.array_equal(self.place, other.place),
                self.continues.equals(other.continues),
                (self.arms, self.origin, self.columns) == (other.arms, other.origin, other.columns),
                _text(self.common) == _text(other.common),  # by ==, 0.0 is -0.0 and 1 is 1.0
            )
        )

    @property
    def empty(self) -> Column:
        """A column of no values."""
        return Column(np.full(len(self), NONE, np.int32), ())

    def values(self, row: int) -> dict[str, Any]:
        """All values of a run, by key."""
        own = {key: column[row] for key, column in self.columns.items() if column.codes[row] != NONE}
        return self.common[self.bucket[row]] | own

    def run(self, row: int) -> StoredRun:
        arms, origin = tuple(self.arms[row]), None
        if self.origin.codes[row] != NONE:
            stored = self.origin[row]
            origin = Origin(stored["digest"], stored["begun"], tuple(stored["lineage"]))
        return StoredRun(self.ids[row].as_py(), arms, origin, self, row)

    def column(self, key: str, rows: np.ndarray | None = None) -> Column:
        """The values of a key in these rows, shared ones too; default: in all."""
        given, buckets = self.columns.get(key), self.bucket
        if rows is not None:  # what is asked of a few runs must not cost what all cost
            given, buckets = given and given.rows(rows), self.bucket[rows]
        every = range(len(self.common))
        asked = every if len(buckets) >= len(every) else sorted(set(buckets.tolist()))
        shared = {at: json.dumps(self.common[at][key]) for at in asked if key in self.common[at]}
        if not shared:
            return given or Column(np.full(len(buckets), NONE, np.int32), ())
        texts = list(given.texts) if given else []
        code_of = {text: code for code, text in enumerate(texts)}
        of_bucket = np.full(len(self.common), NONE, np.int32)
        for at, text in shared.items():
            of_bucket[at] = code_of.setdefault(text, len(code_of))
        codes = of_bucket[buckets]
        if given:
            codes = np.where(given.codes == NONE, codes, given.codes)
        return Column(codes, list(code_of))

    def row_of(self, run_id: str) -> int:
        """Raises KeyError."""
        order, numbers = self.by_number
        try:
            number = int(run_id, 16) if len(run_id) == DIGITS else NONE
        except (TypeError, ValueError):
            raise KeyError(run_id) from None
        at = int(np.searchsorted(numbers, number))
        if at == len(numbers) or numbers[at] != number or self.ids[int(order[at])].as_py() != run_id:
            raise KeyError(run_id)
        return int(order[at])

    @cached_property
    def by_number(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows by the numbers that their ids are in hexadecimal, and these numbers."""
        numbers = numbers_of(self.ids)
        order = np.argsort(numbers, kind="stable")
        return order, numbers[order]

    def rows_of(self, ids: pa.Array) -> np.ndarray:
        """The rows of ids that are whole; NONE where there is no such run. Raises ValueError where one is no id."""
        order, numbers = self.by_number
        if len(ids) and (ids.null_count or pc.min_max(pc.binary_length(ids)).as_py() != {"min": DIGITS, "max": DIGITS}):  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError("the id of a run is none")
        wanted = numbers_of(ids.cast(pa.string()))
        at = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
        return np.where(numbers[at] == wanted, order[at], NONE)


def concatenated(tables: Sequence[RunTable], arms: Mapping[str, Sequence[str]]) -> RunTable:
    """The rows of several tables, one after the other.

    arms: of each run that counts, in their order; a run that several tables have counts in the first.
    """
    ids = pa.concat_arrays([table.ids for table in tables])
    row_of: dict[str, int] = {}
    for row, run_id in enumerate(ids.to_pylist()):
        row_of.setdefault(run_id, row)
    place = np.full(len(ids), NONE, np.int64)
    place[[row_of[run_id] for run_id in arms]] = np.arange(len(arms))
    before = np.cumsum([0, *(len(table.common) for table in tables)]).tolist()
    keys = dict.fromkeys(key for table in tables for key in table.columns)
    return RunTable(
        ids=ids,
        bucket=np.concatenate([table.bucket + first for table, first in zip(tables, before, strict=False)]),
        arms=_recoded([json.dumps(list(arms.get(run_id, ()))) for run_id in ids.to_pylist()]),
        origin=_one_column([table.origin for table in tables]),
        place=place,
        continues=pa.concat_arrays([table.continues for table in tables]),
        columns={key: _one_column([table.columns.get(key, table.empty) for table in tables]) for key in keys},
        common=tuple(common for table in tables for common in table.common),
    )


def _one_column(columns: Sequence[Column]) -> Column:
    """Columns one after the other."""
    code_of: dict[str, int] = {}
    codes = []
    for column in columns:
        renamed = np.array([*(code_of.setdefault(text, len(code_of)) for text in column.texts), NONE], np.int32)
        codes.append(renamed[column.codes])
    return Column(np.concatenate(codes), list(code_of))


def _recoded(texts: Sequence[str]) -> Column:
    code_of: dict[str, int] = {}
    return Column(np.array([code_of.setdefault(text, len(code_of)) for text in texts], np.int32), list(code_of))


def numbers_of(ids: pa.Array) -> np.ndarray:
    """Ids, all of 12 hexadecimal digits, as numbers."""
    numbers = np.zeros(len(ids), np.int64)
    _, offsets, letters = ids.buffers()
    if letters is None or not len(ids):
        return numbers
    first = int(np.frombuffer(offsets, np.int32)[ids.offset])
    text = np.frombuffer(letters, np.uint8)[first : first + DIGITS * len(ids)].reshape(len(ids), DIGITS)
    for column in text.T:
        numbers = 16 * numbers + VALUE[column]
    return numbers


def _text(values: Sequence[dict[str, Any]]) -> str:
    return json.dumps(values, sort_keys=True)


@dataclass(frozen=True)
class RunsInOrder(Sequence[StoredRun]):
    """Runs of a table, one after the other."""

    table: RunTable
    order: np.ndarray  # rows

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return RunsInOrder(self.table, self.order[at])
        return self.table.run(int(self.order[at]))

    def __iter__(self) -> Iterator[StoredRun]:
        return (self.table.run(row) for row in self.order.tolist())


@dataclass(frozen=True)
class EveryRun(Mapping[str, StoredRun]):
    """Run id -> run, of all rows."""

    table: RunTable

    def __getitem__(self, run_id: str) -> StoredRun:
        return self.table.run(self.table.row_of(run_id))

    def __contains__(self, run_id: object) -> bool:
        """Without making the run."""
        try:
            return isinstance(run_id, str) and self.table.row_of(run_id) >= 0
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.ids.to_pylist())

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class ChunkOf(Mapping[str, int]):
    """Run id -> the chunk that trains it."""

    table: RunTable
    starts: np.ndarray  # the first row of each chunk

    def __getitem__(self, run_id: str) -> int:
        return int(np.searchsorted(self.starts, self.table.row_of(run_id), side="right")) - 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.ids.to_pylist())

    def __len__(self) -> int:
        return len(self.table)
