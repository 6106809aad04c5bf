"""Which network a spec means: its starting parameters and its forward pass."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float, Int, UInt32

from grokjax.models import mlp, transformer
from grokjax.models.declare import declare_with
from grokjax.sweep import spec
from grokjax.sweep.shapes import Shapes

Params = dict[str, Array]


def initial_params(seed: UInt32[Array, ""], model: spec.Transformer | spec.MLP, scheme: str, shapes: Shapes) -> Params:
    """Unscaled float32 starting values as a flat dict in the order of `shapes`."""
    declare = declare_with(seed, scheme, shapes)
    is_transformer = isinstance(model, spec.Transformer)
    network = transformer.Transformer(model, declare) if is_transformer else mlp.MLP(model, declare)
    _, state = nnx.split(network)
    flat = {_name(path): variable[...] for path, variable in nnx.to_flat_state(state)}
    return {name: flat[name] for name in shapes}


def forward(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer | spec.MLP) -> Float[Array, "v n"]:
    """Logits at the answer, before `logit_scale`."""
    if isinstance(model, spec.Transformer):
        return transformer.forward(params, tokens, model)
    return mlp.forward(params, tokens, model)


def inside(
    params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer | spec.MLP
) -> tuple[Float[Array, "m n"] | None, Float[Array, "v n"]]:
    """Neurons of the last hidden layer at the answer, after the activation (None: attention only); and the logits."""
    if isinstance(model, spec.Transformer):
        return transformer.inside(params, tokens, model)
    return mlp.inside(params, tokens, model)


def features(params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer | spec.MLP) -> Float[Array, "d n"]:
    """What the last matrix reads, at the answer."""
    if isinstance(model, spec.Transformer):
        return transformer.features(params, tokens, model)
    return mlp.inside(params, tokens, model)[0]


def before(
    params: Params, tokens: Int[Array, "n 3"], model: spec.Transformer | spec.MLP
) -> dict[int, Float[Array, "_ n"]]:
    """Layer -> its neurons before the activation: of an MLP every hidden layer; of a transformer the last layer at the
    answer, none if it is attention only."""
    if isinstance(model, spec.Transformer):
        return transformer.before(params, tokens, model)
    return mlp.before(params, tokens, model)


def _name(path: tuple) -> str:
    """('blocks', 0, 'W_O') -> 'W_O.0'"""
    return str(path[0]) if len(path) == 1 else f"{path[2]}.{path[1]}"
