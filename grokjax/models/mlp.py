"""An MLP on the operands, as one-hot vectors or through learned tables, side by side or added; or on vectors.

Activations are [features, examples].
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from grokjax.models.activations import activate
from grokjax.models.declare import Declare
from grokjax.models.features import linear, one_hot
from grokjax.models.params import Params
from grokjax.models.textbook import Drop, Record, whole
from grokjax.spec import models as spec
from grokjax.spec.tasks import Task

Inputs = Num[Array, "n L"]


class Linear(nnx.Module):
    def __init__(self, model: spec.MLP, layer: int, declare: Declare):
        self.W = declare(f"W.{layer}")
        if model.has_bias(layer):
            self.b = declare(f"b.{layer}")


class EachTable(nnx.Module):
    """One operand's own."""

    def __init__(self, place: int, declare: Declare):
        self.W_E = declare(f"W_E.{place}")


class MLP(nnx.Module):
    def __init__(self, model: spec.MLP, task: Task, declare: Declare):
        if model.has_embedding and model.tables == "shared":
            self.W_E = declare("W_E")
        if model.has_embedding and model.tables == "each":
            self.tables = nnx.List([EachTable(place, declare) for place in range(len(task.operands))])
        self.blocks = nnx.List([Linear(model, layer, declare) for layer in range(len(model.widths) + 1)])


def forward(
    params: Params, inputs: Inputs, model: spec.MLP, task: Task, drop: Drop = whole
) -> Float[Array, "outputs n"]:
    """Logits before `logit_scale`. Reads the operands; an `=` token is the transformer's. drop: of each hidden layer,
    after the activation."""
    return _layers(params, inputs, model, task, drop)[2]


def fused_forward(params: Params, inputs: Inputs, model: spec.MLP, task: Task) -> Float[Array, "outputs n"]:
    """As `forward`, by kernels that do not write the hidden layers of `model.fused` to memory."""
    from grokjax.models.fused.step import neurons  # Pallas takes half a second to import

    x, layer = _joined(params, inputs, model, task), 0
    while layer <= len(model.widths):
        x = activate(model, x) if layer else x
        if layer in model.fused:
            reads, writes = ((params[f"W.{at}"], params.get(f"b.{at}")) for at in (layer, layer + 1))
            x = neurons(model.activation, x, *reads, *writes, with_dx=layer > 0 or model.has_embedding)
            layer += 2
        else:
            x = _with_bias(params, linear(params[f"W.{layer}"], x), model, layer)
            layer += 1
    return x


def hidden_and_logits(
    params: Params, inputs: Inputs, model: spec.MLP, task: Task
) -> tuple[Float[Array, "width n"], Float[Array, "outputs n"]]:
    """Neurons of the last hidden layer, after the activation, and the logits."""
    _, hidden, logits = _layers(params, inputs, model, task)
    return hidden[-1], logits


def features(params: Params, inputs: Inputs, model: spec.MLP, task: Task) -> Float[Array, "width n"]:
    """What the last matrix reads: the neurons of the last hidden layer."""
    return _layers(params, inputs, model, task)[1][-1]


def preactivations(params: Params, inputs: Inputs, model: spec.MLP, task: Task) -> dict[int, Float[Array, "_ n"]]:
    """Hidden layer -> its neurons before the activation."""
    return dict(enumerate(_layers(params, inputs, model, task)[0]))


def recorded_forward(
    params: Params, inputs: Inputs, model: spec.MLP, task: Task, record: Record
) -> Float[Array, "n outputs"]:
    """Logits before `logit_scale`, examples first; `record` is handed each hidden layer before and after the
    activation, and each operand's row of a table where there is one."""
    before, after, logits = _layers(params, inputs, model, task)
    if model.has_embedding:
        record("hook_embed", jnp.stack([row.T for row in _operands(params, inputs, model, task)], axis=1))
    for layer, (preactivation, hidden) in enumerate(zip(before, after[1:], strict=True)):
        record(f"blocks.{layer}.mlp.hook_pre", preactivation.T)
        record(f"blocks.{layer}.mlp.hook_post", hidden.T)
    return logits.T


def _layers(
    params: Params, inputs: Inputs, model: spec.MLP, task: Task, drop: Drop = whole
) -> tuple[list[Float[Array, "_ n"]], list[Float[Array, "_ n"]], Float[Array, "outputs n"]]:
    """Every hidden layer before the activation; the input and every hidden layer after it; the outputs."""
    x = _joined(params, inputs, model, task)
    before, after = [], [x]
    for layer in range(len(model.widths) + 1):
        if layer:
            before.append(x)
            x = drop(activate(model, x), layer - 1)
            after.append(x)
        x = _with_bias(params, linear(params[f"W.{layer}"], x), model, layer)
    return before, after, x


def _with_bias(params: Params, x: Float[Array, "width n"], model: spec.MLP, layer: int) -> Float[Array, "width n"]:
    return x + params[f"b.{layer}"][:, None] if model.has_bias(layer) else x


def _joined(params: Params, inputs: Inputs, model: spec.MLP, task: Task) -> Float[Array, "width n"]:
    """What the first matrix reads."""
    source = model.reads(task)
    if source == "vector":
        return inputs.T.astype(params["W.0"].dtype)
    operands = _operands(params, inputs, model, task)
    if source == "summed" or (source == "embedded" and model.combine == "sum"):
        return functools.reduce(jnp.add, operands)
    return jnp.concatenate(operands)


def _operands(params: Params, inputs: Inputs, model: spec.MLP, task: Task) -> list[Float[Array, "width n"]]:
    """Each operand as a one-hot vector, or as the row of its table."""
    dtype = params["W.0"].dtype
    operands = [one_hot(inputs[:, position], task.operand_values, dtype) for position in task.operands]
    if not model.has_embedding:
        return operands
    tables = model.tables_of(len(operands))
    return [linear(params[table], operand) for table, operand in zip(tables, operands, strict=True)]


def input_weights(params: Params, model: spec.MLP) -> Float[Array, "operand_values columns"]:
    """What first reads each operand, of two: the weights of the first hidden layer on a and on b, side by side (W_E W.0
    where the input is embedded). Where both are read alike, these once."""
    W = params["W.0"]
    of_a, of_b = (W, W) if model.input == "summed" or model.combine == "sum" else jnp.split(W, 2)
    if model.has_embedding:
        of_a, of_b = (params[table] @ part for table, part in zip(model.tables_of(2), (of_a, of_b), strict=True))
    is_alike = model.input == "summed" or (model.combine == "sum" and model.tables == "shared")
    return of_a if is_alike else jnp.concatenate([of_a, of_b], axis=1)


def output_map(params: Params, model: spec.MLP) -> Float[Array, "width outputs"]:
    """Weight of each neuron of the last hidden layer on each output: the last matrix."""
    return params[f"W.{len(model.widths)}"]


def neuron_weights(params: Params, model: spec.MLP) -> dict[int, tuple[Float[Array, "d m"], Float[Array, "m v"]]]:
    """Hidden layer -> the weights that its neurons read with, and write with."""
    return {layer: (params[f"W.{layer}"], params[f"W.{layer + 1}"]) for layer in range(len(model.widths))}
