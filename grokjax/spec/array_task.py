"""A task of the user's: examples from a file, such as MNIST's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from grokjax.spec.array_contents import Contents, read_contents
from grokjax.spec.fields import Count, Natural, NonNegative
from grokjax.spec.files import FileError
from grokjax.spec.roles import Null, Observed, Role, Start
from grokjax.spec.section import Problem, Section
from grokjax.spec.task import Task

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


class Found(Section):
    """What the files hold."""

    digest: Start[str]
    """SHA-256 of all of them."""
    examples: Count
    """Rows to train on, or to divide."""
    tests: Natural
    """Rows to test on that stand apart; 0: the rows are divided."""
    n_ctx: Natural
    """Tokens of an input; 0 where inputs are vectors."""
    d_input: Natural
    """Numbers of an input; 0 where inputs are tokens."""
    d_vocab: Natural
    """Tokens there are."""
    classes: Natural
    """Answers there are; 0 where answers are vectors."""
    d_target: Natural
    """Numbers of an answer; 0 where answers are classes."""


class Arrays(Task):
    """Inputs and targets of the user's: an .npz or .safetensors with `inputs` and `targets`, or idx files (MNIST's).

    Inputs are tokens [n, L] (whole numbers), or vectors [n, ...] (floats, or bytes, which are pixels and divided by
    255); targets are classes [n] (whole numbers), or vectors [n, d] (floats).
    """

    name: Literal["arrays"] = "arrays"
    file: Observed[str]
    """Inputs, and targets where the format holds both. Relative to the YAML. It counts by its content."""
    targets: Annotated[Observed[str | None], Null("in file")] = None
    """A second file with the targets, as idx has them."""
    test_file: Annotated[Observed[str | None], Null("rows of file")] = None
    """Inputs to test on; null: `test_inputs` in `file`, or else the rows that are not trained on."""
    test_targets: Annotated[Observed[str | None], Null("in test_file")] = None
    """A second file with the targets to test on."""
    test_examples: Annotated[Count | None, Null("all of them")] = None
    """Of rows to test on that stand apart, the first so many."""
    threshold: NonNegative = 1e-3
    """Of vectors: accuracy is the share of examples whose mean squared error is below it."""
    found: Annotated[Found | None, Role("static", later=True, filled=True)] = None
    """What is in the files; filled in."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"examples of {text_of('file').rpartition('/')[2]}"

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.found is None:
            try:
                self.contents()
            except FileError as error:
                raise PydanticCustomError("file", "{what}", {"what": str(error)}) from None
        return self

    def contents(self) -> Contents:
        """What is in the files. Raises FileError."""
        return read_contents(self.file, self.targets, self.test_file, self.test_targets, self.test_examples)

    @property
    def holds(self) -> Found:
        return self.found or Found(**self.contents().facts)

    @property
    def n_ctx(self) -> int:
        return self.holds.n_ctx

    @property
    def d_input(self) -> int:
        return self.holds.d_input

    @property
    def d_vocab(self) -> int:
        return self.holds.d_vocab

    @property
    def classes(self) -> int:
        return self.holds.classes

    @property
    def d_target(self) -> int:
        return self.holds.d_target

    @property
    def scored(self) -> tuple[int, ...]:
        return (max(0, self.n_ctx - 1),)

    @property
    def examples(self) -> int:
        return self.holds.examples

    @property
    def tests_apart(self) -> int:
        return self.holds.tests

    @property
    def train_size(self) -> int:
        if not self.holds.tests or self.split.stored is not None or self.train_examples is not None:
            return super().train_size
        return self.examples

    @property
    def test_size(self) -> int:
        return self.holds.tests or super().test_size

    def idle(self) -> set[str]:
        apart = {"train_fraction"} if self.holds.tests else {"test_examples"}
        return super().idle() | apart | ({"threshold"} if self.classes else set())

    def resolved(self) -> Self:
        return super().resolved().model_copy(update={"found": self.holds})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if not self.holds.tests or self.split.rows is not None:
            yield from super().problems(spec)
        elif self.train_examples is not None and self.train_examples > self.examples:
            what = f"{self.train_examples:,} is more than the {self.examples:,} rows of {self.file}"
            yield Problem("task.train_examples", what)
