"""Tasks of two operands: modular arithmetic, finite groups, sums named by random templates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from grokjax.spec.fields import Count, Int, Natural, OneWord
from grokjax.spec.groups import Group, order_of
from grokjax.spec.polynomials import parse_polynomial, polynomial_text
from grokjax.spec.roles import Later
from grokjax.spec.section import Problem
from grokjax.spec.task import Task

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

OPERATIONS = {
    "add": "x + y", "subtract": "x − y", "multiply": "x · y", "divide": "x / y", "quadratic": "x² + xy + y²",
    "random": "a random table of x and y", "divide_or_subtract": "x / y where y is odd, else x − y",
    "add_or_multiply": "x · y where x is odd, else x + y", "add_or_subtract": "x − y where x is odd, else x + y",
}  # fmt: skip
NEED_FIELD = ("divide", "divide_or_subtract")  # they divide, so p must be prime
SAME = {"x + y": "add", "x - y": "subtract", "x*y": "multiply", "x^2 + x*y + y^2": "quadratic"}
OPENAI_VOCABULARY = 239  # of openai/grok, whatever the operation: 2 special tokens, 20 operators, 97 numbers, 120 of S5
OPENAI_SPECIAL = 22


def _operation(value: Any) -> Any:
    """A name, or a polynomial in one form of writing; equal ones are one operation."""
    if isinstance(value, str) and value not in OPERATIONS:
        try:
            terms = parse_polynomial(value)
        except ValueError:
            terms = {}
        if {powers for powers in terms if powers != (0, 0)}:
            text = polynomial_text(terms)
            return SAME.get(text, text)
    if not isinstance(value, str) or value not in OPERATIONS:
        options = [*OPERATIONS, "a polynomial such as x^2 + y^2"]
        raise PydanticCustomError("literal_error", "unknown operation", {"expected": ", ".join(options)})
    return value


Operation = Annotated[str, BeforeValidator(_operation), OneWord()]


class Pairs(Task):
    """All pairs of two operands, each one of `elements`, and an answer that is an element too."""

    format: Later[Literal["equals", "two_tokens", "openai"]] = "equals"
    """equals: a b =, read at `=`. two_tokens: a b, read at b. openai: eos a op b = of openai/grok's 239 tokens."""
    scores: Later[Literal["answer", "answer_and_end"]] = "answer"
    """answer_and_end: of `openai`, the closing eos is predicted too (after the answer), and accuracy needs both."""
    noisy: Later[Natural] = 0
    """Rows of the table whose answer is replaced by that of a random row, before the split."""

    unit: ClassVar[str] = "pairs"

    @property
    def elements(self) -> int:
        """Values that an operand may have."""
        raise NotImplementedError

    @property
    def ends_alike(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.format == "equals" or (self.format == "openai" and self.scores == "answer")

    @property
    def n_ctx(self) -> int:
        if self.format == "openai":
            return 6 if self.scores == "answer_and_end" else 5
        return 3 if self.format == "equals" else 2

    @property
    def d_vocab(self) -> int:
        if self.format == "openai":
            return OPENAI_VOCABULARY
        return self.elements + 1 if self.format == "equals" else self.elements

    @property
    def classes(self) -> int:
        return self.elements

    @property
    def d_vocab_out(self) -> int:
        return self.d_vocab  # as in Nanda et al. 2023: `=` has a logit too

    @property
    def operands(self) -> tuple[int, ...]:
        return (1, 3) if self.format == "openai" else (0, 1)

    @property
    def operand_values(self) -> int:
        return self.elements

    @property
    def asking_token(self) -> int | None:
        return self.elements if self.format == "equals" else None

    @property
    def scored(self) -> tuple[int, ...]:
        if self.scores == "answer_and_end":
            return (self.n_ctx - 2, self.n_ctx - 1)
        return (self.n_ctx - 1,)

    @property
    def examples(self) -> int:
        return self.elements**2

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.scores == "answer_and_end" and self.format != "openai":
            yield Problem("task.scores", "answer_and_end is of format: openai, whose sequences have an end")
        if self.format == "openai" and self.elements + OPENAI_SPECIAL > OPENAI_VOCABULARY:
            most = OPENAI_VOCABULARY - OPENAI_SPECIAL
            what = f"openai's vocabulary has room for {most} operands, and this task has {self.elements:,}"
            yield Problem("task.format", what)
        if self.noisy > self.examples:
            yield Problem("task.noisy", f"{self.noisy:,} is more than the {self.examples:,} {self.unit} there are")
        yield from super().problems(spec)


class Modular(Pairs):
    name: Literal["modular"] = "modular"
    op: Operation = "add"
    """add, subtract, multiply; divide: over y != 0; quadratic: x^2 + xy + y^2; random: one fixed random table a p; any
    polynomial in x and y with integer coefficients, such as `x^3 + x*y^2 + y`; divide_or_subtract: x/y where y is odd,
    else x-y; add_or_multiply, add_or_subtract: the second where x is odd."""
    p: Annotated[Int, Field(ge=2, le=4096)] = 113
    """Modulus. `divide` needs a prime."""
    pairs: Later[Literal["ordered", "unordered"]] = "ordered"
    """unordered: only those with x <= y."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        op = text_of("op")
        return f"{OPERATIONS.get(op, op if '^' in op or ' ' in op else f'task {op}')} mod {text_of('p')}"

    @property
    def follows_cycle(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.format != "openai"

    @property
    def has_no_rule(self) -> bool:
        return self.op == "random"

    @property
    def elements(self) -> int:
        return self.p

    @property
    def examples(self) -> int:
        """p^2 pairs, or those with x <= y; for division those with a divisor other than 0."""
        without = self.op == "divide"
        if self.pairs == "unordered":
            return self.p * (self.p + 1) // 2 - without
        return self.p * (self.p - without)

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.op in NEED_FIELD and not is_prime(self.p):
            yield Problem("task.p", f"{self.op} needs a field, so p must be prime, got {self.p}", ("task.op",))
        yield from super().problems(spec)


def is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))


class GroupTask(Pairs):
    """Products in a finite group."""

    name: Literal["group"] = "group"
    group: Group = "S5"
    """C113 (cyclic), D59 (dihedral, 118 elements), S5 (symmetric), A5 (alternating), or a product: C7xC7."""
    op: Literal["ab", "aba^-1", "aba"] = "ab"
    """What is asked of the elements a and b."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"{text_of('op')} in the group {text_of('group')}"

    @property
    def elements(self) -> int:
        return order_of(self.group)

    @property
    def group_name(self) -> str:
        return self.group


class Templates(Task):
    """Sums i + j of pairs with i <= j, each sum named by a random vector; the answer is the nearest of these (Liu et
    al. 2022). The vectors are drawn from the split's seed."""

    name: Literal["templates"] = "templates"
    p: Annotated[Int, Field(ge=2, le=256)] = 10
    """Values that i and j may have."""
    wraps: bool = True
    """Whether sums are taken mod p; else there are 2p - 1 of them."""
    d_template: Count = 30
    """Numbers of a vector, each N(0, 1)."""
    tests_on: Literal["rest", "all"] = "rest"
    """all: the test set has every pair, those that are trained on too."""

    unit: ClassVar[str] = "pairs"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"templates of sums of two of {text_of('p')}"

    @property
    def is_drawn(self) -> bool:
        return True

    @property
    def n_ctx(self) -> int:
        return 2

    @property
    def d_vocab(self) -> int:
        return self.p

    @property
    def sums_wrap(self) -> bool:
        return self.wraps

    @property
    def classes(self) -> int:
        return self.p if self.wraps else 2 * self.p - 1

    @property
    def d_target(self) -> int:
        return self.d_template

    @property
    def examples(self) -> int:
        return self.p * (self.p + 1) // 2

    @property
    def test_size(self) -> int:
        return self.examples if self.tests_on == "all" else super().test_size
