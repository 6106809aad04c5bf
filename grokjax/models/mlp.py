"""An MLP on both operands side by side, as one-hot vectors or through one learned table.

Activations are [features, examples].
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from grokjax.models.activations import ACTIVATIONS
from grokjax.models.declare import Declare
from grokjax.models.features import linear, one_hot
from grokjax.sweep import spec

Params = dict[str, Array]


class Linear(nnx.Module):
    def __init__(self, model: spec.MLP, layer: int, declare: Declare):
        self.W = declare(f"W.{layer}")
        if model.bias:
            self.b = declare(f"b.{layer}")


class MLP(nnx.Module):
    def __init__(self, model: spec.MLP, declare: Declare):
        if model.input == "embedded":
            self.W_E = declare("W_E")
        self.blocks = nnx.List([Linear(model, layer, declare) for layer in range(len(model.widths) + 1)])


def forward(params: Params, tokens: Int[Array, "n 3"], model: spec.MLP) -> Float[Array, "p n"]:
    """Logits before `logit_scale`. Reads the two operands; the `=` token is the transformer's."""
    return inside(params, tokens, model)[1]


def inside(
    params: Params, tokens: Int[Array, "n 3"], model: spec.MLP
) -> tuple[Float[Array, "width n"], Float[Array, "p n"]]:
    """Neurons of the last hidden layer, after the activation, and the logits."""
    return _layers(params, tokens, model)[1:]


def before(params: Params, tokens: Int[Array, "n 3"], model: spec.MLP) -> dict[int, Float[Array, "_ n"]]:
    """Hidden layer -> its neurons, before the activation."""
    return dict(enumerate(_layers(params, tokens, model)[0]))


def _layers(
    params: Params, tokens: Int[Array, "n 3"], model: spec.MLP
) -> tuple[list[Float[Array, "_ n"]], Float[Array, "width n"], Float[Array, "p n"]]:
    """Every hidden layer before the activation, the last one after it, the logits."""
    first = params["W.0"]
    p = params["W_E"].shape[0] if model.input == "embedded" else first.shape[0] // 2
    operands = [one_hot(tokens[:, position], p, first.dtype) for position in (0, 1)]
    if model.input == "embedded":
        operands = [linear(params["W_E"], operand) for operand in operands]
    x = hidden = jnp.concatenate(operands)
    inputs = []
    for layer in range(len(model.widths) + 1):
        if layer:
            inputs.append(x)
            x = hidden = ACTIVATIONS[model.activation](x)
        x = linear(params[f"W.{layer}"], x)
        if model.bias:
            x = x + params[f"b.{layer}"][:, None]
    return inputs, hidden, x
