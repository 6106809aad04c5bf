"""Runs grouped into cells: those of equal hyperparameters but for the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from grokjax.results.read import Results
from grokjax.spec.nulls import null_of
from grokjax.spec.wording import number_text

SEEDS = ("seed", "task.split.seed")  # axes whose values are pooled in a cell
ENDED = ("ended", "diverged")


def varied_keys(results: Results, arm: str) -> list[str]:
    """The axes of an arm other than seeds."""
    return [key for key in results.manifest.axes[arm] if key not in SEEDS]


def values_of(results: Results) -> dict[str, dict[str, Any]]:
    """run id -> every resolved value by its dotted key."""
    return {run.run_id: run.values for run in results.manifest.runs}


def runs_of(runs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The rows of an arm; a run of two arms is in both."""
    return runs[[arm in arms for arms in runs["arms"]]]


def ended_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that have ended or diverged."""
    return runs[runs["status"].isin(ENDED)]


def by_values(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """Values of the keys -> positions of the rows that have them, in the order in which the values first occur."""
    columns = [[plain_value(value) for value in runs[key]] for key in keys]
    rows: dict[tuple[Any, ...], list[int]] = {}
    for position in range(len(runs)):
        values = tuple(column[position] for column in columns)
        rows.setdefault(values, []).append(position)
    return rows


def in_value_order(runs: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """As `by_values`, in the order of the values (see `ordered_values`), the first key's first."""
    ranks = [{value: rank for rank, value in enumerate(ordered_values(runs[key]))} for key in keys]
    members = by_values(runs, keys)
    order = sorted(members, key=lambda values: [rank[value] for rank, value in zip(ranks, values, strict=True)])
    return {values: members[values] for values in order}


def ordered_values(column: pd.Series, key: str = "") -> list[Any]:
    """Distinct values: numbers by size, others in the order of the sweep; null last where it is the most that a key
    may be (train.batch), else first.

    key: default the name of the column.
    """
    values = list(dict.fromkeys(plain_value(value) for value in column))
    known = [value for value in values if value is not None]
    if all(is_number(value) for value in known):
        known = sorted(known)
    if None not in values:
        return known
    return [*known, None] if is_null_most(key or str(column.name)) else [None, *known]


def is_null_most(key: str) -> bool:
    """Whether null of a key is more than any number."""
    null = null_of(key)
    return null is not None and null.most


def null_runs(results: Results, key: str, runs: pd.DataFrame) -> list[str]:
    """The runs in which null is the value of a key. Those that have no such key (another optimizer's) are not."""
    missing = runs.loc[[is_missing(value) for value in runs[key]], "run_id"]
    return [run_id for run_id in missing if key in results.manifest.every_run[run_id].values]


def null_number(key: str, runs: pd.DataFrame) -> float | None:
    """The number that null of a key comes to (the examples of a full batch), where it is one for all these runs."""
    null = null_of(key)
    if null is None or null.number not in runs:
        return None
    numbers = set(runs[null.number])
    return float(numbers.pop()) if len(numbers) == 1 and not any(map(is_missing, numbers)) else None


def null_word(key: str, number: float | None = None) -> str:
    """What null of a key is called; number: what it comes to (see `null_number`): `full batch (288)`."""
    null = null_of(key)
    word = null.text if null else "none"
    return word if number is None else f"{word} ({number_text(number)})"


def null_text(results: Results, key: str, runs: pd.DataFrame) -> str:
    """What null is called among some runs; `none` where none of them has such a key."""
    nulls = null_runs(results, key, runs)
    return null_word(key, null_number(key, runs[runs["run_id"].isin(nulls)])) if nulls else "none"


def plain_value(value: Any) -> Any:
    """A value that can be compared and hashed: nan is None, lists are tuples, families in them (filters) are text."""
    if isinstance(value, list):
        return tuple(_family_text(item) if isinstance(item, dict) else item for item in value)
    value = value.item() if isinstance(value, np.generic) else value
    return None if is_missing(value) else value


def _family_text(family: dict[str, Any]) -> str:
    """`orthograd`, or with its keys `grokfast_ema (alpha 0.98, lamb 2)`."""
    given = {key: value for key, value in family.items() if not is_missing(value)}
    keys = [f"{key} {value:g}" if is_number(value) else f"{key} {value}" for key, value in given.items()]
    own = ", ".join(key for key in keys if not key.startswith("name "))
    return f"{family['name']} ({own})" if own else family["name"]


def is_missing(value: Any) -> bool:
    """Whether a value is None or nan."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_number(value: Any) -> bool:
    """Whether a value is a number: no bool, and not nan."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and not is_missing(value)
