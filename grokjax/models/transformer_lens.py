"""A transformer as TransformerLens has it: its names, and the config that its classes are made with."""

from __future__ import annotations

from typing import Any

import numpy as np

from grokjax.spec.models import Transformer

# TransformerLens's names -> ours; shapes and layouts are the same
TOP = {"embed.W_E": "W_E", "pos_embed.W_pos": "W_pos", "unembed.W_U": "W_U", "ln_final.w": "ln_final_w",
       "ln_final.b": "ln_final_b"}  # fmt: skip
IN_LAYER = {"attn.W_Q": "W_Q", "attn.W_K": "W_K", "attn.W_V": "W_V", "attn.W_O": "W_O", "mlp.W_in": "W_in",
            "mlp.b_in": "b_in", "mlp.W_out": "W_out", "mlp.b_out": "b_out", "ln1.w": "ln1_w", "ln1.b": "ln1_b",
            "ln2.w": "ln2_w", "ln2.b": "ln2_b"}  # fmt: skip
ACTIVATIONS = ("relu", "gelu")  # that both have; gelu is the exact one
EPS = 1e-5  # of a layer norm

State = dict[str, np.ndarray]


def to_transformer_lens(params: State, model: Transformer, logit_scale: np.ndarray) -> tuple[dict[str, Any], State]:
    """(config, state dict) of the same network: `HookedTransformer(HookedTransformerConfig(**config))` takes the state
    dict as it is (TransformerLens 2 and 3; of 4 see `RECIPES`).

    It has biases of attention and unembedding, which are 0 here. `logit_scale` becomes part of W_U. Raises ValueError
    for an activation that TransformerLens has not.
    """
    if model.d_mlp and model.activation not in ACTIVATIONS:
        raise ValueError(
            f"TransformerLens has no activation {model.activation}; of grokjax's it has {' and '.join(ACTIVATIONS)}"
        )
    state = {transformer_lens_name(name): value for name, value in params.items()}
    state["unembed.W_U"] = state["unembed.W_U"] * logit_scale
    state["unembed.b_U"] = np.zeros_like(state["unembed.W_U"][0])
    for layer in range(model.layers):
        state |= {f"blocks.{layer}.attn.{name}": value for name, value in _without_weights(params, layer).items()}
    return _config(params, model), state


def transformer_lens_name(name: str) -> str:
    """'W_O.0' -> 'blocks.0.attn.W_O'"""
    kind, _, layer = name.partition(".")
    names = {ours: theirs for theirs, ours in (IN_LAYER if layer else TOP).items()}
    return f"blocks.{layer}.{names[kind]}" if layer else names[kind]


def _without_weights(params: State, layer: int) -> State:
    """What an attention layer there holds and we have not: biases, the mask, and what masked scores are set to."""
    heads, d_head, d_model = params[f"W_O.{layer}"].shape
    dtype, n_ctx = params["W_E"].dtype, len(params["W_pos"])
    biases = {name: np.zeros((heads, d_head), dtype) for name in ("b_Q", "b_K", "b_V")}
    buffers = {"mask": np.tril(np.ones((n_ctx, n_ctx), bool)), "IGNORE": np.array(-np.inf, np.float32)}
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
        "attention_dir": "causal",
        "positional_embedding_type": "standard",
        "init_weights": False,
    }
    return config | ({"d_mlp": model.d_mlp, "act_fn": model.activation} if model.d_mlp else {})
