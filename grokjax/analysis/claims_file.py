"""The file of a paper's claims: where they are from, what is measured, and what counts as reproduced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from grokjax.analysis.where import parsed
from grokjax.spec.fields import Natural, NonNegative
from grokjax.spec.section import Section
from grokjax.sweep.load import Document, Mistake, SweepError, read_sweep
from grokjax.sweep.nodes import describe, shown_key
from grokjax.sweep.spelling import did_you_mean

Size = Literal["cpu", "full"]
Source = Literal["code", "results", "paper"]
SOURCES = {"code": "released code", "results": "computed from released results", "paper": "paper"}
MOST_LETTERS = 34  # of a claim's name, which stands in a picture


def _wrong(what: str) -> PydanticCustomError:
    return PydanticCustomError("claim", "{what}", {"what": what})


def _readable(condition: str) -> str:
    try:
        parsed(condition)
    except ValueError as error:
        raise _wrong(str(error)) from None
    return condition


Condition = Annotated[str, AfterValidator(_readable)]
Text = Annotated[str, Field(min_length=1)]


class Measure(Section):
    """A statistic over runs."""

    statistic: Literal["median", "share", "mean", "max", "min"]
    """share: of the runs that meet the condition `of`; median: a run that never got there is later than any."""
    of: Text
    """A column of runs() such as generalization_step or final/test/loss; a metric with `at`, `passes` or `falls_to`."""
    at: Natural | None = None
    """The metric at this step."""
    passes: float | None = None
    """The first step at which the metric is at least this."""
    falls_to: float | None = None
    """The first step, from where the metric is largest on, at which it is at most this."""
    where: Condition | None = None
    """The runs that count."""

    @model_validator(mode="after")
    def _is_whole(self) -> Measure:
        given = [name for name in ("at", "passes", "falls_to") if getattr(self, name) is not None]
        if len(given) > 1:
            raise _wrong(f"{' and '.join(given)} cannot go together: each is another measure")
        if self.statistic == "share":
            _readable(self.of)
            if given:
                raise _wrong(f"a share is of runs with a condition; {given[0]} is of a metric")
        return self


class Against(Section):
    """The same statistic of other runs."""

    where: Condition
    """Those runs."""
    by: Literal["ratio", "difference"] = "ratio"
    """What is compared: the measure divided by theirs, or less theirs."""


class Claim(Section):
    """One published result."""

    name: Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]
    """In few words, for a picture."""
    what: Text
    """What is claimed, in a sentence."""
    source: Source | None = None
    """Where the number is from, where it is not what the file says."""
    published: float | None = None
    """The published number; null of a claim without one."""
    measure: Measure
    against: Against | None = None
    within: Annotated[float, Field(gt=1)] | None = None
    """Reproduced within this factor of the published number."""
    tolerance: NonNegative | None = None
    """Reproduced within this distance of the published number."""
    at_least: float | None = None
    at_most: float | None = None
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)] = ("cpu", "full")
    """The sizes of the sweep that it can be held against."""

    @model_validator(mode="after")
    def _says_what_counts(self) -> Claim:
        near = [name for name in ("within", "tolerance") if getattr(self, name) is not None]
        bounds = [name for name in ("at_least", "at_most") if getattr(self, name) is not None]
        if len(near) > 1 or (near and bounds) or not (near or bounds):
            raise _wrong("what counts as reproduced is one of within, tolerance, or at_least and at_most")
        if near and self.published is None:
            raise _wrong(f"{near[0]} is of a published number, and there is none")
        if self.within is not None and (self.published or 0) <= 0:
            raise _wrong("within is a factor, so the published number must be above 0; use tolerance")
        if self.accepted[0] > self.accepted[1]:
            raise _wrong("at_least is above at_most")
        return self

    @property
    def accepted(self) -> tuple[float, float]:
        """The least and the largest value that count as reproduced."""
        if self.within is not None:
            return (self.published or 0) / self.within, (self.published or 0) * self.within
        if self.tolerance is not None:
            return (self.published or 0) - self.tolerance, (self.published or 0) + self.tolerance
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most

    @property
    def criterion(self) -> str:
        """`within a factor of 1.3`, `at least 500`"""
        if self.within is not None:
            return f"within a factor of {self.within:g}"
        if self.tolerance is not None:
            return f"within {self.tolerance:g}"
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{words} {bound:,g}" for words, bound in bounds.items() if bound is not None)


class Picture(Section):
    """The curves that matter."""

    metric: Text = "test/accuracy"
    by: str | None = None
    """A key that tells lines apart, beside the arms."""
    where: Condition | None = None


class Claims(Section):
    """What a paper published, and how a sweep is held against it."""

    title: Text
    citation: Text
    """Authors and year."""
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    source: Source
    """Where the numbers are from, but for claims that say another."""
    remarks: tuple[Text, ...] = ()
    """On the setup: where paper and code differ, and what is not known."""
    needs: dict[str, Text] = Field(default_factory=dict)
    """Keys of files of the user's that the sweep needs, and what these are."""
    picture: Picture = Picture()
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Claims:
        names = [claim.name for claim in self.claims]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise _wrong(f"two claims are called {twice[0]!r}")
        return self

    def source_of(self, claim: Claim) -> str:
        return SOURCES[claim.source or self.source]


def read_claims(path: Path) -> Claims:
    """Raises SweepError with all mistakes of the file, each with its line."""
    document = read_sweep(path)
    found = set(document.mistakes)
    try:
        claims = Claims.model_validate(_tupled(document.data))
    except ValidationError as error:
        found.update(_mistake(document, problem) for problem in error.errors(include_url=False))
    else:
        if not found:
            return claims
    raise SweepError(found)


def _tupled(value: Any) -> Any:
    """YAML's lists as the strict model takes them."""
    if isinstance(value, list):
        return tuple(_tupled(item) for item in value)
    return {key: _tupled(item) for key, item in value.items()} if isinstance(value, dict) else value


def _mistake(document: Document, problem: Any) -> Mistake:
    path = tuple(problem["loc"])
    return Mistake(*document.place(path), shown_key(path), _told(problem))


def _told(problem: Any) -> str:
    kind, context, got = problem["type"], problem.get("ctx", {}), describe(problem.get("input"))
    match kind:
        case "claim":
            return context["what"]
        case "missing":
            return "is missing"
        case "extra_forbidden":
            known = _fields_at(problem["loc"])
            return f"unknown key{did_you_mean(str(problem['loc'][-1]), known)}; there are {', '.join(known)}"
        case "literal_error":
            return f"must be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}, got {got}"
        case _:
            return f"{problem['msg'][:1].lower()}{problem['msg'][1:]}, got {got}"


def _fields_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that there are beside the last one of a path."""
    inner = {"claims": Claim, "measure": Measure, "against": Against, "picture": Picture}
    above = [inner[part] for part in path[:-1] if part in inner]
    return list((above[-1] if above else Claims).model_fields)


def lines_of(claims: Claims) -> Iterator[str]:
    """Who published it, and what is to be known of the setup."""
    where = f", arXiv {claims.arxiv}" if claims.arxiv else ""
    yield f"{claims.citation}: {claims.title}{where}; numbers: {SOURCES[claims.source]}"
    yield from (f"note: {remark}" for remark in claims.remarks)
