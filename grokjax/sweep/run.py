"""The runs of a sweep, and how the values at one point of it become one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from grokjax.spec import identity
from grokjax.spec.families import FAMILIES, with_families
from grokjax.spec.memo import Memo
from grokjax.spec.origin import Origin
from grokjax.spec.own import Own
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Families
from grokjax.sweep import check, resolve
from grokjax.sweep.arms import Arm
from grokjax.sweep.build import build
from grokjax.sweep.keys import FROM_RUN
from grokjax.sweep.layers import Layer, Mistakes, Value, overlay, place_of
from grokjax.sweep.parents import Answer, Lookup, Parent, ParentError, origin_of

OF_TASK = ("file", "targets", "test_file", "test_targets", "split.rows")
PATHS = ("init.from_file", f"{FROM_RUN}.results", *(f"task.{word}" for word in OF_TASK))


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class MadeRun:
    """A run, and what is to be said of it."""

    run: Run
    notes: list[str]


def run_ids(made: list[MadeRun]) -> str:
    """What came of one point: the runs, where it starts from several."""
    return " ".join(each.run.run_id for each in made)


def make_runs(arm: Arm, values: Layer, mistakes: Mistakes, lookup: Lookup) -> list[MadeRun]:
    """The run at one point, or one for each stored run it starts from; none where mistakes were reported."""
    layer = overlay([*arm.before, values, arm.fixed], mistakes.families)
    for key in PATHS:
        if key in layer:
            layer[key] = _located(layer[key], mistakes)
    spec, broken = build(layer, mistakes)
    spec = resolve.with_answers(spec, broken, mistakes.memo)
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
    if wrong or mistakes.found:
        return []
    notes = [*check.warnings(spec, set(layer)), *answer.notes]
    explicit = set(layer)
    return [MadeRun(_run(arm, spec, explicit, parent, mistakes.memo), notes) for parent in answer.parents or (None,)]


def _run(arm: Arm, spec: RunSpec, explicit: set[str], parent: Parent | None, memo: Memo) -> Run:
    wanted, spec = spec.init.from_run, resolve.resolve(spec, explicit, parent, memo)
    origin = origin_of(parent, wanted) if parent and wanted else None
    return Run(identity.run_id(spec, origin, memo), spec, (arm.name,), origin)


def _located(item: Value, mistakes: Mistakes) -> Value:
    """A path is relative to the folder of the file that says it (one of --set to the working directory)."""
    if not isinstance(item.value, str) or "\0" in item.value:
        return item
    folder = Path() if item.path is None else mistakes.document.of(item.path)[0].folder
    return replace(item, value=str((folder / item.value).absolute()))
