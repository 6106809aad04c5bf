"""What a stored plan must be before it is used: of the kinds that it is taken for, and run ids nothing else, since they
become names of files. Values are checked once for all runs that have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from grokjax.results.files import RUN_ID
from grokjax.results.formats import check_chunks
from grokjax.results.run_table import NONE, RunTable, numbers_of

NEEDED = ("train.steps", "stop.after_generalization", "events.fit", "events.generalization", "events.hold")


def check_head(head: dict[str, Any]) -> None:
    """What plan.json says besides its runs. Raises LookupError, TypeError, ValueError or AttributeError for what is
    none."""
    check_chunks(head["chunks"], len(head["buckets"]))
    for bucket in head["buckets"]:
        _check_bucket(bucket)
    if not (_are_texts(head["keys"]) and all(_are_texts(axes) for axes in head["axes"].values())):
        raise ValueError("its keys are no text")
    if not (isinstance(head["name"], str) and isinstance(head["sweep"], str) and isinstance(head["set"], dict)):
        raise ValueError("its name or sweep is no text")
    if not head["machines"]:
        raise ValueError("it names no machine")


def check_rows(head: dict[str, Any], table: RunTable) -> None:
    """Some or all of the runs, as they stand. Raises as `check_head`."""
    ids = pc.match_substring_regex(table.ids, f"^(?:{RUN_ID.pattern})$")  # pyright: ignore[reportAttributeAccessIssue]
    if table.ids.null_count or not pc.all(ids).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError("the id of a run is none")
    keys = {*table.columns, *(key for common in table.common for key in common)}
    if {*head["keys"]} != keys:
        raise ValueError("its keys are not those of its runs")
    for column in (*table.columns.values(), table.origin, table.arms):
        if not all(map(_is_plain, column.levels)):
            raise ValueError("a value is no number, text or list of them")
    if (table.arms.codes == NONE).any() or not all(arms and _are_texts(arms) for arms in table.arms.levels):
        raise ValueError("a run is of no arm")
    if not all(map(_is_origin, table.origin.levels)):
        raise ValueError("a run is of no parent")
    for key, column in table.columns.items():
        shares = np.array([key in common for common in table.common])
        if (shares[table.bucket] & (column.codes != NONE)).any():
            raise ValueError("a value stands there twice")
    if any((table.column(key).codes == NONE).any() for key in NEEDED):
        raise ValueError("it lacks a key")


def check_whole(table: RunTable) -> None:
    """All runs together, each of which is as it must be. Raises as `check_head`."""
    numbers = np.sort(numbers_of(table.ids))
    if (numbers[1:] == numbers[:-1]).any():
        raise ValueError("a run stands there twice")
    places = np.sort(table.place[table.place != NONE])
    if not len(places) or not np.array_equal(places, np.arange(len(places))):
        raise ValueError("its runs are not those of its buckets")
    _check_continues(table)


def _check_bucket(bucket: dict[str, Any]) -> None:
    if not all(map(_is_plain, bucket["common"].values())):
        raise ValueError("a value is no number, text or list of them")
    if type(bucket["schedule"]["round"]) is not int or bucket["schedule"]["round"] < 1:
        raise ValueError("a bucket has no schedule")
    if not all(type(size) is int and size >= 0 for size in bucket.get("sizes", {}).values()):
        raise ValueError("a bucket has no examples")
    if not all(type(size) is int for shape in bucket["parameters"].values() for size in shape):
        raise ValueError("a bucket has no parameters")


def _is_origin(origin: dict[str, Any]) -> bool:
    prior_steps = origin["begun"]
    is_digest = "digest" in origin
    return is_digest and type(prior_steps) is int and _is_plain(prior_steps) and _are_texts(origin["lineage"])


def _check_continues(table: RunTable) -> None:
    """A run goes on with a shorter one, so that none continues itself."""
    later = np.flatnonzero(table.continues.is_valid())
    if not len(later):
        return
    ids = table.continues.drop_null()
    if not pc.all(pc.match_substring_regex(ids, f"^(?:{RUN_ID.pattern})$")).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError("a run goes on with none")
    earlier = table.rows_of(ids)
    if (earlier == NONE).any():
        raise ValueError("a run goes on with one that is not there")
    column = table.column("train.steps")
    if any(type(column.levels[code]) is not int for code in column.used):
        raise ValueError("the steps of a run are no number")
    steps = np.array(column.levels, np.int64)[column.codes]
    wrong = np.flatnonzero(~((steps[earlier] > 0) & (steps[earlier] < steps[later])))
    if len(wrong):
        raise ValueError(f"run {table.ids[int(later[wrong[0]])]} goes on with a run that is not shorter")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):  # a family of a list (optimizer.filters)
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if type(value) is int:
        return abs(value) < 2**63
    return value is None or isinstance(value, bool | float | str)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
