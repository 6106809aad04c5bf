"""Which runs belong together in a picture: arms, keys, and one group a value of what is colored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokjax.analysis.cells import by_values, is_missing, is_number, ordered_values, runs_of, varied_keys
from grokjax.figures.style import short_key, value_text
from grokjax.results.read import Results
from grokjax.sweep.load import did_you_mean

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
        values = [value for group in self.groups for value in group.values]
        return len(self.keys) == 1 and all(is_number(value) or is_missing(value) for value in values)

    @property
    def group_of(self) -> dict[str, int]:
        """run id -> index of its group."""
        return {run_id: index for index, group in enumerate(self.groups) for run_id in group.run_ids}

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


def nothing_yet(results: Results) -> ValueError:
    return ValueError(f"nothing to draw: no records in {results.path} yet")


def group_runs(results: Results, runs: pd.DataFrame, arm: str, by: str | None = None) -> Grouping:
    """The runs of an arm by key `by`; by default by its axes other than seeds if they have at most 8
    combinations of values, else by the first of them."""
    runs = runs_of(runs, arm)
    varied = varied_keys(results, arm)
    keys = [check_key(results, by)] if by else varied
    groups = _groups(runs, keys)
    if len(groups) > MOST_GROUPS and len(keys) > 1:
        keys = keys[:1]
        groups = _groups(runs, keys)
    pooled = [key for key in varied if key not in keys and _splits(runs, keys, key)]
    return Grouping(arm, tuple(keys), tuple(pooled), tuple(groups))


def arms_with(
    results: Results, by: str | None, arm: str | None, has: Callable[[str], bool]
) -> Iterator[tuple[Grouping, dict[str, int], tuple[int, ...]]]:
    """Of every arm that has such runs: grouping, run id -> index of its group, and how many there are of each group."""
    runs = results.planned()
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        members = [[run_id for run_id in group.run_ids if has(run_id)] for group in grouping.groups]
        group_of = {run_id: index for index, run_ids in enumerate(members) for run_id in run_ids}
        if group_of:
            yield grouping, group_of, tuple(len(run_ids) for run_ids in members)


def _groups(runs: pd.DataFrame, keys: list[str]) -> list[Group]:
    """The runs by their values of the keys, in the order of these values."""
    ranks = [{value: rank for rank, value in enumerate(ordered_values(runs[key]))} for key in keys]
    members = by_values(runs, keys)
    order = sorted(members, key=lambda values: [rank[value] for rank, value in zip(ranks, values, strict=True)])
    ids, diverged = runs["run_id"].to_numpy(), (runs["status"] == "diverged").to_numpy()
    groups = []
    for values in order:
        rows = members[values]
        groups.append(Group(values, tuple(ids[rows]), int(diverged[rows].sum())))
    return groups


def _splits(runs: pd.DataFrame, keys: list[str], other: str) -> bool:
    """Whether runs of one group differ in `other` (an axis that moves along with the keys does not)."""
    return len(by_values(runs, [*keys, other])) > len(by_values(runs, keys))
