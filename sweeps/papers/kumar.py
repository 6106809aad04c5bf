"""The polynomial regression of Kumar et al. 2023: y = (b.x)^2, learned by f = alpha / N sum_i phi(w_i.x), phi(h) = h +
eps h^2 / 2, less f at the start. x is N(0, 1/D), b and the w_i are N(0, 1). A large alpha is lazy, a small one rich."""

from typing import Literal

import jax
import jax.numpy as jnp

from grokjax.models.network import Network
from grokjax.spec import Count, Hyper, Model, NonNegative, Positive
from grokjax.spec.drawn_tasks import Drawn
from grokjax.tasks.examples import Examples, TaskFunctions
from grokjax.tasks.keys import seed_key


class Quadratic(Drawn):
    name: Literal["quadratic_target"] = "quadratic_target"
    inputs: Count = 100
    threshold: NonNegative = 0.3

    n_ctx = property(lambda self: 0)
    d_vocab = property(lambda self: 0)
    d_input = property(lambda self: self.inputs)
    d_target = property(lambda self: 1)
    scored = property(lambda self: (0,))


def teacher(task, key):
    return jax.random.normal(key, (task.inputs,), jnp.float32)


def draw(task, b, key, n):
    x = jax.random.normal(key, (n, task.inputs), jnp.float32) * task.inputs**-0.5
    return Examples(x, jnp.square(x @ b)[:, None], rule=b)


class Committee(Model):
    name: Literal["committee"] = "committee"
    width: Count = 500
    alpha: Hyper[Positive] = 1.0
    eps: Hyper[NonNegative] = 0.25

    def shapes(self, task):
        return {"W.start": (task.d_input, self.width), "W.0": (task.d_input, self.width)}


def start(seed, spec):
    """W.start is what W.0 starts as, and must be frozen (`init.frozen`)."""
    W = jax.random.normal(seed_key(seed), spec.model.shapes(spec.task)["W.0"], jnp.float32)
    return {"W.start": W, "W.0": W}


def forward(params, inputs, model, task):
    now, then = (inputs @ params[name] for name in ("W.0", "W.start"))
    return model.alpha * ((now - then) * (1 + model.eps * (now + then) / 2)).mean(1)[None]


TASKS = {"quadratic_target": TaskFunctions(rule=teacher, draw=draw)}
MODELS = {"committee": Network(start, forward)}
