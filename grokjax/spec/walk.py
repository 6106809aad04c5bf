"""A spec's fields one by one, with their roles: what ids, stored values, hypers and the key table are derived from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic.fields import FieldInfo

from grokjax.spec.roles import Role, is_left_out, role_of
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


def stored(section: Section) -> Iterator[tuple[str, Any, Role]]:
    """Name, value and role of each field, without later ones that have their default."""
    for name, field in fields_of(type(section)).items():
        value = getattr(section, name)
        if not is_left_out(field, value):
            yield name, value, role_of(field)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Family) and value.written_as_name:
        return value.name
    if isinstance(value, Section):
        return {name: plain(item) for name, item, _ in stored(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return dict(value) if isinstance(value, dict) else value
