"""What grokjax trains, written a second time: plain NumPy in float64, no JAX, every gradient by hand.

Textbook forms, with nothing left out for speed: all three positions of every layer, a full causal softmax, one
network at a time. Written from the papers' and PyTorch's formulas. Parameters are a flat dict of names; what a
network is (transformer or MLP, layers, heads, layer norm, embedding) is read off them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Params = dict[str, np.ndarray]
Array = np.ndarray

# --- networks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """What is not to be read off a network's parameters, in the words of a sweep file."""

    activation: str = "relu"
    negative_slope: float = 0.01
    layernorm: str = "pre"  # where there are layer norms: pre | post | stream
    sinusoidal: bool = False
    mask: str = "causal"
    attention_mix: float | None = None
    direct_path: bool = True
    summed: bool = False  # of an mlp: the operands are added
    vector: bool = False


def activate(name: str, x: Array, negative_slope: float = 0.01) -> tuple[Array, Array]:
    """Value and slope."""
    if name == "relu":
        return np.where(x > 0, x, 0.0), np.where(x > 0, 1.0, 0.0)
    if name == "leaky_relu":
        slope = np.where(x > 0, 1.0, negative_slope)
        return slope * x, slope
    if name == "tanh":
        return np.tanh(x), 1 - np.tanh(x) ** 2
    if name == "square":
        return x * x, 2 * x
    if name == "gelu":  # x times the normal distribution function
        below = 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        return x * below, below + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    assert name == "identity", name
    return x, np.ones_like(x)


def network(params: Params, inputs: Array, form: Form | str = "relu") -> tuple[Array, Callable[[Array], Params]]:
    """Logits [n, v] at the answer, and the function from their gradient to the parameters'.

    form: a text is the activation of a network that is else the usual one.
    """
    forward = _transformer if "W_U" in params else _mlp
    return forward(params, inputs, Form(form) if isinstance(form, str) else form)


def sinusoids(length: int, width: int) -> Array:
    """Positions of Power et al.'s code, number by number."""
    rows = [
        [
            math.cos(t / 10000 ** ((i - 1) / width)) if i % 2 else math.sin(t / 10000 ** (i / width))
            for i in range(width)
        ]
        for t in range(length)
    ]
    return np.array(rows)


def _transformer(params: Params, tokens: Array, form: Form):
    layers = sum(name.startswith("W_Q.") for name in params)
    x = params["W_E"][tokens]
    if form.sinusoidal:
        x = x + sinusoids(tokens.shape[1], x.shape[-1])
    elif "W_pos" in params:
        x = x + params["W_pos"]
    backs, written = [], np.zeros_like(x)
    for layer in range(layers):
        for part in (_attention, _mlp_block):
            if part is _attention or f"W_in.{layer}" in params:
                x, wrote, back = part(params, x, layer, form)
                written = written + wrote
                backs.append(back)
    y, norm_back = _layernorm(params, x if form.direct_path else written, "ln_final", "")
    logits = y[:, -1] @ params["W_U"]

    def backward(d_logits: Array) -> Params:
        grads = {name: np.zeros_like(value) for name, value in params.items()}
        grads["W_U"] += y[:, -1].T @ d_logits
        dy = np.zeros_like(y)
        dy[:, -1] = d_logits @ params["W_U"].T
        d_read = norm_back(dy, grads)
        dx, d_written = (d_read, 0 * d_read) if form.direct_path else (0 * d_read, d_read)
        for back in reversed(backs):
            dx = back(dx, d_written, grads)
        if "W_pos" in params:
            grads["W_pos"] += dx.sum(0)
        np.add.at(grads["W_E"], tokens, dx)
        return grads

    return logits, backward


