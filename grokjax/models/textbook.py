"""Both networks as papers write them, on any length of sequence: every layer at every position, examples first.

What training computes instead on three tokens (`three_tokens.py`, `mlp.py`) must be the same function, with the same
gradient: tests hold them against these, and `grokjax bench` measures what the difference is worth.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grokjax.models.activations import ACTIVATIONS
from grokjax.models.params import Params
from grokjax.spec import models as spec

EPS = 1e-5  # of a layer norm
LookUp = Callable[[Array, Array], Array]
Record = Callable[[str, Array], None]  # is handed each activation, by TransformerLens's name and in its layout


def unrecorded(name: str, activation: Array) -> None:
    """For a forward whose activations nobody asks for. What is computed only to be recorded is then never compiled."""


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
    params: Params,
    tokens: Int[Array, "n L"],
    model: spec.Transformer,
    look_up: LookUp = gather,
    record: Record = unrecorded,
) -> Float[Array, "n L v"]:
    """Logits at every position."""
    return see(params, tokens, model, look_up, record) @ params["W_U"]


def see(
    params: Params,
    tokens: Int[Array, "n L"],
    model: spec.Transformer,
    look_up: LookUp = gather,
    record: Record = unrecorded,
) -> Float[Array, "n L d_model"]:
    """What W_U reads at every position: the residual stream, after the last layer norm if there is one."""
    embedded = look_up(params["W_E"], tokens)
    record("hook_embed", embedded)
    record("hook_pos_embed", jnp.broadcast_to(params["W_pos"], embedded.shape))
    x = embedded + params["W_pos"]
    for layer in range(model.layers):
        x = block(params, x, model, layer, record)
    return layernorm(params, x, model, "ln_final", "", record)


def block(
    params: Params, x: Float[Array, "n L d"], model: spec.Transformer, layer: int, record: Record
) -> Float[Array, "n L d"]:
    """The residual stream after a layer."""
    here = f"blocks.{layer}"
    record(f"{here}.hook_resid_pre", x)
    attended = attention(params, layernorm(params, x, model, "ln1", f".{layer}", record), layer, record)
    record(f"{here}.hook_attn_out", attended)
    x = x + attended
    if model.d_mlp:
        record(f"{here}.hook_resid_mid", x)
        y = layernorm(params, x, model, "ln2", f".{layer}", record)
        preactivations = y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"]
        record(f"{here}.mlp.hook_pre", preactivations)
        hidden = ACTIVATIONS[model.activation](preactivations)
        record(f"{here}.mlp.hook_post", hidden)
        written = hidden @ params[f"W_out.{layer}"]
        record(f"{here}.hook_mlp_out", written + params[f"b_out.{layer}"])
        x = x + written + params[f"b_out.{layer}"]
    record(f"{here}.hook_resid_post", x)
    return x


def attention(
    params: Params, x: Float[Array, "n L d"], layer: int, record: Record = unrecorded
) -> Float[Array, "n L d"]:
    here = f"blocks.{layer}.attn"
    q, k, v = (jnp.einsum("nid,hde->nhie", x, params[f"{name}.{layer}"]) for name in ("W_Q", "W_K", "W_V"))
    for name, of_heads in (("q", q), ("k", k), ("v", v)):
        record(f"{here}.hook_{name}", of_heads.swapaxes(1, 2))
    causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    scores = jnp.where(causal, jnp.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5, -jnp.inf)
    record(f"{here}.hook_attn_scores", scores)
    weights = jax.nn.softmax(scores, axis=-1)
    record(f"{here}.hook_pattern", weights)
    record(f"{here}.hook_z", jnp.einsum("nhij,nhje->nihe", weights, v))
    # not from z: what is multiplied first depends on the sizes
    return jnp.einsum("nhij,nhje,hed->nid", weights, v, params[f"W_O.{layer}"])


def layernorm(
    params: Params,
    x: Float[Array, "n L d"],
    model: spec.Transformer,
    name: str,
    suffix: str,
    record: Record = unrecorded,
) -> Float[Array, "n L d"]:
    if model.layernorm == "none":
        return x
    here = f"blocks{suffix}.{name}" if suffix else name
    centered = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + EPS)
    record(f"{here}.hook_scale", deviation)
    normalized = centered / deviation
    record(f"{here}.hook_normalized", normalized)
    return normalized * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]


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
