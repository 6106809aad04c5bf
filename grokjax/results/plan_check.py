"""What plan.json must be before it is used: of the kinds that it is taken for, and run ids nothing else, since they
become names of files."""

from __future__ import annotations

from typing import Any

from grokjax.results.files import RUN_ID

NEEDED = {"train.steps", "stop.after_generalization", "events.fit", "events.generalization", "events.hold"}
PARTS = ("common", "columns", "partial")  # of the values of a bucket's runs


def check_plan(raw: dict[str, Any]) -> None:
    """Raises LookupError, TypeError, ValueError or AttributeError for what is no plan."""
    run_ids = [run_id for bucket in raw["buckets"] for run_id in bucket["runs"]["run_id"]]
    if not all(RUN_ID.fullmatch(run_id) for run_id in run_ids) or len(set(run_ids)) < len(run_ids):
        raise ValueError("a run stands there twice, or its id is none")
    if not raw["runs"] or len(set(raw["runs"])) < len(raw["runs"]) or not set(run_ids).issuperset(raw["runs"]):
        raise ValueError("its runs are not those of its buckets")
    _check_chunks(raw)
    for bucket in raw["buckets"]:
        _check_bucket(bucket)
    _check_continues(raw)
    keys = {key for bucket in raw["buckets"] for part in PARTS for key in bucket["runs"][part]}
    if {*raw["keys"]} != keys:
        raise ValueError("its keys are not those of its runs")
    if not (_are_texts(raw["keys"]) and all(_are_texts(axes) for axes in raw["axes"].values())):
        raise ValueError("its keys are no text")
    if not (isinstance(raw["name"], str) and isinstance(raw["sweep"], str) and isinstance(raw["set"], dict)):
        raise ValueError("its name or sweep is no text")
    if not raw["machines"]:
        raise ValueError("it names no machine")


def _check_chunks(raw: dict[str, Any]) -> None:
    trained = [0] * len(raw["buckets"])
    for chunk in raw["chunks"]:
        if type(chunk["bucket"]) is not int or not 0 <= chunk["bucket"] < len(trained):
            raise ValueError("a chunk is of no bucket")
        if type(chunk["runs"]) is not int or chunk["runs"] < 1:
            raise ValueError("a chunk has no runs")
        trained[chunk["bucket"]] += chunk["runs"]
    if trained != [len(bucket["runs"]["run_id"]) for bucket in raw["buckets"]]:
        raise ValueError("its runs are not those of its chunks")


def _check_bucket(bucket: dict[str, Any]) -> None:
    runs, count = bucket["runs"], len(bucket["runs"]["run_id"])
    columns = [*runs["columns"].values(), runs["arms"], *([runs["origin"]] if "origin" in runs else [])]
    if any(not isinstance(column, list) or len(column) != count for column in columns):
        raise ValueError("a column has not one value a run")
    for some in runs["partial"].values():
        rows = some["rows"]
        if not all(type(row) is int and 0 <= row < count for row in rows) or len(rows) != len(some["values"]):
            raise ValueError("a column has values of no run")
    values = [
        *runs["common"].values(),
        *runs["columns"].values(),
        *(some["values"] for some in runs["partial"].values()),
    ]
    if not all(map(_is_plain, values)):
        raise ValueError("a value is no number, text or list of them")
    if not {*runs["common"], *runs["columns"]} >= NEEDED:
        raise ValueError("it lacks a key")
    if not all(arms and _are_texts(arms) for arms in runs["arms"]):
        raise ValueError("a run is of no arm")
    for origin in runs.get("origin", []):
        if origin is not None and not _is_origin(origin):
            raise ValueError("a run is of no parent")
    if type(bucket["schedule"]["round"]) is not int or bucket["schedule"]["round"] < 1:
        raise ValueError("a bucket has no schedule")
    if not all(type(size) is int and size >= 0 for size in bucket.get("sizes", {}).values()):
        raise ValueError("a bucket has no examples")
    if not all(type(size) is int for shape in bucket["parameters"].values() for size in shape):
        raise ValueError("a bucket has no parameters")


def _is_origin(origin: dict[str, Any]) -> bool:
    prior_steps = origin["begun"]
    return type(prior_steps) is int and _is_plain(prior_steps) and _are_texts(origin["lineage"])


def _check_continues(raw: dict[str, Any]) -> None:
    """A run goes on with a shorter one, so that none continues itself."""
    if not raw["continues"]:
        return
    steps: dict[str, int] = {}
    for bucket in raw["buckets"]:
        runs = bucket["runs"]
        same = runs["common"].get("train.steps")
        each = runs["columns"].get("train.steps", [same] * len(runs["run_id"]))
        steps |= dict(zip(runs["run_id"], each, strict=True))
    for later, earlier in raw["continues"].items():
        if not 0 < steps[earlier] < steps[later]:
            raise ValueError(f"run {later} goes on with a run that is not shorter")


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
