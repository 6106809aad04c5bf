"""What attention does, as matrices over the vocabulary: EVOU and EQKE (Elhage et al. 2021; Greenspan and Wynroe 2023).

EVOU = W_E W_V W_O W_U [d_vocab, d_vocab_out], what a head says of each token that it attends to; EQKE = W_E W_Q (W_E
W_K)^T / sqrt(d_head) [d_vocab, d_vocab], how much each token's query asks for each token.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from grokjax.models.params import Params
from grokjax.probes.core import Metrics
from grokjax.probes.fourier import share
from grokjax.spec.run import RunSpec

RANKED = 1e-2  # a singular value below this share of the largest counts as 0


class Circuits(NamedTuple):
    """Of one layer's heads."""

    evou: Float[Array, "heads d_vocab d_vocab_out"]
    eqke: Float[Array, "heads d_vocab d_vocab"]


def circuits_of(params: Params | dict[str, Any], layer: int = 0) -> Circuits:
    """Of a layer that reads the embedding directly; positions, biases and layer norms are left out."""
    W_E, W_U = params["W_E"], params["W_U"]
    q, k, v = (jnp.einsum("vd,hde->hve", W_E, params[f"{name}.{layer}"]) for name in ("W_Q", "W_K", "W_V"))
    evou = jnp.einsum("hve,hed,du->hvu", v, params[f"W_O.{layer}"], W_U)
    return Circuits(evou, jnp.einsum("hqe,hke->hqk", q, k) / q.shape[-1] ** 0.5)


def circuits(spec: RunSpec, params: Params, train: Any, logit_scale: Any) -> Metrics:
    """Of the tokens that say what is asked, asked by the last token:

    circuits/rank: singular values of all heads' EVOU together, [tokens, heads d_vocab_out], over a hundredth of the
    largest; rank_centered: the same less each row's mean over outputs. circuits/EVOU_s0, s1, ...: its six largest
    singular values. circuits/tau: Kendall's tau between the orders in which two heads attend to the tokens, the least
    over all pairs of heads: -1 is opposite orders, 1 the same. circuits/evenness/h: the entropy of head h's attention
    over these tokens, each present once, over the most it can be: 1 is even attention.
    """
    asked = np.array(spec.task.asked_tokens)
    found = circuits_of(params)
    evou = found.evou[:, asked].transpose(1, 0, 2)
    stacked = evou.reshape(len(asked), -1)
    values = jnp.linalg.svd(stacked, compute_uv=False)
    centered = jnp.linalg.svd((evou - evou.mean(2, keepdims=True)).reshape(len(asked), -1), compute_uv=False)
    scores = found.eqke[:, spec.task.asking_token][:, asked]
    log_p = jax.nn.log_softmax(scores, axis=1)
    entropy = -(jnp.exp(log_p) * log_p).sum(1) / np.log(max(2, len(asked)))
    metrics: Metrics = {
        "circuits/rank": (values > RANKED * values[0]).sum(dtype=values.dtype),
        "circuits/rank_centered": (centered > RANKED * centered[0]).sum(dtype=values.dtype),
    }
    metrics |= {f"circuits/EVOU_s{index}": value for index, value in enumerate(values[:6])}
    metrics |= {f"circuits/evenness/{head}": value for head, value in enumerate(entropy)}
    heads = scores.shape[0]
    if heads > 1:
        taus = [kendall_tau(scores[a], scores[b]) for a in range(heads) for b in range(a)]
        metrics["circuits/tau"] = jnp.stack(taus).min()
    return metrics


def kendall_tau(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    """(pairs in the same order - pairs in opposite order) / all pairs; a tie counts as neither."""
    signs = jnp.sign(x[:, None] - x) * jnp.sign(y[:, None] - y)
    n = x.shape[0]
    return share(signs.sum(), jnp.asarray(n * (n - 1), x.dtype))
