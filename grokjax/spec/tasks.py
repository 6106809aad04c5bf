"""Tasks: what a network is taught. What each one's examples are is in `grokjax/tasks/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from grokjax.spec.fields import Int, Seed
from grokjax.spec.roles import Null, Start
from grokjax.spec.section import Family, Problem, Section

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


OPERATIONS = {
    "add": "x + y", "subtract": "x − y", "multiply": "x · y", "divide": "x / y", "quadratic": "x² + xy + y²",
    "random": "a random table of x and y",
}  # fmt: skip


class Sizes(NamedTuple):
    """How many answers there are, and how many examples a run trains and tests on."""

    classes: int
    train: int
    test: int


class Split(Section):
    method: Start[Literal["numpy", "python"]] = "numpy"
    """numpy: `Generator(PCG64(seed))` permutes. python: `random.Random(seed).shuffle` of row-major pairs."""
    seed: Annotated[Start[Seed | None], Null("the run's seed")] = None
    """null follows the run's seed."""


class Task(Family):
    """Facts of a task: how long its sequences are, of which tokens, where they are scored, how many examples it has."""

    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all pairs in the train set; int(fraction * pairs) of them."""
    split: Split = Split()

    ends_alike: ClassVar[bool] = False  # whether the last token is the same in every example
    follows_cycle: ClassVar[bool] = False  # whether its answers may follow a cyclic group (`grokjax.tasks.cycle`)
    unit: ClassVar[str] = "examples"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"task {text_of('name')}"

    @property
    def has_no_rule(self) -> bool:
        """Whether answers are random, so that they can only be memorized."""
        return False

    @property
    def n_ctx(self) -> int:
        """Tokens of a sequence; 0 where inputs are vectors."""
        raise NotImplementedError

    @property
    def d_vocab(self) -> int:
        """Tokens there are, special ones included."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Answers there are."""
        return self.d_vocab

    @property
    def d_vocab_out(self) -> int:
        """Logits of a transformer."""
        return self.classes

    @property
    def outputs(self) -> int:
        """Numbers that a network without tokens of its own to answer with puts out."""
        return self.classes

    @property
    def d_input(self) -> int:
        """Length of an input that is a vector; 0 where inputs are tokens."""
        return 0

    @property
    def operands(self) -> tuple[int, ...]:
        """Positions of the tokens that say what is asked; an MLP reads these only."""
        return tuple(range(self.n_ctx))

    @property
    def operand_values(self) -> int:
        """Tokens that an operand may be."""
        return self.d_vocab

    @property
    def scored(self) -> tuple[int, ...]:
        """Positions whose logits are scored."""
        return (self.n_ctx - 1,)

    @property
    def examples(self) -> int:
        """Rows of its table."""
        raise NotImplementedError

    @property
    def train_size(self) -> int:
        return int(self.train_fraction * self.examples)

    @property
    def test_size(self) -> int:
        return self.examples - self.train_size

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.classes, self.train_size, self.test_size)

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        n, share = self.examples, f"{self.train_fraction:g}"
        if self.train_size == 0:
            what = f"{share} of {n} {self.unit} leaves no train example; raise it, or p"
            yield Problem("task.train_fraction", what, ("task.p",))
        if self.train_size == n:
            what = f"{share} of {n} {self.unit} leaves no test example; lower it"
            yield Problem("task.train_fraction", what, ("task.p",))


class Modular(Task):
    name: Literal["modular"] = "modular"
    op: Literal["add", "subtract", "multiply", "divide", "quadratic", "random"] = "add"
    """quadratic: x^2 + xy + y^2; divide: x / y over y != 0; random: one fixed random table a p."""
    p: Annotated[Int, Field(ge=2, le=4096)] = 113
    """Modulus. `divide` needs a prime."""

    ends_alike: ClassVar[bool] = True
    follows_cycle: ClassVar[bool] = True
    unit: ClassVar[str] = "pairs"

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        op = text_of("op")
        return f"{OPERATIONS.get(op, f'task {op}')} mod {text_of('p')}"

    @property
    def has_no_rule(self) -> bool:
        return self.op == "random"

    @property
    def n_ctx(self) -> int:
        return 3

    @property
    def d_vocab(self) -> int:
        return self.p + 1

    @property
    def classes(self) -> int:
        return self.p

    @property
    def d_vocab_out(self) -> int:
        return self.p + 1  # as in Nanda et al. 2023: `=` has a logit too

    @property
    def operands(self) -> tuple[int, ...]:
        return (0, 1)

    @property
    def operand_values(self) -> int:
        return self.p

    @property
    def examples(self) -> int:
        """p^2 pairs; for division those with a divisor other than 0."""
        return self.p * (self.p - 1) if self.op == "divide" else self.p * self.p

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.op == "divide" and not is_prime(self.p):
            yield Problem("task.p", f"divide needs a field, so p must be prime, got {self.p}", ("task.op",))
        yield from super().problems(spec)


def is_prime(n: int) -> bool:
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))


TASKS: dict[str, type[Task]] = {"modular": Modular}
