"""Both networks as papers write them: every layer at every position, examples first.

What training computes instead (`transformer.forward`, `mlp.forward`) must be the same function, with the same gradient:
tests hold them against these, and `grokjax bench` measures what the difference is worth.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.models.activations import ACTIVATIONS
from grokjax.sweep import spec

Params = dict[str, Array]


def forward(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer | spec.MLP) -> Float[Array, "n v"]:
    """Logits at the answer, before `logit_scale`."""
    if isinstance(model, spec.Transformer):
        return transformer(params, tokens, model)[:, -1]
    return mlp(params, tokens, model)


def transformer(params: Params, tokens: Int[Array, "n n_ctx"], model: spec.Transformer) -> Float[Array, "n n_ctx v"]:
    """Logits at every position."""
    x = params["W_E"][tokens] + params["W_pos"]
    for layer in range(model.layers):
        x = x + attention(params, layernorm(params, x, model, "ln1", f".{layer}"), layer)
        if model.d_mlp:
            y = layernorm(params, x, model, "ln2", f".{layer}")
            hidden = ACTIVATIONS[model.activation](y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"])
            x = x + hidden @ params[f"W_out.{layer}"] + params[f"b_out.{layer}"]
    return layernorm(params, x, model, "ln_final", "") @ params["W_U"]


def attention(params: Params, x: Float[Array, "n n_ctx d"], layer: int) -> Float[Array, "n n_ctx d"]:
    q, k, v = (jnp.einsum("nid,hde->nhie", x, params[f"{name}.{layer}"]) for name in ("W_Q", "W_K", "W_V"))
    scores = jnp.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return jnp.einsum("nhij,nhje,hed->nid", weights, v, params[f"W_O.{layer}"])


def layernorm(
    params: Params, x: Float[Array, "n n_ctx d"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "n n_ctx d"]:
    if model.layernorm == "none":
        return x
    centered = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
    return centered / deviation * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]


def mlp(params: Params, tokens: Int[Array, "n 3"], model: spec.MLP) -> Float[Array, "n p"]:
    if model.input == "embedded":
        x = params["W_E"][tokens[:, :2]].reshape(len(tokens), -1)
    else:
        x = jax.nn.one_hot(tokens[:, :2], params["W.0"].shape[0] // 2).reshape(len(tokens), -1)
    for layer in range(len(model.widths) + 1):
        x = x if layer == 0 else ACTIVATIONS[model.activation](x)
        x = x @ params[f"W.{layer}"] + (params[f"b.{layer}"] if model.bias else 0)
    return x