def _attention(params: Params, x: Array, layer: int, form: Form):
    """The stream after it, what it wrote, and the way back from the gradients of both."""
    w_q, w_k, w_v, w_o = (params[f"{name}.{layer}"] for name in ("W_Q", "W_K", "W_V", "W_O"))
    heads, _, d_head = w_q.shape
    y, norm_back = _layernorm(params, x, "ln1", f".{layer}", form.layernorm != "post")
    seen = np.ones((x.shape[1],) * 2, bool)
    seen = np.tril(seen) if form.mask == "causal" else seen
    share = 1.0 if form.attention_mix is None else form.attention_mix
    biases = [params.get(f"{name}.{layer}", np.zeros(heads)) for name in ("b_Q", "b_K", "b_V")]
    written, kept = np.zeros_like(x) + params.get(f"b_O.{layer}", 0.0), []
    for h in range(heads):
        q, k, v = (y @ w[h] + bias[h] for w, bias in zip((w_q, w_k, w_v), biases, strict=True))
        scores = np.where(seen, q @ k.transpose(0, 2, 1) / math.sqrt(d_head), -np.inf)
        soft = np.exp(scores - scores.max(-1, keepdims=True))
        soft /= soft.sum(-1, keepdims=True)
        weights = share * soft + (1 - share) * seen
        z = weights @ v
        written = written + z @ w_o[h]
        kept.append((q, k, v, soft, weights, z))
    own = y if form.layernorm == "stream" else x
    out, post_back = _layernorm(params, own + written, "ln1", f".{layer}", form.layernorm == "post")

    def backward(d_out: Array, d_written: Array, grads: Params) -> Array:
        d_own = post_back(d_out, grads)
        d = d_own + d_written
        dy = np.zeros_like(y)
        if f"b_O.{layer}" in params:
            grads[f"b_O.{layer}"] += d.sum((0, 1))
        for h, (q, k, v, soft, weights, z) in enumerate(kept):
            grads[f"W_O.{layer}"][h] += np.einsum("nqe,nqd->ed", z, d)
            dz = d @ w_o[h].T
            d_soft = share * (dz @ v.transpose(0, 2, 1))
            d_scores = soft * (d_soft - (soft * d_soft).sum(-1, keepdims=True)) / math.sqrt(d_head)
            for name, w, of in (
                ("W_Q", w_q, d_scores @ k),
                ("W_K", w_k, d_scores.transpose(0, 2, 1) @ q),
                ("W_V", w_v, weights.transpose(0, 2, 1) @ dz),
            ):
                grads[f"{name}.{layer}"][h] += np.einsum("nqd,nqe->de", y, of)
                if f"b_O.{layer}" in params:
                    grads[f"b{name[1:]}.{layer}"][h] += of.sum((0, 1))
                dy += of @ w[h].T
        if form.layernorm == "stream":
            return norm_back(dy + d_own, grads)
        return d_own + norm_back(dy, grads)

    return out, written, backward


def _mlp_block(params: Params, x: Array, layer: int, form: Form):
    w_in, w_out = params[f"W_in.{layer}"], params[f"W_out.{layer}"]
    b_in, b_out = (params.get(f"{name}.{layer}", 0.0) for name in ("b_in", "b_out"))
    y, norm_back = _layernorm(params, x, "ln2", f".{layer}", form.layernorm != "post")
    hidden, slope = activate(form.activation, y @ w_in + b_in, form.negative_slope)
    written = hidden @ w_out + b_out
    out, post_back = _layernorm(params, x + written, "ln2", f".{layer}", form.layernorm == "post")

    def backward(d_out: Array, d_written: Array, grads: Params) -> Array:
        d_own = post_back(d_out, grads)
        d = d_own + d_written
        grads[f"W_out.{layer}"] += np.einsum("nqm,nqd->md", hidden, d)
        d_pre = d @ w_out.T * slope
        grads[f"W_in.{layer}"] += np.einsum("nqd,nqm->dm", y, d_pre)
        if f"b_in.{layer}" in params:
            grads[f"b_out.{layer}"] += d.sum((0, 1))
            grads[f"b_in.{layer}"] += d_pre.sum((0, 1))
        return d_own + norm_back(d_pre @ w_in.T, grads)

    return out, written, backward


