"""Which runs belong together in a picture: arms, keys, and one group a value of what is colored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokjax.analysis.answers import plain_value
from grokjax.figures.style import is_missing, is_number, short_key, value_text
from grokjax.results.read import Results
from grokjax.sweep.load import did_you_mean

SEEDS = ("seed", "task.split.seed")
MOST_GROUPS = 8  # colors that a legend can tell apart


@dataclass(frozen=True)
class Group:
    """Runs of an arm that share the values of its grouping's keys."""

    values: tuple[Any, ...]
    run_ids: tuple[str, ...]
    diverged: int  # of these runs

    @property
    def label(self) -> str:
        text = ", ".join(value_text(value) for value in self.values)
        return f"{text} ({self.diverged}/{len(self.run_ids)} diverged)" if self.diverged else text


@dataclass(frozen=True)
class Grouping:
    """The runs of an arm, by the values of `keys`; all else is pooled."""

    arm: str
    keys: tuple[str, ...]
    pooled: tuple[str, ...]  # axes of the arm, other than seeds, whose values share a group
    groups: tuple[Group, ...]

    @property
    def numeric(self) -> bool:
        """Whether the values lie on a scale."""
        return len(self.keys) == 1 and all(
            is_number(value) or is_missing(value) for group in self.groups for value in group.values
        )

    @property
    def name(self) -> str:
        return ", ".join(short_key(key) for key in self.keys)


def chosen_arms(results: Results, arm: str | None) -> list[str]:
    """The arm asked for, or all. Raises ValueError if there is no such arm."""
    arms = list(results.manifest.axes)
    if arm is None:
        return arms
    if arm not in arms:
        raise ValueError(f"no arm {arm!r} in {results.path}{did_you_mean(arm, arms)}; there are {', '.join(arms)}")
    return [arm]


def check_key(results: Results, key: str) -> str:
    """Raises ValueError if no run has such a key."""
    keys = list(results.manifest.keys)
    if key not in keys:
        varied = dict.fromkeys(axis for axes in results.manifest.axes.values() for axis in axes)
        hint = did_you_mean(key, keys) or did_you_mean(key, [*map(short_key, keys)])
        raise ValueError(f"no key {key!r} in {results.path}{hint}; the sweep varies {', '.join(varied) or 'nothing'}")
    return key


def varied_keys(results: Results, arm: str) -> list[str]:
    """The axes of an arm other than seeds."""
    return [key for key in results.manifest.axes[arm] if key not in SEEDS]


def runs_of(runs: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The rows of an arm; a run of two arms is in both."""
    return runs[[arm in arms for arms in runs["arms"]]]


def nothing_yet(results: Results) -> ValueError:
    return ValueError(f"nothing to draw: no records in {results.path} yet")


def group_runs(results: Results, runs: pd.DataFrame, arm: str, by: str | None = None) -> Grouping:
    """The runs of an arm by key `by`; by default by its axes other than seeds if they have at most 8
    combinations of values, else by the first of them."""
    runs = runs_of(runs, arm)
    varied = varied_keys(results, arm)
    keys = [check_key(results, by)] if by else varied
    groups = _by_values(runs, keys)
    if len(groups) > MOST_GROUPS and len(keys) > 1:
        keys = keys[:1]
        groups = _by_values(runs, keys)
    pooled = [key for key in varied if key not in keys and _splits(runs, keys, key)]
    return Grouping(arm, tuple(keys), tuple(pooled), tuple(groups))


def arms_with(
    results: Results, by: str | None, arm: str | None, has: Callable[[str], bool]
) -> Iterator[tuple[Grouping, dict[str, int], tuple[int, ...]]]:
    """Of every arm that has such runs: grouping, run id -> index of its group, and how many there are of each group."""
    runs = results.planned()
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        there = [[run_id for run_id in group.run_ids if has(run_id)] for group in grouping.groups]
        group_of = {run_id: index for index, some in enumerate(there) for run_id in some}
        if group_of:
            yield grouping, group_of, tuple(map(len, there))


def _by_values(runs: pd.DataFrame, keys: list[str]) -> list[Group]:
    rank = [{value: place for place, value in enumerate(ordered_values(runs[key]))} for key in keys]
    members: dict[tuple[Any, ...], list[int]] = {}
    columns = [[plain_value(value) for value in runs[key]] for key in keys]
    for row in range(len(runs)):
        members.setdefault(tuple(column[row] for column in columns), []).append(row)
    order = sorted(members, key=lambda values: [places[value] for places, value in zip(rank, values, strict=True)])
    ids, diverged = runs["run_id"].to_numpy(), (runs["status"] == "diverged").to_numpy()
    return [Group(values, tuple(ids[members[values]]), int(diverged[members[values]].sum())) for values in order]


def _splits(runs: pd.DataFrame, keys: list[str], other: str) -> bool:
    """Whether runs of one group differ in `other` (an axis that moves along with the keys does not)."""
    return len(_by_values(runs, [*keys, other])) > len(_by_values(runs, keys))


def ordered_values(column: pd.Series) -> list[Any]:
    """Distinct values: none first, numbers by size, others in the order of the sweep."""
    values = list(dict.fromkeys(plain_value(value) for value in column))
    there = [value for value in values if value is not None]
    if all(is_number(value) for value in there):
        there = sorted(there)
    return ([None] if None in values else []) + there
