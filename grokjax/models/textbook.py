"""Both networks as papers write them, on any length of sequence, examples first: every layer at every position, or
the last one only where it is read.

What training computes instead on three tokens (`three_tokens.py`, `mlp.py`) must be the same function, with the same
gradient: tests hold them against these, and `grokjax bench` measures what the difference is worth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from grokjax.models.activations import activate
from grokjax.models.params import Params
from grokjax.models.positions import position_vectors
from grokjax.spec import models as spec

EPS = 1e-5  # of a layer norm
LookUp = Callable[[Array, Array], Array]
Drop = Callable[[Array, int], Array]  # (what a layer's neurons pass on, layer) -> the same, some of it dropped
Record = Callable[[str, Array], None]  # is handed each activation, by TransformerLens's name and in its layout


def whole(x: Array, layer: int) -> Array:
    """Drops nothing."""
    return x


def unrecorded(name: str, activation: Array) -> None:
    """For a forward whose activations nobody asks for. What is computed only to be recorded is then never compiled."""


def gather(table: Float[Array, "v d"], tokens: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """Rows of a table. Its gradient is a scatter: slow, and on GPUs not deterministic."""
    return table[tokens]


def one_hot_product(table: Float[Array, "v d"], tokens: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """Rows of a table, by a product whose gradient is a product too: what training uses."""
    return jax.nn.one_hot(tokens, len(table), dtype=table.dtype) @ table


def forward(
    params: Params,
    inputs: Num[Array, "n L"],
    model: spec.Model,
    look_up: LookUp = gather,
    read: tuple[int, ...] | None = None,
) -> Float[Array, "n *k v"]:
    """Logits before `logit_scale`: of a transformer at the positions `read` ([n, k, v] of several), None: at the last
    one."""
    if isinstance(model, spec.Transformer):
        logits = transformer(params, inputs, model, look_up)
        logits = at_positions(logits, (inputs.shape[1] - 1,) if read is None else read)
        return logits[:, 0] if logits.shape[1] == 1 else logits
    assert isinstance(model, spec.MLP), "a model of a user's has no textbook form"
    return mlp(params, inputs, model, look_up)


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
    drop: Drop = whole,
    read: tuple[int, ...] | None = None,
) -> Float[Array, "n read d_model"]:
    """What W_U reads: the residual stream, or only what the layers wrote to it, after the last layer norm if there is
    one. read: at which positions, None: all; of the last layer only keys and values are computed at the others."""
    x = look_up(params["W_E"], tokens)
    record("hook_embed", x)
    positions = position_vectors(params, model, tokens.shape[1])
    if positions is not None:
        record("hook_pos_embed", jnp.broadcast_to(positions, x.shape))
        x = x + positions
    written = []
    for layer in range(model.layers):
        is_last = layer == model.layers - 1
        x, by_layer = block(params, x, model, layer, record, drop, read if is_last else None)
        written += [part if is_last else at_positions(part, read) for part in by_layer]
    if not model.direct_path:
        x = functools.reduce(jnp.add, written)
    return layernorm(params, x, model, "ln_final", "", record) if model.norms_inputs else x


def block(
    params: Params,
    x: Float[Array, "n L d"],
    model: spec.Transformer,
    layer: int,
    record: Record,
    drop: Drop,
    read: tuple[int, ...] | None = None,
) -> tuple[Float[Array, "n read d"], list[Float[Array, "n read d"]]]:
    """The residual stream after a layer, and what its attention and its MLP wrote to it, at the positions `read`."""
    here = f"blocks.{layer}"
    record(f"{here}.hook_resid_pre", x)
    y = layernorm(params, x, model, "ln1", f".{layer}", record) if model.norms_inputs else x
    attended = attention(params, y, model, layer, record, read)
    record(f"{here}.hook_attn_out", attended)
    x = at_positions(y if model.layernorm == "stream" else x, read) + attended
    if model.layernorm == "post":
        x = layernorm(params, x, model, "ln1", f".{layer}", record)
    written = [attended]
    if model.d_mlp:
        record(f"{here}.hook_resid_mid", x)
        y = layernorm(params, x, model, "ln2", f".{layer}", record) if model.norms_inputs else x
        by_neurons = drop(neurons(params, y, model, layer, record), layer)
        x, written = x + by_neurons, [attended, by_neurons]
        if model.layernorm == "post":
            x = layernorm(params, x, model, "ln2", f".{layer}", record)
    record(f"{here}.hook_resid_post", x)
    return x, written


def neurons(
    params: Params, x: Float[Array, "n L d"], model: spec.Transformer, layer: int, record: Record
) -> Float[Array, "n L d"]:
    """What a layer's MLP writes to the stream."""
    here = f"blocks.{layer}"
    preactivations = x @ params[f"W_in.{layer}"]
    if model.bias:
        preactivations = preactivations + params[f"b_in.{layer}"]
    record(f"{here}.mlp.hook_pre", preactivations)
    hidden = activate(model, preactivations)
    record(f"{here}.mlp.hook_post", hidden)
    written = hidden @ params[f"W_out.{layer}"]
    if model.bias:
        written = written + params[f"b_out.{layer}"]
    record(f"{here}.hook_mlp_out", written)
    return written


