"""Specs of stored values: many runs share most of their sections, so each section is made once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from grokjax.results.files import RUN_ID
from grokjax.spec.families import FAMILIES, validate
from grokjax.spec.identity import run_id
from grokjax.spec.memo import Memo
from grokjax.spec.origin import Origin
from grokjax.spec.own import OPAQUE
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Families
from grokjax.spec.walk import roles_of
from grokjax.sweep.keys import split_key

Values = dict[str, Any]  # by dotted keys
OF_EVERY_RUN = {name for name, role in roles_of(RunSpec).items() if not role.later}  # sections, whatever the version


class SpecMaker:
    """families: with those of a user's file; None takes these as they stand, and runs none of their code."""

    def __init__(self, families: Families | None = None):
        self._families = families
        self._sections: dict[tuple[str, str], Any] = {}
        self._memo = Memo()

    def specs_of(self, common: Values, rows: list[Values]) -> Iterator[RunSpec]:
        """The specs of runs that share values, and have others of their own. Raises ValueError for what is none."""
        shared = _by_section(common)
        families = self._families or (OPAQUE if "uses" in shared else FAMILIES)
        shared_sections = {name: self._section(name, values, families) for name, values in shared.items()}
        for row in rows:
            sections = dict(shared_sections)
            for name, values in _by_section(row).items():
                sections[name] = self._section(name, shared.get(name, {}) | values, families)
            missing = OF_EVERY_RUN - sections.keys()
            if missing:
                raise ValueError(f"a run has no {', '.join(sorted(missing))}")
            yield RunSpec.model_construct(**sections)

    def _section(self, name: str, values: Values, families: Families) -> Any:
        stamp = (name, json.dumps(values, sort_keys=True))
        if stamp not in self._sections:
            self._sections[stamp] = getattr(_validated(nested(values), families), name)
        return self._sections[stamp]

    def check_id(self, stored: str, spec: RunSpec, origin: Origin | None) -> None:
        """Raises ValueError where an id is not that of its values: nothing else is used as a name later."""
        is_known = spec.init.from_file is None and spec.uses is None  # else a file's content counts, or its code
        expected = run_id(spec, origin, self._memo) if is_known else stored
        if expected != stored or not RUN_ID.fullmatch(expected):
            raise ValueError(f"run {stored} has the values of run {expected}")


def _by_section(values: Values) -> dict[str, Values]:
    sections: dict[str, Values] = {}
    for key, value in values.items():
        sections.setdefault(key.partition(".")[0], {})[key] = value
    return sections


def _validated(tree: dict[str, Any], families: Families) -> RunSpec:
    try:
        return validate(tree, families)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted keys as nested mappings, the form of a sweep file."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = split_key(key)
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree
