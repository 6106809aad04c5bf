"""The progress measures a second time: plain float64 NumPy, from the papers' definitions, pair by pair, wave by wave.

Nothing is shared with grokjax: complex Fourier sums instead of a real basis, explicit waves over all pairs instead of
means over pairs of equal answer, singular values, and gradients by hand, one triple at a time.
"""

from __future__ import annotations

import cmath
import itertools
import math
import random

import numpy as np
import reference

Params = dict[str, np.ndarray]
Array = np.ndarray


def group(op: str, p: int) -> tuple[list[int], int]:
    """Operands in the order of the cyclic group, and the sign of the second one in the answer (0: no group law)."""
    prime = all(p % k for k in range(2, p))
    if op in ("multiply", "divide") and prime:
        root = next(g for g in range(1, p) if len({pow(g, k, p) for k in range(p - 1)}) == p - 1)
        return [pow(root, k, p) for k in range(p - 1)], 1 if op == "multiply" else -1
    return list(range(p)), {"add": 1, "subtract": -1}.get(op, 0)


def neurons_of(params: Params, tokens: Array, activation: str) -> Array | None:
    """Last hidden layer at the answer, [pairs, m]."""
    if "W_U" not in params:
        x = params["W_E"][tokens[:, :2]].reshape(len(tokens), -1) if "W_E" in params else None
        if x is None:
            x = np.eye(len(params["W.0"]) // 2)[tokens[:, :2]].reshape(len(tokens), -1)
        for layer in range(sum(name.startswith("W.") for name in params) - 1):
            x = reference.activate(activation, x @ params[f"W.{layer}"] + params.get(f"b.{layer}", 0))[0]
        return x
    layers = sum(name.startswith("W_Q.") for name in params)
    x = params["W_E"][tokens] + params["W_pos"]
    hidden = None
    for layer in range(layers):
        x, _, _ = reference._attention(params, x, layer, reference.Form())
        if f"W_in.{layer}" in params:
            y, _ = reference._layernorm(params, x, "ln2", f".{layer}")
            hidden = reference.activate(activation, y @ params[f"W_in.{layer}"] + params[f"b_in.{layer}"])[0]
            x = x + hidden @ params[f"W_out.{layer}"] + params[f"b_out.{layer}"]
    return None if hidden is None else hidden[:, -1]


def coefficient(x: Array, u: int, v: int) -> complex:
    """Complex Fourier coefficient of x [n, n] at (u, v)."""
    n = len(x)
    wave = np.array([[cmath.exp(-2j * math.pi * (u * a + v * b) / n) for b in range(n)] for a in range(n)])
    return complex((x * wave).sum())


def neuron_share(x: Array, k: int) -> float:
    """Share of the variance of one neuron [n, n] in frequency k."""
    n = len(x)
    if x.std() == 0:  # a neuron that is never on
        return 0.0
    own = [(u % n, v % n) for u in (0, k, -k) for v in (0, k, -k)]
    power = sum(abs(coefficient(x, u, v)) ** 2 for u, v in set(own) - {(0, 0)})
    return power / n**2 / ((x - x.mean()) ** 2).sum()


def unit_waves(values: Array, n: int, k: int) -> list[Array]:
    """cos and sin of w_k times the values, of norm 1, without one that is 0 everywhere."""
    made = [wave(2 * math.pi * k * values / n) for wave in (np.cos, np.sin)]
    return [wave / np.linalg.norm(wave) for wave in made if np.linalg.norm(wave) > 1e-6]


def gini(x: list[float]) -> float:
    return sum(abs(a - b) for a in x for b in x) / (2 * len(x) * sum(x))


def participation(columns: Array) -> float:
    n, found = len(columns), []
    for column in columns.T:
        powers = [
            sum(float(wave @ column) ** 2 for wave in unit_waves(np.arange(n), n, k)) for k in range(1, n // 2 + 1)
        ]
        found.append(sum(power**2 for power in powers) / sum(powers) ** 2)
    return float(np.mean(found))


def loss(logits: Array, label: int, mse: bool) -> float:
    if mse:
        return float(np.mean((logits - np.eye(len(logits))[label]) ** 2))
    return float(np.log1p(np.exp(np.delete(logits, label) - logits[label]).sum()))


def stable_rank(name: str, W: Array) -> float:
    if name.startswith("W_O."):
        W = np.concatenate(list(W), axis=0)
    elif W.ndim == 3:
        W = np.concatenate(list(W), axis=1)
    s = np.linalg.svd(W, compute_uv=False)
    return float((s**2).sum() / s[0] ** 2)


def gradient_symmetricity(params: Params, p: int, activation: str) -> float:
    """Zhong et al.: over 100 triples, one backward pass each, on a table of the three embeddings of the example."""
    found = []
    for a, b, c in random.Random(42).sample(list(itertools.product(range(p), repeat=3)), min(100, p**3)):
        table = params["W_E"][[a, b, len(params["W_E"]) - 1]]
        logits, backward = reference.network(params | {"W_E": table}, np.array([[0, 1, 2]]), activation)
        grad = backward(np.eye(logits.shape[1])[[c]])["W_E"]
        found.append(grad[0] @ grad[1] / np.linalg.norm(grad[0]) / np.linalg.norm(grad[1]))
    return float(np.mean(found))


def progress(params: Params, op: str, p: int, activation: str, train: Array, mse: bool, scale: float, pure: float):
    """Every measure that is defined, by grokjax's names, and the key frequencies."""
    elements, sign = group(op, p)
    n = len(elements)
    found = {f"stable_rank/{name}": stable_rank(name, W) for name, W in params.items() if name.startswith("W")}
    if "W_E" in params:
        found["progress/gradient_symmetricity"] = gradient_symmetricity(params, p, activation)
    tokens = np.array([[a, b, p] for a in elements for b in elements])
    logits = scale * reference.network(params, tokens, activation)[0][:, elements]
    hidden = neurons_of(params, tokens, activation)
    found |= of_weights(params, elements, hidden is not None)
    keys = None
    if hidden is not None:
        shares = np.array([[neuron_share(x.reshape(n, n), k) for k in range(1, n // 2 + 1)] for x in hidden.T])
        keys = [k for k in range(1, n // 2 + 1) if (shares[:, k - 1] > pure).any()]
        found["progress/key_frequencies"] = len(keys)
        found["progress/neuron_share"] = shares.max(1).mean()
        found["progress/pure_neurons"] = (shares.max(1) > pure).mean()
    i, j = np.divmod(np.arange(n * n), n)
    if sign:
        right = {(at, to): logits[at * n + to, (at + sign * to) % n] for at in range(n) for to in range(n)}
        across = [[right[at, to] for at, to in right if (at - sign * to) % n == d] for d in range(n)]
        found["progress/distance_irrelevance"] = np.mean([np.std(line) for line in across]) / np.std(
            list(right.values())
        )
    if sign and keys is not None:
        answers = i + sign * j
        labels = [int(answer) % n for answer in answers]
        mean = logits.mean(0)
        kept, trig = np.zeros_like(logits), np.zeros_like(logits)
        for k in keys:
            for wave in unit_waves(answers, n, k):
                kept += np.outer(wave, wave @ logits)
            turned = np.cos(2 * math.pi * k * (answers[:, None] - np.arange(n)) / n)
            trig += turned * (turned * logits).sum() / (turned**2).sum()
        total = ((logits - mean) ** 2).sum()
        own = [elements.index(a) * n + elements.index(b) for a, b, _ in train if a in elements and b in elements]
        found["progress/restricted_loss"] = np.mean([loss(mean + kept[at], labels[at], mse) for at in range(n * n)])
        found["progress/trig_loss"] = np.mean([loss(mean + trig[at], labels[at], mse) for at in range(n * n)])
        found["progress/excluded_loss"] = np.mean([loss((logits - kept)[at], labels[at], mse) for at in own])
        found["progress/logit_share"] = (kept**2).sum() / total
        found["progress/trig_share"] = (trig**2).sum() / total
    return found, keys


def of_weights(params: Params, elements: list[int], has_neurons: bool) -> dict[str, float]:
    n = len(elements)
    if "W_U" in params:
        last = sum(name.startswith("W_Q.") for name in params) - 1
        sides = {"in": params["W_E"][elements]}
        if has_neurons:
            sides["out"] = (params[f"W_out.{last}"] @ params["W_U"])[:, elements].T
    else:
        first, last = params["W.0"], sum(name.startswith("W.") for name in params) - 1
        half = len(first) // 2
        tables = [first[:half], first[half:]]
        if "W_E" in params:
            tables = [params["W_E"] @ table for table in tables]
        sides = {"in": np.hstack(tables)[elements], "out": params[f"W.{last}"][:, elements].T}
    found = {}
    for side, x in sides.items():
        norms = [
            float(np.linalg.norm(wave @ x)) for k in range(1, n // 2 + 1) for wave in unit_waves(np.arange(n), n, k)
        ]
        found[f"progress/gini_{side}"] = gini(norms)
        found[f"progress/ipr_{side}"] = participation(x)
    return found
