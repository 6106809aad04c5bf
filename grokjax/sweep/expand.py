"""A sweep file to its runs: arms, axes, --set, and every mistake at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokjax.spec import identity
from grokjax.spec.families import FAMILIES, with_families
from grokjax.spec.own import Own, OwnError, load_own
from grokjax.spec.run import Uses
from grokjax.sweep.arms import MAX_RUNS, Arm, check_top, read_arms
from grokjax.sweep.effects import check_draws, check_grid
from grokjax.sweep.keys import FAMILY_PATHS, FROM_RUN, SELECT, split_key
from grokjax.sweep.layers import Layer, Mistakes, overlay, place_of
from grokjax.sweep.load import Document, Mistake, SweepError, read_sweep, read_value
from grokjax.sweep.nodes import describe
from grokjax.sweep.parents import FindParents, Lookup
from grokjax.sweep.points import check_listed, draws, one_by_one, product
from grokjax.sweep.run import MadeRun, Run, Sweep, make_runs, run_ids
from grokjax.sweep.weights_file import file_shapes

MANY = 2_000  # from so many runs on, every value is checked by itself before their product
ENOUGH = 20  # mistakes in a large product, after which the rest is left out


def load_sweep(
    path: str | Path, overrides: dict[str, Any] | None = None, find_parents: FindParents | None = None
) -> Sweep:
    """Read, expand and check a sweep file. Raises SweepError with every mistake.

    find_parents: looks up the stored runs that init.from_run asks for, each request once.
    """
    return expand(read_sweep(path), overrides, find_parents)


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["train.steps=2000"]` to values, each read as YAML. Raises SweepError."""
    overrides: dict[str, Any] = {}
    mistakes = []
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            mistakes.append(Mistake("--set", 0, 0, pair, "write key=value, for instance train.steps=2000"))
            continue
        try:
            value = read_value(text)
        except ValueError as error:
            mistakes.append(Mistake("--set", 0, 0, key, str(error)))
            continue
        if key in overrides:
            mistakes.append(Mistake("--set", 0, 0, key, "given twice; give it once"))
        overrides[key] = value
    if mistakes:
        raise SweepError(mistakes)
    return overrides


def expand(
    document: Document, overrides: dict[str, Any] | None = None, find_parents: FindParents | None = None
) -> Sweep:
    """The runs of a parsed sweep. Raises SweepError with every mistake."""
    overrides = {key: _plain(value) for key, value in (overrides or {}).items()}
    data = document.data
    for cached in (file_shapes, identity.file_digest):
        cached.cache_clear()  # files may have changed since the last sweep was read
    own = _own_families(document)
    families = with_families(own.families) if own else FAMILIES
    mistakes = Mistakes(document, set(document.mistakes), families)
    name = check_top(data, mistakes)
    arms = read_arms(data, overrides, mistakes)
    runs: dict[str, Run] = {}
    notes: dict[str, None] = {}
    axes: dict[str, tuple[str, ...]] = {}
    lookup = Lookup(find_parents)
    for arm in arms:
        label = f"{arm.name}: " if data.get("arms") else ""
        made = _runs_of(arm, data, mistakes, lookup)
        axes[arm.name] = _columns(arm, [each.run for each in made])
        unique = {each.run.run_id: each.run for each in reversed(made)}
        for run_id in dict.fromkeys(each.run.run_id for each in made):
            known = runs.get(run_id)
            runs[run_id] = replace(known, arms=(*known.arms, arm.name)) if known else unique[run_id]
        notes.update(dict.fromkeys(label + note for each in made for note in each.notes))
        repeated = len(made) - len(unique)
        if repeated and data.get("method") == "random":
            what = "runs" if any(each.run.origin for each in made) else "draws"
            notes[f"{label}{repeated} of {len(made)} {what} repeat others, and are one run with them"] = None
    if not mistakes.found:
        _check_used(arms[0].fixed, runs.values(), mistakes)
    if mistakes.found:
        raise SweepError(mistakes.found)
    if own:
        runs = {run.run_id: run for run in (_with_code(run, own) for run in runs.values())}
    return Sweep(name, document.text, overrides, tuple(runs.values()), axes, tuple(notes), own)


