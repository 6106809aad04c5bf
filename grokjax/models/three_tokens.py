"""The fast path of a causal transformer: three tokens [a, b, =], the last the same in all, read at the last position.

It computes only what the loss reads; its function and gradient are those of `textbook.transformer`:
- the last layer's queries, MLP and unembedding at the last position;
- before positions mix, all that depends on (position, token) alone, as tables over the vocabulary: keys and values,
  and the scores of the last token's query, since that token is always `=`;
- the first position, which sees only itself, as a table through all layers.
Activations are [features, examples], tables [features, d_vocab].
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grokjax.models import one_layer
from grokjax.models.activations import activate
from grokjax.models.features import linear, one_hot, spread, total
from grokjax.models.forms import is_for_gpu
from grokjax.models.params import Params
from grokjax.models.positions import position_vectors
from grokjax.spec import models as spec


def hidden_and_features(
    params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer
) -> tuple[Float[Array, "d_mlp n"] | None, Float[Array, "d_model n"]]:
    """Neurons of the last layer at the last position (after the activation; None without an MLP), and what W_U reads
    there: the residual stream, after the last layer norm if there is one."""
    if one_layer.computes(model) and is_for_gpu():
        return one_layer.hidden_and_features(params, tokens, model)
    last = model.layers - 1
    x, hidden = _at_answer(params, tokens, model), None
    if model.d_mlp:
        hidden = _hidden(params, x, model, last)
        x = _after_neurons(params, x, hidden, model, last)
    return hidden, _read(params, x, model, "ln_final", "")


def fused_features(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer) -> Float[Array, "d_model n"]:
    """What W_U reads, by kernels that do not write the last layer's neurons to memory."""
    if one_layer.computes(model) and is_for_gpu():
        return one_layer.fused_features(params, tokens, model)
    from grokjax.models.fused.step import neurons  # Pallas takes half a second to import

    last = f".{model.layers - 1}"
    x = _at_answer(params, tokens, model)
    reads, writes = ((params[f"W_{way}{last}"], params.get(f"b_{way}{last}")) for way in ("in", "out"))
    adds = not model.norms_inputs  # to what it reads, if that is the stream itself
    written = neurons(model.activation, _read(params, x, model, "ln2", last), *reads, *writes, adds=adds)
    stream = _normed(params, written if adds else x + written, model, "ln2", last)
    return _read(params, stream, model, "ln_final", "")


def preactivations(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer) -> Float[Array, "m n"] | None:
    """The last layer's neurons at the last position, before the activation; None without an MLP."""
    if one_layer.computes(model) and is_for_gpu():
        return one_layer.preactivations(params, tokens, model)
    last = model.layers - 1
    return _preactivations(params, _at_answer(params, tokens, model), model, last) if model.d_mlp else None


def _at_answer(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer) -> Float[Array, "d n"]:
    """The stream at the last position, but for what the last MLP writes to it."""
    d_vocab = params["W_E"].shape[0]
    sees = [one_hot(tokens[:, position], d_vocab, params["W_E"].dtype) for position in (0, 1)]
    stream = _first_layer(params, sees, model)
    for layer in range(1, model.layers):
        stream = _layer(params, stream, sees, model, layer)
    return stream[-1]


Stream = list[Float[Array, "d _"]]  # the residual stream at each position that is still needed


def _first_layer(params: Params, sees: list[Float[Array, "v n"]], model: spec.Transformer) -> Stream:
    """The stream after layer 0. Of one layer only the last position is needed, without its MLP; of more the
    others too."""
    deeper = model.layers > 1
    x = _embedded(params, model)
    y = [_read(params, at, model, "ln1", ".0") for at in x]
    x = y if model.layernorm == "stream" else x
    k, v = ([_heads(params, at, model, kind, 0) for at in y] for kind in "KV")
    q2 = _heads(params, y[2], model, "Q", 0)
    # what each token says to the queries behind it, looked up at once: scores of the last query, values, ...
    of_first, of_second = [_scores(q2, k[0]), v[0]], [_scores(q2, k[1]), v[1]]
    if deeper:
        of_first += [k[0]]
        q1 = _heads(params, y[1], model, "Q", 0)
        of_second += [_scores(q1, k[1]), q1, x[1]]
    s20, v0, *rest_first = _look_up(of_first, sees[0])
    s21, v1, *rest_second = _look_up(of_second, sees[1])
    z2 = _attend([s20, s21, _scores(q2, k[2])], [v0, v1, v[2]], model)
    if not deeper:
        return [_after_attention(params, x[2], z2, model, 0)]
    (k0,), (s11, q1, x1) = rest_first, rest_second
    z1 = _attend([_scores(q1, k0), s11], [v0, v1], model)
    heard = zip([x[0], x1, x[2]], [v[0], z1, z2], strict=True)
    return [_after_attention(params, at, z, model, 0) for at, z in heard]


def _embedded(params: Params, model: spec.Transformer) -> Stream:
    """The stream at the start, a column a token at the first two positions."""
    positions = position_vectors(params, model, 3)
    table = params["W_E"].T
    tables = [table] * 3 if positions is None else [table + position[:, None] for position in positions]
    return [tables[0], tables[1], tables[2][:, -1:]]


