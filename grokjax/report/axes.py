"""What runs are told apart by: values on an axis, and the groups that share a color."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from grokjax.analysis.cells import SEEDS, by_values, is_number, runs_of, varied_keys
from grokjax.analysis.keys import short_key
from grokjax.analysis.over_runs import over_runs
from grokjax.figures.bands import ArmBands
from grokjax.figures.groups import MOST_GROUPS, Grouping, value_texts
from grokjax.figures.phase import axis_labels
from grokjax.figures.style import PALETTE, SEQUENTIAL
from grokjax.report.colors import Pair, along, legible
from grokjax.results.read import Results

MOST_COLORS = 16  # groups of a view
MOST_VIEWS = 8  # of an arm
DASHES = ("solid", "dash", "dashdot", "dot")
ARM = "arm"


@dataclass(frozen=True)
class RunAxis:
    """A key whose values differ; many numbers are put into the bins of the phase diagram."""

    key: str
    name: str
    labels: tuple[str, ...]
    label_of: dict[str, str]  # run id -> label
    numeric: bool


@dataclass(frozen=True)
class Group:
    """Runs that share a color."""

    label: str
    run_ids: tuple[str, ...]
    colors: Pair
    dash: str


@dataclass(frozen=True)
class View:
    """Runs of an arm (None: of all) in colors: one group a value."""

    arm: str | None
    name: str  # what the colors are
    groups: tuple[Group, ...]
    pooled: tuple[str, ...]  # axes, other than seeds, whose values share a group
    numeric: bool = False  # whether the groups lie along one axis of numbers

    def bands(self, curves: pd.DataFrame, metrics: list[str], ended: set[str]) -> pd.DataFrame:
        """One row a group (its index), metric and step, see `over_runs`. ended: the runs that count on."""
        group_of = {run_id: index for index, group in enumerate(self.groups) for run_id in group.run_ids}
        is_member = curves["run_id"].isin(list(group_of)) & curves["common"].astype(bool)
        return over_runs(curves[is_member], group_of, metrics, ended)

    def note(self, recorded: set[str], count_on: bool = False) -> str:
        """What the lines and bands are, in words. count_on: whether runs that ended count on in some of them."""
        sizes = tuple(len(recorded.intersection(group.run_ids)) for group in self.groups)
        if not any(sizes):
            return "no records yet"
        bands = pd.DataFrame({"live": [0], "runs": [int(count_on)]})
        return ArmBands(Grouping(self.arm or "", (), self.pooled, ()), bands, sizes).note


def run_axis(results: Results, runs: pd.DataFrame, key: str) -> RunAxis:
    """The values of a key over some runs; null is one of them, in words."""
    texts = {value: str(value) for value in runs[ARM]} if key == ARM else value_texts(results, runs, key)
    numbers = [value for value in texts if value is not None]
    numeric = bool(numbers) and all(is_number(value) for value in numbers)
    if not numeric and len(set(texts.values())) < len(texts):  # files of one name in different folders
        texts = {value: text if value is None else str(value) for value, text in texts.items()}
    label_of, labels = axis_labels(runs[key], texts)
    return RunAxis(key, short_key(key), tuple(labels), dict(zip(runs["run_id"], label_of, strict=True)), numeric)


def arm_axes(results: Results, runs: pd.DataFrame, arm: str) -> list[RunAxis]:
    """The axes of an arm that vary, seeds last; without any but seeds, these."""
    of_arm = runs_of(runs, arm)
    keys = [*varied_keys(results, arm), *(key for key in results.manifest.axes[arm] if key in SEEDS)]
    axes = [run_axis(results, of_arm, key) for key in keys]
    return [axis for axis in axes if len(axis.labels) > 1]


def views(results: Results, runs: pd.DataFrame) -> list[View]:
    """All ways to color runs that the page offers, the default of each arm first; of several arms first all."""
    arms = list(results.manifest.axes)
    of_arms = [view for arm in arms for view in _arm_views(results, runs, arm)]
    return of_arms if len(arms) == 1 else [*_common_views(results, runs, arms), *of_arms]


def _arm_views(results: Results, runs: pd.DataFrame, arm: str) -> list[View]:
    table, varied = runs_of(runs, arm), varied_keys(results, arm)
    if len(table) == 0:
        return []
    keys: list[tuple[str, ...]] = [(key,) for key in varied]
    if len(varied) != 1 and len(by_values(table, varied)) <= MOST_GROUPS:
        keys.insert(0, tuple(varied))
    keys += [("seed",)] if "seed" in results.manifest.axes[arm] else []
    of = dict.fromkeys(table[ARM], varied)
    return _fitting([_view(results, table, arm, some, of) for some in keys])


def _common_views(results: Results, runs: pd.DataFrame, arms: list[str]) -> list[View]:
    varied = list(dict.fromkeys(key for arm in arms for key in varied_keys(results, arm)))
    keys: list[tuple[str, ...]] = [(ARM,), *((key,) for key in varied)]
    for some in (varied, varied[:1]):
        if some and len(by_values(runs, [ARM, *some])) <= MOST_GROUPS:
            keys.insert(0, (ARM, *some))
            break
    of = {arm: varied_keys(results, arm) for arm in arms}
    return _fitting([_view(results, runs, None, some, of) for some in keys])


def _fitting(views: list[View]) -> list[View]:
    """The first stays however many groups it has: something must be shown."""
    return [view for index, view in enumerate(views) if index == 0 or 1 < len(view.groups) <= MOST_COLORS][:MOST_VIEWS]


def _view(
    results: Results, table: pd.DataFrame, arm: str | None, keys: tuple[str, ...], varied: dict[str, list[str]]
) -> View:
    """varied: arm -> the axes of it whose values a label tells, and that are pooled where they are not colored."""
    axes = [run_axis(results, table, key) for key in keys]
    members: dict[tuple[int, ...], list[str]] = {}
    rank = [{label: index for index, label in enumerate(axis.labels)} for axis in axes]
    for run_id in table["run_id"]:
        label_ranks = tuple(ranks[axis.label_of[run_id]] for ranks, axis in zip(rank, axes, strict=True))
        members.setdefault(label_ranks, []).append(run_id)
    numeric = len(axes) == 1 and axes[0].numeric
    colors = group_colors(numeric, len(members))
    arm_of = dict(zip(table["run_id"], table[ARM], strict=True))
    groups = []
    for index, label_ranks in enumerate(sorted(members)):
        run_ids = tuple(members[label_ranks])
        label = _label(axes, label_ranks, varied[arm_of[run_ids[0]]])
        dash = "solid" if numeric else DASHES[index % len(DASHES)]
        groups.append(Group(label, run_ids, colors[index], dash))
    uncolored = dict.fromkeys(key for arm_keys in varied.values() for key in arm_keys if key not in keys)
    pooled = [key for key in uncolored if _splits(groups, run_axis(results, table, key))]
    name = "arm and values" if ARM in keys and len(keys) > 2 else ", ".join(axis.name for axis in axes)
    return View(arm, name or "all runs", tuple(groups), tuple(pooled), numeric)


def group_colors(numeric: bool, count: int) -> Sequence[Pair]:
    """One color a group, as in `grokjax.figures.style`, of enough contrast: along a scale for numbers."""
    if count > 1 and (numeric or count > len(PALETTE)):
        return along(SEQUENTIAL, count)
    return [legible(color) for color in PALETTE[:count]]


def _label(axes: list[RunAxis], label_ranks: tuple[int, ...], varied: list[str]) -> str:
    """The values of a group; where arms are told apart, only those that its arm varies, with their names."""
    values = {axis.key: axis.labels[rank] for axis, rank in zip(axes, label_ranks, strict=True)}
    if ARM in values and len(values) > 1:
        told = [f"{axis.name} {values[axis.key]}" for axis in axes if axis.key in varied]
        return ", ".join([values[ARM], *told])
    return ", ".join(values.values()) or "all runs"


def _splits(groups: list[Group], axis: RunAxis) -> bool:
    return any(len({axis.label_of[run_id] for run_id in group.run_ids}) > 1 for group in groups)
