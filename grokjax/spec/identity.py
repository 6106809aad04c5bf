"""What decides a run's trajectory (its id), its compiled program (its bucket), and how fast that is (its tuning).

All three are derived from the roles of the fields (`roles.py`).
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from grokjax.spec.memo import Memo
from grokjax.spec.models import Model
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.origin import Origin
from grokjax.spec.roles import Role
from grokjax.spec.run import Events, FromRun, Init, Log, RunSpec, Stop, Train
from grokjax.spec.section import Family, Section
from grokjax.spec.shapes import by_matrix, each_its_own, is_bias, matches
from grokjax.spec.tasks import Task
from grokjax.spec.walk import SET, decisions_of, decisive, dotted, plain


def run_id(spec: RunSpec, origin: Origin | None = None, memo: Memo | None = None) -> str:
    """12 hex digits of the SHA-256 of everything that decides the trajectory of a resolved spec.

    origin: of a run with init.from_run. memo: kept from run to run where ids of many are made.
    """
    kept = _trajectory(spec, origin, memo or Memo())
    text = ", ".join(f'"{name}": {kept[name].text}' for name in sorted(kept))  # as JSON has it with sorted keys
    return _digest_of(f"{{{text}}}")[:12]


def steps_apart(spec: RunSpec, origin: Origin | None = None, memo: Memo | None = None) -> str:
    """Digest of the trajectory without train.steps: runs with equal ones are one run, trained for other numbers of
    steps. memo: as for `run_id`."""
    memo = memo or Memo()
    kept = _trajectory(spec, origin, memo)
    text = ", ".join(f'"{name}": {kept[name].text}' for name in sorted(kept) if name != "train")
    return _digest_of(f"{text}; {memo.of(_less_steps, spec.train)}")


def _less_steps(train: Train) -> str:
    return json.dumps({key: value for key, value in _decisive(train).items() if key != "steps"}, sort_keys=True)


def program_key(spec: RunSpec) -> str:
    """Runs with equal keys compile to the same program."""
    return _digest(_whole_program(spec))[:12]


class ProgramKeys:
    """Keys of many runs: runs whose sections say the same of the program have the same."""

    def __init__(self) -> None:
        self._memo = Memo()
        self._keys: dict[tuple[str, ...], str] = {}

    def of(self, spec: RunSpec) -> str:
        """`program_key(spec)`."""
        said = tuple(
            self._memo.of(say, value)
            for name, say in SAID_OF_PROGRAM.items()
            if isinstance(value := getattr(spec, name), Section)
        )
        if said not in self._keys:
            self._keys[said] = program_key(spec)
        return self._keys[said]


def _said_of_program(default: Any, section: Section) -> str:
    """All of a section that can decide the program; default: with which it is left out."""
    keeps = isinstance(section, Init) and section.takes_state
    top: dict[str, Any] = {}
    kept = _program(section, _is_of_program, top)
    return json.dumps([section != default, keeps, getattr(section, "name", None), kept, top], sort_keys=True)


def program_values(spec: RunSpec) -> dict[str, Any]:
    """What `program_key` is the digest of, by dotted keys. Of a number that may be null, whether there is one."""
    return dotted(_whole_program(spec))


def _whole_program(spec: RunSpec) -> dict[str, Any]:
    program = _program(spec, _is_of_program)
    if spec.init.takes_state:
        program["keeps"] = True  # such lanes start with states, others with parameters only
    return program


def tuning_key(spec: RunSpec) -> str:
    """12 hex digits of what decides how long a step takes: runs with equal keys are tuned together."""
    return _digest(_program(spec, lambda role: role.kind == "static"))[:12]


def _is_of_program(role: Role) -> bool:
    return role.kind == "static" or (role.kind == "observed" and role.compiled)


def _program(section: Section, is_kept: Any, top: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fields that are kept, nested as they are; those with a name of their own stand at the top."""
    kept: dict[str, Any] = {}
    top = kept if top is None else top
    for decision, value in decisive(section):
        name, role = decision.name, decision.role
        if isinstance(value, Section) and not (isinstance(value, Family) and value.written_as_name):
            inner = _program(value, is_kept, top)
            if inner:
                kept[name] = inner
        elif role.kind == "hyper" and role.is_number and role.null is None and decision.may_be_null:
            into, key = (top, role.program_name) if role.program_name else (kept, name)
            into[key] = value is not None  # whether there is one decides the code
        elif is_kept(role):
            into, key = (top, role.program_name) if role.program_name else (kept, name)
            into[key] = _static(value, is_kept, top)
    return kept


def _static(value: Any, is_kept: Any, top: dict[str, Any]) -> Any:
    """A static value; of families in a list or in a mapping (filters, groups) what is kept of each."""
    if isinstance(value, list) and value and isinstance(value[0], Family) and not value[0].written_as_name:
        return [_program(item, is_kept, top) for item in value]
    if isinstance(value, dict) and any(isinstance(item, Family) for item in value.values()):
        return {key: _program(item, is_kept) for key, item in value.items()}
    return plain(value)


class _Kept(NamedTuple):
    """What of a section decides a run, and its JSON. To be read only."""

    value: Any
    text: str


def _kept(value: Any) -> _Kept:
    return _Kept(value, json.dumps(value, sort_keys=True))


