"""A spec's fields one by one, with their roles: what ids, stored values, hypers and the key table are derived from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic.fields import FieldInfo

from grokjax.spec.roles import Role, role_of
from grokjax.spec.section import Family, Section


@cache
def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """Fields in the order that a person reads them: a family's name, its own fields, then those of its kind."""
    classes = [cls for cls in section.__mro__ if issubclass(cls, Section) and cls is not Section]
    inherited = [name for cls in classes for name in cls.__annotations__ if name in section.model_fields]
    first = ["name"] if "name" in section.model_fields else []
    return {name: section.model_fields[name] for name in dict.fromkeys([*first, *inherited])}


@cache
def roles_of(section: type[Section]) -> dict[str, Role]:
    return {name: role_of(field) for name, field in fields_of(section).items()}


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, or may hold."""
    options = [option for option in (annotation, *get_args(annotation)) if isinstance(option, type)]
    return next((option for option in options if issubclass(option, Section)), None)


class Decision(NamedTuple):
    """A field as ids and keys see it."""

    name: str
    role: Role
    default: Any  # with which a later field is left out; SET for one that never is
    may_be_null: bool


SET = object()


@cache
def decisions_of(section: type[Section]) -> tuple[Decision, ...]:
    decisions = []
    for name, field in fields_of(section).items():
        role = role_of(field)
        default = field.get_default(call_default_factory=True) if role.later else SET
        decisions.append(Decision(name, role, default, type(None) in get_args(field.annotation)))
    return tuple(decisions)


def decisive(section: Section) -> Iterator[tuple[Decision, Any]]:
    """Each field that ids and keys are made of with its value: without later ones that have their default."""
    for decision in decisions_of(type(section)):
        value = getattr(section, decision.name)
        if decision.default is SET or value != decision.default:
            yield decision, value


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Family) and value.written_as_name:
        return value.name
    if isinstance(value, Section):
        return {name: plain(getattr(value, name)) for name in fields_of(type(value))}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def dotted(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted keys: `{"task": {"p": 7}}` as `{"task.p": 7}`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
