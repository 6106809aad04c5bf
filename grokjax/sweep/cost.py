"""A model of what a run-step costs, in FLOPs and bytes: what width and segment length are chosen from."""

from __future__ import annotations

import math

from grokjax.sweep.check import pairs, train_size
from grokjax.sweep.probes import probe_metrics
from grokjax.sweep.shapes import N_CTX, head_width, parameter_count, parameter_shapes
from grokjax.sweep.spec import SGD, RunSpec, Transformer

# Of a record's probes: training steps that one is worth, or FLOPs a parameter (sorting, for Adam's quantiles, is slow).
PROBE_STEPS = {"margin": 0.05, "softmax": 1.4, "sharpness": 28.0}
PROBE_FLOPS = {"radial": 300.0, "drift": 50.0, "balance": 300.0, "adam": 2e4}
PROGRESS_FORWARDS = 7.0  # forward passes over all pairs
PROBE_COPIES = {"drift": 1, "sharpness": 6}  # of the parameters, that a lane holds
BYTES = {"float32": 4, "float64": 8}


def batch_size(spec: RunSpec) -> int:
    return spec.train.batch or train_size(spec)


def useful_flops(spec: RunSpec) -> float:
    """FLOPs of a training step that the loss needs: forward and twice that backward, twice the multiply-adds.

    Of a transformer that is everything at the last position, and of layers before the last at the second one too;
    look-ups, tables over the vocabulary and a one-hot input are not counted, however they are computed."""
    return 3 * batch_size(spec) * _forward_flops(spec)


def step_flops(spec: RunSpec) -> float:
    """FLOPs of a training step as it is computed: look-ups are matmuls with one-hot columns."""
    return 3 * batch_size(spec) * (_forward_flops(spec) + _look_up_flops(spec))


def evaluation_flops(spec: RunSpec) -> float:
    return (pairs(spec) - train_size(spec)) * (_forward_flops(spec) + _look_up_flops(spec))


def probe_shares(spec: RunSpec) -> dict[str, float]:
    """Probe -> what it adds to the work of training, as a share; measured on a CPU, right to a factor of two."""
    record, evaluation = spec.log.every * step_flops(spec), spec.log.evaluation_steps * step_flops(spec)
    count = parameter_count(parameter_shapes(spec))
    costs = {name: steps * step_flops(spec) / record for name, steps in PROBE_STEPS.items()}
    costs |= {name: flops * count / record for name, flops in PROBE_FLOPS.items()}
    all_pairs = spec.task.p**2 * (_forward_flops(spec) + _look_up_flops(spec))
    costs["progress"] = PROGRESS_FORWARDS * all_pairs / evaluation
    return {name: costs[name] for name in spec.log.probes}


def _forward_flops(spec: RunSpec) -> float:
    """Useful FLOPs an example."""
    shapes = parameter_shapes(spec)
    if not isinstance(spec.model, Transformer):
        looked_up = "W.0" if spec.model.input == "one_hot" else "W_E"
        return 2 * sum(math.prod(shape) for name, shape in shapes.items() if name != looked_up)
    flops = 0.0
    for name, shape in shapes.items():
        kind, _, layer = name.partition(".")
        if kind in ("W_E", "W_pos") or (kind in ("W_Q", "W_K", "W_V") and layer == "0"):
            continue  # tables over the vocabulary, small against the examples
        deeper = layer != "" and int(layer) < spec.model.layers - 1
        flops += 2 * (2 if deeper or kind in ("W_K", "W_V") else 1) * math.prod(shape)
    return flops


def _look_up_flops(spec: RunSpec) -> float:
    """FLOPs an example of the matmuls with one-hot columns."""
    shapes, model = parameter_shapes(spec), spec.model
    if not isinstance(model, Transformer):
        p = spec.task.p
        return 2 * (2 * p * shapes["W.0"][1] if model.input == "one_hot" else 2 * p * shapes["W_E"][1])
    heads = model.heads * head_width(model)
    rows = 2 * (model.heads + heads)  # of both tables: scores of the last query, and values
    if model.layers > 1:
        rows += 2 * heads + model.heads + model.d_model + 2 * heads * (model.layers - 1)
    return 2 * (spec.task.p + 1) * rows


def lane_bytes(spec: RunSpec) -> int:
    """Device memory a lane holds while it trains: parameters, moments, gradient, and kept activations."""
    size = BYTES[spec.numerics.params]
    shapes = parameter_shapes(spec)
    copies = 5 if isinstance(spec.optimizer, SGD) else 7
    copies += sum(PROBE_COPIES.get(name, 0) for name in spec.log.probes)
    held = copies * parameter_count(shapes)
    examples = max(batch_size(spec), pairs(spec) - train_size(spec))
    passes = 3 * (3 if "sharpness" in spec.log.probes else 1)  # what is kept is differentiated again
    return size * (held + passes * examples * _activations(spec)) + 16 * pairs(spec)


def snapshot_bytes(spec: RunSpec) -> int:
    """A run's parameters and the moments of its optimizer."""
    copies = 2 if isinstance(spec.optimizer, SGD) else 3
    return copies * BYTES[spec.numerics.params] * parameter_count(parameter_shapes(spec))


def queue_bytes(spec: RunSpec) -> int:
    """Device memory of a run that waits: its starting values and its split."""
    copies = 2 if "drift" in spec.log.probes else 1
    return copies * BYTES[spec.numerics.params] * parameter_count(parameter_shapes(spec)) + 4 * pairs(spec)


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
    """Columns of a record: five losses and accuracies, the total norm, three norms a parameter; and those of probes."""
    return 6 + 3 * len(parameter_shapes(spec)) + probe_metrics(spec)


def record_count(spec: RunSpec) -> int:
    """Records of a run that trains to its end: step 0, every `every`, the dense start, the end."""
    steps, every, dense = spec.train.steps, spec.log.every, min(spec.log.dense_first, spec.train.steps)
    return dense + -(-steps // every) - -(-dense // every) + 1
