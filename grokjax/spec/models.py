"""Networks: their parameters' shapes, and what a step of each costs. What each one computes is in `grokjax/models/`.

Costs are of the forward that is trained with: on three tokens with a constant last one the transformer computes only
what the answer reads (`grokjax/models/three_tokens.py`), else every layer at every position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from grokjax.spec.fields import Activation, Count, Int, Natural, Positive
from grokjax.spec.roles import Hyper
from grokjax.spec.section import Family, Problem
from grokjax.spec.shapes import Shapes
from grokjax.spec.tasks import Task

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

POWERS = {"identity": 1, "relu": 1, "square": 2}  # of activations with f(c x) = c^k f(x), c > 0


class Model(Family):
    """Facts of a network: shapes, starting schemes, depth, and the FLOPs and numbers that an example costs."""

    logit_scale: Hyper[Positive] = 1.0
    """Multiplies the logits (an inverse output temperature)."""

    schemes: ClassVar[tuple[str, ...]] = ()  # of starting values that it takes; the first is the default
    has_parts: ClassVar[bool] = False  # whether it says what its features, neurons and weights at both ends are

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        return f"a network ({text_of('name')})"

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        scheme = spec.init.scheme
        if scheme is not None and scheme not in self.schemes:
            takes = " or ".join(sorted(self.schemes)) or "none: its starting values are its own"
            whose = next(name for name, model in MODELS.items() if scheme in model.schemes)
            yield Problem("init.scheme", f"{scheme} is the {whose}'s; an {self.name} takes {takes}")

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
    def degree(self) -> int | None:
        """k where all parameters times c > 0 make logits times c^k; None where there is no such number."""
        return None

    def useful_flops(self, task: Task) -> float:
        """FLOPs of a forward pass of one example that the loss needs."""
        return 2.0 * task.n_ctx * sum(math.prod(shape) for shape in self.shapes(task).values())

    def look_up_flops(self, task: Task) -> float:
        """FLOPs an example of look-ups, which are matmuls with one-hot columns; not counted as useful."""
        return 0.0

    def activations(self, task: Task) -> int:
        """Numbers that the backward pass keeps for one example."""
        return task.n_ctx * sum(shape[-1] for shape in self.shapes(task).values())

    def widest(self, task: Task) -> int:
        """Numbers of one example that a forward pass holds at once."""
        return max(shape[-1] for shape in self.shapes(task).values())


class Transformer(Model):
    name: Literal["transformer"] = "transformer"
    layers: Annotated[Int, Field(ge=1, le=256)] = 1
    """Blocks of attention and MLP, one after the other."""
    d_model: Count = 128
    """Width of the residual stream; a multiple of heads, unless d_head is given."""
    heads: Count = 4
    """Attention heads of a layer."""
    d_head: Count | None = None
    """Width of a head; null is d_model / heads."""
    d_mlp: Natural = 512
    """Neurons of a layer; 0 is attention-only."""
    activation: Activation = "relu"
    """Of the neurons. square is x^2; with identity the MLP is linear."""
    layernorm: Literal["none", "pre"] = "none"
    """pre: before attention, before the MLP and before the unembedding."""

    schemes: ClassVar[tuple[str, ...]] = ("paper", "fan_in", "torch_linear")
    has_parts: ClassVar[bool] = True

    @classmethod
    def describe(cls, text_of: Callable[[str], str]) -> str:
        layers = text_of("layers")
        shape = f"d_model {text_of('d_model')}, {text_of('heads')} heads, d_mlp {text_of('d_mlp')}"
        return f"a transformer of {layers} layer{'' if layers == '1' else 's'} ({shape})"

    @property
    def head_width(self) -> int:
        return self.d_head or self.d_model // self.heads

    @property
    def depth(self) -> int:
        return self.layers

    @property
    def has_neurons(self) -> bool:
        return self.d_mlp > 0

    @property
    def has_embedding(self) -> bool:
        return True

    @property
    def nonlinearity(self) -> str:
        return self.activation

    def idle(self) -> set[str]:
        return set() if self.d_mlp else {"activation"}

    def resolved(self) -> Self:
        d_head = max(1, self.d_model // self.heads) if self.d_head is None else self.d_head
        return self.model_copy(update={"d_head": d_head})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.d_head is None and self.d_model % self.heads:
            what = f"{self.heads} heads do not divide d_model {self.d_model}; change one, or give d_head"
            yield Problem("model.heads", what, ("model.d_model",))
        yield from _needs_tokens(self, spec.task)
        yield from super().problems(spec)

    def shapes(self, task: Task) -> Shapes:
        d = self.d_model
        shapes: Shapes = {"W_E": (task.d_vocab, d), "W_pos": (task.n_ctx, d)}
        for layer in range(self.layers):
            shapes |= {f"{name}.{layer}": shape for name, shape in self._block().items()}
        if self.layernorm == "pre":
            shapes |= {"ln_final_w": (d,), "ln_final_b": (d,)}
        return shapes | {"W_U": (d, task.d_vocab_out)}

    def _block(self) -> Shapes:
        """Shapes of one layer."""
        d, heads, d_head = self.d_model, self.heads, self.head_width
        shapes: Shapes = {}
        if self.layernorm == "pre":
            shapes |= {"ln1_w": (d,), "ln1_b": (d,)}
        shapes |= dict.fromkeys(("W_Q", "W_K", "W_V"), (heads, d, d_head))
        shapes |= {"W_O": (heads, d_head, d)}
        if self.d_mlp and self.layernorm == "pre":
            shapes |= {"ln2_w": (d,), "ln2_b": (d,)}
        if self.d_mlp:
            shapes |= {"W_in": (d, self.d_mlp), "b_in": (self.d_mlp,)}
            shapes |= {"W_out": (self.d_mlp, d), "b_out": (d,)}
        return shapes

    def useful_flops(self, task: Task) -> float:
        """Everything at the last position, and of layers before the last at the second one too; tables over the
        vocabulary are small against the examples."""
        if not is_three_tokens(task):
            return self._flops_of_all(task)
        flops = 0.0
        for name, shape in self.shapes(task).items():
            kind, _, layer = name.partition(".")
            if kind in ("W_E", "W_pos") or (kind in ("W_Q", "W_K", "W_V") and layer == "0"):
                continue
            is_deeper = layer != "" and int(layer) < self.layers - 1
            positions = 2 if is_deeper or kind in ("W_K", "W_V") else 1
            flops += 2 * positions * math.prod(shape)
        return flops

    def _flops_of_all(self, task: Task) -> float:
        """Every layer at every position; the unembedding where logits are scored."""
        scored = {"W_U": len(task.scored), "W_E": 0, "W_pos": 0}
        products = sum(2 * scored.get(name, task.n_ctx) * math.prod(shape) for name, shape in self.shapes(task).items())
        attention = self.layers * 2 * 2 * task.n_ctx**2 * self.heads * self.head_width
        return products + attention

    def look_up_flops(self, task: Task) -> float:
        heads = self.heads * self.head_width
        if not is_three_tokens(task):
            return 2 * task.n_ctx * task.d_vocab * self.d_model
        rows = 2 * (self.heads + heads)  # of both tables: scores of the last query, and values
        if self.layers > 1:
            rows += 2 * heads + self.heads + self.d_model + 2 * heads * (self.layers - 1)
        return 2 * task.d_vocab * rows

    def activations(self, task: Task) -> int:
        layer = task.n_ctx * (4 * self.d_model + 2 * self.d_mlp)
        if not is_three_tokens(task):
            return self.layers * (layer + self.heads * task.n_ctx**2) + 2 * len(task.scored) * task.d_vocab_out
        last = task.n_ctx * 2 * self.d_model + 2 * self.d_model + 2 * self.d_mlp
        return task.n_ctx * task.d_vocab + (self.layers - 1) * layer + last + 2 * task.d_vocab_out

    def widest(self, task: Task) -> int:
        return 3 * self.d_model + self.d_mlp


class MLP(Model):
    name: Literal["mlp"] = "mlp"
    widths: Annotated[list[Count], Field(min_length=1, max_length=256)] = [200, 200]
    """Neurons of each hidden layer, the first one first."""
    input: Literal["one_hot", "embedded"] = "one_hot"
    """Both operands side by side, as one-hot vectors or through one learned table W_E."""
    d_model: Count = 128
    """Width of W_E; read with `input: embedded` only."""
    activation: Activation = "relu"
    """Of the neurons. square is x^2; with identity the network is linear."""
    bias: bool = True
    """Whether every layer adds a bias."""

    schemes: ClassVar[tuple[str, ...]] = ("torch_linear", "fan_in")
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

    def idle(self) -> set[str]:
        return set() if self.has_embedding else {"d_model"}

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        yield from _needs_tokens(self, spec.task)
        yield from super().problems(spec)

    def shapes(self, task: Task) -> Shapes:
        shapes: Shapes = {"W_E": (task.operand_values, self.d_model)} if self.has_embedding else {}
        sizes = [self._inputs(task), *self.widths, task.classes]
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shapes[f"W.{layer}"] = (fan_in, fan_out)
            if self.bias:
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
        return len(task.operands) * (self.d_model if self.has_embedding else task.operand_values)

    def useful_flops(self, task: Task) -> float:
        looked_up = "W_E" if self.has_embedding else "W.0"
        return 2 * sum(math.prod(shape) for name, shape in self.shapes(task).items() if name != looked_up)

    def look_up_flops(self, task: Task) -> float:
        width = self.d_model if self.has_embedding else self.widths[0]
        return 2 * len(task.operands) * task.operand_values * width

    def activations(self, task: Task) -> int:
        return sum(shape[-1] for name, shape in self.shapes(task).items() if name.startswith("W"))

    def widest(self, task: Task) -> int:
        return len(task.operands) * task.operand_values + max(self.widths)


def is_three_tokens(task: Task) -> bool:
    """Whether a transformer can take the fast path: three tokens, the last the same in all, one position scored."""
    return task.n_ctx == 3 and task.ends_alike and task.scored == (2,)


def _needs_tokens(model: Model, task: Task) -> Iterator[Problem]:
    if task.n_ctx == 0:
        what = f"a {model.name} reads tokens, and the inputs of {task.name} are vectors"
        yield Problem("model.name", what, ("task.name",))


MODELS: dict[str, type[Model]] = {"transformer": Transformer, "mlp": MLP}
