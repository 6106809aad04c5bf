"""The runs of a sweep, and how the values at one point of it become one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grokjax.spec import identity
from grokjax.spec.families import FAMILIES, with_families
from grokjax.spec.files import is_url
from grokjax.spec.memo import Memo
from grokjax.spec.origin import Origin
from grokjax.spec.own import Own
from grokjax.spec.run import DEFAULTS, RunSpec
from grokjax.spec.section import Families
from grokjax.sweep import check, resolve
from grokjax.sweep.arms import Arm
from grokjax.sweep.build import build_section
from grokjax.sweep.keys import FROM_RUN
from grokjax.sweep.layers import Layer, Mistakes, Value, by_section, overlay, place_of
from grokjax.sweep.parents import Answer, Lookup, Parent, ParentError, origin_of

OF_TASK = ("file", "targets", "test_file", "test_targets", "split.rows")
PATHS = ("init.from_file", f"{FROM_RUN}.results", *(f"task.{word}" for word in OF_TASK))


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    spec: RunSpec
    arms: tuple[str, ...]  # the first is the arm
    origin: Origin | None = None  # of a run with init.from_run


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep in a fixed order, each once."""

    name: str
    text: str
    overrides: dict[str, Any]
    runs: tuple[Run, ...]
    axes: dict[str, tuple[str, ...]]  # arm -> the keys it varies
    warnings: tuple[str, ...]
    own: Own | None = None  # the user's own families
    file: str = field(default="", compare=False)  # absolute; "": it was made of no file
    description: str | None = None
    only: tuple[str, ...] = ()  # the arms that were asked for; none: all of them

    @property
    def families(self) -> Families:
        return with_families(self.own.families) if self.own else FAMILIES


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run, and what is to be said of it."""

    run: Run
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One section at a point of an arm. value: None where it is wrong, which was reported."""

    layer: Layer
    value: Any


def run_ids(made: list[MadeRun]) -> str:
    """What came of one point: the runs, where it starts from several."""
    return " ".join(each.run.run_id for each in made)


def make_runs(arm: Arm, values: Layer, mistakes: Mistakes, lookup: Lookup) -> list[MadeRun]:
    """The run at one point, or one for each stored run it starts from; none where mistakes were reported."""
    parts = _parts(arm, values, mistakes)
    broken = {name for name, part in parts.items() if part.value is None}
    made = {name: part.value for name, part in parts.items() if part.value is not None}
    spec = resolve.with_answers(RunSpec.of(DEFAULTS | made), broken, mistakes.memo)
    notes, parents = _checked(spec, parts, broken, mistakes, lookup)
    if notes is None or mistakes.found:
        return []
    explicit = {key for part in parts.values() for key in part.layer}
    return [MadeRun(_run(arm, spec, explicit, parent, mistakes.memo), notes) for parent in parents or (None,)]


def _parts(arm: Arm, values: Layer, mistakes: Mistakes) -> dict[str, Part]:
    """Each section that is given, made once for all points that give it alike."""
    at_point = by_section(values)
    parts = {}
    for section, (before, fixed) in arm.by_section.items():
        own = at_point.get(section, {})
        stamp = (arm.name, section, *((key, item.path, repr(item.value)) for key, item in own.items()))
        part = mistakes.built.get(stamp)
        if part is None:
            part = mistakes.built[stamp] = _part(section, [*before, own, fixed], mistakes)
        if part.layer:
            parts[section] = part
    return parts


def _part(section: str, layers: list[Layer], mistakes: Mistakes) -> Part:
    layer = overlay(layers, mistakes.families)
    for key in PATHS:
        if key in layer:
            layer[key] = _located(layer[key], mistakes)
    stamp = (section, *((key, repr(item.value)) for key, item in layer.items()))
    if stamp not in mistakes.built:  # another arm may have it too, and its mistakes stand elsewhere
        made = build_section(section, layer, mistakes) if layer else None
        if made is None:
            return Part(layer, None)
        mistakes.built[stamp] = made
    return Part(layer, mistakes.built[stamp])


def _checked(
    spec: RunSpec, parts: dict[str, Part], broken: set[str], mistakes: Mistakes, lookup: Lookup
) -> tuple[tuple[str, ...] | None, tuple[Parent, ...]]:
    """What is to be said of a run, None where it is wrong, which is reported; and the stored runs it starts from.

    A seed takes part in no check but those of a user's own families.
    """
    seed = None if mistakes.families is FAMILIES else spec.seed
    stamp = (seed, *(id(value) for name, value in vars(spec).items() if name != "seed"))
    if stamp in mistakes.right:
        return mistakes.right[stamp][0], ()
    layer = {key: item for part in parts.values() for key, item in part.layer.items()}
    wrong = set(broken)

    def report(key: str, what: str, *related: str) -> None:
        wrong.add(key)
        near = next((other for other in (key, *related) if other in layer), key)
        mistakes.at(place_of(near, layer), key, what)

    check.check(spec, report, broken)
    answer = Answer(())
    if spec.init.from_run is not None and not any(key.startswith("init.from_") for key in wrong):
        try:
            answer = lookup(spec.init.from_run)
        except ParentError as error:
            report(f"{FROM_RUN}.{error.key}", str(error))
        check.check_parents(spec, answer.parents, report, broken)
    if wrong:
        return None, ()
    notes = (*check.warnings(spec, set(layer)), *answer.notes)
    if spec.init.from_run is None:
        mistakes.right[stamp] = notes, spec  # the spec is held, so that ids of its sections stay theirs
    return notes, answer.parents


def _run(arm: Arm, spec: RunSpec, explicit: set[str], parent: Parent | None, memo: Memo) -> Run:
    wanted, spec = spec.init.from_run, resolve.resolve(spec, explicit, parent, memo)
    origin = origin_of(parent, wanted) if parent and wanted else None
    return Run(identity.run_id(spec, origin, memo), spec, arm.names, origin)


def _located(item: Value, mistakes: Mistakes) -> Value:
    """A path is relative to the folder of the file that says it (one of --set to the working directory); an address
    stays as it is."""
    if not isinstance(item.value, str) or "\0" in item.value or is_url(item.value):
        return item
    folder = Path() if item.path is None else mistakes.document.of(item.path)[0].folder
    return replace(item, value=str((folder / item.value).absolute()))
