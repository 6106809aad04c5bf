"""What every network computes, by its name: starting parameters, forward passes, and the weights at its two ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Num, UInt32

from grokjax.models import mlp, transformer
from grokjax.models.declare import Declare, Draw, Numbers, declare_with, distributed, of_distribution, of_scheme
from grokjax.models.params import Params
from grokjax.models.textbook import Drop, Record, unrecorded
from grokjax.models.transformer_lens import to_transformer_lens
from grokjax.spec.run import RunSpec
from grokjax.spec.section import implementation
from grokjax.spec.shapes import Shapes, each_its_own, parameter_shapes
from grokjax.spec.tasks import Task

Inputs = Num[Array, "n L"]


class Network(NamedTuple):
    """What a model computes. All take (parameters, ..., model), those that are given inputs the task too.

    start: seed, spec -> unscaled float32 starting values by name, in the order of the model's shapes.
    forward: logits [v, n * scored], before `logit_scale`. A model of a user's may leave out the rest, which only some
    probes and analyses read.
    """

    start: Callable[[UInt32[Array, ""], RunSpec], Params]
    forward: Callable[..., Float[Array, "v m"]]
    hidden_and_logits: Callable[..., Any] | None = None
    features: Callable[..., Any] | None = None
    preactivations: Callable[..., Any] | None = None
    input_weights: Callable[..., Any] | None = None
    output_map: Callable[..., Any] | None = None
    neuron_weights: Callable[..., Any] | None = None
    recorded_forward: Callable[..., Any] | None = None
    to_transformer_lens: Callable[..., Any] | None = None
    fused_forward: Callable[..., Any] | None = None
    is_declared: bool = False  # whether `start` declares its parameters, so that each is drawn by its name alone


def _declared(module: Callable[[Any, Task, Declare], nnx.Module]) -> Callable[[UInt32[Array, ""], RunSpec], Params]:
    """Starting values of a module whose parameters are declared by name."""

    def start(seed: UInt32[Array, ""], spec: RunSpec) -> Params:
        shapes = parameter_shapes(spec)
        assert spec.init.scheme is not None, "a resolved spec has its scheme"
        return initial_params(seed, module(spec.model, spec.task, declare_with(seed, spec.init.scheme, shapes)), shapes)

    return start


def initial_params(seed: UInt32[Array, ""], network: nnx.Module, shapes: Shapes) -> Params:
    """The parameters of a module as a flat dict in the order of `shapes`."""
    _, state = nnx.split(network)
    flat = {_name(path): variable[...] for path, variable in nnx.to_flat_state(state)}
    return {name: flat[name] for name in shapes}


def _name(path: tuple) -> str:
    """('blocks', 0, 'W_O') -> 'W_O.0'"""
    return str(path[0]) if len(path) == 1 else f"{path[2]}.{path[1]}"


NETWORKS: dict[str, Network] = {
    "transformer": Network(
        _declared(transformer.Transformer),
        transformer.forward,
        transformer.hidden_and_logits,
        transformer.features,
        transformer.preactivations,
        transformer.input_weights,
        transformer.output_map,
        transformer.neuron_weights,
        transformer.recorded_forward,
        to_transformer_lens,
        fused_forward=transformer.fused_forward,
        is_declared=True,
    ),
    "mlp": Network(
        _declared(mlp.MLP),
        mlp.forward,
        mlp.hidden_and_logits,
        mlp.features,
        mlp.preactivations,
        mlp.input_weights,
        mlp.output_map,
        mlp.neuron_weights,
        mlp.recorded_forward,
        fused_forward=mlp.fused_forward,
        is_declared=True,
    ),
}


def network(spec: RunSpec) -> Network:
    return implementation(NETWORKS, spec.model)


def starting_params(seed: UInt32[Array, ""], spec: RunSpec, numbers: Numbers | None = None) -> Params:
    """Unscaled float32 starting values as a flat dict in the order of the spec's shapes.

    numbers: of `init.distribution`, by parameter, in place of the spec's, so that these are not compiled in.
    """
    numbers = starting_numbers(spec) if numbers is None else numbers
    shapes = parameter_shapes(spec)
    own = each_its_own(spec.init.distribution, list(shapes))
    kinds = {name: next(iter(distribution)) for name, distribution in own.items()}
    return network(spec).start(seed, spec) | distributed(seed, kinds, numbers, shapes)


def starting_draws(spec: RunSpec, numbers: Numbers) -> dict[str, Draw] | None:
    """How each value of `starting_params` is drawn, in the order of the spec's shapes; None of a model that draws them
    in a way of its own."""
    if not network(spec).is_declared:
        return None
    shapes, scheme = parameter_shapes(spec), spec.init.scheme
    assert scheme is not None, "a resolved spec has its scheme"
    own = each_its_own(spec.init.distribution, list(shapes))
    return {
        name: of_distribution(name, next(iter(own[name])), numbers[name], shapes)
        if name in own
        else of_scheme(name, scheme, shapes)
        for name in shapes
    }


def starting_numbers(spec: RunSpec) -> Numbers:
    """Those of a run, as `starting_params` takes them."""
    own = each_its_own(spec.init.distribution, list(parameter_shapes(spec)))
    return {name: np.array(number, np.float32) for name, of in own.items() for number in of.values()}


def forward(spec: RunSpec, params: Params, inputs: Inputs, drop: Drop | None = None) -> Float[Array, "v m"]:
    """Logits at the answers, before `logit_scale`. drop: what is dropped in training, of models that say `drops`."""
    given = {} if drop is None else {"drop": drop}
    return network(spec).forward(params, inputs, spec.model, spec.task, **given)


def trained_forward(spec: RunSpec, params: Params, inputs: Inputs, drop: Drop | None = None) -> Float[Array, "v m"]:
    """As `forward`, by the kernel that training is asked to use (engine.kernel); it can be differentiated once."""
    if spec.engine.kernel == "xla":
        return forward(spec, params, inputs, drop)
    return _part(spec, "fused_forward")(params, inputs, spec.model, spec.task)


def hidden_and_logits(
    spec: RunSpec, params: Params, inputs: Inputs
) -> tuple[Float[Array, "d m"] | None, Float[Array, "v m"]]:
    """Neurons of the last hidden layer at the answers, after the activation (None: there are none); and the logits."""
    return _part(spec, "hidden_and_logits")(params, inputs, spec.model, spec.task)


def features(spec: RunSpec, params: Params, inputs: Inputs) -> Float[Array, "d m"]:
    """What the last matrix reads, at the answers."""
    return _part(spec, "features")(params, inputs, spec.model, spec.task)


def preactivations(spec: RunSpec, params: Params, inputs: Inputs) -> dict[int, Float[Array, "_ m"]]:
    """Layer -> its neurons before the activation: of an MLP every hidden layer; of a transformer the last layer, none
    if it is attention only."""
    return _part(spec, "preactivations")(params, inputs, spec.model, spec.task)


def input_weights(spec: RunSpec, params: Params) -> Float[Array, "values columns"]:
    """What first reads each operand, a row each."""
    return _part(spec, "input_weights")(params, spec.model)


def output_map(spec: RunSpec, params: Params) -> Float[Array, "d v"] | None:
    """Weight of each neuron of the last hidden layer on each logit; None where there are no neurons."""
    return _part(spec, "output_map")(params, spec.model)


def neuron_weights(spec: RunSpec, params: Params) -> dict[int, tuple[Float[Array, "d m"], Float[Array, "m v"]]]:
    """Hidden layer -> what its neurons read and what they write, a column and a row each."""
    return _part(spec, "neuron_weights")(params, spec.model)


def recorded_forward(
    spec: RunSpec, params: Mapping[str, Any], inputs: Any, record: Record = unrecorded
) -> Float[Array, "n *at v"]:
    """Logits before `logit_scale`, examples first: of a transformer at every position, of others at the answers (with
    an axis of positions where several are scored). `record` is handed every activation by TransformerLens's name; a
    model of a user's has none to hand out. Takes NumPy's arrays too."""
    params, inputs = {name: jnp.asarray(value) for name, value in params.items()}, jnp.asarray(inputs)
    if network(spec).recorded_forward:
        return _part(spec, "recorded_forward")(params, inputs, spec.model, spec.task, record)
    logits = forward(spec, params, inputs).T
    scored = logits.shape[0] // len(inputs)
    return logits if scored == 1 else logits.reshape(len(inputs), scored, -1)


def _part(spec: RunSpec, name: str) -> Callable[..., Any]:
    """Raises ValueError where a model has no such part."""
    part = getattr(network(spec), name)
    if part is None:
        raise ValueError(f"model {spec.model.name} does not say what its {name} are")
    return part
