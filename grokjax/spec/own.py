"""A user's own families: what `uses: my_setup.py` brings into a sweep.

The file declares a class for each family, and its function in a dictionary named as ours are: `OPTIMIZERS = {"mine":
mine}`. Only training runs it; where results are looked at, its families are taken as they stand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict

from grokjax.spec.constraints import Constraint
from grokjax.spec.families import FAMILIES
from grokjax.spec.filters import Filter
from grokjax.spec.losses import Loss
from grokjax.spec.models import Model
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.probes import Probe
from grokjax.spec.roles import role_of
from grokjax.spec.schedules import Schedule
from grokjax.spec.section import Families, Family
from grokjax.spec.tasks import Task

BASES: dict[str, type[Family]] = {
    "task": Task,
    "model": Model,
    "loss": Loss,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "filter": Filter,
    "constraint": Constraint,
    "probe": Probe,
}
WITHOUT_NUMBERS = ("probe",)  # kinds whose functions are given no hypers, apart or with the spec
DICTIONARIES = {"LOSSES" if kind == "loss" else f"{kind.upper()}S": kind for kind in BASES}  # TASKS -> task


@dataclass(frozen=True)
class Own:
    """Families of a user's file."""

    file: Path
    digest: str  # SHA-256 (hex) of the file
    families: Families


class OwnError(ValueError):
    """A file of families that cannot be used. The message is for the user."""


def load_own(file: Path) -> Own:
    """Run a user's file, and take its families. Raises OwnError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OwnError(f"{file} cannot be read: {error.strerror or error}") from None
    digest = hashlib.sha256(content).hexdigest()
    module = _execute(file, f"grokjax_uses_{digest[:12]}")
    families: dict[str, dict[str, type[Family]]] = {}
    for dictionary, kind in DICTIONARIES.items():
        for name, function in getattr(module, dictionary, {}).items():
            families.setdefault(kind, {})[name] = _declared(module, kind, name, function, dictionary)
    if not families:
        raise OwnError(f"{file.name} has none of {', '.join(DICTIONARIES)}: dictionaries of name -> function")
    return Own(file.absolute(), digest, families)


def _execute(file: Path, name: str) -> ModuleType:
    if name in sys.modules:  # the same content, read before: its classes stay the same
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise OwnError(f"{file.name} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f" at line {frames[-1].lineno}" if frames else ""
        raise OwnError(f"{file.name} fails{where}: {type(error).__name__}: {error}") from error
    return module


def _declared(module: ModuleType, kind: str, name: str, function: Any, dictionary: str) -> type[Family]:
    """The class that declares a family of the file, with its function."""
    if name in FAMILIES[kind]:
        raise OwnError(f"{dictionary}: grokjax has a {kind} {name!r} already; choose another name")
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BASES[kind])]
    for cls in classes:
        field = cls.model_fields.get("name")
        if cls.__module__ == module.__name__ and field is not None and field.default == name:
            _check_roles(cls, kind)
            cls.function = staticmethod(function) if callable(function) else function
            return cls
    base = BASES[kind].__name__
    raise OwnError(f'{dictionary} has {name!r}, but no class: class X({base}): name: Literal["{name}"] = "{name}"')


def _check_roles(cls: type[Family], kind: str) -> None:
    """Refuse a hyper whose array would reach no function: one run's value would be compiled in for all."""
    if kind not in WITHOUT_NUMBERS:
        return
    for name, field in cls.model_fields.items():
        if name not in BASES[kind].model_fields and role_of(field).kind == "hyper":
            what = f"{cls.__name__}.{name} is Hyper, and a {kind}'s function gets no numbers: leave Hyper out"
            raise OwnError(what)


class _AnyName(dict[str, type[Family]]):
    """The families of a kind, and for every other name a class that takes any values and knows no facts."""

    def __init__(self, kind: str):
        super().__init__(FAMILIES[kind])
        self.kind = kind

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __missing__(self, name: str) -> type[Family]:
        base: Any = BASES[self.kind]
        fields = {"__annotations__": {"name": str}, "name": name, "__module__": __name__}
        self[name] = type(base)("Opaque" + base.__name__, (base,), fields | {"model_config": ConfigDict(extra="allow")})
        return self[name]


# For runs of a user's families, where none of their code is to be run.
OPAQUE: Families = {kind: _AnyName(kind) for kind in BASES}