def _layer(params: Params, x: Stream, sees: list[Float[Array, "v n"]], model: spec.Transformer, layer: int) -> Stream:
    """The stream after a later layer: the first position a table, the others known for each example. Of the last layer
    only the last position, without its MLP."""
    y = [_read(params, at, model, "ln1", f".{layer}") for at in x]
    x = y if model.layernorm == "stream" else x
    k, v = ([_heads(params, at, model, kind, layer) for at in y] for kind in "KV")
    k0, v0 = _look_up([k[0], v[0]], sees[0])
    keys, values = [k0, *k[1:]], [v0, *v[1:]]
    deeper = layer < model.layers - 1
    after = [_after_attention(params, x[0], v[0], model, layer)] if deeper else []
    for position in (1, 2) if deeper else (2,):
        q = _heads(params, y[position], model, "Q", layer)
        z = _attend([_scores(q, key) for key in keys[: position + 1]], values[: position + 1], model)
        after.append(_after_attention(params, x[position], z, model, layer))
    return after


def _heads(
    params: Params, y: Float[Array, "d m"], model: spec.Transformer, kind: str, layer: int
) -> Float[Array, "h e m"]:
    """Queries, keys or values (Q, K, V) of a layer's heads."""
    W = params[f"W_{kind}.{layer}"]
    heads, d, e = W.shape
    values = linear(W.transpose(1, 0, 2).reshape(d, heads * e), y).reshape(heads, e, -1)
    return values + params[f"b_{kind}.{layer}"][..., None] if model.attention_bias else values


def _scores(q: Float[Array, "h e _"], k: Float[Array, "h e _"]) -> Float[Array, "h _"]:
    return total(q * k) / q.shape[1] ** 0.5


def _look_up(tables: list[Float[Array, "... v"]], sees: Float[Array, "v n"]) -> list[Float[Array, "... n"]]:
    """Each example's column of the tables, in one matmul."""
    rows = [table.reshape(-1, table.shape[-1]) for table in tables]
    found = jnp.split(jnp.concatenate(rows) @ sees, np.cumsum([len(row) for row in rows])[:-1])
    return [part.reshape(*table.shape[:-1], -1) for part, table in zip(found, tables, strict=True)]


def _attend(
    scores: list[Float[Array, "h _"]], values: list[Float[Array, "h e _"]], model: spec.Transformer
) -> Float[Array, "h e n"]:
    """The sum of the values, weighted by the softmax of the scores over positions, or by its mix with ones; what is
    [.., 1] holds for all examples."""
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, scores))
    weights = [jnp.exp(score - largest) for score in scores]
    norm = functools.reduce(jnp.add, weights)
    weights, mix = [weight / norm for weight in weights], model.attention_mix
    if mix is not None:
        weights = [mix * weight + (1 - mix) for weight in weights]
    return functools.reduce(jnp.add, map(_weigh, weights, values))


def _weigh(weight: Float[Array, "h n"], value: Float[Array, "h e _"]) -> Float[Array, "h e n"]:
    if value.shape[-1] == 1 and weight.shape[-1] > 1:  # a matmul's gradient is a matmul, a broadcast's a slow sum
        return jnp.einsum("hn,he->hen", weight, value[..., 0])
    return spread(weight, value.shape[1]) * value


def _after_attention(
    params: Params, x: Float[Array, "d _"], z: Float[Array, "h e m"], model: spec.Transformer, layer: int
) -> Float[Array, "d m"]:
    """The stream with what the heads wrote to it, and then, but in the last layer, the MLP."""
    W_O = params[f"W_O.{layer}"]
    x = x + linear(W_O.reshape(-1, W_O.shape[-1]), z.reshape(-1, z.shape[-1]))
    if model.attention_bias:
        x = x + params[f"b_O.{layer}"][:, None]
    x = _normed(params, x, model, "ln1", f".{layer}")
    if not model.d_mlp or layer == model.layers - 1:
        return x
    return _after_neurons(params, x, _hidden(params, x, model, layer), model, layer)


def _after_neurons(
    params: Params, x: Float[Array, "d m"], hidden: Float[Array, "d_mlp m"], model: spec.Transformer, layer: int
) -> Float[Array, "d m"]:
    """The stream with what the neurons wrote to it."""
    x = x + linear(params[f"W_out.{layer}"], hidden)
    if model.bias:
        x = x + params[f"b_out.{layer}"][:, None]
    return _normed(params, x, model, "ln2", f".{layer}")


def _hidden(params: Params, x: Float[Array, "d m"], model: spec.Transformer, layer: int) -> Float[Array, "d_mlp m"]:
    return activate(model, _preactivations(params, x, model, layer))


def _preactivations(
    params: Params, x: Float[Array, "d m"], model: spec.Transformer, layer: int
) -> Float[Array, "d_mlp m"]:
    values = linear(params[f"W_in.{layer}"], _read(params, x, model, "ln2", f".{layer}"))
    return values + params[f"b_in.{layer}"][:, None] if model.bias else values


def _read(
    params: Params, x: Float[Array, "d m"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "d m"]:
    """What a part of a layer is given of the stream."""
    return _layernorm(params, x, name, suffix) if model.norms_inputs else x


def _normed(
    params: Params, x: Float[Array, "d m"], model: spec.Transformer, name: str, suffix: str
) -> Float[Array, "d m"]:
    """The stream after something was added to it."""
    return _layernorm(params, x, name, suffix) if model.layernorm == "post" else x


def _layernorm(params: Params, x: Float[Array, "d m"], name: str, suffix: str) -> Float[Array, "d m"]:
    d = x.shape[0]
    centered = x - spread(total(x) / d, d)
    scale = jax.lax.rsqrt(total(jnp.square(centered)) / d + 1e-5)
    return centered * spread(scale, d) * params[f"{name}_w{suffix}"][:, None] + params[f"{name}_b{suffix}"][:, None]
