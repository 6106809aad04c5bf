"""Specs of stored values: many runs share most of their sections, so each section is made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from grokjax.results.files import RUN_ID
from grokjax.results.run_table import NONE, RunTable
from grokjax.spec.families import FAMILIES, validate
from grokjax.spec.identity import run_id
from grokjax.spec.memo import Memo
from grokjax.spec.origin import Origin
from grokjax.spec.own import OPAQUE
from grokjax.spec.run import DEFAULTS, RunSpec
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

    def spec_of(self, values: Values) -> RunSpec:
        """The spec of a run's values. Raises ValueError for what is none."""
        sections = _by_section(values)
        families = self._of(sections)
        return _spec({name: self._section(name, own, families) for name, own in sections.items()})

    def specs_of(self, table: RunTable, rows: np.ndarray) -> list[RunSpec]:
        """The specs of some rows. Raises ValueError for what is none."""
        specs: dict[int, RunSpec] = {}
        for bucket in np.unique(table.bucket[rows]).tolist():
            of_bucket = rows[table.bucket[rows] == bucket]
            shared = _by_section(table.common[bucket])
            families = self._of(shared)
            same = {name: self._section(name, values, families) for name, values in shared.items()}
            differ = [
                (name, self._sections_of(name, keys, table, of_bucket, shared.get(name, {}), families))
                for name, keys in _columns_by_section(table).items()
            ]
            for at, row in enumerate(of_bucket.tolist()):
                own = {name: sections[at] for name, sections in differ if sections[at] is not None}
                specs[row] = _spec(same | own)
        return [specs[row] for row in rows.tolist()]

    def _sections_of(
        self, name: str, keys: list[str], table: RunTable, rows: np.ndarray, shared: Values, families: Families
    ) -> list[Any]:
        """The section of each row, each made once; None where a row has no such values of its own."""
        which = np.zeros(len(rows), np.int64)
        for key in keys:
            column = table.columns[key]
            which = which * (len(column.texts) + 1) + column.codes[rows] + 1
            which = np.unique(which, return_inverse=True)[1]
        _, first = np.unique(which, return_index=True)
        made = []
        for row in rows[first].tolist():
            own = {key: table.columns[key][row] for key in keys if table.columns[key].codes[row] != NONE}
            made.append(self._section(name, shared | own, families) if own else None)
        return [made[at] for at in which.tolist()]

    def _of(self, sections: dict[str, Values]) -> Families:
        return self._families or (OPAQUE if "uses" in sections else FAMILIES)

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


def _spec(sections: dict[str, Any]) -> RunSpec:
    missing = OF_EVERY_RUN - sections.keys()
    if missing:
        raise ValueError(f"a run has no {', '.join(sorted(missing))}")
    return RunSpec.of(DEFAULTS | sections)


def _columns_by_section(table: RunTable) -> dict[str, list[str]]:
    """Section -> its keys whose values not all runs share."""
    found: dict[str, list[str]] = {}
    for key in table.columns:
        found.setdefault(key.partition(".")[0], []).append(key)
    return found


def _by_section(values: Values) -> dict[str, Values]:
    sections: dict[str, Values] = {}
    for key, value in values.items():
        sections.setdefault(key.partition(".")[0], {})[key] = value
    return sections


def _validated(tree: dict[str, Any], families: Families) -> RunSpec:
    try:
        return validate(DEFAULTS | tree, families)
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
