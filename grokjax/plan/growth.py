"""A sweep file that has grown: what is new is planned into new chunks, anything else is a difference to tell."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from grokjax.plan.plan import Plan, append
from grokjax.spec.identity import steps_apart
from grokjax.spec.memo import Memo
from grokjax.spec.wording import count_text, span
from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.run import Run, Sweep

MOST_LINES = 40  # of the sweep's text that are shown
MOST_KEYS = 8


def extend(old: Plan, sweep: Sweep, plan_new: Callable[[Sweep, dict[str, str]], Plan], where: str) -> Plan:
    """The plan of a results directory for a sweep file that is the same, or adds runs or steps.

    plan_new: plans the added runs, told which of them go on with an earlier run of fewer steps. Raises SweepError with
    what is different otherwise, named by `where`.
    """
    sweep = with_other_arms(old.sweep, sweep)
    added, continues = growth(old, sweep, where)
    if not added:
        return replace(old, sweep=sweep)
    return append(old, plan_new(replace(sweep, runs=added), continues), sweep)


def with_other_arms(old: Sweep, new: Sweep) -> Sweep:
    """A sweep of some arms only, with the runs that the directory holds of others: they stay what they are."""
    if not new.only:
        return new
    asked = {run.run_id: run for run in new.runs}
    kept: dict[str, Run] = {}
    for run in old.runs:
        others = tuple(arm for arm in run.arms if arm not in new.only)
        if others and run.run_id in asked:
            asked[run.run_id] = replace(asked[run.run_id], arms=(*others, *asked[run.run_id].arms))
        elif others:
            kept[run.run_id] = replace(run, arms=others)
    runs = {run.run_id: (kept | asked)[run.run_id] for run in old.runs if run.run_id in kept or run.run_id in asked}
    axes = {arm: keys for arm, keys in old.axes.items() if arm not in new.only}
    return replace(new, runs=tuple((runs | asked).values()), axes=axes | new.axes)


def growth(old: Plan, sweep: Sweep, where: str) -> tuple[tuple[Run, ...], dict[str, str]]:
    """The runs that a sweep adds, and which of them go on with an earlier run. Raises SweepError if it does not only
    add."""
    planned = {run.run_id: run for chunk in old.chunks for run in chunk.runs}
    added = tuple(run for run in sweep.runs if run.run_id not in planned)
    continues = _continues(planned.values(), added)
    wanted = {run.run_id for run in sweep.runs} | set(continues.values())
    gone = [run for run in old.sweep.runs if run.run_id not in wanted]
    changed = _changed_keys([(planned[run.run_id], run) for run in sweep.runs if run.run_id in planned])
    if gone or changed:
        what = _difference(old.sweep, sweep, gone, added, changed)
        raise SweepError([Mistake(where, 0, 0, "", what)])
    return added, continues


def growth_text(plan: Plan, before: Collection[str]) -> str:
    """`extends 75 runs, 1,500 -> 5,000 steps; adds 12 runs`; "" where nothing is new.

    before: ids of the runs that were planned before.
    """
    planned = {run.run_id: run.spec.train.steps for bucket in plan.buckets for run in bucket.runs}
    before = set(before)
    fresh = [run_id for run_id in planned if run_id not in before]
    extended = [run_id for run_id in fresh if run_id in plan.continues]
    parts = []
    if extended:
        steps = span([planned[plan.continues[run_id]] for run_id in extended]), span([planned[i] for i in extended])
        parts.append(f"extends {count_text(len(extended), 'run')}, {' -> '.join(steps)} steps")
    if len(fresh) > len(extended):
        parts.append(f"adds {count_text(len(fresh) - len(extended), 'run')}")
    return "; ".join(parts)


def _continues(planned: Collection[Run], added: Collection[Run]) -> dict[str, str]:
    """Added run -> the longest planned one that is the same but for its steps."""
    if not added:
        return {}
    known: dict[str, Run] = {}
    memo = Memo()
    for run in sorted(planned, key=lambda run: run.spec.train.steps):
        known[steps_apart(run.spec, run.origin, memo)] = run
    found = {run.run_id: known.get(steps_apart(run.spec, run.origin, memo)) for run in added}
    steps = {run.run_id: run.spec.train.steps for run in added}
    return {
        run_id: shorter.run_id
        for run_id, shorter in found.items()
        if shorter and shorter.spec.train.steps < steps[run_id]
    }


def _changed_keys(pairs: Iterable[tuple[Run, Run]]) -> list[str]:
    """What is no part of a run's id (log, engine) and differs; events are found anew from the curves, so they may. Two
    sections that many pairs share are compared once."""
    found: dict[str, None] = {}
    compared: set[tuple[int, int]] = set()
    for before, after in pairs:
        for section in ("log", "engine"):
            both = getattr(before.spec, section), getattr(after.spec, section)
            stamp = id(both[0]), id(both[1])  # of sections that the runs hold, so that they stay theirs
            if stamp not in compared:
                compared.add(stamp)
                old, new = (each.model_dump() for each in both)
                found |= {f"{section}.{key} {old[key]} -> {new[key]}": None for key in old if old[key] != new[key]}
    return list(found)


def _changed_values(gone: list[Run], added: tuple[Run, ...]) -> list[str]:
    """Keys whose values the gone runs and the new ones do not share."""
    found = []
    old, new = ([run.spec.model_dump() for run in runs] for runs in (gone, added))
    for section in old[0] if new else ():
        before, after = (_values([row[section] for row in rows]) for rows in (old, new))
        keys = sorted(before.keys() | after.keys(), key=str)
        changed = [key for key in keys if before.get(key) != after.get(key)]
        found += [
            f"{section}{key and f'.{key}'} {_shown(before.get(key))} -> {_shown(after.get(key))}" for key in changed
        ]
    return found


def _values(rows: list[Any]) -> dict[str, list[str]]:
    """Key of a section ('' where it is a single value) -> the values that it takes, each once, in order."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for key, value in row.items() if isinstance(row, dict) else [("", row)]:
            found.setdefault(key, {})[str(value)] = None
    return {key: list(values) for key, values in found.items()}


def _shown(values: list[str] | None) -> str:
    if not values:
        return "nothing"
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _difference(old: Sweep, new: Sweep, gone: list[Run], added: tuple[Run, ...], changed: list[str]) -> str:
    parts = []
    if gone:
        parts.append(f"{len(gone)} of its {len(old.runs)} runs are gone, {len(added)} are new")
        parts += _changed_values(gone, added)[:MOST_KEYS]
    parts += changed[:MOST_KEYS]
    lines = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), "trained", "now", n=1, lineterm="")
    shown = list(lines)
    if old.overrides != new.overrides:
        parts.append(f"--set {old.overrides} -> {new.overrides}")
    more = [f"... {len(shown) - MOST_LINES} lines more"] if len(shown) > MOST_LINES else []
    text = "".join(f"\n  {line}" for line in [*shown[:MOST_LINES], *more])
    return (
        "holds another sweep, so nothing was changed (only runs and steps can be added to one); give another --out. "
        f"Different: {'; '.join(parts)}{text}"
    )