def _layernorm(params: Params, x: Array, name: str, suffix: str, is_here: bool = True):
    if f"{name}_w{suffix}" not in params or not is_here:
        return x, lambda dy, grads: dy
    w, b = params[f"{name}_w{suffix}"], params[f"{name}_b{suffix}"]
    deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    unit = (x - x.mean(-1, keepdims=True)) / deviation

    def backward(dy: Array, grads: Params) -> Array:
        grads[f"{name}_w{suffix}"] += (dy * unit).sum((0, 1))
        grads[f"{name}_b{suffix}"] += dy.sum((0, 1))
        du = dy * w
        return (du - du.mean(-1, keepdims=True) - unit * (du * unit).mean(-1, keepdims=True)) / deviation

    return unit * w + b, backward


def _mlp(params: Params, inputs: Array, form: Form):
    """Both operands, as one-hot vectors or as rows of their tables, side by side or added; or vectors."""
    layers = sum(name.startswith("W.") for name in params)
    tables = [name for name in ("W_E.0", "W_E.1") if name in params] or ["W_E", "W_E"]
    if form.vector:
        x = inputs.astype(np.float64)
    else:
        one_hot = np.eye(len(params["W.0"]) // (1 if form.summed else 2))
        rows = [params.get(table, one_hot)[inputs[:, place]] for place, table in enumerate(tables)]
        x = rows[0] + rows[1] if form.summed else np.concatenate(rows, axis=1)
    read, slopes = [x], []
    for layer in range(layers):
        x = x @ params[f"W.{layer}"] + params.get(f"b.{layer}", 0.0)
        if layer < layers - 1:
            x, slope = activate(form.activation, x, form.negative_slope)
            read.append(x)
            slopes.append(slope)

    def backward(d: Array) -> Params:
        grads = {name: np.zeros_like(value) for name, value in params.items()}
        for layer in reversed(range(layers)):
            grads[f"W.{layer}"] += read[layer].T @ d
            if f"b.{layer}" in params:
                grads[f"b.{layer}"] += d.sum(0)
            d = d @ params[f"W.{layer}"].T
            if layer:
                d = d * slopes[layer - 1]
        if tables[0] in params:
            for place, of_operand in enumerate([d, d] if form.summed else np.split(d, 2, axis=1)):
                np.add.at(grads[tables[place]], inputs[:, place], of_operand)
        return grads

    return x, backward


# --- losses ---------------------------------------------------------------------------------------------------


def cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Mean of -log softmax at the label, and its gradient."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    d = np.exp(log_p)
    d[rows, labels] -= 1
    return float(-log_p[rows, labels].mean()), d / len(labels)


def mse(logits: Array, labels: Array) -> tuple[float, Array]:
    """`torch.nn.MSELoss` on one-hot labels: mean over examples and classes."""
    error = logits - np.eye(logits.shape[1])[labels]
    return float((error**2).mean()), 2 * error / error.size


LOSSES = {"cross_entropy": cross_entropy, "mse": mse}


# --- training -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, in the words of a sweep file."""

    steps: int = 60
    optimizer: str = "adamw"  # adamw | adam | sgd
    lr: float = 1e-3
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay: str = "coupled"  # of sgd: coupled | decoupled
    warmup_steps: int = 0
    clip_norm: float | None = None
    lr_by_matrix: dict[str, float] = field(default_factory=dict)
    weight_decay_by_matrix: dict[str, float] = field(default_factory=dict)
    fixed_norm: str | None = None  # global | matrix
    radius: float | None = None
    activation: str = "relu"
    form: Form = Form()  # but for the activation
    model: dict[str, Any] = field(default_factory=dict)  # further keys of a sweep file, which `form` tells too
    frozen: tuple[str, ...] = ()
    logit_scale: float = 1.0
    loss: str = "cross_entropy"


@dataclass(frozen=True)
class Moment:
    """What is true at step t, before update t."""

    params: Params
    grads: Params
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float


def loss_and_gradient(params: Params, tokens: Array, labels: Array, recipe: Recipe):
    """(loss, accuracy, gradients)"""
    logits, backward = network(params, tokens, replace(recipe.form, activation=recipe.activation))
    logits = logits * recipe.logit_scale
    loss, d_logits = LOSSES[recipe.loss](logits, labels)
    accuracy = float((logits.argmax(-1) == labels).mean())
    grads = backward(d_logits * recipe.logit_scale)
    return loss, accuracy, {name: g * (not is_frozen(name, recipe)) for name, g in grads.items()}


def is_frozen(name: str, recipe: Recipe) -> bool:
    return name in recipe.frozen or name.split(".")[0] in recipe.frozen


def norm(params: Params) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in params.values()))


