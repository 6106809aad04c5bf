"""What null means at a key: read off the field that declares it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from grokjax.spec.families import FAMILIES
from grokjax.spec.roles import Null
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Section, kind_by_matrix, kind_of
from grokjax.spec.shapes import split_matrix
from grokjax.spec.walk import fields_of, section_of


@cache
def null_of(key: str) -> Null | None:
    """What null of a dotted key (`train.batch`) means; None where nothing is declared of it."""
    return next(_nulls(RunSpec, key.split(".")), None)


def _nulls(section: type[Section], path: Sequence[str]) -> Iterator[Null]:
    name, *rest = path
    field = fields_of(section).get(name)
    if field is None:
        return
    if not rest:
        yield from (item for item in field.metadata if isinstance(item, Null))
        return
    kind, inner = kind_of(field), section_of(field.annotation)
    if by_matrix := kind_by_matrix(field):
        kind, rest = by_matrix, split_matrix(rest)[1]
    sections = FAMILIES[kind].values() if kind else [inner] if inner else []
    for each in sections:
        yield from _nulls(each, rest)
