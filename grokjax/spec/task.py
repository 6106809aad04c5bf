"""What every task has: how its examples are split, and the facts that networks and the engine ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field

from grokjax.spec.fields import Count, Seed
from grokjax.spec.files import Rows, rows_of
from grokjax.spec.roles import Later, Null, Observed, Role, Start
from grokjax.spec.section import Family, Problem, Section

if TYPE_CHECKING:
    from grokjax.spec.losses import Loss
    from grokjax.spec.run import RunSpec


class Sizes(NamedTuple):
    """How many answers there are (0: they are no classes), and how many examples a run trains and tests on (0 to train
    on: fresh ones at every step)."""

    classes: int
    train: int
    test: int


class Split(Section):
    method: Start[Literal["numpy", "python", "numpy_legacy", "first"]] = "numpy"
    """numpy: `Generator(PCG64(seed))` permutes. python: `random.Random(seed).shuffle` of row-major pairs. numpy_legacy:
    `RandomState(seed).shuffle`, as openai/grok. first: the rows in their order, the first ones to train on."""
    seed: Annotated[Start[Seed | None], Null("the run's seed")] = None
    """null follows the run's seed."""
    rounding: Later[Literal["down", "nearest"]] = "down"
    """Of train_fraction times the number of examples: down is int(), nearest is round()."""
    rows: Annotated[Observed[str | None], Null("drawn by seed")] = None
    """A file of stored indices: an .npz or .safetensors with `train`, and `test` (without it, all other rows). Relative
    to the YAML. method and seed are then not read."""
    stored: Annotated[Rows | None, Role("static", later=True, filled=True)] = None
    """What was found in `rows`; filled in."""


class Task(Family):
    """Facts of a task: what its inputs and its answers are, where they are scored, and how many examples it has.

    Most tasks are a table of all examples, which a run's split divides. Others draw each run's examples from its split
    seed (`is_drawn`), or fresh ones at every step (`is_online`).
    """

    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all examples in the train set; int(fraction * examples) of them."""
    train_examples: Annotated[Count | None, Role(later=True), Null("train_fraction of all")] = None
    """How many examples to train on, in place of train_fraction."""
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
    def is_drawn(self) -> bool:
        """Whether each run has examples of its own; else there is one table for all."""
        return False

    @property
    def tests_on_all(self) -> bool:
        """Whether it trains and tests on every row of its table."""
        return False

    @property
    def tests_apart(self) -> int:
        """Rows of its table, the last so many, that are tested on and never trained on; 0: the split decides."""
        return 0

    @property
    def is_online(self) -> bool:
        """Whether every step has fresh examples; there is no train set then."""
        return False

    @property
    def n_ctx(self) -> int:
        """Tokens of a sequence; 0 where inputs are vectors."""
        raise NotImplementedError

    @property
    def d_input(self) -> int:
        """Numbers of an input that is a vector; 0 where inputs are tokens."""
        return 0

    @property
    def d_vocab(self) -> int:
        """Tokens there are, special ones included."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Answers there are; 0 where the answer is a vector."""
        return self.d_vocab

    @property
    def d_target(self) -> int:
        """Numbers of an answer that is a vector; 0 where answers are classes."""
        return 0

    @property
    def outputs(self) -> int:
        """Numbers that a network gives for an answer."""
        return self.d_target or self.classes

    @property
    def d_vocab_out(self) -> int:
        """Logits of a transformer."""
        return self.outputs

    @property
    def operands(self) -> tuple[int, ...]:
        """Positions of the tokens that say what is asked; an MLP reads these only."""
        return tuple(range(self.n_ctx))

    @property
    def operand_values(self) -> int:
        """Tokens that an operand may be."""
        return self.d_vocab

    @property
    def asked_tokens(self) -> tuple[int, ...]:
        """Tokens that the answer depends on."""
        return tuple(range(self.operand_values))

    @property
    def asking_token(self) -> int | None:
        """The token at the position that is read, where it is always the same."""
        return None

    @property
    def sums_wrap(self) -> bool:
        """Whether operands are added modulo how many there are."""
        return True

    @property
    def group_name(self) -> str:
        """The finite group that its operands are the elements of; "" where there is none."""
        return ""

    @property
    def scored(self) -> tuple[int, ...]:
        """Positions whose logits are scored."""
        return (self.n_ctx - 1,)

    if TYPE_CHECKING:  # a field of tasks that are drawn, so it cannot stand here

        @property
        def examples(self) -> int:
            """Rows of its table; of a task that is drawn, examples to train on."""
            ...

    @property
    def train_size(self) -> int:
        if self.split.stored is not None:
            return self.split.stored.train
        if self.train_examples is not None:
            return self.train_examples
        share = self.train_fraction * self.examples
        return round(share) if self.split.rounding == "nearest" else int(share)

    @property
    def test_size(self) -> int:
        stored = self.split.stored
        return self.examples - self.train_size if stored is None else stored.test

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.classes, self.train_size, self.test_size)

    @property
    def example_numbers(self) -> int:
        """Numbers (of 4 bytes) that one example is: its input and its answer."""
        return (self.n_ctx or self.d_input) + len(self.scored) * (self.d_target or 1)

    def idle(self) -> set[str]:
        by_count = self.train_examples is not None or self.split.stored is not None
        return {"train_fraction"} if by_count else set()

    def with_loss(self, loss: Loss) -> Self:
        """With the values that follow from the loss filled in."""
        return self

    def resolved(self) -> Self:
        if self.split.rows is None:
            return self
        stored = rows_of(self.split.rows, self.examples)
        return self.model_copy(update={"split": self.split.model_copy(update={"stored": stored})})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        n = self.examples
        if self.split.rows is not None:
            try:
                rows_of(self.split.rows, n)
            except ValueError as error:
                yield Problem("task.split.rows", str(error))
            return
        if self.train_examples is not None:
            if self.train_examples >= n:
                what = f"{self.train_examples:,} of {n:,} {self.unit} leaves no test example; lower it"
                yield Problem("task.train_examples", what)
            return
        share = f"{self.train_fraction:g}"
        if self.train_size == 0:
            what = f"{share} of {n} {self.unit} leaves no train example; raise it, or p"
            yield Problem("task.train_fraction", what, ("task.p",))
        if self.train_size == n:
            what = f"{share} of {n} {self.unit} leaves no test example; lower it"
            yield Problem("task.train_fraction", what, ("task.p",))