def train(
    params: Params,
    train_set: tuple[Array, Array],
    test_set: tuple[Array, Array],
    recipe: Recipe,
    batch: Callable[[int], Array] | None = None,
) -> list[Moment]:
    """The moments of steps 0 to `steps`, the last one at the parameters that training ends with.

    batch: step -> rows of the train set; None is all of them.
    """
    params = {name: value.astype(np.float64) for name, value in params.items()}
    radius = _radii(_trained(params, recipe), recipe)
    params = params | _project(_trained(params, recipe), radius)
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    moments = []
    for t in range(recipe.steps + 1):
        tokens, labels = train_set if batch is None else tuple(part[batch(t)] for part in train_set)
        loss, accuracy, grads = loss_and_gradient(params, tokens, labels, recipe)
        test_loss, test_accuracy, _ = loss_and_gradient(params, *test_set, recipe)
        moments.append(Moment(params, grads, loss, accuracy, test_loss, test_accuracy))
        if t < recipe.steps:
            updated = _update(_trained(params, recipe), grads, first, second, recipe, t)
            params = params | _project(updated, radius)
    return moments


def _trained(params: Params, recipe: Recipe) -> Params:
    return {name: value for name, value in params.items() if not is_frozen(name, recipe)}


def _update(params: Params, grads: Params, first: Params, second: Params, recipe: Recipe, t: int) -> Params:
    """One optimizer step (t from 0), as torch.optim does it. Changes the moments `first` and `second`."""
    lr = recipe.lr if not recipe.warmup_steps else recipe.lr * min(t / recipe.warmup_steps, 1)
    total = norm(grads)
    shrink = recipe.clip_norm / total if recipe.clip_norm is not None and total > recipe.clip_norm else 1.0
    coupled = recipe.optimizer == "adam" or (recipe.optimizer == "sgd" and recipe.decay == "coupled")
    updated = {}
    for name, w in params.items():
        g = grads[name] * shrink
        decay = recipe.weight_decay * factor(recipe.weight_decay_by_matrix, name)
        rate = lr * factor(recipe.lr_by_matrix, name)
        if coupled:
            g = g + decay * w
        if recipe.optimizer == "sgd":
            first[name] = recipe.momentum * first[name] + g
            direction = g + recipe.momentum * first[name] if recipe.nesterov else first[name]
        else:
            first[name] = recipe.b1 * first[name] + (1 - recipe.b1) * g
            second[name] = recipe.b2 * second[name] + (1 - recipe.b2) * g * g
            m = first[name] / (1 - recipe.b1 ** (t + 1))
            v = second[name] / (1 - recipe.b2 ** (t + 1))
            direction = m / (np.sqrt(v) + recipe.eps)
        updated[name] = w - rate * direction - (0.0 if coupled else rate * decay * w)
    return updated


def factor(table: dict[str, float], name: str) -> float:
    """A parameter's factor: `W_O` means every layer, `W_O.0` one; both multiply."""
    return table.get(name, 1.0) * (table.get(name.split(".")[0], 1.0) if "." in name else 1.0)


def _radii(params: Params, recipe: Recipe) -> dict[str, float]:
    if recipe.fixed_norm == "global":
        return {"": recipe.radius or norm(params)}
    if recipe.fixed_norm == "matrix":
        return {name: recipe.radius or norm({name: w}) for name, w in params.items() if name.startswith("W")}
    return {}


def _project(params: Params, radius: dict[str, float]) -> Params:
    if "" in radius:
        return {name: w * (radius[""] / norm(params)) for name, w in params.items()}
    return {name: w * (radius[name] / norm({name: w})) if name in radius else w for name, w in params.items()}


# --- data and starting weights --------------------------------------------------------------------------------


