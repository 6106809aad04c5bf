"""Names and shapes of every parameter, from the spec alone: what planning and checking need without JAX."""

from __future__ import annotations

import itertools
import math

from grokjax.sweep.spec import MLP, RunSpec, Transformer

Shapes = dict[str, tuple[int, ...]]
N_CTX = 3  # tokens [a, b, =]
OFF_PATH = ("W_Q", "W_K", "W_pos")  # these only move attention


def parameter_shapes(spec: RunSpec) -> Shapes:
    """Name -> shape, in the order of the path from the input to the logits (TransformerLens names)."""
    p = spec.task.p
    if isinstance(spec.model, Transformer):
        return _transformer(spec.model, d_vocab=p + 1)
    return _mlp(spec.model, p)


def head_width(model: Transformer) -> int:
    return model.d_head or model.d_model // model.heads


def _transformer(model: Transformer, d_vocab: int) -> Shapes:
    d, heads, d_head = model.d_model, model.heads, head_width(model)
    shapes: Shapes = {"W_E": (d_vocab, d), "W_pos": (N_CTX, d)}
    for layer in range(model.layers):
        block: Shapes = {}
        if model.layernorm == "pre":
            block |= {"ln1_w": (d,), "ln1_b": (d,)}
        block |= dict.fromkeys(("W_Q", "W_K", "W_V"), (heads, d, d_head)) | {"W_O": (heads, d_head, d)}
        if model.d_mlp:
            if model.layernorm == "pre":
                block |= {"ln2_w": (d,), "ln2_b": (d,)}
            block |= {"W_in": (d, model.d_mlp), "b_in": (model.d_mlp,)}
            block |= {"W_out": (model.d_mlp, d), "b_out": (d,)}
        shapes |= {f"{name}.{layer}": shape for name, shape in block.items()}
    if model.layernorm == "pre":
        shapes |= {"ln_final_w": (d,), "ln_final_b": (d,)}
    return shapes | {"W_U": (d, d_vocab)}


def _mlp(model: MLP, p: int) -> Shapes:
    shapes: Shapes = {"W_E": (p, model.d_model)} if model.input == "embedded" else {}
    sizes = [2 * (model.d_model if model.input == "embedded" else p), *model.widths, p]
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        shapes[f"W.{layer}"] = (fan_in, fan_out)
        if model.bias:
            shapes[f"b.{layer}"] = (fan_out,)
    return shapes


def parameter_count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def is_matrix(name: str) -> bool:
    """Weight matrices are named W...; biases and layer-norm vectors are not."""
    return name.startswith("W")


def is_on_path(name: str) -> bool:
    """Whether a matrix is a factor of the logits: all are but OFF_PATH."""
    return is_matrix(name) and name.partition(".")[0] not in OFF_PATH


def last_layer(names: list[str]) -> str:
    """The matrix that makes the logits: W_U, or the last W.k of an MLP."""
    return [name for name in names if is_matrix(name)][-1]


def matches(key: str, name: str) -> bool:
    """Whether a `*_by_matrix` key means parameter `name`: `W_O` is every layer, `W_O.0` one."""
    return key == name or key == name.rpartition(".")[0]
