"""Constraints on the parameters after each update. What each one computes is in `grokjax/train/constraints.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from grokjax.spec.fields import Positive
from grokjax.spec.roles import Null, Role
from grokjax.spec.section import Family


class Constraint(Family):
    replaces_decay: ClassVar[bool] = False  # whether a run has no weight decay unless it asks for one
    holds_norm: ClassVar[bool] = False  # whether runs stay on a sphere

    @property
    def undoes_scale(self) -> bool:
        """Whether a common factor on all starting values makes no difference."""
        return False


class NoConstraint(Constraint):
    name: Literal["none"] = "none"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return ""


class FixedNorm(Constraint):
    name: Literal["fixed_norm"] = "fixed_norm"
    scope: Literal["global", "matrix"] = "global"
    """global: one scalar over all parameters (Omnigrok); matrix: every W_ matrix by itself, vectors free."""
    radius: Annotated[Positive | None, Role("hyper", null=math.nan), Null("initial norm")] = None
    """null is the norm at the start."""

    replaces_decay: ClassVar[bool] = True
    holds_norm: ClassVar[bool] = True

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"norm held fixed ({text_of('scope')})"

    @property
    def undoes_scale(self) -> bool:
        return self.scope == "global" and self.radius is not None  # the projection at step 0 sets the length


CONSTRAINTS: dict[str, type[Constraint]] = {"none": NoConstraint, "fixed_norm": FixedNorm}