def attention(
    params: Params,
    x: Float[Array, "n L d"],
    model: spec.Transformer,
    layer: int,
    record: Record = unrecorded,
    read: tuple[int, ...] | None = None,
) -> Float[Array, "n read d"]:
    """What a layer's heads write to the stream at the positions `read`."""
    here = f"blocks.{layer}.attn"
    q, k, v = (
        jnp.einsum("nid,hde->nhie", of, params[f"{name}.{layer}"])
        for name, of in (("W_Q", at_positions(x, read)), ("W_K", x), ("W_V", x))
    )
    if model.attention_bias:
        biases = (params[f"{name}.{layer}"][:, None] for name in ("b_Q", "b_K", "b_V"))
        q, k, v = (of_heads + bias for of_heads, bias in zip((q, k, v), biases, strict=True))
    for name, of_heads in (("q", q), ("k", k), ("v", v)):
        record(f"{here}.hook_{name}", of_heads.swapaxes(1, 2))
    positions = np.arange(x.shape[1])
    queries = positions if read is None else np.array(read)
    seen = jnp.asarray((queries[:, None] >= positions) | (model.mask == "none"))
    scores = jnp.where(seen, jnp.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5, -jnp.inf)
    record(f"{here}.hook_attn_scores", scores)
    weights = jax.nn.softmax(scores, axis=-1)
    if model.attention_mix is not None:
        weights = model.attention_mix * weights + (1 - model.attention_mix) * seen
    record(f"{here}.hook_pattern", weights)
    record(f"{here}.hook_z", jnp.einsum("nhij,nhje->nihe", weights, v))
    # not from z: what is multiplied first depends on the sizes
    written = jnp.einsum("nhij,nhje,hed->nid", weights, v, params[f"W_O.{layer}"])
    return written + params[f"b_O.{layer}"] if model.attention_bias else written


def at_positions(x: Float[Array, "n L d"], positions: tuple[int, ...] | None) -> Float[Array, "n _ d"]:
    """x at some positions, None: all. By slices: an index's gradient would be a scatter."""
    if positions is None:
        return x
    first, last = positions[0], positions[-1]
    if positions == tuple(range(first, last + 1)):
        return x[:, first : last + 1]
    return jnp.stack([x[:, position] for position in positions], axis=1)


def layernorm(
    params: Params,
    x: Float[Array, "n L d"],
    model: spec.Transformer,
    name: str,
    suffix: str,
    record: Record = unrecorded,
) -> Float[Array, "n L d"]:
    here = f"blocks{suffix}.{name}" if suffix else name
    centered = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + EPS)
    record(f"{here}.hook_scale", deviation)
    normalized = centered / deviation
    record(f"{here}.hook_normalized", normalized)
    return normalized * params[f"{name}_w{suffix}"] + params[f"{name}_b{suffix}"]


def mlp(
    params: Params, inputs: Num[Array, "n L"], model: spec.MLP, look_up: LookUp = gather
) -> Float[Array, "n outputs"]:
    """Logits of an MLP on two operands, the first two tokens, or on vectors."""
    x = mlp_input(params, inputs, model, look_up)
    for layer in range(len(model.widths) + 1):
        x = x if layer == 0 else activate(model, x)
        x = x @ params[f"W.{layer}"] + (params[f"b.{layer}"] if model.has_bias(layer) else 0)
    return x


def mlp_input(params: Params, inputs: Num[Array, "n L"], model: spec.MLP, look_up: LookUp) -> Float[Array, "n width"]:
    """What the first matrix reads."""
    width = params["W.0"].shape[0]
    match model.input:
        case "vector":
            return inputs.astype(params["W.0"].dtype)
        case "embedded":
            rows = [look_up(params[table], inputs[:, place]) for place, table in enumerate(model.tables_of(2))]
            return rows[0] + rows[1] if model.combine == "sum" else jnp.concatenate(rows, axis=1)
        case "summed":
            return jax.nn.one_hot(inputs[:, :2], width, dtype=params["W.0"].dtype).sum(1)
        case _:
            return jax.nn.one_hot(inputs[:, :2], width // 2).reshape(len(inputs), -1)
