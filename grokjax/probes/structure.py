"""How a network is built: ranks of its matrices, and what it does with the two operands (clock or pizza)."""

from __future__ import annotations

import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grokjax.models import textbook
from grokjax.models.params import Params
from grokjax.probes.fourier import share
from grokjax.spec import models as spec

SQUARINGS = 12
TRIPLES, TRIPLES_SEED = 100, 42  # as in the code of Zhong et al.


def stable_rank(name: str, W: Array) -> Float[Array, ""]:
    """|W|_F^2 / |W|_2^2, from 1 to the rank; 0 of a zero matrix (Rudelson and Vershynin 2007). The heads of W_Q, W_K,
    W_V stand side by side, as [d_model, heads d_head], those of W_O on top of each other, as [heads d_head, d_model].

    The largest eigenvalue of the smaller Gram matrix comes from its 2^12-th power, by squaring: products only, as
    batches of eigenvalue problems are slow on accelerators. It is at most 0.1 % too small.
    """
    if W.ndim == 3:
        W = W.reshape(-1, W.shape[-1]) if name.startswith("W_O") else W.transpose(1, 0, 2).reshape(W.shape[1], -1)
    W = W.T if W.shape[0] > W.shape[1] else W
    largest = jnp.abs(W).max()
    is_zero = largest == 0  # nan stays nan
    W = W / jnp.where(is_zero, 1, largest)
    gram = W @ W.T
    gram = gram / jnp.where(is_zero, 1, jnp.trace(gram))

    def square(_: Any, power: Array) -> Array:
        power = power @ power
        return power / jnp.where(is_zero, 1, jnp.trace(power))

    power = jax.lax.fori_loop(0, SQUARINGS, square, gram)
    top = (power * gram).sum()  # a mean of the eigenvalues, each weighted by its 2^12-th power
    return jnp.where(is_zero, 0, 1 / jnp.where(is_zero, 1, top))


def distance_irrelevance(right: Float[Array, " pairs"], by_distance: Int[np.ndarray, "n n"]) -> Float[Array, ""]:
    """mean over d of std(L_ab | a - b = d) / std(L_ab), L the right answer's logit: 0 where it depends on the distance
    of the operands alone (pizza), near 1 where it does not (clock). Zhong et al. 2023, arXiv 2306.17844, definition
    4.2. nan where the logit is constant."""
    return right[by_distance].std(1).mean() / right.std()


def gradient_symmetricity(
    params: Params, model: spec.Model, p: int, logit_scale: Float[Array, ""] | float = 1.0, length: int = 3
) -> Float[Array, ""]:
    """Mean over 100 fixed triples (a, b, c) of the cosine between the gradients of logit c at (a, b) with respect to
    the embeddings of a and of b: 1 where the operands are only added (pizza), less where they are not (clock). Zhong et
    al. 2023, definition 4.1, with the triples of their code; c is any class.

    length: of a sequence, 2 where there is no `=`. Needs a table W_E: the inputs of a one-hot MLP have no embedding of
    their own. A gradient that is 0 counts as 0.
    """
    a, b, c = triples(p)
    m, own = len(a), "W_E.0" in params  # whether each operand has a table of its own
    tokens = np.stack([np.arange(m), np.arange(m) + (0 if own else m), np.full(m, 2 * m)], axis=1)[:, :length]

    def chosen(of_a: Float[Array, "m d"], of_b: Float[Array, "m d"]) -> Float[Array, ""]:
        """Each example reads rows of its own; the last one is the transformer's `=`."""
        rows = {"W_E.0": of_a, "W_E.1": of_b} if own else {"W_E": jnp.concatenate([of_a, of_b, params["W_E"][-1:]])}
        logits = textbook.forward(params | rows, jnp.asarray(tokens), model)
        return logit_scale * logits[np.arange(m), c].sum()

    tables = (params["W_E.0"], params["W_E.1"]) if own else (params["W_E"], params["W_E"])
    of_a, of_b = jax.grad(chosen, argnums=(0, 1))(tables[0][a], tables[1][b])
    of_a, of_b = (g / jnp.maximum(jnp.abs(g).max(1, keepdims=True), 1e-30) for g in (of_a, of_b))
    lengths = jnp.linalg.norm(of_a, axis=1) * jnp.linalg.norm(of_b, axis=1)
    return share((of_a * of_b).sum(1), lengths).mean()


def triples(p: int) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """(a, b, c), each within 0 and p - 1, as the code of Zhong et al. draws them."""
    drawn = random.Random(TRIPLES_SEED).sample(range(p**3), min(TRIPLES, p**3))
    rest, c = np.divmod(np.array(drawn), p)
    return *np.divmod(rest, p), c
