"""What a field of a spec decides. Run ids, program keys, tuning keys, the program's arrays and the key table follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic.fields import FieldInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Role:
    """What one field decides.

    kind: `static` fixes shapes and code: it is part of a run's id and of its program. `hyper` flows into the program as
    an array, so its value makes no new program; it is part of the id. `observed` decides what is looked at, and is no
    part of the id.

    dtype: of the array; None is the precision of the parameters.
    null: the number that stands for null in the program; without one, whether the field is null is static.
    is_number: False for a hyper that flows as something else than itself: as starting values, rows of the table, or
        inside another number.
    times: of a table by matrix, the field of its section that every entry is multiplied with.
    compiled: of an observed field, whether it fixes shapes or code, and so belongs to the program.
    later: the field came after the first ids were made: it is left out of ids and stored values where it has its
        default, so that these are what they were.
    program_name: its name in the program's key, where that is not the field's path.
    filled: the field is found out, and never given: no sweep has it as a key.
    """

    kind: Literal["static", "hyper", "observed"] = "static"
    dtype: str | None = None
    null: float | None = None
    is_number: bool = True
    times: str | None = None
    compiled: bool = False
    later: bool = False
    program_name: str | None = None
    filled: bool = False

    @property
    def flows(self) -> bool:
        """Whether the field's number is an array of the program."""
        return self.is_number and (self.kind == "hyper" or (self.kind == "observed" and self.dtype is not None))


@dataclass(frozen=True)
class Null:
    """What null of a field means, in the words of pictures and tables.

    text: such as `full batch`.
    most: null is more than any number, and stands after them on an axis; else before.
    number: the column of `Results.runs()` that tells the number null comes to in a run, where there is one.
    """

    text: str
    most: bool = False
    number: str = ""


STATIC = Role()
Hyper = Annotated[T, Role("hyper")]
HyperCount = Annotated[T, Role("hyper", dtype="int32")]
Start = Annotated[T, Role("hyper", is_number=False)]  # of what a run starts with: weights, or rows of the table
Observed = Annotated[T, Role("observed")]
ObservedProgram = Annotated[T, Role("observed", compiled=True)]
Later = Annotated[T, Role(later=True)]


def role_of(field: FieldInfo) -> Role:
    """The role that is written on a field; static where none is."""
    return next((item for item in field.metadata if isinstance(item, Role)), STATIC)
