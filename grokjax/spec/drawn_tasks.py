"""Tasks whose examples are drawn: a set for each run, from its split's seed, or fresh ones at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from grokjax.spec.fields import Count, Int, NonNegative, Positive
from grokjax.spec.roles import Null
from grokjax.spec.section import Problem
from grokjax.spec.task import Task

if TYPE_CHECKING:
    from grokjax.spec.losses import Loss
    from grokjax.spec.run import RunSpec


class Drawn(Task):
    """A task with a sampler."""

    examples: Count = 1000  # pyright: ignore[reportIncompatibleMethodOverride]
    """Examples to train on, drawn once from the split's seed; not read where `online`."""
    test_examples: Count = 1000
    """Examples to test on, drawn once from the split's seed."""
    online: bool = False
    """Fresh examples at every step, `train.batch` of them, from the run's seed and the step. There is no train set
    then, so that fit is generalization."""

    train_fraction: ClassVar[float] = 1.0  # pyright: ignore[reportIncompatibleVariableOverride]
    train_examples: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def is_drawn(self) -> bool:
        return True

    @property
    def is_online(self) -> bool:
        return self.online

    @property
    def train_size(self) -> int:
        return 0 if self.online else self.examples

    @property
    def test_size(self) -> int:
        return self.test_examples

    def idle(self) -> set[str]:
        return {"examples"} if self.online else set()

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.online and spec.train.batch is None:
            what = "online: true draws train.batch fresh examples at every step, so it needs one, for instance 64"
            yield Problem("train.batch", what, ("task.online",))
        if self.split.rows is not None:
            yield Problem("task.split.rows", f"{self.name} draws its examples: there are no rows to choose from")


class Parity(Drawn):
    """The product of the first k of n bits that are 1 or -1 (sparse parity)."""

    name: Literal["parity"] = "parity"
    bits: Annotated[Int, Field(ge=1, le=4096)] = 40
    """Bits of an input."""
    k: Annotated[Int, Field(ge=1)] = 3
    """Bits that count."""
    answer: Annotated[Literal["sign", "classes"] | None, Null("as the loss reads it")] = None
    """sign: the network has one output, whose sign is the answer (hinge, logistic). classes: two logits. null is what
    the loss reads."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"the parity of {text_of('k')} of {text_of('bits')} bits"

    @property
    def n_ctx(self) -> int:
        return 0

    @property
    def d_input(self) -> int:
        return self.bits

    @property
    def d_vocab(self) -> int:
        return 2

    @property
    def outputs(self) -> int:
        return 1 if self.answer == "sign" else 2

    @property
    def scored(self) -> tuple[int, ...]:
        return (0,)

    def with_loss(self, loss: Loss) -> Self:
        answer = self.answer or ("sign" if loss.of_signs else "classes")
        return self.model_copy(update={"answer": answer})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.k > self.bits:
            yield Problem("task.k", f"{self.k} bits count, and there are {self.bits}", ("task.bits",))
        yield from super().problems(spec)


class TeacherStudent(Drawn):
    """The outputs of a random tanh network on inputs N(0, 1) (Omnigrok); the teacher is drawn from the split's seed."""

    name: Literal["teacher_student"] = "teacher_student"
    inputs: Count = 5
    """Numbers of an input."""
    widths: Annotated[list[Count], Field(min_length=1, max_length=64)] = [100, 100]
    """Neurons of each hidden layer of the teacher."""
    targets: Count = 5
    """Numbers of an answer."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of the teacher's neurons."""
    teacher_scale: Positive = 1.0
    """Multiplies the teacher's weights and biases, drawn as `torch.nn.Linear` draws them."""
    threshold: NonNegative = 1e-3
    """Accuracy is the share of examples whose mean squared error is below it."""
    examples: Count = 100
    """Examples to train on, drawn once from the split's seed; not read where `online`."""
    test_examples: Count = 100
    """Examples to test on, drawn once from the split's seed."""

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"the outputs of a random network of {text_of('inputs')} inputs"

    @property
    def n_ctx(self) -> int:
        return 0

    @property
    def d_input(self) -> int:
        return self.inputs

    @property
    def d_vocab(self) -> int:
        return 0

    @property
    def d_target(self) -> int:
        return self.targets

    @property
    def scored(self) -> tuple[int, ...]:
        return (0,)
