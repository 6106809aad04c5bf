"""The fast path of a one-layer causal transformer on GPUs: three tokens [a, b, =], read at the last position.

Its function and gradient are those of `three_tokens`. There activations are [features, examples], here [examples,
features]: rows of a table are looked up by the kernels that read them, sums over features are within a row, and what is
added to a product can be a part of its kernel. The barriers keep each activation in the one place it is written to.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.models.activations import activate
from grokjax.models.params import Params
from grokjax.models.positions import position_vectors
from grokjax.spec import models as spec

keep = jax.lax.optimization_barrier


def computes(model: spec.Transformer) -> bool:
    """Whether a transformer on three tokens is one of these."""
    return model.layers == 1 and model.layernorm == "none" and not model.attention_bias


def hidden_and_features(
    params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer
) -> tuple[Float[Array, "d_mlp n"] | None, Float[Array, "d_model n"]]:
    """As `three_tokens.hidden_and_features`."""
    x = _after_attention(params, tokens, model)
    if not model.d_mlp:
        return None, x.T
    hidden = activate(model, _preactivations(params, x, model))
    written = hidden @ params["W_out.0"]
    if model.bias:
        written = written + params["b_out.0"]
    return hidden.T, keep(written + x).T


def fused_features(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer) -> Float[Array, "d_model n"]:
    """As `three_tokens.fused_features`."""
    from grokjax.models.fused.step import neurons  # Pallas takes half a second to import

    x = _after_attention(params, tokens, model)
    reads, writes = (params["W_in.0"], params.get("b_in.0")), (params["W_out.0"], params.get("b_out.0"))
    return neurons(model.activation, x.T, *reads, *writes, adds=True)


def preactivations(
    params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer
) -> Float[Array, "d_mlp n"] | None:
    """As `three_tokens.preactivations`."""
    return _preactivations(params, _after_attention(params, tokens, model), model).T if model.d_mlp else None


def _preactivations(params: Params, x: Float[Array, "n d"], model: spec.Transformer) -> Float[Array, "n d_mlp"]:
    values = x @ params["W_in.0"]
    return values + params["b_in.0"] if model.bias else values


def _after_attention(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer) -> Float[Array, "n d"]:
    """The stream at the last position, with what the heads wrote to it."""
    W_O = params["W_O.0"]
    heads, width, d = W_O.shape
    places = _places(params, model)
    last = places[-1]
    W_V = params["W_V.0"].transpose(1, 0, 2).reshape(d, heads * width)
    values, scores = (places @ W_V).reshape(-1, heads, width), places @ _asks(params, last)
    d_vocab = params["W_E"].shape[0]
    rows = jnp.stack([tokens[:, 0], tokens[:, 1] + d_vocab, jnp.full(tokens.shape[0], 2 * d_vocab)])
    z = _attend(values, scores, rows, model.attention_mix)
    return keep(z.reshape(-1, heads * width) @ W_O.reshape(heads * width, d)) + last  # which its readers add


def _places(params: Params, model: spec.Transformer) -> Float[Array, "places d"]:
    """What stands at a place: every token at the first position, every token at the second, and `=` at the last."""
    W_E, positions = params["W_E"], position_vectors(params, model, 3)
    if positions is None:
        return jnp.concatenate([W_E, W_E, W_E[-1:]])
    return jnp.concatenate([W_E + positions[0], W_E + positions[1], W_E[-1:] + positions[2]])


def _asks(params: Params, last: Float[Array, " d"]) -> Float[Array, "d h"]:
    """What the last token's query scores a stream by, for each head: keys are not needed by themselves."""
    W_Q, W_K = params["W_Q.0"], params["W_K.0"]
    query = jnp.einsum("d,hde->he", last, W_Q) / W_Q.shape[2] ** 0.5
    return jnp.einsum("hde,he->dh", W_K, query)


def _attend(
    values: Float[Array, "places h e"],
    scores: Float[Array, "places h"],
    rows: Int[Array, "3 n"],
    mix: Float[Array, ""] | float | None,
) -> Float[Array, "n h e"]:
    """The sum of the values at an example's three places, weighted by the softmax of their scores, or by its mix with
    ones."""
    weights = keep(jax.nn.softmax(_look_up(scores, rows), axis=0))
    if mix is not None:
        weights = mix * weights + (1 - mix)
    return keep((weights[..., None] * _look_up(values, rows)).sum(0))


@jax.custom_vjp
def _look_up(table: Float[Array, places * f], rows: Int[Array, "3 n"]) -> Float[Array, "3 n *f"]:
    """What stands at three places of each example, of which the third is the last place in all."""
    return table[rows]


def _look_up_forward(table: Array, rows: Array) -> tuple[Array, tuple[Array, int]]:
    return _look_up(table, rows), (rows, table.shape[0] // 2)


def _look_up_backward(kept: tuple[Array, int], dy: Float[Array, "3 n *f"]) -> tuple[Array, None]:
    """A matmul with the rows, one-hot: a gather's own gradient is a scatter."""
    rows, d_vocab = kept
    places = jnp.arange(2 * d_vocab).reshape(2, 1, d_vocab)
    sees = (rows[:2, :, None] == places).astype(dy.dtype)
    two = jnp.einsum("kn...,knv->kv...", dy[:2], sees)
    return jnp.concatenate([two.reshape(-1, *dy.shape[2:]), dy[2].sum(0)[None]]), None


_look_up.defvjp(_look_up_forward, _look_up_backward)
