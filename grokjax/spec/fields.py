"""Types of fields: ranges, and values that have a form of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

EVENT_KINDS = ("fit", "generalization", "loss_of_generalization", "slingshot", "divergence")
BEFORE = rf"before ({'|'.join(EVENT_KINDS)}):([1-9][0-9]{{0,8}})"


def _whole(value: Any) -> Any:
    """Let 4e4 stand for 40000; anything else is left to the strict integer check."""
    is_whole = isinstance(value, float) and math.isfinite(value) and value.is_integer()
    return int(value) if is_whole else value


def _form(is_right: Callable[[Any], bool], what: str) -> BeforeValidator:
    """Refuses a value that is not of a form of its own with an error of kind `form`, which says what it must be."""

    def check(value: Any) -> Any:
        value = _whole(value)
        if not is_right(value):
            raise PydanticCustomError("form", "{what}", {"what": what})
        return value

    return BeforeValidator(check)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_step(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 1 <= value < 2**31
    return value == "final" or _matches(BEFORE)(value)


def _is_allowed(value: Any) -> bool:
    """What a column of runs may have to be: a plain value, or one of a list."""
    if isinstance(value, list):
        return bool(value) and not any(isinstance(item, list) or not _is_allowed(item) for item in value)
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


def _is_distribution(value: Any) -> bool:
    """One kind with its number, which a constant alone may have below 0."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, number),) = value.items()
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
    return kind in DISTRIBUTIONS and is_number and (number >= 0 or kind == "constant")


class OneWord:
    """Marks text without commas, so that `--set` takes several with commas between them."""


Int = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Int, Field(ge=0, lt=2**31)]
Count = Annotated[Int, Field(ge=1)]
Natural = Annotated[Int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
ZeroToOne = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
ByMatrix = dict[str, NonNegative]
RunId = Annotated[str, _form(_matches("[0-9a-f]{12}"), "12 hex digits, the run_id of a run of these results")]
Step = Annotated[
    int | str,
    _form(_is_step, f"final, a step from 1 on, or `before KIND:N` with KIND one of {', '.join(EVENT_KINDS)}"),
]
Allowed = Annotated[
    Any, _form(_is_allowed, "null, true or false, a finite number or text, or a list of such, which is not empty")
]
DISTRIBUTIONS = ("normal", "uniform", "he", "fan_in", "constant", "line")
Distribution = Annotated[
    dict[str, float],
    _form(_is_distribution, f"one of {', '.join(DISTRIBUTIONS)} with its number (from 0 on, but for constant)"),
]
LogSpaced = Annotated[
    str, _form(_matches("log:([1-9][0-9]{0,3}|10000)"), "null or log:N with N a whole number from 1 to 10000")
]
Activation = Literal["relu", "gelu", "tanh", "square", "identity", "leaky_relu"]
