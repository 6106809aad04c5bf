"""A model of what a run-step costs, in FLOPs and bytes: what width and segment length are chosen from."""

from __future__ import annotations

import math

from grokjax.sweep.check import pairs, train_size
from grokjax.sweep.shapes import N_CTX, parameter_count, parameter_shapes
from grokjax.sweep.spec import SGD, RunSpec, Transformer

BYTES = {"float32": 4, "float64": 8}


def batch_size(spec: RunSpec) -> int:
    return spec.train.batch or train_size(spec)


def step_flops(spec: RunSpec) -> float:
    """FLOPs of one training step as it is computed: forward and twice that backward."""
    return 3 * batch_size(spec) * _forward_flops(spec)


def evaluation_flops(spec: RunSpec) -> float:
    return (pairs(spec) - train_size(spec)) * _forward_flops(spec)


def _forward_flops(spec: RunSpec) -> float:
    """FLOPs an example: twice the multiply-adds."""
    shapes = parameter_shapes(spec)
    if not isinstance(spec.model, Transformer):
        return 2 * parameter_count(shapes)
    flops = 0.0
    for name, shape in shapes.items():
        kind, _, layer = name.partition(".")
        inner = layer != "" and int(layer) < spec.model.layers - 1
        if kind in ("W_E", "W_pos") or (spec.model.layers == 1 and kind in ("W_Q", "W_K", "W_V")):
            continue  # look-ups, and tables over the vocabulary, small against the examples
        positions = N_CTX if inner or kind in ("W_K", "W_V") else 1
        flops += 2 * positions * math.prod(shape)
    return flops


def lane_bytes(spec: RunSpec) -> int:
    """Device memory a lane holds while it trains: parameters, moments, gradient, and kept activations."""
    size = BYTES[spec.numerics.params]
    shapes = parameter_shapes(spec)
    copies = 5 if isinstance(spec.optimizer, SGD) else 7
    held = copies * parameter_count(shapes)
    examples = max(batch_size(spec), pairs(spec) - train_size(spec))
    return size * (held + 3 * examples * _activations(spec)) + 16 * pairs(spec)


def _activations(spec: RunSpec) -> int:
    """Numbers that the backward pass keeps for one example."""
    model = spec.model
    if not isinstance(model, Transformer):
        return sum(shape[-1] for name, shape in parameter_shapes(spec).items() if name.startswith("W"))
    p = spec.task.p
    inner = (model.layers - 1) * N_CTX * (4 * model.d_model + 2 * model.d_mlp)
    last = N_CTX * 2 * model.d_model + 2 * model.d_model + 2 * model.d_mlp
    return N_CTX * (p + 1) + inner + last + 2 * (p + 1)


def metric_count(spec: RunSpec) -> int:
    """Columns of a record: six losses and accuracies less one, the total norm, three norms a parameter."""
    return 6 + 3 * len(parameter_shapes(spec))


def record_count(spec: RunSpec) -> int:
    """Records of a run that trains to its end: step 0, every `every`, the dense start, the end."""
    steps, every, dense = spec.train.steps, spec.log.every, min(spec.log.dense_first, spec.train.steps)
    return dense + -(-steps // every) - -(-dense // every) + 1
