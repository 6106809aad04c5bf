"""Some of a directory's runs, by a condition on their values: `optimizer.weight_decay == 1 and seed < 3`."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from grokjax.analysis.cells import is_number, plain_value
from grokjax.analysis.keys import whole_key
from grokjax.results.joined import Joined, join
from grokjax.results.read import Results

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = "KEY OP VALUE [and ...], with OP one of ==, !=, <, <=, >, >=, in: `seed < 3 and optimizer.lr in [0.1, 1]`"
CLAUSE = re.compile(
    r"""\s*(?P<key>[^\s=!<>]+)\s*(?P<op>==|!=|<=|>=|<|>|\bin\b)\s*
    (?P<value>\[[^\]]*\]|"[^"]*"|'[^']*'|[^\s\[\]"'=!<>]+)\s*(?P<rest>\band\b|$)""",
    re.VERBOSE,
)
MOST = 8  # values that an error names


class Clause(NamedTuple):
    """One comparison: a column of runs, ==, !=, <, <=, >, >= or in, and what the column is compared with."""

    key: str
    op: str
    value: Any


def chosen_runs(results: Results, where: str) -> Results:
    """The results of the runs that meet a condition alone; see `FORM`. Axes of one value that is left are none.

    Raises ValueError for what is no condition, an unknown key, an order of what is no number, and where no run is left.
    """
    is_chosen = np.ones(0, bool)
    for column, is_chosen in _narrowed(results, where):
        if not is_chosen.any():
            values = list(dict.fromkeys(plain_value(value) for value in results.runs()[column]))
            shown = ", ".join(_text(value) for value in values[:MOST]) + (", ..." if len(values) > MOST else "")
            raise ValueError(f"no run of {results.path} has {where}; {column} is {shown} there")
    return restricted(results, list(results.runs().loc[is_chosen, "run_id"]))


def meets(results: Results, where: str) -> np.ndarray:
    """Which rows of runs() meet a condition; none may. Raises ValueError for a condition that is none."""
    return list(_narrowed(results, where))[-1][1]


def _narrowed(results: Results, where: str) -> Iterator[tuple[str, np.ndarray]]:
    """The column of each comparison, and the rows that meet it and those before it."""
    runs = results.runs()
    varied = dict.fromkeys(axis for axes in results.manifest.axes.values() for axis in axes)
    told = f"; the sweep varies {', '.join(varied) or 'nothing'}, and any column of runs() can be compared"
    met = np.ones(len(runs), bool)
    for clause in parsed(where):
        column = whole_key(clause.key, map(str, runs), results.path, told)
        met = met & np.array([_meets(plain_value(value), clause) for value in runs[column]], bool)
        yield column, met


def parsed(where: str) -> list[Clause]:
    """The comparisons of a condition. Raises ValueError for what is none."""
    clauses, at, more = [], 0, True
    while more:
        found = CLAUSE.match(where, at)
        if found is None:
            raise ValueError(f"{where!r} cannot be read at {where[at:].strip()!r}: it must be {FORM}")
        key, op, text = found["key"], found["op"], found["value"]
        if (op == "in") != text.startswith("[") and op not in ("==", "!="):
            raise ValueError(f"{key} {op} {text}: `in` takes a list such as [0.1, 1], and an order one number")
        clauses.append(Clause(key, op, _value(text)))
        at, more = found.end(), found["rest"] == "and"
    return clauses


def restricted(results: Results, run_ids: Sequence[str]) -> Results:
    """The same results as if they had these runs only. It is read from, never written to."""
    if isinstance(results, Joined):
        return join([restricted(part, run_ids) for part in results.parts if set(part.run_ids) & set(run_ids)])
    manifest, kept = results.manifest, set(run_ids)
    left = [run_id for run_id in manifest.run_ids if run_id in kept]
    axes = {}
    for arm, keys in manifest.axes.items():
        of_arm = [run for run in map(manifest.every_run.__getitem__, left) if arm in run.arms]
        if of_arm:
            varied = [key for key in keys if len({repr(run.values.get(key)) for run in of_arm}) > 1]
            axes[arm] = tuple(varied) if len(left) < len(manifest.run_ids) else keys

    def derive(_: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
        frames = (results.runs(), results.events())
        runs, events = (frame[frame["run_id"].isin(kept)].reset_index(drop=True) for frame in frames)
        return runs, events

    return Results(results.path, derive, manifest.only(left, axes))


def _meets(value: Any, clause: Clause) -> bool:
    if clause.op in ORDERS:
        if not is_number(clause.value):
            raise ValueError(f"{clause.key} {clause.op} {_text(clause.value)}: only numbers have an order")
        return is_number(value) and ORDERS[clause.op](value, clause.value)
    if clause.op == "in":
        return any(_equal(value, one) for one in clause.value)
    return _equal(value, clause.value) == (clause.op == "==")


def _equal(value: Any, other: Any) -> bool:
    """Equal, where yes is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _value(text: str) -> Any:
    """A number, null, true, false, a list of such, or else text."""
    if text.startswith("["):
        inner = text[1:-1].strip()
        return tuple(_value(part.strip()) for part in inner.split(",")) if inner else ()
    if text[0] in "\"'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _text(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if is_number(value) else str(value)
