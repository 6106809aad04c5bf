"""A sweep file to its runs: arms, axes, --set, and every mistake at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokjax.spec import identity
from grokjax.spec.families import FAMILIES, with_families
from grokjax.spec.memo import nothing_is_garbage
from grokjax.spec.own import Own, OwnError, load_own
from grokjax.spec.run import Uses
from grokjax.spec.walk import dotted
from grokjax.spec.walk import plain as spec_plain
from grokjax.sweep.arms import Arm, choose, read_arms
from grokjax.sweep.effects import check_draws, check_grid
from grokjax.sweep.extends import whole_text, with_extended
from grokjax.sweep.keys import BY_MATRIX, FAMILY_PATHS, FROM_RUN, SELECT, split_key
from grokjax.sweep.layers import Mistakes, overlay, place_of
from grokjax.sweep.load import Document, Mistake, SweepError, read_sweep
from grokjax.sweep.mapping import document_of, plain
from grokjax.sweep.nodes import describe
from grokjax.sweep.parents import FindParents, Lookup
from grokjax.sweep.points import check_listed, draws, one_by_one, product
from grokjax.sweep.run import MadeRun, Run, Sweep, make_runs, run_ids
from grokjax.sweep.settings import Settings, read_settings
from grokjax.sweep.top import MAX_RUNS, Top, read_top
from grokjax.sweep.weights_file import file_shapes

MANY = 2_000  # from so many runs on, every value is checked by itself before their product
ENOUGH = 20  # mistakes in a large product, after which the rest is left out


def load_sweep(
    path: str | Path,
    overrides: dict[str, Any] | None = None,
    find_parents: FindParents | None = None,
    arms: Sequence[str] = (),
) -> Sweep:
    """Read, expand and check a sweep file. Raises SweepError with every mistake.

    overrides: values that win over the file, as --set. find_parents: looks up the stored runs that init.from_run asks
    for, each request once. arms: only these; none: all of them.
    """
    sweep = expand(read_sweep(path), overrides, find_parents, arms)
    return replace(sweep, file=str(Path(path).absolute()))


def sweep_of_values(
    values: Mapping[str, Any],
    overrides: dict[str, Any] | None = None,
    find_parents: FindParents | None = None,
    arms: Sequence[str] = (),
) -> Sweep:
    """As `load_sweep`, of a mapping that says what a file would; files that it names are relative to the working
    directory. Mistakes are told by their keys alone."""
    try:
        return expand(document_of(values), overrides, find_parents, arms)
    except SweepError as error:
        raise SweepError(replace(mistake, line=0, col=0) for mistake in error.mistakes) from None


def expand(
    document: Document,
    overrides: dict[str, Any] | None = None,
    find_parents: FindParents | None = None,
    arms: Sequence[str] = (),
) -> Sweep:
    """The runs of a parsed sweep. Raises SweepError with every mistake."""
    with nothing_is_garbage():
        return _expand(document, overrides, find_parents, arms)


def _expand(
    document: Document, overrides: dict[str, Any] | None, find_parents: FindParents | None, arms: Sequence[str]
) -> Sweep:
    overrides = {key: plain(value) for key, value in (overrides or {}).items()}
    document = with_extended(document)
    for cached in (file_shapes, identity.file_digest):
        cached.cache_clear()  # files may have changed since the last sweep was read
    own = _own_families(document)
    families = with_families(own.families) if own else FAMILIES
    mistakes = Mistakes(document, set(document.mistakes), families=families)
    top = read_top(mistakes)
    settings = read_settings(overrides or {}, mistakes)
    every_arm = read_arms(settings, mistakes)
    runs: dict[str, Run] = {}
    axes: dict[str, tuple[str, ...]] = {}
    lookup = Lookup(find_parents)
    named = any(data.get("arms") for _, data in document.levels())
    for arm in choose(every_arm, arms, mistakes):
        label = f"{arm.name}: " if named else ""
        made = _runs_of(arm, top, mistakes, lookup)
        axes[arm.name] = _columns(arm, [each.run for each in made])
        _add(arm.name, made, runs)
        _note(label, arm, made, top, mistakes)
    if not mistakes.found:
        _check_used(settings, runs.values(), mistakes)
    if mistakes.found:
        raise SweepError(mistakes.found)
    if own:
        runs = {run.run_id: run for run in (_with_code(run, own) for run in runs.values())}
    return Sweep(
        name=top.name,
        text=whole_text(document),
        overrides=settings.given,
        runs=tuple(runs.values()),
        axes=axes,
        warnings=tuple(mistakes.notes),
        own=own,
        description=top.description,
        only=tuple(dict.fromkeys(arms)),
    )


def _add(arm: str, made: list[MadeRun], runs: dict[str, Run]) -> None:
    """Add an arm's runs, each once; those that an earlier arm has too are of both."""
    unique = {each.run.run_id: each.run for each in reversed(made)}
    for run_id in dict.fromkeys(each.run.run_id for each in made):
        known = runs.get(run_id)
        runs[run_id] = replace(known, arms=(*known.arms, arm)) if known else unique[run_id]


