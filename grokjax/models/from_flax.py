"""A flax module of a user's as a network: its parameters by name, and its forward pass as a function of these.

Names are `W.` (two axes or more) or `b.` and the path of the layer in the module: `W.hidden`, `b.hidden`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Num, UInt32

from grokjax.models.network import Network
from grokjax.models.params import Params
from grokjax.spec.models import Model
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import Shapes
from grokjax.spec.tasks import Task
from grokjax.tasks.keys import seed_key

Make = Callable[[Any, Task, nnx.Rngs], nnx.Module]  # (the model's spec, task, random keys) -> module


def flax_shapes(make: Make, model: Model, task: Task) -> Shapes:
    """Name -> shape of each parameter, for the `shapes` of a model's spec; nothing is computed."""
    _, variables = _abstract(make, model, task)
    return {name: tuple(variable.shape) for name, (_, variable) in variables.items()}


def flax_network(make: Make) -> Network:
    """make: the module; called with inputs [n, L] it returns logits [n, classes], or [n, scored, classes]."""

    def start(seed: UInt32[Array, ""], spec: RunSpec) -> Params:
        module = make(spec.model, spec.task, nnx.Rngs(seed_key(seed)))
        variables = _named(nnx.split(module, nnx.Param, ...)[1])
        return {name: variable[...].astype("float32") for name, (_, variable) in variables.items()}

    def forward(params: Params, inputs: Num[Array, "n L"], model: Model, task: Task) -> Float[Array, "v m"]:
        graph, variables = _abstract(make, model, task)
        flat = [(path, variable.replace(params[name])) for name, (path, variable) in variables.items()]
        logits: Any = nnx.merge(graph, nnx.from_flat_state(flat))(inputs)  # pyright: ignore[reportCallIssue]
        return logits.reshape(-1, logits.shape[-1]).T

    return Network(start, forward)


Named = dict[str, tuple[Any, Any]]  # name -> (path in the module, variable)


def _abstract(make: Make, model: Model, task: Task) -> tuple[Any, Named]:
    """A module's structure and its parameters without their values."""
    module = nnx.eval_shape(lambda: make(model, task, nnx.Rngs(0)))
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    if jax.tree.leaves(rest):
        kinds = sorted({type(variable).__name__ for _, variable in nnx.to_flat_state(rest)})
        raise ValueError(f"a module may hold parameters only, and this one holds {', '.join(kinds)} too")
    return graph, _named(params)


def _named(params: Any) -> Named:
    flat = nnx.to_flat_state(params)
    layers = [".".join(map(str, path[:-1] or path)) for path, _ in flat]
    names: Named = {}
    for (path, variable), layer in zip(flat, layers, strict=True):
        kind = "W" if len(variable.shape) > 1 else "b"
        name = f"{kind}.{layer}"
        if name in names:  # a layer with two of a kind
            name = f"{kind}.{'.'.join(map(str, path))}"
        names[name] = path, variable
    return names
