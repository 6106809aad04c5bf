"""Both networks as papers write them, on any length of sequence: every layer at every position, examples first.

What training computes instead on three tokens (`three_tokens.py`, `mlp.py`) must be the same function, with the same
gradient: tests hold them against these, and `grokjax bench` measures what the difference is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.models.activations import ACTIVATIONS
from grokjax.models.params import Params
from grokjax.spec import models as spec

LookUp = Callable[[Array, Array], Array]


class Seen(NamedTuple):
    """A transformer at every position."""

    preactivations: Float[Array, "n L d_mlp"] | None  # of the last layer's neurons; None for attention only
    hidden: Float[Array, "n L d_mlp"] | None  # these after the activation
    features: Float[Array, "n L d_model"]  # what W_U reads


def gather(table: Float[Array, "v d"], tokens: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """Rows of a table. Its gradient is a scatter: slow, and on GPUs not deterministic."""
    return table[tokens]


def one_hot_product(table: Float[Array, "v d"], tokens: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """Rows of a table, by a product whose gradient is a product too: what training uses."""
    return jax.nn.one_hot(tokens, len(table), dtype=table.dtype) @ table


def forward(
    params: Params, tokens: Int[Array, "n L"], model: spec.Model, look_up: LookUp = gather
) -> Float[Array, "n v"]:
    """Logits at the last position, before `logit_scale`."""
    if isinstance(model, spec.Transformer):
        return transformer(params, tokens, model, look_up)[:, -1]
    assert isinstance(model, spec.MLP), "a model of a user's has no textbook form"
    return mlp(params, tokens, model, look_up)


def transformer(
    params: Params, tokens: Int[Array, "n L"], model: spec.Transformer, look_up: LookUp = gather
) -> Float[Array, "n L v"]:
    """Logits at every position."""
    return see(params, tokens, model, look_up).features @ params["W_U"]


def see(params: Params, tokens: Int[Array, "n L"], model: spec.Transformer, look_up: LookUp = gather) -> Seen:
    """The last layer's neurons and the final residual stream at every position."""
    x = look_up(params["W_E"], tokens) + params["W_pos"]
    preactivations = hidden = None
    for layer in range(model.layers):
        x = x + attention(params, layernorm(params, x, model, "ln1", f".{layer}"), layer)
        if model.d_mlp:
            y = layernorm(params, x, model, "ln2", f".{layer}")
            preactivations = y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"]
            hidden = ACTIVATIONS[model.activation](preactivations)
            x = x + hidden @ params[f"W_out.{layer}"] + params[f"b_out.{layer}"]
    return Seen(preactivations, hidden, layernorm(params, x, model, "ln_final", ""))


def attention(params: Params, x: Float[Array, "n L d"], layer: int) -> Float[Array, "n L d"]:
    q, k, v = (jnp.einsum("nid,hde->nhie", x, params[f"{name}.{layer}"]) for name in ("W_Q", "W_K", "W_V"))
    scores = jnp.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return jnp.einsum("nhij,nhje,hed->nid", weights, v, params[f"W_O.{layer}"])


def layernorm(
    params: Params, x: Float[Array, "n L d"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "n L d"]:
    if model.layernorm == "none":
        return x
    centered = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
    return centered / deviation * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]


def mlp(
    params: Params, tokens: Int[Array, "n L"], model: spec.MLP, look_up: LookUp = gather
) -> Float[Array, "n classes"]:
    """Logits of an MLP on two operands, the first two tokens."""
    if model.input == "embedded":
        x = look_up(params["W_E"], tokens[:, :2]).reshape(len(tokens), -1)
    else:
        x = jax.nn.one_hot(tokens[:, :2], params["W.0"].shape[0] // 2).reshape(len(tokens), -1)
    for layer in range(len(model.widths) + 1):
        x = x if layer == 0 else ACTIVATIONS[model.activation](x)
        x = x @ params[f"W.{layer}"] + (params[f"b.{layer}"] if model.bias else 0)
    return x