def _own_families(document: Document) -> Own | None:
    """The families of the user's file that `uses` names, which is run. Raises SweepError where it cannot be."""
    if "uses" not in document.data:
        return None
    named = document.data["uses"]

    def wrong(what: str) -> SweepError:
        return SweepError([Mistake(document.file, *document.place(("uses",)), "uses", what)])

    if not isinstance(named, str):
        raise wrong(f"must be the name of a Python file, got {describe(named)}")
    try:
        return load_own(document.folder / named)
    except OwnError as error:
        raise wrong(str(error)) from None


def _with_code(run: Run, own: Own) -> Run:
    """The user's code is a part of the run's id."""
    spec = run.spec.model_copy(update={"uses": Uses(file=str(own.file), digest=own.digest)})
    return replace(run, run_id=identity.run_id(spec, run.origin), spec=spec)


def _columns(arm: Arm, runs: list[Run]) -> tuple[str, ...]:
    """The keys that an arm varies, as its runs have them: of what they start from, those that differ."""
    keys = [key for axis in arm.axes for key in axis.keys]
    whole = [key for key in keys if key in (FROM_RUN, SELECT)]
    parents = [run.spec.init.from_run for run in runs]
    for word in ("results", "run", "step", "optimizer") if FROM_RUN in keys else ("run",):
        values = {getattr(parent, word, None) for parent in parents if parent or word == "run"}
        keys += [f"{FROM_RUN}.{word}"] if len(values) > 1 else []
    return tuple(dict.fromkeys(key for key in keys if key not in whole))


def _check_used(fixed: Layer, runs: Collection[Run], mistakes: Mistakes) -> None:
    """A key of --set that only some families have must be one of some run."""
    idle = [key for key in fixed if key.startswith(f"{FROM_RUN}.") and not any(run.origin for run in runs)]
    for key in idle[:1]:
        what = f"no run starts from another: {FROM_RUN} needs results, a directory, and run or select"
        mistakes.at(None, key, what)
    for key in fixed:
        section, _, word = key.partition(".")
        options = mistakes.families[section] if section in FAMILY_PATHS else {}
        families = {type(getattr(run.spec, section)) for run in runs} if options else set()
        word = split_key(word)[0]
        if families and not any(word in family.model_fields for family in families):
            having = [name for name, family in options.items() if word in family.model_fields]
            mistakes.at(None, key, f"unknown key: no run's {section} has {word}, that is a key of {', '.join(having)}")


def _plain(value: Any) -> Any:
    """Values given from Python as YAML would read them: numpy scalars, tuples and paths."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _runs_of(arm: Arm, data: dict, mistakes: Mistakes, lookup: Lookup) -> list[MadeRun]:
    """The arm's runs in order, those that are equal more than once. Mistakes are reported."""
    random = data.get("method") == "random"
    cap, seed = data.get("run_cap", 1), data.get("random_seed", 0)
    drawable = _is_count(cap) and _is_count(seed)
    seed = seed if _is_count(seed) else 0
    listed = random or check_listed(arm, mistakes)
    total = (cap if drawable else 0) if random else math.prod(len(axis.points) for axis in arm.axes)
    if total > MAX_RUNS and not random:
        mistakes.at((), "parameters", f"{total:,} runs in arm {arm.name}; at most {MAX_RUNS:,} in one sweep")
    if random or total > MANY or not listed:
        for layer in one_by_one(arm.axes, random, seed):
            make_runs(arm, layer, mistakes, lookup)
        if mistakes.found or not listed:
            return []
    made: list[MadeRun] = []
    points: list[tuple[tuple[int, ...], str]] = []
    before = len(mistakes.found)
    for choice, layer in draws(arm.axes, seed, total) if random else product(arm.axes):
        at_point = make_runs(arm, layer, mistakes, lookup)
        made += at_point
        points.append((choice, run_ids(at_point)))
        if len(made) > MAX_RUNS:
            place = place_of(SELECT, overlay([*arm.before, layer, arm.fixed], mistakes.families))
            mistakes.at(place, SELECT, f"more than {MAX_RUNS:,} runs in arm {arm.name}, the most that a sweep may have")
            break
        if not at_point and (random or (total > MANY and len(mistakes.found) > before + ENOUGH)):
            break
    if mistakes.found:
        return []
    if random:
        check_draws(arm, seed, lambda layer: run_ids(make_runs(arm, layer, mistakes, lookup)), mistakes)
    else:
        check_grid(arm, points, mistakes)
    return made


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