def _trajectory(spec: RunSpec, origin: Origin | None, memo: Memo) -> dict[str, _Kept]:
    """The resolved spec less every value that cannot change this run; where it starts from counts by content."""
    names = memo.of(_names, spec.model, spec.task)
    of_some = {  # what other sections decide too
        "init": memo.of(_init, spec.init, names, origin, spec.constraint.undoes_scale and not spec.init.frozen),
        "optimizer": memo.of(_optimizer, spec.optimizer, names, spec.init),
        "stop": memo.of(_stop, spec.stop, spec.events, spec.log),
    }
    kept: dict[str, _Kept] = {}
    for decision in decisions_of(RunSpec):
        name, value = decision.name, getattr(spec, decision.name)
        if name in of_some:
            kept[name] = of_some[name]
        elif isinstance(value, Section):
            if (part := memo.of(OF_ITSELF[name], value)) is not None:
                kept[name] = part
        elif decision.default is SET or value != decision.default:
            kept[name] = _kept(value)
    if spec.init.is_stored and not spec.draws_in_steps:
        del kept["seed"]  # the split carries its own
    return kept


def _of_itself(default: Any, section: Section) -> _Kept | None:
    """None of a section that decides nothing, or is left out with its default."""
    if default is not SET and section == default:
        return None
    value = _decisive(section)
    return _kept(value) if value else None


def _names(model: Model, task: Task) -> tuple[str, ...]:
    return tuple(model.shapes(task))


def _init(init: Init, names: tuple[str, ...], origin: Origin | None, scale_is_undone: bool) -> _Kept:
    value = {key: inner for key, inner in _decisive(init).items() if key != "distribution"}
    value |= _start(init, list(names), origin)
    if scale_is_undone:
        del value["scale"]
    return _kept(value)


def _optimizer(optimizer: Optimizer, names: tuple[str, ...], init: Init) -> _Kept:
    value = _decisive(optimizer)
    _spell_out(value, optimizer, [name for name in names if not any(matches(key, name) for key in init.frozen)])
    return _kept(value)


def _stop(stop: Stop, events: Events, log: Log) -> _Kept:
    value = _decisive(stop)
    if stop.after_generalization is not None:
        rule = {"generalization": events.generalization, "hold": events.hold}
        value["rule"] = rule | {"every": log.every, "eval_every": log.eval_every}
    return _kept(value)


def _spell_out(kept: dict[str, Any], optimizer: Optimizer, names: list[str]) -> None:
    """Tables by matrix with an entry a parameter, those of groups too."""
    for table in ("lr_by_matrix", "weight_decay_by_matrix"):
        if table in kept:
            kept[table] = by_matrix(getattr(optimizer, table), names)
    if optimizer.groups:
        kept["groups"] = {key: dict(group) for key, group in kept["groups"].items()}
    for key, group in optimizer.groups.items():
        _spell_out(kept["groups"][key], group, names)


def _decisive(section: Section) -> dict[str, Any]:
    """All fields that are no mere observation, nested, without a family's idle ones."""
    idle = section.idle() if isinstance(section, Family) else set()
    kept: dict[str, Any] = {}
    for decision, value in decisive(section):
        name = decision.name
        if name in idle or decision.role.kind == "observed":
            continue
        if isinstance(value, Section):
            inner = _decisive(value)
            if inner:
                kept[name] = inner
        elif isinstance(value, list):
            kept[name] = [_decisive(item) if isinstance(item, Section) else item for item in value]
        elif isinstance(value, dict) and any(isinstance(item, Section) for item in value.values()):
            kept[name] = {key: _decisive(item) for key, item in value.items()}
        else:
            kept[name] = plain(value)
    return kept


def _start(init: Init, names: list[str], origin: Origin | None) -> dict[str, Any]:
    """What of `init` counts otherwise than as it stands."""
    start: dict[str, Any] = {}
    distribution = {} if init.is_stored else each_its_own(init.distribution, names)
    if distribution:
        start["distribution"] = distribution
    if init.is_stored:
        start["scheme"] = None
    if init.from_file is not None:
        start["from_file"] = file_digest(init.from_file)
    if init.from_run is not None:
        start["from_run"] = _from_run(init.from_run, origin)
    biases_are_zero = not init.is_stored and init.scheme != "torch_linear"
    factors = by_matrix(init.scale_by_matrix, names)
    start["scale_by_matrix"] = {
        name: factor
        for name, factor in factors.items()
        if name in distribution or not (biases_are_zero and is_bias(name))
    }
    return start


def _from_run(wanted: FromRun, origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        raise ValueError(f"the run that starts from {wanted.run} is not known without its origin")
    kept: dict[str, Any] = {"digest": origin.digest, "optimizer": wanted.optimizer}
    if wanted.optimizer == "keep":
        kept["begun"] = origin.prior_steps  # the word that ids were made with
    return kept


@cache  # for one expansion: `expand` forgets it
def file_digest(path: str) -> str:
    return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(value: Any) -> str:
    return _digest_of(json.dumps(value, sort_keys=True))


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# of each key of a run, told its default: functions that a memo knows again
OF_ITSELF = {decision.name: partial(_of_itself, decision.default) for decision in decisions_of(RunSpec)}
SAID_OF_PROGRAM = {decision.name: partial(_said_of_program, decision.default) for decision in decisions_of(RunSpec)}
