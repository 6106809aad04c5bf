"""What a field decides is written on the field: ids, program keys and the program's arrays follow from it."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from grokjax.spec.families import FAMILIES, validate
from grokjax.spec.hypers import hyper_of
from grokjax.spec.identity import program_key, run_id, tuning_key
from grokjax.spec.own import BASES as BASES_OF_KINDS
from grokjax.spec.own import WITHOUT_NUMBERS
from grokjax.spec.roles import role_of
from grokjax.spec.run import RunSpec
from grokjax.spec.section import Section, kind_of
from grokjax.spec.walk import fields_of, plain, section_of
from grokjax.sweep.resolve import resolve

SECTIONS = ("init", "train", "noise", "stop", "numerics", "log", "events", "engine")
# values that are read otherwise than as they stand, or that no generic rule can vary
BY_HAND = {
    "init.from_file", "init.from_run", "task.split", "optimizer.schedule", "optimizer.filters", "optimizer.groups",
    "log.probes", "model.widths", "task.widths",
}  # fmt: skip
NEED_FILES = ("arrays",)  # families that cannot be made without a file; tests/test_arrays.py has them
OTHERS = {"task.op": "aba", "task.group": "C7", "task.split.rows": "rows.npz"}  # values of a form of their own
# starts that make some of a family's fields matter: a decay factor counts only where there is decay
BASES = {
    "sgd": {"optimizer": {"name": "sgd", "momentum": 0.5, "weight_decay": 0.1}},
    "rmsprop": {"optimizer": {"name": "rmsprop", "momentum": 0.5, "weight_decay": 0.1}},
    "mlp": {"model": {"name": "mlp", "input": "embedded"}, "init": {"scheme": "fan_in"}},
    "fixed_norm": {"constraint": {"name": "fixed_norm", "radius": 3.0}},
}


def leaves() -> list[tuple[str, str, str]]:
    """(name of the base, section, field) of every field of every section and top-level family."""
    rows = [("", section, name) for section in SECTIONS for name in fields_of(type(getattr(RunSpec(), section)))]
    for section, field in fields_of(RunSpec).items():
        for name, cls in FAMILIES.get(kind_of(field) or "", {}).items():
            if name not in NEED_FILES:
                rows += [(name, section, field_name) for field_name in fields_of(cls) if field_name != "name"]
    return [row for row in rows if f"{row[1]}.{row[2]}" not in BY_HAND]


def values_of(base: str, section: str) -> dict[str, Any]:
    values = dict(BASES.get(base, {}))
    if base and section not in values:
        values[section] = {"name": base} | ({"weight_decay": 0.1} if section == "optimizer" else {})
    return values


def other_value(annotation: Any, value: Any) -> Any:
    """Another value of the same type."""
    if get_origin(annotation) is Literal:
        return next(option for option in get_args(annotation) if option != value)
    if isinstance(value, str) and get_origin(literal := get_args(annotation)[0]) is Literal:
        return next((option for option in get_args(literal) if option != value), 8)  # engine.lanes: auto
    if isinstance(value, list):
        return [*value, "W_E"]
    if value is None:
        inner = next(other for other in get_args(annotation) if other is not type(None))
        inner = get_args(inner)[0] if hasattr(inner, "__metadata__") else inner
        if get_origin(inner) is Literal:
            return get_args(inner)[0]
        return "log:3" if inner is str else 7
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return value | {"W_E": 0.5}
    if isinstance(value, list):
        return [item / 2 for item in value]
    if isinstance(value, int):
        return value + 10
    if isinstance(value, float):
        return value * 0.5 if value else 0.25
    raise AssertionError(f"no other value than {value!r} is known")


def spec_with(base: str, section: str, field: str | None = None) -> RunSpec:
    values = values_of(base, section)
    spec = resolve(validate(values), {"optimizer.weight_decay"})
    if field is None:
        return spec
    part = getattr(spec, section)
    if f"{section}.{field}" in OTHERS:
        other = OTHERS[f"{section}.{field}"]
        return spec.model_copy(update={section: part.model_copy(update={field: other})})
    changed = other_value(type(part).model_fields[field].annotation, getattr(part, field))
    return spec.model_copy(update={section: part.model_copy(update={field: changed})})


@pytest.mark.parametrize(("base", "section", "field"), leaves())
def test_a_changed_value_changes_the_id_the_program_or_neither_as_its_role_says(base: str, section: str, field: str):
    before, after = spec_with(base, section), spec_with(base, section, field)
    role = role_of(type(getattr(before, section)).model_fields[field])
    was_null = getattr(getattr(before, section), field) is None
    presence = was_null and role.kind == "hyper" and role.is_number and role.null is None
    idle = field in getattr(before, section).idle() if hasattr(getattr(before, section), "idle") else False
    undone = before.constraint.undoes_scale and f"{section}.{field}" == "init.scale"
    counts_for_id = role.kind != "observed" and not idle and not undone
    of_program = role.kind == "static" or (role.kind == "observed" and role.compiled) or presence
    assert (run_id(before) != run_id(after)) == counts_for_id
    assert (program_key(before) != program_key(after)) == of_program
    assert (tuning_key(before) != tuning_key(after)) == (role.kind == "static" or presence)


@pytest.mark.parametrize(("base", "section", "field"), leaves())
def test_the_program_s_arrays_are_the_hypers_that_flow(base: str, section: str, field: str):
    spec = spec_with(base, section)
    value, role = getattr(getattr(spec, section), field), role_of(type(getattr(spec, section)).model_fields[field])
    there = field in hyper_of(spec).get(section, {})
    assert there == (role.flows and (value is not None or role.null is not None))
    if there and isinstance(value, float):
        assert hyper_of(spec)[section][field] == np.float32(value)


def test_every_section_of_a_run_is_looked_at():
    assert {section for _, section, _ in leaves()} == set(fields_of(RunSpec)) - {"seed", "uses"}


def test_a_later_field_is_no_part_of_an_id_at_its_default_and_is_one_else():
    plain_run = resolve(RunSpec(), set())
    cosine = plain_run.optimizer.model_copy(update={"schedule": FAMILIES["schedule"]["cosine"]()})
    scheduled = plain_run.model_copy(update={"optimizer": cosine})
    assert "schedule" in plain(plain_run.optimizer)  # it is among the values that are shown
    assert run_id(scheduled) != run_id(plain_run)
    assert program_key(scheduled) != program_key(plain_run)


def test_numbers_of_filters_and_schedules_are_hypers_and_their_order_is_not():
    def run(*filters: dict[str, Any], **schedule: Any) -> RunSpec:
        return resolve(validate({"optimizer": {"filters": list(filters)} | schedule}), set())

    ema, ortho = {"name": "grokfast_ema", "lamb": 2.0}, {"name": "orthograd"}
    assert program_key(run(ema)) == program_key(run(ema | {"lamb": 3.0}))
    assert run_id(run(ema)) != run_id(run(ema | {"lamb": 3.0}))
    assert program_key(run(ema, ortho)) != program_key(run(ortho, ema))
    assert hyper_of(run(ortho, ema))["optimizer"]["filters"][1]["lamb"] == 2.0
    half = {"schedule": {"name": "cosine", "final": 0.5}}
    assert program_key(run(**half)) == program_key(run(schedule={"name": "cosine", "final": 0.1}))
    assert hyper_of(run(**half))["optimizer"]["schedule"]["final"] == 0.5


@pytest.mark.parametrize("name", FAMILIES["schedule"])
def test_numbers_of_every_schedule_and_filter_are_hypers_but_for_those_that_fix_shapes(name: str):
    def run(**optimizer: Any) -> RunSpec:
        return resolve(validate({"optimizer": optimizer}), set())

    cases = {"schedule": [(name, "schedule")], "filter": [(each, "filters") for each in FAMILIES["filter"]]}
    for kind, pairs in cases.items():
        for family, key in pairs:
            for field, info in FAMILIES[kind][family].model_fields.items():
                if field == "name":
                    continue
                one, other = (
                    {"name": family, field: value}
                    for value in (info.default, other_value(info.annotation, info.default))
                )
                before, after = (run(**{key: [each] if kind == "filter" else each}) for each in (one, other))
                assert run_id(before) != run_id(after)
                assert (program_key(before) == program_key(after)) == role_of(info).flows
                assert before.optimizer.state_kind == after.optimizer.state_kind or not role_of(info).flows


def test_groups_have_hypers_and_statics_of_their_own():
    def run(groups: dict[str, Any], **optimizer: Any) -> RunSpec:
        return resolve(validate({"optimizer": optimizer | {"groups": groups}}), {"optimizer.weight_decay"})

    plain_run, lion = run({}), {"name": "lion", "weight_decay": 0.1}
    assert run_id(plain_run) == run_id(resolve(RunSpec(), set()))
    base = run({"W_E": lion, "W_U": {"name": "rmsprop"}})
    assert program_key(base) != program_key(plain_run)
    assert run_id(base) == run_id(run({"W_U": {"name": "rmsprop"}, "W_E": lion}))
    for key, value in {"lr": 0.5, "b2": 0.5, "warmup_steps": 3, "lr_by_matrix": {"W_E": 2.0}}.items():
        changed = run({"W_E": lion | {key: value}, "W_U": {"name": "rmsprop"}})
        assert run_id(changed) != run_id(base), key
        assert program_key(changed) == program_key(base), key
    assert run_id(run({"W_E": lion | {"lr_by_matrix": {"W_E": 1.0}}, "W_U": {"name": "rmsprop"}})) == run_id(base)
    for other in (
        {"W_E": lion | {"decay": "coupled"}, "W_U": {"name": "rmsprop"}},
        {"W_E": lion, "W_U": {"name": "rmsprop", "momentum": 0.5}},
        {"W_E": lion, "W_pos": {"name": "rmsprop"}},
        {"W_E": {"name": "signum"}, "W_U": {"name": "rmsprop"}},
    ):
        assert program_key(run(other)) != program_key(base)
        assert run_id(run(other)) != run_id(base)
    clipped = run({"W_E": lion}, clip_norm=1.0)
    assert program_key(clipped) != program_key(run({"W_E": lion}))
    numbers = hyper_of(base)["optimizer"]["groups"]
    assert numbers["W_E"]["b2"] == np.float32(0.99)
    assert "momentum" not in numbers["W_U"]


def test_whether_a_number_of_an_optimizer_is_null_is_static_and_its_value_is_not():
    def key(**optimizer: Any) -> str:
        return program_key(resolve(validate({"optimizer": optimizer}), set()))

    assert key(name="adafactor", clipping_threshold=None) != key(name="adafactor")
    assert key(name="adafactor", clipping_threshold=2.0) == key(name="adafactor")
    assert key(name="rmsprop", momentum=0.5) != key(name="rmsprop")
    assert key(name="rmsprop", momentum=0.5) == key(name="rmsprop", momentum=0.9)


def test_hypers_stand_only_where_their_arrays_reach_a_function():
    """Of other kinds the function reads the spec, and one run's value would be compiled in for all."""
    for kind, families in FAMILIES.items():
        shared = set(BASES_OF_KINDS[kind].model_fields)
        for cls in families.values() if kind in WITHOUT_NUMBERS else ():
            flowing = {name for name, field in cls.model_fields.items() if role_of(field).flows}
            assert flowing <= shared, cls


def test_every_family_is_listed_under_its_own_name():
    for kind, families in FAMILIES.items():
        for name, cls in families.items():
            assert cls.model_fields["name"].default == name, (kind, name)


def test_a_section_without_values_can_be_found_by_its_annotation():
    assert section_of(RunSpec.model_fields["train"].annotation) is not None
    assert issubclass(type(RunSpec().train), Section)
