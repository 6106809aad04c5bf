"""The key table of the documentation: every key of a run with its type, default, role and meaning, from the spec.

`python -m grokjax.spec.table` writes it into sweeps/README.md, between its markers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from grokjax.spec.families import FAMILIES
from grokjax.spec.own import BASES
from grokjax.spec.roles import Role, role_of
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Family, PickFamily, Section, kind_of
from grokjax.spec.walk import fields_of, plain, section_of

BOUNDS = {Ge: ("from", "ge"), Gt: ("above", "gt"), Le: ("up to", "le"), Lt: ("below", "lt")}
PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text", Any: "any value"}
BEGIN, END = "<!-- keys: begin -->\n", "<!-- keys: end -->"
MANY = 8  # families of a kind, from which on the keys that all have stand once
ROLES = {"static": "program", "hyper": "dynamic", "observed": "observed"}


class Key(NamedTuple):
    """A row of the table."""

    path: str
    values: str
    default: str
    role: str
    meaning: str


def keys_of(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """The keys of a section and of those within it; families have tables of their own."""
    for name, field in fields_of(section).items():
        if name in ("name", "uses"):
            continue
        path, kind = f"{prefix}{name}", kind_of(field)
        if role_of(field).filled:
            continue
        inner = section_of(field.annotation)
        if kind and isinstance(field.annotation, type):
            yield Key(path, _families_text(kind), _default(field), "program", _meaning(field))
        elif inner and issubclass(inner, Section) and not issubclass(inner, Family):
            yield from keys_of(inner, f"{path}.")
        else:
            yield Key(path, values_text(field), _default(field), _role(role_of(field)), _meaning(field))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = plain(field.default)
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _role(role: Role) -> str:
    if role.kind == "observed" and role.compiled:
        return "observed (program)"
    return ROLES[role.kind]


def _meaning(field: FieldInfo) -> str:
    return re.sub(r"\s+", " ", field.description or "")


def values_text(field: FieldInfo) -> str:
    """What a field may be, in words: `number above 0, or null`."""
    return _type_text(field.annotation, field.metadata)


def _type_text(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in arguments)
    picked = [item.kind for item in metadata if isinstance(item, PickFamily)]
    if picked:
        return _families_text(picked[0])
    if origin is list:
        return f"list of: {_type_text(arguments[0], [])}"
    if origin is dict:
        return f"mapping of names to: {_type_text(arguments[1], [])}"
    if hasattr(annotation, "__metadata__"):
        return _type_text(arguments[0], [*metadata, *_flat(annotation.__metadata__)])
    if type(None) in arguments:
        others = [_type_text(other, metadata) for other in arguments if other is not type(None)]
        return ", or ".join([" or ".join(others), "null"])
    if arguments:
        return " or ".join(_type_text(other, metadata) for other in arguments)
    text = PLAIN.get(annotation, str(annotation))
    bounds = dict.fromkeys(
        f" {BOUNDS[type(item)][0]} {_bound(item)}" for item in _flat(metadata) if type(item) in BOUNDS
    )
    return text + "".join(bounds)


def _families_text(kind: str) -> str:
    families = FAMILIES[kind]
    names = ", ".join(families)
    by_name = all(family.written_as_name for family in families.values())
    if len(families) > MANY and not by_name:
        return "mapping with `name`, and the keys below"
    return names if by_name else f"mapping with `name`: {names}"


def _flat(metadata: Any) -> list[Any]:
    """Bounds and forms, those too that stand in a pydantic `Field`."""
    flat = []
    for item in metadata:
        flat += [item, *getattr(item, "metadata", [])]
    return flat


def _bound(item: Any) -> str:
    value = getattr(item, BOUNDS[type(item)][1])
    return f"{value:,}" if isinstance(value, int) and value > 9999 else f"{value:g}"


def key_table() -> str:
    """All keys as Markdown: a table of the sections that every run has, and one a family."""
    parts = []
    for name, field in fields_of(RunSpec).items():
        kind = kind_of(field)
        if name == "uses":
            continue
        if kind is None:
            inner = section_of(field.annotation)
            rows = list(keys_of(inner, f"{name}.")) if inner else [_single(name, field)]
            parts.append(_markdown(f"### `{name}`", rows))
        else:
            parts += _family_tables(name, kind)
        if name == "optimizer":
            parts += _family_tables("optimizer.schedule", "schedule") + _family_tables("optimizer.filters", "filter")
    return "\n".join(parts)


def _single(name: str, field: FieldInfo) -> Key:
    return Key(name, values_text(field), _default(field), _role(role_of(field)), _meaning(field))


def _family_tables(path: str, kind: str) -> list[str]:
    """A table of the keys that all have, where there are many families, and one a family."""
    tables, families = [], FAMILIES[kind]
    shared = list(keys_of(BASES[kind], f"{path}.")) if len(families) > MANY else []
    if shared:
        tables.append(_markdown(f"### `{path}`: keys of every family", shared))
    for name, family in families.items():
        title = f"### `{path}: {{name: {name}}}`"
        summary = re.sub(r"\s+", " ", family.__dict__.get("__doc__") or family.model_fields["name"].description or "")
        heading = f"{title}\n\n{summary}" if summary else title
        tables.append(_markdown(heading, [row for row in keys_of(family, f"{path}.") if row not in shared]))
    return tables


def _markdown(title: str, rows: list[Key]) -> str:
    if not rows:
        return f"{title}\n\nNo keys of its own.\n"
    lines = [title, "", "| key | values | default | role | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.path}`", row.values, f"`{row.default}`", row.role, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def with_table(text: str) -> str:
    """A text with the key table between its markers. Raises ValueError where it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN.strip()} with {END} after it")
    return f"{before}{begin}\n{key_table()}\n{end}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "sweeps/README.md")
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
