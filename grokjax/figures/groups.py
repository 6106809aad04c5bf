"""Which runs belong together in a picture: arms, keys, and one group a value of what is colored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokjax.analysis.cells import (
    by_values,
    in_value_order,
    is_missing,
    is_number,
    null_runs,
    null_text,
    ordered_values,
    runs_of,
    varied_keys,
)
from grokjax.analysis.keys import short_key, whole_key
from grokjax.figures.style import value_text
from grokjax.figures.units import loss_unit
from grokjax.results.read import Results
from grokjax.sweep.spelling import did_you_mean

MOST_GROUPS = 8  # colors that a legend can tell apart


@dataclass(frozen=True)
class Group:
    """Runs of an arm that share the values of its grouping's keys."""

    values: tuple[Any, ...]
    run_ids: tuple[str, ...]
    diverged: int  # of these runs
    texts: tuple[str, ...]  # of the values

    @property
    def label(self) -> str:
        text = ", ".join(self.texts)
        return f"{text} ({self.diverged}/{len(self.run_ids)} diverged)" if self.diverged else text

    @property
    def told(self) -> tuple[Any, ...]:
        """The values as tables have them: a null in words."""
        return tuple(text if value is None else value for value, text in zip(self.values, self.texts, strict=True))


@dataclass(frozen=True)
class Grouping:
    """The runs of an arm, by the values of `keys`; all else is pooled."""

    arm: str
    keys: tuple[str, ...]
    pooled: tuple[str, ...]  # axes of the arm, other than seeds, whose values share a group
    groups: tuple[Group, ...]
    loss_unit: str = ""  # of the losses of all of them, where it is one

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
    def labels(self) -> list[str]:
        return [group.label for group in self.groups]

    @property
    def name(self) -> str:
        return ", ".join(short_key(key) for key in self.keys)

    def with_labels(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of a table: `arm` and the label of the group in front, in place of its index."""
        labels = self.labels
        rows = rows.assign(arm=self.arm, group=[labels[index] for index in rows["group"]])
        return rows[["arm", "group", *rows.columns.drop(["arm", "group"])]]


def has_color_bar(grouping: Grouping) -> bool:
    """Numbers too many for a legend get a color bar, thin lines and no bands."""
    return grouping.numeric and len(grouping.groups) > MOST_GROUPS


def chosen_arms(results: Results, arm: str | None) -> list[str]:
    """The arm asked for, or all. Raises ValueError if there is no such arm."""
    arms = list(results.manifest.axes)
    if arm is None:
        return arms
    if arm not in arms:
        raise ValueError(f"no arm {arm!r} in {results.path}{did_you_mean(arm, arms)}; there are {', '.join(arms)}")
    return [arm]


def varied_arm(results: Results, arm: str | None) -> str:
    """The arm asked for, or the first that varies more than seeds. Raises ValueError if there is no such arm."""
    arms = chosen_arms(results, arm)
    return next((name for name in arms if varied_keys(results, name)), arms[0])


def check_key(results: Results, key: str) -> str:
    """The key of all runs' values that is meant, see `whole_key`."""
    varied = dict.fromkeys(axis for axes in results.manifest.axes.values() for axis in axes)
    there = f"; the sweep varies {', '.join(varied) or 'nothing'}"
    return whole_key(key, results.manifest.keys, results.path, there)


def check_colors(key: str | None, count: int, most: int = MOST_GROUPS) -> None:
    """Raises ValueError for a key of more values than colors can tell apart."""
    if count > most:
        raise ValueError(f"{key} has {count} values; at most {most} can be told apart")


def nothing_yet(results: Results) -> ValueError:
    return ValueError(f"nothing to draw: no records in {results.path} yet")


def number_axis(
    results: Results, arms: Sequence[str], x: str | None, first_choice: str, by: str | None = None, gaps: bool = False
) -> tuple[str, str]:
    """The key that lies across, whose values are numbers, and before it the first arm that varies it.

    x: the key asked for. Without it the first choice where it is varied, else the first axis of numbers; `by`, which is
    colored, only where there is no other. Null has a place too (see `NullPlace`). gaps: x may be missing in some runs.
    Raises ValueError without an axis.
    """
    planned = results.planned()
    if x is not None:
        x = check_key(results, x)
        arm = next((name for name in arms if x in results.manifest.axes[name]), arms[0])
        of_arms = pd.concat([runs_of(planned, name) for name in (arms if gaps else [arm])])
        if not _is_numeric(results, of_arms, x, gaps):
            raise ValueError(f"the values of {x} are not all numbers, so they have no place on an axis")
        return arm, x
    varied = [(name, key) for name in arms for key in varied_keys(results, name)]
    numeric = [(name, key) for name, key in varied if _is_numeric(results, runs_of(planned, name), key)]
    numeric = [(name, key) for name, key in numeric if key != by] or numeric
    if not numeric:
        raise ValueError(f"arm {', '.join(arms)} varies no number but seeds: there is no axis to draw along")
    return next((pair for pair in numeric if pair[1] == first_choice), numeric[0])


def _is_numeric(results: Results, runs: pd.DataFrame, key: str, gaps: bool = False) -> bool:
    """Whether the values of a key are numbers and nulls. gaps: runs may also have no such key."""
    known = [value for value in runs[key] if not is_missing(value)]
    has_gaps = len(runs) - len(known) > len(null_runs(results, key, runs))
    return len(known) > 0 and all(map(is_number, known)) and (gaps or not has_gaps)


def pooled_axes(results: Results, runs: pd.DataFrame, arm: str, *shown: str | None) -> tuple[str, ...]:
    """The axes of an arm, seeds too, in which its runs differ but that a picture does not show."""
    axes = [key for key in results.manifest.axes[arm] if key not in shown]
    return tuple(key for key in axes if runs[key].map(str).nunique() > 1)


def group_runs(results: Results, runs: pd.DataFrame, arm: str, by: str | None = None) -> Grouping:
    """The runs of an arm by key `by`; by default by its axes other than seeds if they have at most 8
    combinations of values, else by the first of them."""
    runs = runs_of(runs, arm)
    varied = varied_keys(results, arm)
    keys = [check_key(results, by)] if by else varied
    groups = _groups(results, runs, keys)
    if len(groups) > MOST_GROUPS and len(keys) > 1:
        keys = keys[:1]
        groups = _groups(results, runs, keys)
    pooled = [key for key in varied if key not in keys and _splits(runs, keys, key)]
    return Grouping(arm, tuple(keys), tuple(pooled), tuple(groups), loss_unit(runs.get("loss.name", ())))


def grouped_arms(
    results: Results, by: str | None, arm: str | None, among: Collection[str] | None = None
) -> Iterator[tuple[Grouping, dict[str, int], tuple[int, ...]]]:
    """Of every arm that has such runs: grouping, run id -> index of its group, and how many there are of each group.

    among: the runs that count; default those with snapshots. Raises ValueError where no arm has any.
    """
    runs, empty = results.planned(), True
    if among is None:
        among = {run_id for run_id in results.run_ids if results.snapshots(run_id)}
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        group_of = {run_id: index for run_id, index in grouping.group_of.items() if run_id in among}
        if group_of:
            empty = False
            counts = pd.Series(group_of).value_counts()
            yield grouping, group_of, tuple(int(counts.get(index, 0)) for index in range(len(grouping.groups)))
    if empty:
        raise nothing_yet(results)


def value_texts(results: Results, runs: pd.DataFrame, key: str) -> dict[Any, str]:
    """Value of a key -> its text in a legend, in the order of the values (see `ordered_values`)."""
    values = ordered_values(runs[key])
    texts = {value: value_text(value, key) for value in values}
    if None in texts:
        texts[None] = null_text(results, key, runs)
    return texts


def _groups(results: Results, runs: pd.DataFrame, keys: list[str]) -> list[Group]:
    """The runs by their values of the keys, in the order of these values."""
    texts = [value_texts(results, runs, key) for key in keys]
    ids, diverged = runs["run_id"].to_numpy(), (runs["status"] == "diverged").to_numpy()
    groups = []
    for values, rows in in_value_order(runs, keys).items():
        told = tuple(of_key[value] for of_key, value in zip(texts, values, strict=True))
        groups.append(Group(values, tuple(ids[rows]), int(diverged[rows].sum()), told))
    return groups


def _splits(runs: pd.DataFrame, keys: list[str], other: str) -> bool:
    """Whether runs of one group differ in `other` (an axis that moves along with the keys does not)."""
    return len(by_values(runs, [*keys, other])) > len(by_values(runs, keys))
