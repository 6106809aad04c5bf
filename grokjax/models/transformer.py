"""A transformer, read where its task is scored.

`Transformer` declares names, shapes and starting values; the rest are plain functions of the flat dict, which take the
fast path for three tokens where the task allows it. What they return is [features, n * scored], the positions that are
scored moving fastest.
"""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float, Int

from grokjax.models import textbook, three_tokens
from grokjax.models.declare import Declare
from grokjax.models.features import linear
from grokjax.models.params import Params
from grokjax.spec import models as spec
from grokjax.spec.tasks import Task

Tokens = Int[Array, "n L"]


class Block(nnx.Module):
    """One layer: attention, then (where d_mlp > 0) an MLP."""

    def __init__(self, model: spec.Transformer, layer: int, declare: Declare):
        if model.layernorm != "none":
            self.ln1_w, self.ln1_b = declare(f"ln1_w.{layer}"), declare(f"ln1_b.{layer}")
        self.W_Q, self.W_K = declare(f"W_Q.{layer}"), declare(f"W_K.{layer}")
        self.W_V, self.W_O = declare(f"W_V.{layer}"), declare(f"W_O.{layer}")
        if model.attention_bias:
            self.b_Q, self.b_K = declare(f"b_Q.{layer}"), declare(f"b_K.{layer}")
            self.b_V, self.b_O = declare(f"b_V.{layer}"), declare(f"b_O.{layer}")
        if model.d_mlp:
            if model.layernorm != "none":
                self.ln2_w, self.ln2_b = declare(f"ln2_w.{layer}"), declare(f"ln2_b.{layer}")
            self.W_in, self.W_out = declare(f"W_in.{layer}"), declare(f"W_out.{layer}")
            if model.bias:
                self.b_in, self.b_out = declare(f"b_in.{layer}"), declare(f"b_out.{layer}")


class Transformer(nnx.Module):
    def __init__(self, model: spec.Transformer, task: Task, declare: Declare):
        self.W_E = declare("W_E")
        if model.positions == "learned":
            self.W_pos = declare("W_pos")
        self.blocks = nnx.List([Block(model, layer, declare) for layer in range(model.layers)])
        if model.norms_inputs:
            self.ln_final_w, self.ln_final_b = declare("ln_final_w"), declare("ln_final_b")
        self.W_U = declare("W_U")


def forward(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task, drop: textbook.Drop = textbook.whole
) -> Float[Array, "d_vocab_out m"]:
    """Logits before `logit_scale`. drop: of what each layer's MLP writes to the stream."""
    return linear(params["W_U"], _hidden_and_features(params, tokens, model, task, drop)[1])


def fused_forward(params: Params, tokens: Tokens, model: spec.Transformer, task: Task) -> Float[Array, "d_vocab_out m"]:
    """As `forward`, where the model has kernels (`model.not_fused`)."""
    return linear(params["W_U"], three_tokens.fused_features(params, tokens, model))


def hidden_and_logits(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task
) -> tuple[Float[Array, "d_mlp m"] | None, Float[Array, "d_vocab_out m"]]:
    """Neurons of the last layer (after the activation; None without an MLP), and the logits."""
    hidden, x = _hidden_and_features(params, tokens, model, task)
    return hidden, linear(params["W_U"], x)


def features(params: Params, tokens: Tokens, model: spec.Transformer, task: Task) -> Float[Array, "d_model m"]:
    """What W_U reads: the residual stream, or only what the layers wrote to it, after the last layer norm if there is
    one."""
    return _hidden_and_features(params, tokens, model, task)[1]


def preactivations(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task
) -> dict[int, Float[Array, "d_mlp m"]]:
    """The last layer -> its neurons before the activation; empty without an MLP."""
    if not model.d_mlp:
        return {}
    last = model.layers - 1
    if model.is_three_tokens(task):
        values = three_tokens.preactivations(params, tokens, model)
    else:
        values = _columns(_see(params, tokens, model, task)[0][f"blocks.{last}.mlp.hook_pre"])
    assert values is not None
    return {last: values}


def recorded_forward(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task, record: textbook.Record
) -> Float[Array, "n L d_vocab_out"]:
    """Logits at every position, before `logit_scale`; `record` is handed every activation."""
    return textbook.transformer(params, tokens, model, record=record)


def _hidden_and_features(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task, drop: textbook.Drop = textbook.whole
) -> tuple[Float[Array, "d_mlp m"] | None, Float[Array, "d_model m"]]:
    if model.is_three_tokens(task) and drop is textbook.whole:
        return three_tokens.hidden_and_features(params, tokens, model)
    activations, x = _see(params, tokens, model, task, drop)
    hidden = activations.get(f"blocks.{model.layers - 1}.mlp.hook_post")
    return None if hidden is None else _columns(hidden), _columns(x)


def _see(
    params: Params, tokens: Tokens, model: spec.Transformer, task: Task, drop: textbook.Drop = textbook.whole
) -> tuple[dict[str, Array], Float[Array, "n scored d"]]:
    """Every activation by its name, those of the last layer at the scored positions; and what W_U reads there."""
    activations: dict[str, Array] = {}
    look_up, record = textbook.one_hot_product, activations.__setitem__
    return activations, textbook.see(params, tokens, model, look_up, record, drop, task.scored)


def _columns(x: Float[Array, "n scored d"]) -> Float[Array, "d m"]:
    """[features, n * scored]"""
    return x.reshape(-1, x.shape[-1]).T


def input_weights(params: Params, model: spec.Transformer) -> Float[Array, "d_vocab d_model"]:
    """What first reads each token: W_E."""
    return params["W_E"]


def output_map(params: Params, model: spec.Transformer) -> Float[Array, "d_mlp d_vocab_out"] | None:
    """Weight of each neuron of the last layer on each logit: W_out W_U, past the last layer norm if there is one. None
    for attention only."""
    if not model.d_mlp:
        return None
    return params[f"W_out.{model.layers - 1}"] @ params["W_U"]


def neuron_weights(
    params: Params, model: spec.Transformer
) -> dict[int, tuple[Float[Array, "d m"], Float[Array, "m d"]]]:
    """Layer -> the weights that its neurons read the stream with, and write to it with; empty for attention only."""
    layers = range(model.layers) if model.d_mlp else ()
    return {layer: (params[f"W_in.{layer}"], params[f"W_out.{layer}"]) for layer in layers}
