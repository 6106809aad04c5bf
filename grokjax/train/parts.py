"""A transformation for some parameters and another for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optax

from grokjax.models.params import Params


def by_parts(
    transforms: Mapping[str, optax.GradientTransformation], part_of: Callable[[str], str]
) -> optax.GradientTransformationExtraArgs:
    """Each parameter by the transformation of its part, which sees the parameters of that part only.

    part_of: name of a parameter -> its part. A part without parameters has no state.
    """
    made: dict[str, Any] = {part: optax.with_extra_args_support(each) for part, each in transforms.items()}

    def of_part(part: str, values: Params) -> Params:
        return {name: value for name, value in values.items() if part_of(name) == part}

    def init(params: Params) -> dict[str, Any]:
        parts = {part: of_part(part, params) for part in made}
        return {part: made[part].init(inside) for part, inside in parts.items() if inside}

    def update(updates: Params, state: dict[str, Any], params: Params, **extra: Any) -> tuple[Params, dict[str, Any]]:
        out, states = {}, {}
        for part, of_state in state.items():
            inside = of_part(part, params)
            known = extra | ({"obj_fn": _of(extra["obj_fn"], params)} if "obj_fn" in extra else {})
            steps, states[part] = made[part].update(of_part(part, updates), of_state, inside, **known)
            out |= steps
        return {name: out[name] for name in updates}, states

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _of(objective: Callable[[Params], Any], params: Params) -> Callable[[Params], Any]:
    """The objective as a function of some parameters, the others as they are."""
    return lambda inside: objective({**params, **inside})
