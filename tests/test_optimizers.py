"""Optimizers, filters and decay against plain float64 NumPy, over fifty steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optimizer_steps import CURVED, PULLS, START, STEPS, Arrays, gradient, stepped

from grokjax.spec.shapes import is_matrix

Rule = Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray]  # W, gradient, memory, t from 1 -> W


def by_hand(rule: Rule, steps: int = STEPS, rule_of: dict[str, Rule] | None = None) -> Arrays:
    """Fifty steps of a rule; rule_of: another for some parameters."""
    params = {name: value.copy() for name, value in START.items()}
    memory: dict[str, dict[str, Any]] = {name: {} for name in params}
    for step in range(steps):
        grads = gradient(params, step)
        for name, W in params.items():
            own = (rule_of or {}).get(name, rule)
            params[name] = own(W, grads[name], memory[name], step + 1)
    return params


def assert_same(found: Arrays, expected: Arrays, rtol: float = 1e-9) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-11, err_msg=name)


def adam_direction(g: np.ndarray, m: dict[str, Any], t: int, b1: float, b2: float, eps: float) -> np.ndarray:
    m["mu"] = b1 * m.get("mu", 0) + (1 - b1) * g
    m["nu"] = b2 * m.get("nu", 0) + (1 - b2) * g**2
    return m["mu"] / (1 - b1**t) / (np.sqrt(m["nu"] / (1 - b2**t)) + eps)


def lion(W, g, m, t, lr=0.01, b1=0.9, b2=0.99, decay=0.1):
    mu = m.get("mu", np.zeros_like(W))
    direction = np.sign(b1 * mu + (1 - b1) * g)
    m["mu"] = b2 * mu + (1 - b2) * g
    return W - lr * (direction + decay * W)


def ademamix(W, g, m, t, lr=0.01, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8):
    m["m1"] = b1 * m.get("m1", 0) + (1 - b1) * g
    m["m2"] = b3 * m.get("m2", 0) + (1 - b3) * g
    m["nu"] = b2 * m.get("nu", 0) + (1 - b2) * g**2
    return W - lr * (m["m1"] / (1 - b1**t) + alpha * m["m2"]) / (np.sqrt(m["nu"] / (1 - b2**t)) + eps)


def adafactor(W, g, m, t, lr=0.01):
    """Rows and columns of every matrix whose second largest side is at least 2; steps of the parameter's size."""
    memory, squares = 1 - float(t) ** -0.8, g**2 + 1e-30
    if W.ndim > 1 and sorted(W.shape)[-2] >= 2:
        rows, columns = (int(axis) for axis in np.argsort(W.shape, kind="stable")[-2:])
        m["r"] = memory * m.get("r", 0) + (1 - memory) * squares.mean(columns, keepdims=True)
        m["c"] = memory * m.get("c", 0) + (1 - memory) * squares.mean(rows, keepdims=True)
        direction = g / np.sqrt(m["r"] / m["r"].mean(rows, keepdims=True)) / np.sqrt(m["c"])
    else:
        m["v"] = memory * m.get("v", 0) + (1 - memory) * squares
        direction = g / np.sqrt(m["v"])
    direction /= max(1, np.sqrt((direction**2).mean()))
    return W - lr * direction * max(np.sqrt((W**2).mean()), 1e-3)


def newton_schulz(X: np.ndarray) -> np.ndarray:
    X = X / (np.linalg.norm(X) + 1e-8)
    turned = X.shape[0] > X.shape[1]
    X = X.T if turned else X
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.775 * A + 2.0315 * A @ A) @ X
    return X.T if turned else X


def muon(name: str, lr: float = 0.02, beta: float = 0.95, decay: float = 0.3) -> Rule:
    """Nesterov's momentum of a matrix [inputs, outputs], made orthogonal; heads side by side."""

    def flat(X: np.ndarray) -> np.ndarray:
        if name[:3] in ("W_Q", "W_K", "W_V"):
            return np.concatenate(list(X), axis=1)
        return np.concatenate(list(X), axis=0) if name[:3] == "W_O" else X

    def back(X: np.ndarray, heads: int) -> np.ndarray:
        if name[:3] in ("W_Q", "W_K", "W_V"):
            return np.stack(np.split(X, heads, axis=1))
        return np.stack(np.split(X, heads, axis=0)) if name[:3] == "W_O" else X

    def rule(W, g, m, t):
        m["mu"] = beta * m.get("mu", 0) + (1 - beta) * g
        ahead = beta * m["mu"] / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
        X = flat(ahead)
        step = back(newton_schulz(X) * np.sqrt(max(1, X.shape[1] / X.shape[0])), len(W))
        return W - lr * (step + decay * W)

    def adam(W, g, m, t):
        direction = adam_direction(g, m, t, 0.9, 0.999, 1e-8)
        ahead = 0.9 * m["mu"] / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        assert direction.shape == W.shape
        return W - lr * ahead / (np.sqrt(m["nu"] / (1 - 0.999**t)) + 1e-8)

    return rule if is_matrix(name) else adam


def sgd(W, g, m, t, lr=0.05, momentum=0.8, nesterov=False, coupled=0.0, decoupled=0.0, to=None):
    away = W - (0 if to is None else to)
    g = g + coupled * away
    m["v"] = momentum * m.get("v", 0) + g
    direction = g + momentum * m["v"] if nesterov else m["v"]
    return W - lr * (direction + decoupled * away)


def sophia(h: np.ndarray) -> Rule:
    """The Hessian is diagonal, so its estimate by any signs is exact."""

    def rule(W, g, m, t, lr=0.01, b1=0.965, b2=0.99, gamma=0.2):
        m["mu"] = b1 * m.get("mu", 0) + (1 - b1) * g
        direction = np.clip(m["mu"] / (1 - b1**t) / np.maximum(gamma * m.get("h", 0 * W), 1e-8), -1, 1)
        if (t - 1) % 10 == 0:
            m["h"] = b2 * m.get("h", 0) + (1 - b2) * h
        return W - lr * (direction + 1e-4 * W)

    return rule


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"name": "lion", "lr": 0.01, "weight_decay": 0.1}, lion),
        ({"name": "ademamix", "lr": 0.01}, ademamix),
        ({"name": "adafactor", "lr": 0.01, "min_dim_size_to_factor": 2}, adafactor),
        ({"name": "sgd", "lr": 0.05, "momentum": 0.8}, sgd),
        (
            {"name": "sgd", "lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
            lambda *a: sgd(*a, nesterov=True, coupled=0.3),
        ),
        (
            {"name": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.3, "decay": "decoupled"},
            lambda *a: sgd(*a, decoupled=0.3),
        ),
    ],
    ids=["lion", "ademamix", "adafactor", "momentum", "nesterov coupled", "decoupled"],
)
def test_an_optimizer_steps_as_its_paper_says(values: dict[str, Any], rule: Rule):
    assert_same(stepped(values), by_hand(rule))


def test_muon_makes_matrices_orthogonal_with_heads_side_by_side_and_vectors_are_adam_s():
    values = {"name": "muon", "lr": 0.02, "weight_decay": 0.3}
    assert_same(stepped(values), by_hand(sgd, rule_of={name: muon(name) for name in START}), rtol=1e-7)


def test_sophia_divides_by_the_diagonal_of_the_hessian():
    values = {"name": "sophia", "lr": 0.01, "gamma": 0.2}
    assert_same(stepped(values), by_hand(sgd, rule_of={name: sophia(CURVED[name]) for name in START}))


@pytest.mark.parametrize("inner", ["sgd", "adam"])
def test_sam_steps_by_the_gradient_a_little_uphill(inner: str):
    params = {name: value.copy() for name, value in START.items()}
    memory: dict[str, dict[str, Any]] = {name: {} for name in params}
    for step in range(STEPS):
        first = gradient(params, step)
        length = np.sqrt(sum((g**2).sum() for g in first.values()))
        uphill = gradient({name: W + 0.3 * first[name] / length for name, W in params.items()}, step)
        for name, W in params.items():
            if inner == "sgd":
                params[name] = sgd(W, uphill[name], memory[name], step + 1, decoupled=0.2)
            else:
                direction = adam_direction(uphill[name], memory[name], step + 1, 0.9, 0.999, 1e-8)
                params[name] = W - 0.05 * (direction + 0.2 * W)
    values = {"name": "sam", "optimizer": inner, "lr": 0.05, "rho": 0.3, "momentum": 0.8, "weight_decay": 0.2}
    assert_same(stepped(values), params)


@pytest.mark.parametrize("warmup_steps", [0, 7])
def test_schedule_free_adamw_steps_at_y_and_is_tested_at_its_average(warmup_steps: int):
    lr, b1, b2, decay = 0.02, 0.9, 0.999, 0.1
    z, x = ({name: value.copy() for name, value in START.items()} for _ in range(2))
    nu: dict[str, Any] = dict.fromkeys(START, 0.0)
    weights, largest = 0.0, 0.0
    for step in range(STEPS):
        y = {name: (1 - b1) * z[name] + b1 * x[name] for name in START}
        grads = gradient(y, step)
        rate = lr * (min(step / warmup_steps, 1) if warmup_steps else 1)
        largest = max(largest, rate)
        weights += largest**2
        share = largest**2 / weights if weights else 0.0
        for name, g in grads.items():
            nu[name] = b2 * nu[name] + (1 - b2) * g**2
            direction = g / (np.sqrt(nu[name] / (1 - b2 ** (step + 1))) + 1e-8)
            z[name] = z[name] - rate * (direction + decay * y[name])
            x[name] = (1 - share) * x[name] + share * z[name]
    values = {"name": "schedule_free_adamw", "lr": lr, "weight_decay": decay, "warmup_steps": warmup_steps}
    assert_same(stepped(values, average=True), x, rtol=1e-7)
    assert_same(stepped(values), {name: (1 - b1) * z[name] + b1 * x[name] for name in START}, rtol=1e-7)


@pytest.mark.parametrize("window", [1, 8, 60])
def test_grokfast_ma_adds_the_mean_of_the_last_gradients_once_there_are_enough(window: int):
    def rule(W, g, m, t):
        queue = m.setdefault("queue", [])
        queue.append(g)
        del queue[:-window]
        return W - 0.05 * (g + (2.0 * sum(queue) / window if len(queue) == window else 0))

    filters = [{"name": "grokfast_ma", "window": window, "lamb": 2.0}]
    assert_same(stepped({"name": "sgd", "lr": 0.05, "filters": filters}), by_hand(rule))


def test_orthograd_turns_each_gradient_off_its_parameter():
    def rule(W, g, m, t):
        tangent = g - (W * g).sum() / (W * W).sum() * W
        return W - 0.05 * tangent * np.linalg.norm(g) / np.linalg.norm(tangent)

    assert_same(stepped({"name": "sgd", "lr": 0.05, "filters": [{"name": "orthograd"}]}), by_hand(rule))


@pytest.mark.parametrize("form", ["coupled", "decoupled"])
def test_decay_to_init_pulls_to_where_the_run_started(form: str):
    values = {"name": "sgd", "lr": 0.05, "momentum": 0.8, "weight_decay": 0.4, "decay": form, "decay_to": "init"}
    rules = {name: lambda *a, to=W: sgd(*a, to=to, **{form: 0.4}) for name, W in START.items()}
    assert_same(stepped(values), by_hand(sgd, rule_of=rules))


def test_adam_and_adamw_decay_to_init_in_their_own_forms():
    def rule(name: str, coupled: float, decoupled: float) -> Rule:
        def step(W, g, m, t):
            g = g + coupled * (W - START[name])
            return W - 0.01 * (adam_direction(g, m, t, 0.9, 0.98, 1e-8) + decoupled * (W - START[name]))

        return step

    for family, forms in {"adam": (0.4, 0.0), "adamw": (0.0, 0.4)}.items():
        values = {"name": family, "lr": 0.01, "weight_decay": 0.4, "decay_to": "init"}
        assert_same(stepped(values), by_hand(sgd, rule_of={name: rule(name, *forms) for name in START}))


def test_groups_have_their_own_optimizer_rate_schedule_filters_and_decay_and_the_whole_gradient_is_clipped_first():
    values = {
        "name": "sgd",
        "lr": 0.05,
        "momentum": 0.8,
        "clip_norm": 3.0,
        "groups": {
            "W_E": {"name": "lion", "lr": 0.01, "weight_decay": 0.1},
            "W_O": {"name": "sgd", "lr": 0.3, "warmup_steps": 5, "schedule": {"name": "steps", "every": 20}},
            "W_in.0": {"name": "adamw", "lr": 0.01, "warmup_steps": 0, "filters": [{"name": "grokfast_ema"}]},
        },
    }

    def stepwise(W, g, m, t):
        return W - 0.3 * min((t - 1) / 5, 1) * 0.2 ** ((t - 1) // 20) * g

    def fast(W, g, m, t):
        m["h"] = 0.98 * m["h"] + 0.02 * g if "h" in m else g
        return W - 0.01 * (adam_direction(g + 2 * m["h"], m, t, 0.9, 0.98, 1e-8) + 1.0 * W)

    rules = {"W_E": lion, "W_O.0": stepwise, "W_in.0": fast}
    params = {name: value.copy() for name, value in START.items()}
    memory: dict[str, dict[str, Any]] = {name: {} for name in params}
    for step in range(STEPS):
        grads = gradient(params, step)
        total = np.sqrt(sum((g**2).sum() for g in grads.values()))
        for name, W in params.items():
            clipped = grads[name] * min(1, 3.0 / total)
            params[name] = rules.get(name, sgd)(W, clipped, memory[name], step + 1)
    assert_same(stepped(values), params)


def test_noise_fades_and_has_the_variance_that_was_asked_for():
    noise = {}
    for step, size in ((1, 1), (STEPS, STEPS)):
        found = stepped({"name": "noisy_sgd", "lr": 1e-6, "eta": 4.0}, steps=size)
        silent = stepped({"name": "noisy_sgd", "lr": 1e-6, "eta": 0.0}, steps=size)
        noise[step] = np.concatenate([((found[name] - silent[name]) / 1e-6).ravel() for name in found])
    variances = {steps: sum(4.0 / t**0.55 for t in range(1, steps + 1)) for steps in noise}
    for steps, drawn in noise.items():
        assert drawn.var() == pytest.approx(variances[steps], rel=0.25)
        assert abs(drawn.mean()) < 0.3 * np.sqrt(variances[steps])
    assert len(PULLS) == STEPS
