"""A causal transformer read at its last position, on tokens [a, b, =].

`Transformer` declares names, shapes and starting values; `forward` is a plain function of the flat dict.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from grokjax.models.activations import ACTIVATIONS
from grokjax.models.declare import Declare
from grokjax.sweep import spec
from grokjax.sweep.shapes import head_width

Params = dict[str, Array]


class Block(nnx.Module):
    """One layer: attention, then (where d_mlp > 0) an MLP."""

    def __init__(self, model: spec.Transformer, layer: int, declare: Declare):
        if model.layernorm == "pre":
            self.ln1_w, self.ln1_b = declare(f"ln1_w.{layer}"), declare(f"ln1_b.{layer}")
        self.W_Q, self.W_K = declare(f"W_Q.{layer}"), declare(f"W_K.{layer}")
        self.W_V, self.W_O = declare(f"W_V.{layer}"), declare(f"W_O.{layer}")
        if model.d_mlp:
            if model.layernorm == "pre":
                self.ln2_w, self.ln2_b = declare(f"ln2_w.{layer}"), declare(f"ln2_b.{layer}")
            self.W_in, self.b_in = declare(f"W_in.{layer}"), declare(f"b_in.{layer}")
            self.W_out, self.b_out = declare(f"W_out.{layer}"), declare(f"b_out.{layer}")


class Transformer(nnx.Module):
    def __init__(self, model: spec.Transformer, declare: Declare):
        self.W_E, self.W_pos = declare("W_E"), declare("W_pos")
        self.blocks = nnx.List([Block(model, layer, declare) for layer in range(model.layers)])
        if model.layernorm == "pre":
            self.ln_final_w, self.ln_final_b = declare("ln_final_w"), declare("ln_final_b")
        self.W_U = declare("W_U")


def forward(params: Params, tokens: Int[Array, "n n_ctx"], model: spec.Transformer) -> Float[Array, "n d_vocab"]:
    """Logits at the last position, before `logit_scale`; the last token is `=`, the last of the vocabulary.

    Only what the loss reads is computed, so the function and its gradient are those of the whole sequence:
    the last layer's queries, MLP and unembedding at the last position, and in one layer the keys and values
    of a (position, token) once, in a table over the vocabulary.
    """
    if model.layers == 1:
        x = _attend_by_table(params, tokens, model)
        x = x + _mlp(params, x, model, 0) if model.d_mlp else x
    else:
        x = _residual_stream(params, tokens, model)
    return _layernorm(params, x, model, "ln_final", "") @ params["W_U"]


def _attend_by_table(params: Params, tokens: Int[Array, "n n_ctx"], model: spec.Transformer) -> Float[Array, "n d"]:
    """The residual stream at the last position after the first attention.

    Before positions mix, keys and values depend on (position, token) alone, and so do the scores, since the
    last token, whose query it is, is always the same. Examples look them up by a one-hot matmul: its gradient is
    a matmul too, where that of a gather would be a scatter-add, slow and on GPUs not deterministic.
    """
    d_vocab, heads = params["W_E"].shape[0], model.heads
    x = params["W_pos"][:, None] + params["W_E"]  # [n_ctx, d_vocab, d_model]
    y = _layernorm(params, x, model, "ln1", ".0")
    query = jnp.einsum("d,hde->he", y[-1, -1], params["W_Q.0"]) / head_width(model) ** 0.5
    scores = jnp.einsum("pvd,hd->pvh", y, jnp.einsum("hde,he->hd", params["W_K.0"], query))
    values = jnp.einsum("pvd,hde->pvhe", y, params["W_V.0"])
    table = jnp.concatenate([scores, values.reshape(*scores.shape[:2], -1)], axis=-1)
    before = jax.nn.one_hot(tokens[:, :-1], d_vocab, dtype=x.dtype)  # the last position's row is known
    found = jnp.einsum("npv,pvc->npc", before, table[:-1])
    n = found.shape[0]
    last_score = jnp.broadcast_to(scores[-1, -1], (n, 1, heads))
    weights = jax.nn.softmax(jnp.concatenate([found[..., :heads], last_score], axis=1), axis=1)
    found_values = found[..., heads:].reshape(n, -1, *values.shape[2:])
    z = jnp.einsum("nph,nphe->nhe", weights[:, :-1], found_values) + weights[:, -1, :, None] * values[-1, -1]
    return x[-1, -1] + jnp.einsum("nhe,hed->nd", z, params["W_O.0"])


def _residual_stream(params: Params, tokens: Int[Array, "n n_ctx"], model: spec.Transformer) -> Float[Array, "n d"]:
    """The residual stream at the last position after all layers, of which the last is computed there only."""
    x = jax.nn.one_hot(tokens, params["W_E"].shape[0], dtype=params["W_E"].dtype) @ params["W_E"] + params["W_pos"]
    for layer in range(model.layers):
        here = slice(-1, None) if layer == model.layers - 1 else slice(None)
        x = x[:, here] + _attention(params, x, model, layer, here)
        if model.d_mlp:
            x = x + _mlp(params, x, model, layer)
    return x[:, -1]


def _attention(
    params: Params, x: Float[Array, "n n_ctx d"], model: spec.Transformer, layer: int, here: slice
) -> Float[Array, "n n_here d"]:
    y = _layernorm(params, x, model, "ln1", f".{layer}")
    q = jnp.einsum("nqd,hde->nhqe", y[:, here], params[f"W_Q.{layer}"])
    k = jnp.einsum("nkd,hde->nhke", y, params[f"W_K.{layer}"])
    v = jnp.einsum("nkd,hde->nhke", y, params[f"W_V.{layer}"])
    scores = jnp.einsum("nhqe,nhke->nhqk", q, k) / head_width(model) ** 0.5
    causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))[here]
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    z = jnp.einsum("nhqk,nhke->nqhe", weights, v)
    return jnp.einsum("nqhe,hed->nqd", z, params[f"W_O.{layer}"])


def _mlp(params: Params, x: Float[Array, "*n d"], model: spec.Transformer, layer: int) -> Float[Array, "*n d"]:
    y = _layernorm(params, x, model, "ln2", f".{layer}")
    hidden = ACTIVATIONS[model.activation](y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"])
    return hidden @ params[f"W_out.{layer}"] + params[f"b_out.{layer}"]


def _layernorm(
    params: Params, x: Float[Array, "*n d"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "*n d"]:
    if model.layernorm == "none":
        return x
    centered = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
    return centered * scale * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]
