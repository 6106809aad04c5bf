"""What every network is: facts that follow from its spec."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Self

from grokjax.spec.fields import Positive
from grokjax.spec.roles import Hyper
from grokjax.spec.section import Family
from grokjax.spec.shapes import Shapes
from grokjax.spec.tasks import Task


class Model(Family):
    """Facts of a network: shapes, starting schemes, depth, and the FLOPs and numbers that an example costs."""

    logit_scale: Hyper[Positive] = 1.0
    """Multiplies the logits (an inverse output temperature)."""

    schemes: ClassVar[tuple[str, ...]] = ()  # of starting values that it takes; the first is the default
    drops: ClassVar[bool] = False  # whether its function takes what is dropped in training (noise.dropout)
    has_parts: ClassVar[bool] = False  # whether it says what its features, neurons and weights at both ends are

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"a network ({text_of('name')})"

    def reading(self, vectors: bool) -> Self:
        """With what follows from whether the task's inputs are vectors or tokens."""
        return self

    def shapes(self, task: Task) -> Shapes:
        """Name -> shape of each parameter, in the order of the path from the input to the logits."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Layers with an activation."""
        return 1

    @property
    def has_neurons(self) -> bool:
        """Whether it has a hidden layer whose neurons can be looked at."""
        return False

    @property
    def has_embedding(self) -> bool:
        """Whether tokens are looked up in a table W_E."""
        return False

    @property
    def nonlinearity(self) -> str:
        """The activation of its neurons."""
        return "identity"

    @property
    def activation_numbers(self) -> dict[str, Any]:
        """What the activation is given beside its input, by the names of its arguments."""
        return {}

    @property
    def attention_heads(self) -> int:
        """Heads of a layer; 0 where it has no attention."""
        return 0

    @property
    def degree(self) -> int | None:
        """k where all parameters times c > 0 make logits times c^k; None where there is no such number."""
        return None

    def not_fused(self, task: Task) -> str | None:
        """Why no kernels keep its hidden layers off the memory (engine.kernel: fused); None: they do."""
        return f"model {self.name} has no such kernels, an mlp and a transformer do"

    def useful_flops(self, task: Task) -> float:
        """FLOPs of a forward pass of one example that the loss needs."""
        return 2.0 * max(1, task.n_ctx) * sum(math.prod(shape) for shape in self.shapes(task).values())

    def look_up_flops(self, task: Task) -> float:
        """FLOPs an example of look-ups, which are matmuls with one-hot columns; not counted as useful."""
        return 0.0

    def activations(self, task: Task) -> int:
        """Numbers that a step holds for one example: what the backward pass needs of the forward one."""
        return 3 * max(1, task.n_ctx) * sum(shape[-1] for shape in self.shapes(task).values())

    def widest(self, task: Task) -> int:
        """Numbers of one example that a forward pass holds at once."""
        return max(shape[-1] for shape in self.shapes(task).values())
