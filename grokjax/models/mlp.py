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
from grokjax.models.params import Params
from grokjax.models.textbook import Record
from grokjax.spec import models as spec
from grokjax.spec.tasks import Task

Tokens = Int[Array, "n L"]


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


def forward(params: Params, tokens: Tokens, model: spec.MLP, task: Task) -> Float[Array, "classes n"]:
    """Logits before `logit_scale`. Reads the operands; an `=` token is the transformer's."""
    return hidden_and_logits(params, tokens, model, task)[1]


def hidden_and_logits(
    params: Params, tokens: Tokens, model: spec.MLP, task: Task
) -> tuple[Float[Array, "width n"], Float[Array, "classes n"]]:
    """Neurons of the last hidden layer, after the activation, and the logits."""
    _, hidden, logits = _layers(params, tokens, model, task)
    return hidden[-1], logits


def features(params: Params, tokens: Tokens, model: spec.MLP, task: Task) -> Float[Array, "width n"]:
    """What the last matrix reads: the neurons of the last hidden layer."""
    return _layers(params, tokens, model, task)[1][-1]


def preactivations(params: Params, tokens: Tokens, model: spec.MLP, task: Task) -> dict[int, Float[Array, "_ n"]]:
    """Hidden layer -> its neurons before the activation."""
    return dict(enumerate(_layers(params, tokens, model, task)[0]))


def recorded_forward(
    params: Params, tokens: Tokens, model: spec.MLP, task: Task, record: Record
) -> Float[Array, "n classes"]:
    """Logits before `logit_scale`, examples first; `record` is handed each hidden layer before and after the
    activation, and the rows of W_E where there is one."""
    before, after, logits = _layers(params, tokens, model, task)
    if model.input == "embedded":
        record("hook_embed", after[0].T.reshape(len(tokens), len(task.operands), -1))
    for layer, (preactivation, hidden) in enumerate(zip(before, after[1:], strict=True)):
        record(f"blocks.{layer}.mlp.hook_pre", preactivation.T)
        record(f"blocks.{layer}.mlp.hook_post", hidden.T)
    return logits.T


def _layers(
    params: Params, tokens: Tokens, model: spec.MLP, task: Task
) -> tuple[list[Float[Array, "_ n"]], list[Float[Array, "_ n"]], Float[Array, "classes n"]]:
    """Every hidden layer before the activation; the input and every hidden layer after it; the logits."""
    dtype = params["W.0"].dtype
    operands = [one_hot(tokens[:, position], task.operand_values, dtype) for position in task.operands]
    if model.input == "embedded":
        operands = [linear(params["W_E"], operand) for operand in operands]
    x = jnp.concatenate(operands)
    before, after = [], [x]
    for layer in range(len(model.widths) + 1):
        if layer:
            before.append(x)
            x = ACTIVATIONS[model.activation](x)
            after.append(x)
        x = linear(params[f"W.{layer}"], x)
        if model.bias:
            x = x + params[f"b.{layer}"][:, None]
    return before, after, x


def input_weights(params: Params, model: spec.MLP) -> Float[Array, "operand_values columns"]:
    """What first reads each operand: the weights of the first hidden layer on a and on b, side by side (W_E W.0 where
    the input is embedded)."""
    of_a, of_b = jnp.split(params["W.0"], 2)
    if model.input == "embedded":
        of_a, of_b = params["W_E"] @ of_a, params["W_E"] @ of_b
    return jnp.concatenate([of_a, of_b], axis=1)


def output_map(params: Params, model: spec.MLP) -> Float[Array, "width classes"]:
    """Weight of each neuron of the last hidden layer on each logit: the last matrix."""
    return params[f"W.{len(model.widths)}"]
