"""A transformer as TransformerLens has it: its names, and the config that its classes are made with."""

from __future__ import annotations

from typing import Any

import numpy as np

from grokjax.models.positions import sinusoids
from grokjax.spec.models import Transformer

# TransformerLens's names -> ours; shapes and layouts are the same
TOP = {"embed.W_E": "W_E", "pos_embed.W_pos": "W_pos", "unembed.W_U": "W_U", "ln_final.w": "ln_final_w",
       "ln_final.b": "ln_final_b"}  # fmt: skip
IN_LAYER = {"attn.W_Q": "W_Q", "attn.W_K": "W_K", "attn.W_V": "W_V", "attn.W_O": "W_O", "mlp.W_in": "W_in",
            "attn.b_Q": "b_Q", "attn.b_K": "b_K", "attn.b_V": "b_V", "attn.b_O": "b_O", "mlp.b_in": "b_in",
            "mlp.W_out": "W_out", "mlp.b_out": "b_out", "ln1.w": "ln1_w", "ln1.b": "ln1_b",
            "ln2.w": "ln2_w", "ln2.b": "ln2_b"}  # fmt: skip
ACTIVATIONS = ("relu", "gelu")  # that both have; gelu is the exact one
EPS = 1e-5  # of a layer norm

State = dict[str, np.ndarray]


def to_transformer_lens(
    params: State, model: Transformer, n_ctx: int, logit_scale: np.ndarray
) -> tuple[dict[str, Any], State]:
    """(config, state dict) of the same network: `HookedTransformer(HookedTransformerConfig(**config))` takes the state
    dict as it is (TransformerLens 2 and 3; of 4 see `RECIPES`).

    It has a table of positions, which holds the sinusoids, or zeros; and biases, which are 0 where we have none.
    `logit_scale` becomes part of W_U. Raises ValueError for what TransformerLens has not.
    """
    if what := _what_it_has_not(model):
        raise ValueError(f"TransformerLens has no {what}")
    params = _with_positions(params, model, n_ctx) | _biases_of_neurons(params, model) | params
    state = {transformer_lens_name(name): value for name, value in params.items()}
    state["unembed.W_U"] = state["unembed.W_U"] * logit_scale
    state["unembed.b_U"] = np.zeros_like(state["unembed.W_U"][0])
    for layer in range(model.layers):
        others = _without_weights(params, model, layer)
        state = {f"blocks.{layer}.attn.{name}": value for name, value in others.items()} | state
    return _config(params, model), state


def _what_it_has_not(model: Transformer) -> str:
    if model.d_mlp and model.activation not in ACTIVATIONS:
        return f"activation {model.activation}; of grokjax's it has {' and '.join(ACTIVATIONS)}"
    if model.layernorm not in ("none", "pre"):
        return f"layernorm {model.layernorm}; of grokjax's it has none and pre"
    if model.attention_mix not in (None, 1):
        return f"attention_mix {model.attention_mix:g}: its attention is softmax alone"
    return "" if model.direct_path else "network whose unembedding leaves out the direct path"


def _with_positions(params: State, model: Transformer, n_ctx: int) -> State:
    """What is added for the place in the sequence, as a table."""
    dtype = params["W_E"].dtype
    match model.positions:
        case "learned":
            return {}
        case "sinusoidal":
            return {"W_pos": sinusoids(n_ctx, model.d_model).astype(dtype)}
        case "none":
            return {"W_pos": np.zeros((n_ctx, model.d_model), dtype)}


def _biases_of_neurons(params: State, model: Transformer) -> State:
    """Zeros; those that the network has stand before them."""
    if not model.d_mlp:
        return {}
    dtype, sizes = params["W_E"].dtype, {"b_in": model.d_mlp, "b_out": model.d_model}
    return {f"{name}.{layer}": np.zeros(size, dtype) for layer in range(model.layers) for name, size in sizes.items()}


def transformer_lens_name(name: str) -> str:
    """'W_O.0' -> 'blocks.0.attn.W_O'"""
    kind, _, layer = name.partition(".")
    names = {ours: theirs for theirs, ours in (IN_LAYER if layer else TOP).items()}
    return f"blocks.{layer}.{names[kind]}" if layer else names[kind]


def _without_weights(params: State, model: Transformer, layer: int) -> State:
    """What an attention layer there holds and we have not: biases, the mask, and what masked scores are set to."""
    heads, d_head, d_model = params[f"W_O.{layer}"].shape
    dtype, n_ctx = params["W_E"].dtype, len(params["W_pos"])
    biases = {name: np.zeros((heads, d_head), dtype) for name in ("b_Q", "b_K", "b_V")}
    seen = np.ones((n_ctx, n_ctx), bool)
    buffers = {"mask": np.tril(seen) if model.mask == "causal" else seen, "IGNORE": np.array(-np.inf, np.float32)}
    return biases | {"b_O": np.zeros(d_model, dtype)} | buffers


def _config(params: State, model: Transformer) -> dict[str, Any]:
    (d_vocab, d_model), n_ctx = params["W_E"].shape, len(params["W_pos"])
    config: dict[str, Any] = {
        "n_layers": model.layers,
        "d_model": d_model,
        "n_ctx": n_ctx,
        "n_heads": model.heads,
        "d_head": model.head_width,
        "d_vocab": d_vocab,
        "d_vocab_out": params["W_U"].shape[1],
        "normalization_type": "LN" if model.layernorm == "pre" else None,
        "eps": EPS,
        "attn_only": model.d_mlp == 0,
        "attention_dir": "causal" if model.mask == "causal" else "bidirectional",
        "positional_embedding_type": "standard",
        "init_weights": False,
    }
    return config | ({"d_mlp": model.d_mlp, "act_fn": model.activation} if model.d_mlp else {})
