"""The numbers of a run that flow into its program as arrays, derived from the roles of the fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from grokjax.spec.run import RunSpec
from grokjax.spec.section import Section
from grokjax.spec.shapes import by_matrix, parameter_shapes
from grokjax.spec.walk import roles_of

Hyper = dict[str, Any]  # nested as the spec is: hyper["optimizer"]["lr"]; a table by matrix has a number a parameter


def hyper_of(spec: RunSpec, prior_steps: int = 0) -> Hyper:
    """One run's numbers, in explicit dtypes.

    prior_steps: steps that its optimizer has behind it at step 0, where it goes on from another run.
    """
    names = list(parameter_shapes(spec))
    hyper = _numbers(spec, names, spec.numerics.params)
    return hyper | {"prior_steps": np.asarray(prior_steps, np.int32)}


READ_OFF_THE_SPEC = ("task", "model", "loss")  # sections whose functions are given the spec, and no numbers apart


def with_numbers(spec: RunSpec, hyper: Hyper) -> RunSpec:
    """A run whose task, model and loss have the program's arrays for the numbers that flow, in place of its own: their
    functions read a number off the spec, and are compiled once for all of its values."""
    update = {}
    for name in READ_OFF_THE_SPEC:
        section = getattr(spec, name)
        roles = roles_of(type(section))
        flowing = {key: value for key, value in hyper.get(name, {}).items() if roles[key].flows}
        update[name] = section.model_copy(update=flowing)
    return spec.model_copy(update=update)


def numbers_read(spec: RunSpec) -> Hyper:
    """The numbers that flow of the sections of `READ_OFF_THE_SPEC`, but for the scale of the logits, which everything
    is given apart. Runs of one program with equal ones have one forward pass."""
    kept: Hyper = {}
    for name in READ_OFF_THE_SPEC:
        section = getattr(spec, name)
        for key, role in roles_of(type(section)).items():
            if role.flows and (name, key) != ("model", "logit_scale"):
                kept[f"{name}.{key}"] = getattr(section, key)
    return kept


def _numbers(section: Section, names: list[str], precision: str) -> Hyper:
    numbers: Hyper = {}
    for name, role in roles_of(type(section)).items():
        value = getattr(section, name)
        dtype = role.dtype or precision
        if isinstance(value, Section):
            inner = _numbers(value, names, precision)
            if inner:
                numbers[name] = inner
        elif isinstance(value, list) and value and all(isinstance(item, Section) for item in value):
            numbers[name] = [_numbers(item, names, precision) for item in value]
        elif isinstance(value, dict) and any(isinstance(item, Section) for item in value.values()):
            numbers[name] = {key: _numbers(item, names, precision) for key, item in value.items()}
        elif role.flows and isinstance(value, dict):
            overall = 1.0 if role.times is None else getattr(section, role.times)
            given = by_matrix(value, names)
            numbers[name] = {matrix: np.asarray(overall * given.get(matrix, 1.0), dtype) for matrix in names}
        elif role.flows and (value is not None or role.null is not None):
            numbers[name] = _number(role.null if value is None else value, dtype)
    return numbers


def _number(value: Any, dtype: str) -> np.ndarray:
    if np.issubdtype(np.dtype(dtype), np.integer):
        value = min(value, np.iinfo(dtype).max)  # more steps than can be counted are as good as all of them
    return np.asarray(value, dtype)
