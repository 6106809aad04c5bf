"""Finite groups by their names: C113 (cyclic), D59 (dihedral, of 118 elements), S5, A5, products such as C7xC7."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from grokjax.spec.fields import OneWord

MOST_ELEMENTS = 4096
FACTOR = re.compile(r"([CDSA])([1-9][0-9]{0,3})")


def factors_of(name: str) -> list[tuple[str, int]]:
    """(kind, number) of each factor: `C7xS3` is [("C", 7), ("S", 3)]. Raises ValueError for what is no group."""
    found = [FACTOR.fullmatch(part) for part in name.split("x")]
    if not all(found):
        raise ValueError(name)
    return [(match[1], int(match[2])) for match in found if match]


def order_of(name: str) -> int:
    """Elements of a group."""
    return math.prod(_order(kind, n) for kind, n in factors_of(name))


def _order(kind: str, n: int) -> int:
    if kind in "CD":
        return n if kind == "C" else 2 * n
    permutations = math.factorial(min(n, 20))
    return permutations if kind == "S" else max(1, permutations // 2)


def _group(value: Any) -> Any:
    try:
        is_group = isinstance(value, str) and 2 <= order_of(value) <= MOST_ELEMENTS
    except ValueError:
        is_group = False
    if not is_group:
        what = f"a group of 2 to {MOST_ELEMENTS} elements: C113, D59, S5, A5, or a product such as C7xC7"
        raise PydanticCustomError("form", "{what}", {"what": what})
    return value


Group = Annotated[str, BeforeValidator(_group), OneWord()]
