"""What all parts of a spec have in common: sections, families of a kind, and how a family is picked by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

KINDS = ("task", "model", "loss", "optimizer", "schedule", "filter", "constraint", "probe")


class Section(BaseModel):
    """A mapping of a sweep file. Values are read strictly: no text is taken for a number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Problem(NamedTuple):
    """What is wrong with a run, at which key; `related` are keys where it is said if `key` itself was not given."""

    key: str
    what: str
    related: tuple[str, ...] = ()


class Family(Section):
    """One choice of a kind (of the kind optimizer: `adamw`). Its class is all that is declared of it; what it computes
    is one function in the dictionary of its kind."""

    name: Any  # a literal in each family
    function: ClassVar[Callable[..., Any] | None] = None  # of a user's own family, which brings its function along
    written_as_name: ClassVar[bool] = False  # in a sweep file: without keys of its own

    def idle(self) -> set[str]:
        """Fields that cannot change a run, as the others are: they are no part of its id."""
        return set()

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        """Runs of this family in a few words.

        text_of: the value of a field of the family as text, or a word that says that it differs between the runs.
        """
        return text_of("name").replace("_", " ")

    def resolved(self) -> Self:
        """With the values that follow from others filled in."""
        return self

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        """What is contradictory in a run of this family (before `resolved`)."""
        return iter(())


Families = Mapping[str, Mapping[str, type[Family]]]  # kind -> name -> class; the first of a kind is the default


def implementation(functions: Mapping[str, Any], family: Family) -> Any:
    """What a family computes: its entry in the dictionary of its kind, or what the user's file has for it."""
    return functions[family.name] if type(family).function is None else type(family).function


@dataclass(frozen=True)
class PickFamily:
    """Marks a field that holds a family of a kind. Validation gets the families as context."""

    kind: str


def family_field(kind: str) -> tuple[PickFamily, PlainValidator]:
    """Annotations of a field that holds a family of a kind."""

    def pick(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Family):
            return value
        assert info.context is not None, "validated with `families` as context"
        families = info.context["families"][kind]
        by_name = all(family.written_as_name for family in families.values())
        if by_name and not isinstance(value, str):
            raise PydanticCustomError("string_type", "Input should be a name")
        if not by_name and not isinstance(value, dict):
            raise PydanticCustomError("model_type", "Input should be a mapping")
        values = {"name": value} if isinstance(value, str) else value
        name = values.get("name", next(iter(families)))
        if not isinstance(name, str) or name not in families:
            context = {"kind": kind, "name": name, "options": ", ".join(families)}
            raise PydanticCustomError("family", "unknown family", context)
        return families[name].model_validate(values, context=info.context)

    return PickFamily(kind), PlainValidator(pick)


def kind_of(field: FieldInfo) -> str | None:
    """The kind whose families a field holds, if it does."""
    return next((item.kind for item in field.metadata if isinstance(item, PickFamily)), None)


def kind_by_matrix(field: FieldInfo) -> str | None:
    """The kind of a field that holds a mapping of matrices to families (optimizer.groups)."""
    if get_origin(field.annotation) is not dict:
        return None
    within = getattr(get_args(field.annotation)[1], "__metadata__", ())
    return next((item.kind for item in within if isinstance(item, PickFamily)), None)
