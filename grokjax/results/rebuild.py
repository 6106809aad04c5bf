"""Specs of stored values: many runs share most of their sections, so each section is made once."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from grokjax.results.files import RUN_ID
from grokjax.spec.families import FAMILIES, validate
from grokjax.spec.identity import run_id
from grokjax.spec.origin import Origin
from grokjax.spec.own import OPAQUE
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Families
from grokjax.sweep.keys import split_key


class SpecMaker:
    """families: with those of a user's file; None takes these as they stand, and runs none of their code."""

    def __init__(self, families: Families | None = None):
        self._families = families
        self._sections: dict[tuple[str, str], Any] = {}

    def spec_of(self, values: dict[str, Any]) -> RunSpec:
        """The spec of resolved values by their dotted keys. Raises ValueError for what is none."""
        nested = _nested(values)
        families = self._families or (OPAQUE if "uses" in nested else FAMILIES)
        sections = {name: self._section(name, value, families) for name, value in nested.items()}
        missing = RunSpec.model_fields.keys() - sections.keys() - {"uses"}
        if missing:
            raise ValueError(f"a run has no {', '.join(sorted(missing))}")
        return RunSpec.model_construct(**sections)

    def _section(self, name: str, value: Any, families: Families) -> Any:
        stamp = (name, json.dumps(value))
        if stamp not in self._sections:
            self._sections[stamp] = getattr(_validated({name: value}, families), name)
        return self._sections[stamp]

    def check_id(self, stored: str, spec: RunSpec, origin: Origin | None) -> None:
        """Raises ValueError where an id is not that of its values: nothing else is used as a name later."""
        is_known = spec.init.from_file is None and spec.uses is None  # else a file's content counts, or its code
        expected = run_id(spec, origin) if is_known else stored
        if expected != stored or not RUN_ID.fullmatch(expected):
            raise ValueError(f"run {stored} has the values of run {expected}")


def _validated(nested: dict[str, Any], families: Families) -> RunSpec:
    try:
        return validate(nested, families)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = split_key(key)
        node = nested
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return nested
