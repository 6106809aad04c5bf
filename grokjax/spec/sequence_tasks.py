"""Sequences that are drawn: sums, repeated subsequences, skip trigrams, signals among noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from grokjax.spec.drawn_tasks import Drawn
from grokjax.spec.fields import Count, Int
from grokjax.spec.section import Problem

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


class Addition(Drawn):
    """Sums of two numbers, digit by digit: `12345 + 67890 = 080235`, scored at the answer's digits (Nanda et al.)."""

    name: Literal["addition"] = "addition"
    digits: Annotated[Int, Field(ge=1, le=64)] = 5
    """Digits of a summand; the sum has one more."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"addition of numbers of {text_of('digits')} digits"

    @property
    def n_ctx(self) -> int:
        return 3 * self.digits + 3

    @property
    def d_vocab(self) -> int:
        return 12  # ten digits, + and =

    @property
    def classes(self) -> int:
        return 10

    @property
    def scored(self) -> tuple[int, ...]:
        """From `=` on: each position predicts the digit that follows."""
        return tuple(range(2 * self.digits + 1, 3 * self.digits + 2))


class Repeats(Drawn):
    """Random tokens in which one subsequence stands several times; scored where a token can be known from an earlier
    copy: the induction task of Nanda and Chan."""

    name: Literal["repeats"] = "repeats"
    vocabulary: Annotated[Int, Field(ge=2, le=65536)] = 128
    """Tokens there are."""
    length: Annotated[Int, Field(ge=2, le=4096)] = 85
    """Tokens of a sequence."""
    repeat: Count = 16
    """Tokens of the subsequence."""
    copies: Annotated[Int, Field(ge=2)] = 3
    """How often it stands in a sequence."""
    examples: Count = 512
    """Examples to train on, drawn once from the split's seed; not read where `online`."""
    test_examples: Count = 256
    """Examples to test on, drawn once from the split's seed."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"a subsequence of {text_of('repeat')} tokens, repeated among {text_of('length')}"

    @property
    def n_ctx(self) -> int:
        return self.length

    @property
    def d_vocab(self) -> int:
        return self.vocabulary

    @property
    def scored(self) -> tuple[int, ...]:
        return tuple(range(self.length - 1))

    @property
    def example_numbers(self) -> int:
        return super().example_numbers + len(self.scored)  # weights: whether a token can be known

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        needed = self.repeat * self.copies
        if needed > self.length:
            what = f"{self.copies} copies of {self.repeat} tokens need {needed}, and a sequence has {self.length}"
            yield Problem("task.length", what, ("task.repeat", "task.copies"))
        yield from super().problems(spec)


class SkipTrigrams(Drawn):
    """Sequences with one trigger among random tokens: the last position predicts the trigger's class (A ... B C)."""

    name: Literal["skip_trigrams"] = "skip_trigrams"
    triggers: Annotated[Int, Field(ge=2, le=4096)] = 10
    """Triggers, each with a class of its own."""
    fillers: Count = 20
    """Tokens that say nothing."""
    length: Annotated[Int, Field(ge=2, le=4096)] = 16
    """Tokens of a sequence; the last is always the same."""

    ends_alike: ClassVar[bool] = True

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"skip trigrams of {text_of('triggers')} triggers"

    @property
    def n_ctx(self) -> int:
        return self.length

    @property
    def d_vocab(self) -> int:
        return self.triggers + self.fillers + 1

    @property
    def asked_tokens(self) -> tuple[int, ...]:
        return tuple(range(self.triggers))

    @property
    def asking_token(self) -> int | None:
        return self.triggers + self.fillers

    @property
    def classes(self) -> int:
        return self.triggers


class SignalPairs(Drawn):
    """Which two signals stand among noise, read off at the last token: the toy of attention-head superposition
    (Greenspan and Wynroe 2023).

    Trained on the exact expectation, every input with its probability, or on samples.
    """

    name: Literal["signal_pairs"] = "signal_pairs"
    signals: Annotated[Int, Field(ge=1, le=64)] = 4
    """Signal tokens, two of which (equal or not) stand in a sequence."""
    noises: Annotated[Int, Field(ge=1, le=64)] = 7
    """Noise tokens, two of which stand in a sequence."""
    ordered: bool = False
    """Whether a sequence has an order. Without positions a network sees none, and 280 sequences stand for 4,704."""
    exact: bool = True
    """Train and test on every sequence, weighted by its probability; else on samples."""

    ends_alike: ClassVar[bool] = True

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"pairs of {text_of('signals')} signals among noise"

    @property
    def is_drawn(self) -> bool:
        return not self.exact

    @property
    def tests_on_all(self) -> bool:
        return self.exact

    @property
    def n_ctx(self) -> int:
        return 5

    @property
    def d_vocab(self) -> int:
        return 1 + self.signals + self.noises

    @property
    def asked_tokens(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + self.signals))

    @property
    def asking_token(self) -> int | None:
        return 0

    @property
    def classes(self) -> int:
        return self.signals * (self.signals + 1) // 2

    @property
    def rows(self) -> int:
        """Sequences there are."""
        if self.ordered:
            return math.comb(4, 2) * self.signals**2 * self.noises**2
        return self.classes * (self.noises * (self.noises + 1) // 2)

    @property
    def train_size(self) -> int:
        return self.rows if self.exact else super().train_size

    @property
    def test_size(self) -> int:
        return self.rows if self.exact else super().test_size

    @property
    def example_numbers(self) -> int:
        return super().example_numbers + 1  # its weight

    def idle(self) -> set[str]:
        return {"examples", "test_examples"} if self.exact else super().idle()

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.exact and self.online:
            yield Problem("task.online", "exact: true trains on every sequence; online needs exact: false")
        if self.exact and spec.train.batch is not None:
            yield Problem("train.batch", "exact: true is the exact expectation, so the batch is full: null")
        if not self.exact:
            yield from super().problems(spec)