def _note(label: str, arm: Arm, made: list[MadeRun], top: Top, mistakes: Mistakes) -> None:
    """What is to be said of an arm and its runs."""
    for axis in arm.axes:
        if axis.distribution and axis.distribution.note:
            mistakes.note(f"{label}{axis.keys[0]}: {axis.distribution.note}")
    for text in dict.fromkeys(note for each in made for note in each.notes):
        mistakes.note(f"{label}{text}")
    repeated = len(made) - len({each.run.run_id for each in made})
    if repeated and top.draws is not None:
        what = "runs" if any(each.run.origin for each in made) else "draws"
        mistakes.note(f"{label}{repeated} of {len(made)} {what} repeat others, and are one run with them")


def _own_families(document: Document) -> Own | None:
    """The families of the user's file that `uses` names, which is run. Raises SweepError where it cannot be."""
    found = document.nearest("uses")
    if found is None:
        return None
    named, path = found

    def wrong(what: str) -> SweepError:
        return SweepError([Mistake(*document.place(path), "uses", what)])

    if not isinstance(named, str):
        raise wrong(f"must be the name of a Python file, got {describe(named)}")
    try:
        return load_own(document.of(path)[0].folder / named)
    except OwnError as error:
        raise wrong(str(error)) from None


def _with_code(run: Run, own: Own) -> Run:
    """The user's code is a part of the run's id."""
    spec = run.spec.model_copy(update={"uses": Uses(file=str(own.file), digest=own.digest)})
    return replace(run, run_id=identity.run_id(spec, run.origin), spec=spec)


def _columns(arm: Arm, runs: list[Run]) -> tuple[str, ...]:
    """The keys that an arm varies, as its runs have them: of what they start from, those that differ."""
    keys = [key for axis in arm.axes for key in axis.keys if not axis.of_setting or _is_key(key, runs)]
    whole = [key for key in keys if key in (FROM_RUN, SELECT)]
    parents = [run.spec.init.from_run for run in runs]
    for word in ("results", "run", "step", "optimizer") if FROM_RUN in keys else ("run",):
        values = {getattr(parent, word, None) for parent in parents if parent or word == "run"}
        keys += [f"{FROM_RUN}.{word}"] if len(values) > 1 else []
    return tuple(dict.fromkeys(inner for key in keys if key not in whole for inner in _within(key, runs)))


def _within(key: str, runs: list[Run]) -> list[str]:
    """The key; of one whose values are mappings (a table by matrix, optimizer.groups), the keys in them that differ.

    Of a matrix that is in a group in some runs only, its optimizer's name tells that.
    """
    words = split_key(key)
    values = [_value_at(words, run) for run in runs]
    if not any(isinstance(value, dict) for value in values):
        return [key]
    flats = [dotted({key: spec_plain(value)}) for value in values if isinstance(value, dict)]
    found = []
    for inner in dict.fromkeys(inner for flat in flats for inner in flat):
        present = {repr(flat[inner]) for flat in flats if inner in flat}
        is_missing = any(inner not in flat for flat in flats)
        if len(present) > 1 or (is_missing and (key not in BY_MATRIX or split_key(inner)[3:] == ["name"])):
            found.append(inner)
    return found


def _value_at(words: Sequence[str], run: Run) -> Any:
    value: Any = run.spec
    for word in words:
        value = value.get(word) if isinstance(value, dict) else getattr(value, word, None)
    return value


def _is_key(key: str, runs: list[Run]) -> bool:
    """Whether one of the runs has a key."""
    *above, last = split_key(key)
    sections = (_value_at(above, run) for run in runs)
    return any(isinstance(section, dict) or hasattr(section, last) for section in sections)


def _check_used(settings: Settings, runs: Collection[Run], mistakes: Mistakes) -> None:
    """A key of --set that only some families have must be one of some run."""
    keys = [*settings.fixed, *(key for axis in settings.axes for key in axis.keys)]
    idle = [key for key in keys if key.startswith(f"{FROM_RUN}.") and not any(run.origin for run in runs)]
    for key in idle[:1]:
        what = f"no run starts from another: {FROM_RUN} needs results, a directory, and run or select"
        mistakes.at(None, key, what)
    for key in keys:
        section, _, word = key.partition(".")
        options = mistakes.families[section] if section in FAMILY_PATHS else {}
        families = {type(getattr(run.spec, section)) for run in runs} if options else set()
        word = split_key(word)[0]
        if families and not any(word in family.model_fields for family in families):
            having = [name for name, family in options.items() if word in family.model_fields]
            mistakes.at(None, key, f"unknown key: no run's {section} has {word}, that is a key of {', '.join(having)}")


def _runs_of(arm: Arm, top: Top, mistakes: Mistakes, lookup: Lookup) -> list[MadeRun]:
    """The arm's runs in order, those that are equal more than once. Mistakes are reported."""
    random, seed = top.draws is not None, top.random_seed
    listed = random or check_listed(arm, mistakes)
    total = math.prod(len(axis.points) for axis in arm.axes) if top.draws is None else top.draws
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
