"""From a flat layer to a typed spec, one section at a time."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from grokjax.spec.run import DEFAULTS, RunSpec
from grokjax.sweep.explain import report
from grokjax.sweep.keys import FAMILY_PATHS, families_of, family_paths, key_problem, split_key, without_matrix
from grokjax.sweep.layers import Layer, Mistakes, upwards
from grokjax.sweep.nodes import describe
from grokjax.sweep.synonyms import value_hint


def build_section(section: str, items: Layer, mistakes: Mistakes) -> Any:
    """The typed section of its keys, or None with its mistakes reported where their values stand."""
    names, good = _named_families(section, items, mistakes)
    nested: dict[str, Any] = {}
    for key, item in items.items():
        stamp = (key, item.from_axis, *names.items())  # values are drawn anew for each run, keys stay
        if stamp not in mistakes.keys:
            mistakes.keys[stamp] = key_problem(key, names, item.from_axis, mistakes.families)
        problem = mistakes.keys[stamp]
        if problem:
            bad, what = problem[0] or key, problem[1]
            mistakes.at(upwards(item.key_path, key, bad), bad, what)
            good = False
        else:
            _put(nested, key, item.value)
    if section in FAMILY_PATHS and isinstance(nested.get(section, {}), dict):
        keys = [key for key in items if key != f"{section}.name"]
        likeliest = names[section] or families_of(section, keys, mistakes.families)[0]
        nested.setdefault(section, {})["name"] = likeliest
    try:
        spec = RunSpec.model_validate(DEFAULTS | nested, context={"families": mistakes.families})
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            report(problem, items, mistakes)
        return None
    return getattr(spec, section) if good else None


def _named_families(section: str, items: Layer, mistakes: Mistakes) -> tuple[dict[str, str | None], bool]:
    """The families that a section's names pick, by path, and whether all of them exist. Where one does not, keys of any
    family pass, and values are read as the likeliest's."""
    names: dict[str, str | None] = {}
    good = True
    for path, kind in family_paths(items).items():
        if path.partition(".")[0] != section:
            continue
        options = mistakes.families[kind]
        given = items.get(f"{path}.name")
        names[path] = next(iter(options)) if given is None else given.value
        if given is not None and (not isinstance(given.value, str) or given.value not in options):
            hint = value_hint(without_matrix(f"{path}.name"), given.value, options)
            what = f"must be one of {', '.join(options)}, got {describe(given.value)}{hint}"
            mistakes.at(given.path, f"{path}.name", what)
            names[path], good = None, False
    return names, good


def _put(nested: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings. A table that is no mapping is left: that is told when it is validated."""
    *above, last = split_key(key)
    node: Any = nested
    for part in above:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[last] = dict(value) if isinstance(value, dict) else value