def modular_addition(p: int, train_fraction: float, seed: int):
    """((tokens, labels) to train on, the same to test on): row-major pairs, shuffled by `random.Random(seed)`."""
    pairs = [(a, b, p) for a in range(p) for b in range(p)]
    random.Random(seed).shuffle(pairs)
    tokens = np.array(pairs)
    labels = (tokens[:, 0] + tokens[:, 1]) % p
    cut = int(train_fraction * len(pairs))
    return (tokens[:cut], labels[:cut]), (tokens[cut:], labels[cut:])


def transformer_weights(
    p: int, d_model: int, heads: int, d_head: int, d_mlp: int, layers: int, layernorm: bool, seed: int
) -> Params:
    """float64 weights of a usual size; biases and layer norms off their usual start, so that none can hide."""
    draw = np.random.Generator(np.random.PCG64(seed)).normal
    d = d_model
    params = {"W_E": draw(size=(p + 1, d)) / d**0.5, "W_pos": draw(size=(3, d)) / d**0.5}
    for layer in range(layers):
        block = {name: draw(size=(heads, d, d_head)) / d**0.5 for name in ("W_Q", "W_K", "W_V")}
        block["W_O"] = draw(size=(heads, d_head, d)) / d**0.5
        if layernorm:
            block |= _layernorm_weights("ln1", d, draw)
        if d_mlp:
            block |= {"W_in": draw(size=(d, d_mlp)) / d**0.5, "b_in": 0.1 * draw(size=d_mlp)}
            block |= {"W_out": draw(size=(d_mlp, d)) / d_mlp**0.5, "b_out": 0.1 * draw(size=d)}
        if d_mlp and layernorm:
            block |= _layernorm_weights("ln2", d, draw)
        params |= {f"{name}.{layer}": value for name, value in block.items()}
    if layernorm:
        params |= _layernorm_weights("ln_final", d, draw)
    return params | {"W_U": draw(size=(d, p + 1)) / d**0.5}


def weights_of(shapes: dict[str, tuple[int, ...]], seed: int) -> Params:
    """float64 weights of a usual size for any network; biases and layer norms off their usual start."""
    draw = np.random.Generator(np.random.PCG64(seed)).normal
    params = {}
    for name, shape in shapes.items():
        if name.startswith("W_E") or name == "W_pos":
            params[name] = 0.5 * draw(size=shape)
        elif name.startswith("W"):
            summed = shape[0] * shape[1] if name.startswith("W_O") else shape[-2]
            params[name] = draw(size=shape) / summed**0.5
        else:
            params[name] = 1.0 * (name.startswith("ln") and "_w" in name) + 0.1 * draw(size=shape)
    return params


def form_of(model: dict[str, Any], activation: str = "relu") -> Form:
    """Of a model's keys in a sweep file."""
    same = ("negative_slope", "mask", "attention_mix", "direct_path")
    return Form(
        activation=model.get("activation", activation),
        layernorm=model.get("layernorm", "pre"),
        sinusoidal=model.get("positions") == "sinusoidal",
        summed=model.get("input") == "summed" or model.get("combine") == "sum",
        vector=model.get("input") == "vector",
        **{key: model[key] for key in same if key in model},
    )


def _layernorm_weights(name: str, d: int, draw: Callable[..., Array]) -> Params:
    return {f"{name}_w": 1 + 0.1 * draw(size=d), f"{name}_b": 0.1 * draw(size=d)}


def mlp_weights(p: int, widths: list[int], d_model: int | None, bias: bool, seed: int) -> Params:
    """d_model: width of the table W_E; None is one-hot."""
    draw = np.random.Generator(np.random.PCG64(seed)).normal
    params = {} if d_model is None else {"W_E": draw(size=(p, d_model))}
    sizes = [2 * (d_model or p), *widths, p]
    for layer, (wide, out) in enumerate(itertools.pairwise(sizes)):
        params[f"W.{layer}"] = draw(size=(wide, out)) * (2 / wide) ** 0.5
        if bias:
            params[f"b.{layer}"] = 0.1 * draw(size=out)
    return params
