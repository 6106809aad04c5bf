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
    """Logits at the last position, before `logit_scale`.

    The last layer's queries, MLP and unembedding are computed at the last position only: the loss reads
    nothing else, so the function and its gradient are those of the whole sequence.
    """
    d_vocab = params["W_E"].shape[0]
    embed = jax.nn.one_hot(tokens, d_vocab, dtype=params["W_E"].dtype)
    x = embed @ params["W_E"] + params["W_pos"]
    for layer in range(model.layers):
        here = slice(-1, None) if layer == model.layers - 1 else slice(None)
        x = x[:, here] + _attention(params, x, model, layer, here)
        if model.d_mlp:
            x = x + _mlp(params, x, model, layer)
    return _layernorm(params, x, model, "ln_final", "")[:, -1] @ params["W_U"]


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


def _mlp(
    params: Params, x: Float[Array, "n n_here d"], model: spec.Transformer, layer: int
) -> Float[Array, "n n_here d"]:
    y = _layernorm(params, x, model, "ln2", f".{layer}")
    hidden = ACTIVATIONS[model.activation](y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"])
    return hidden @ params[f"W_out.{layer}"] + params[f"b_out.{layer}"]


def _layernorm(
    params: Params, x: Float[Array, "n n_here d"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "n n_here d"]:
    if model.layernorm == "none":
        return x
    centered = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)
    return centered * scale * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]
