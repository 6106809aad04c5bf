"""Networks of dense layers: on tokens, one operand beside the other, or on vectors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from grokjax.spec.fields import Activation, Count, NonNegative
from grokjax.spec.kernels import too_wide
from grokjax.spec.model import Model
from grokjax.spec.roles import Later, Null, Role
from grokjax.spec.section import Problem
from grokjax.spec.shapes import Shapes, matches
from grokjax.spec.tasks import Task

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

POWERS = {"identity": 1, "relu": 1, "leaky_relu": 1, "square": 2}  # of activations with f(c x) = c^k f(x), c > 0


class MLP(Model):
    name: Literal["mlp"] = "mlp"
    widths: Annotated[list[Count], Field(min_length=1, max_length=256)] = [200, 200]
    """Neurons of each hidden layer, the first one first."""
    input: Annotated[
        Literal["one_hot", "embedded", "summed", "vector"] | None, Null("one_hot, or vector where inputs are vectors")
    ] = None
    """The operands as one-hot vectors side by side, through learned tables W_E, or as the sum of their one-hot vectors;
    vector is what the task gives. null is vector where the task's inputs are vectors, else one_hot."""
    d_model: Count = 128
    """Width of W_E; read with `input: embedded` only."""
    tables: Later[Literal["shared", "each"]] = "shared"
    """Of `input: embedded`. shared: one table W_E for all operands; each: W_E.0, W_E.1, ..., one an operand."""
    combine: Later[Literal["concat", "sum"]] = "concat"
    """Of `input: embedded`: whether the operands' rows stand side by side or are added."""
    activation: Activation = "relu"
    """Of the neurons. square is x^2; with identity the network is linear."""
    bias: Literal[True, False, "last"] = True
    """Whether every layer adds a bias, or only the last one does."""
    negative_slope: Annotated[NonNegative, Role("hyper", later=True)] = 0.01
    """Slope of leaky_relu below 0."""

    schemes: ClassVar[tuple[str, ...]] = ("torch_linear", "fan_in")
    drops: ClassVar[bool] = True
    has_parts: ClassVar[bool] = True

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"an MLP of widths {text_of('widths')}"

    @property
    def depth(self) -> int:
        return len(self.widths)

    @property
    def has_neurons(self) -> bool:
        return True

    @property
    def has_embedding(self) -> bool:
        return self.input == "embedded"

    @property
    def nonlinearity(self) -> str:
        return self.activation

    @property
    def activation_numbers(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope} if self.activation == "leaky_relu" else {}

    def reads(self, task: Task) -> str:
        """`input`, also where that is null."""
        return self.input or ("one_hot" if task.n_ctx else "vector")

    def tables_of(self, operands: int) -> list[str]:
        """The name of each operand's table."""
        return [f"W_E.{place}" if self.tables == "each" else "W_E" for place in range(operands)]

    def has_bias(self, layer: int) -> bool:
        return self.bias is True or (self.bias == "last" and layer == len(self.widths))

    @property
    def fused(self) -> range:
        """The hidden layers that kernels keep off the memory (engine.kernel: fused), each with the matrices on both
        sides of it: from the last one back, every other."""
        return range((len(self.widths) - 1) % 2, len(self.widths), 2)

    def not_fused(self, task: Task) -> str | None:
        sizes = [self._inputs(task), *self.widths, task.outputs]
        return next((what for layer in self.fused if (what := too_wide(*sizes[layer : layer + 3]))), None)

    def idle(self) -> set[str]:
        of_tables = set() if self.has_embedding else {"d_model", "tables", "combine"}
        return of_tables | (set() if self.activation == "leaky_relu" else {"negative_slope"})

    def reading(self, vectors: bool) -> Self:
        return self.model_copy(update={"input": self.input or ("vector" if vectors else "one_hot")})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        task = spec.task
        if self.reads(task) != "vector" and task.n_ctx == 0:
            what = f"{self.input} needs tokens, and inputs of {task.name} are vectors; leave it out, or write vector"
            yield Problem("model.input", what, ("task.name",))
        if self.reads(task) == "vector" and task.n_ctx > 0:
            what = f"vector needs vectors, and inputs of {task.name} are tokens; use one_hot, embedded or summed"
            yield Problem("model.input", what, ("task.name",))
        if len(task.scored) > 1:
            what = f"an mlp answers once, and {task.name} scores {len(task.scored)} positions: use a transformer"
            yield Problem("model.name", what, ("task.name",))

    def shapes(self, task: Task) -> Shapes:
        tables = self.tables_of(len(task.operands)) if self.has_embedding else []
        shapes: Shapes = dict.fromkeys(tables, (task.operand_values, self.d_model))
        sizes = [self._inputs(task), *self.widths, task.outputs]
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shapes[f"W.{layer}"] = (fan_in, fan_out)
            if self.has_bias(layer):
                shapes[f"b.{layer}"] = (fan_out,)
        return shapes

    @property
    def degree(self) -> int | None:
        """Without biases, with an activation that is homogeneous."""
        if self.bias or self.activation not in POWERS:
            return None
        k = 2 if self.has_embedding else 1
        for _ in self.widths:
            k = POWERS[self.activation] * k + 1
        return k

    def _inputs(self, task: Task) -> int:
        """Inputs of the first layer."""
        operands = len(task.operands)
        match self.reads(task):
            case "vector":
                return task.d_input
            case "summed":
                return task.operand_values
            case "embedded":
                return self.d_model * (1 if self.combine == "sum" else operands)
            case _:
                return operands * task.operand_values

    def useful_flops(self, task: Task) -> float:
        looked_up = {"vector": "none", "embedded": "W_E"}.get(self.reads(task), "W.0")
        return 2 * sum(math.prod(shape) for name, shape in self.shapes(task).items() if not matches(looked_up, name))

    def look_up_flops(self, task: Task) -> float:
        if self.reads(task) == "vector":
            return 0.0
        width = self.d_model if self.has_embedding else self.widths[0]
        products = 1 if self.reads(task) == "summed" else len(task.operands)
        return 2 * products * task.operand_values * width

    def activations(self, task: Task) -> int:
        operands = len(task.operands)
        rows = operands * self.d_model if self.has_embedding else 0
        one_hot = operands * task.operand_values if self.has_embedding else self._inputs(task)
        return one_hot + rows + 2 * (sum(self.widths) + task.outputs)

    def widest(self, task: Task) -> int:
        return self._inputs(task) + max(self.widths)
