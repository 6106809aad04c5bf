"""Transformers, of any length and depth. What they compute is in `grokjax/models/`.

Costs are of the forward that is trained with: where `is_three_tokens` holds only what the answer reads
(`grokjax/models/three_tokens.py`), else every layer at every position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from grokjax.spec.fields import Activation, Count, Int, Natural, NonNegative, ZeroToOne
from grokjax.spec.kernels import too_wide
from grokjax.spec.model import Model
from grokjax.spec.roles import Later, Null, Role
from grokjax.spec.section import Problem
from grokjax.spec.shapes import Shapes
from grokjax.spec.tasks import Task

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec


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
    layernorm: Literal["none", "pre", "post", "stream"] = "none"
    """pre: before attention, before the MLP and before the unembedding. post: after each is added to the stream, and
    nowhere else (Power et al.). stream: as pre, but attention is added to its own normed input (Grokfast's code)."""
    positions: Later[Literal["learned", "sinusoidal", "none"]] = "learned"
    """learned: a table W_pos; sinusoidal: fixed, sin in even and cos in odd columns (Power et al.)."""
    mask: Later[Literal["causal", "none"]] = "causal"
    """causal: a position attends to itself and those before it; none: to all."""
    attention_mix: Annotated[ZeroToOne | None, Role("hyper", later=True), Null("softmax", most=True)] = None
    """c: attention is c * softmax + (1 - c), so at 0 every weight is 1 (Zhong et al. 2023); null is softmax."""
    direct_path: Later[bool] = True
    """Whether the unembedding reads the token's own embedding and position, or only what the layers wrote."""
    bias: Later[bool] = True
    """Whether the MLP has biases."""
    attention_bias: Later[bool] = False
    """Whether attention has biases b_Q, b_K, b_V and b_O, as `torch.nn.MultiheadAttention` does."""
    negative_slope: Annotated[NonNegative, Role("hyper", later=True)] = 0.01
    """Slope of leaky_relu below 0."""

    schemes: ClassVar[tuple[str, ...]] = ("paper", "fan_in", "torch_linear")
    drops: ClassVar[bool] = True
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
    def attention_heads(self) -> int:
        return self.heads

    @property
    def has_neurons(self) -> bool:
        return self.d_mlp > 0

    @property
    def has_embedding(self) -> bool:
        return True

    @property
    def nonlinearity(self) -> str:
        return self.activation

    @property
    def activation_numbers(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope} if self.activation == "leaky_relu" else {}

    @property
    def norms_inputs(self) -> bool:
        """Whether attention, MLP and unembedding read the stream through a layer norm."""
        return self.layernorm in ("pre", "stream")

    def not_fused(self, task: Task) -> str | None:
        if self.layers != 1:
            return f"its kernels are for a transformer of one layer, not {self.layers}"
        if not self.is_three_tokens(task):
            return "its kernels are for three tokens of which the last, the same in all, is read, with a causal mask"
        return too_wide(self.d_model, self.d_mlp, self.d_model) if self.d_mlp else "attention only has no hidden layer"

    def idle(self) -> set[str]:
        of_neurons = set() if self.d_mlp else {"activation", "bias"}
        return of_neurons | (set() if self.d_mlp and self.activation == "leaky_relu" else {"negative_slope"})

    def resolved(self) -> Self:
        d_head = max(1, self.d_model // self.heads) if self.d_head is None else self.d_head
        return self.model_copy(update={"d_head": d_head})

    def problems(self, spec: RunSpec) -> Iterator[Problem]:
        if self.d_head is None and self.d_model % self.heads:
            what = f"{self.heads} heads do not divide d_model {self.d_model}; change one, or give d_head"
            yield Problem("model.heads", what, ("model.d_model",))
        if spec.task.n_ctx == 0:
            what = f"a transformer reads tokens, and the inputs of {spec.task.name} are vectors: use an mlp"
            yield Problem("model.name", what, ("task.name",))
        if not self.direct_path and self.layernorm in ("post", "stream"):
            what = f"layernorm {self.layernorm} norms the stream itself, so it has no direct path to leave out"
            yield Problem("model.direct_path", f"{what}; use none or pre", ("model.layernorm",))

    def shapes(self, task: Task) -> Shapes:
        d = self.d_model
        shapes: Shapes = {"W_E": (task.d_vocab, d)}
        if self.positions == "learned":
            shapes["W_pos"] = (task.n_ctx, d)
        for layer in range(self.layers):
            shapes |= {f"{name}.{layer}": shape for name, shape in self._block().items()}
        if self.norms_inputs:
            shapes |= {"ln_final_w": (d,), "ln_final_b": (d,)}
        return shapes | {"W_U": (d, task.d_vocab_out)}

    def _block(self) -> Shapes:
        """Shapes of one layer."""
        d, heads, d_head, has_norm = self.d_model, self.heads, self.head_width, self.layernorm != "none"
        shapes: Shapes = {}
        if has_norm:
            shapes |= {"ln1_w": (d,), "ln1_b": (d,)}
        shapes |= dict.fromkeys(("W_Q", "W_K", "W_V"), (heads, d, d_head))
        if self.attention_bias:
            shapes |= dict.fromkeys(("b_Q", "b_K", "b_V"), (heads, d_head))
        shapes |= {"W_O": (heads, d_head, d)} | ({"b_O": (d,)} if self.attention_bias else {})
        if self.d_mlp and has_norm:
            shapes |= {"ln2_w": (d,), "ln2_b": (d,)}
        if self.d_mlp:
            mlp: Shapes = {"W_in": (d, self.d_mlp), "b_in": (self.d_mlp,), "W_out": (self.d_mlp, d), "b_out": (d,)}
            shapes |= {name: shape for name, shape in mlp.items() if self.bias or name.startswith("W")}
        return shapes

    def is_three_tokens(self, task: Task) -> bool:
        """Whether it takes the fast path: three tokens, the last the same in all, one position scored, which attends to
        those before it and reads the whole stream."""
        fits = task.n_ctx == 3 and task.ends_alike and task.scored == (2,)
        return fits and self.mask == "causal" and self.direct_path

    def useful_flops(self, task: Task) -> float:
        """Everything at the last position, and of layers before the last at the second one too; tables over the
        vocabulary are small against the examples."""
        if not self.is_three_tokens(task):
            return self._flops_of_any_length(task)
        flops = 0.0
        for name, shape in self.shapes(task).items():
            kind, _, layer = name.partition(".")
            if kind in ("W_E", "W_pos") or (kind in ("W_Q", "W_K", "W_V") and layer == "0"):
                continue
            is_deeper = layer != "" and int(layer) < self.layers - 1
            positions = 2 if is_deeper or kind in ("W_K", "W_V") else 1
            flops += 2 * positions * math.prod(shape)
        return flops

    def _flops_of_any_length(self, task: Task) -> float:
        """Every layer at every position, but of the last one only keys and values; its queries, MLP and unembedding
        where logits are scored."""
        flops = 0.0
        for name, shape in self.shapes(task).items():
            kind, _, layer = name.partition(".")
            if kind in ("W_E", "W_pos"):
                continue
            is_everywhere = kind in ("W_K", "W_V") or (layer != "" and int(layer) < self.layers - 1)
            positions = task.n_ctx if is_everywhere else len(task.scored)
            flops += 2 * positions * math.prod(shape)
        queries = (self.layers - 1) * task.n_ctx + len(task.scored)
        return flops + 2 * 2 * queries * task.n_ctx * self.heads * self.head_width

    def look_up_flops(self, task: Task) -> float:
        heads = self.heads * self.head_width
        if not self.is_three_tokens(task):
            return 2 * task.n_ctx * task.d_vocab * self.d_model
        rows = 2 * (self.heads + heads)  # of both tables: scores of the last query, and values
        if self.layers > 1:
            rows += 2 * heads + self.heads + self.d_model + 2 * heads * (self.layers - 1)
        return 2 * task.d_vocab * rows

    def activations(self, task: Task) -> int:
        if not self.is_three_tokens(task):
            heard = self.d_model + 2 * self.heads * self.head_width  # the last layer's input, keys and values
            everywhere = (self.layers - 1) * self._kept(task) + heard + task.d_vocab
            return task.n_ctx * everywhere + len(task.scored) * (self._kept(task) + 2 * task.d_vocab_out)
        norms = 8 * self.d_model if self.layernorm != "none" else 0
        last = 3 * 2 * self.d_model + 2 * self.d_model + 2 * self.d_mlp + norms
        return 2 * task.d_vocab + 2 * (self.layers - 1) * self._kept(task) + last + 2 * task.d_vocab_out

    def _kept(self, task: Task) -> int:
        """Of one layer at one position: the stream, its norms, heads, attention to all positions, and neurons."""
        norms = 4 * self.d_model if self.layernorm != "none" else 0
        attention = self.heads * (4 * self.head_width + 3 * task.n_ctx)
        return 3 * self.d_model + norms + attention + 2 * self.d_mlp

    def widest(self, task: Task) -> int:
        return 3 * self.d_model + self.d_mlp
