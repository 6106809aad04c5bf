"""What a run-step costs, in FLOPs and bytes: what width and segment length are chosen from."""

from __future__ import annotations

from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_count, parameter_shapes, trained_shapes

BYTES = {"float32": 4, "float64": 8}
COMPILED_AT_ONCE = 2  # programs: parts of compiling one, its tracing above all, use a single core
COMPILE_SECONDS = 0.31  # CPU seconds of tracing and compiling a CPU program, a column of its records: measured, x86
BLOCK = 2**26  # activations of one evaluation that are held at once


def useful_flops(spec: RunSpec) -> float:
    """FLOPs of a training step that the loss needs: forward and twice that backward, twice the multiply-adds.

    Look-ups, tables over the vocabulary and a one-hot input are not counted, however they are computed."""
    return 3 * spec.batch_size * spec.model.useful_flops(spec.task)


def forward_flops(spec: RunSpec) -> float:
    """FLOPs of a forward pass of one example as it is computed: look-ups are matmuls with one-hot columns."""
    return spec.model.useful_flops(spec.task) + spec.model.look_up_flops(spec.task)


def step_flops(spec: RunSpec) -> float:
    """FLOPs of a training step as it is computed: forward, the gradient of activations, and that of what is trained."""
    share = parameter_count(trained_shapes(spec)) / parameter_count(parameter_shapes(spec))
    passes = max(part.steps for part in spec.optimizer.parts)
    return passes * (2 + share) * spec.batch_size * forward_flops(spec)


def evaluates_train_set(spec: RunSpec) -> bool:
    """Whether evaluations look at the train set too: with minibatches no step sees it whole."""
    return spec.train.batch is not None and spec.task.train_size > 0


def evaluated_examples(spec: RunSpec) -> int:
    """Of one evaluation."""
    return spec.task.test_size + (spec.task.train_size if evaluates_train_set(spec) else 0)


def evaluation_block(spec: RunSpec) -> int:
    """Examples that an evaluation looks at together, so that its memory does not grow with the task."""
    return max(1, BLOCK // spec.model.activations(spec.task))


def evaluation_flops(spec: RunSpec) -> float:
    return evaluated_examples(spec) * forward_flops(spec)


def probe_shares(spec: RunSpec) -> dict[str, float]:
    """Probe -> what it adds to the work of training, as a share."""
    step, forward = step_flops(spec), forward_flops(spec)
    shares = {}
    for probe in spec.log.probes:
        steps_between = spec.log.evaluation_steps if probe.at_evaluation else spec.log.every
        shares[probe.name] = probe.evaluation_flops(spec, step, forward) / (steps_between * step)
    return shares


def lane_bytes(spec: RunSpec) -> int:
    """Device memory a lane holds while it trains: parameters, optimizer state, gradient, and activations: those that a
    step keeps for its backward pass, or about half as many a test example, as a forward pass alone keeps none."""
    copies = 3 + sum(probe.copies for probe in spec.log.probes)
    trained = trained_shapes(spec)
    state = spec.optimizer.state_numbers(trained)
    frozen = parameter_count(parameter_shapes(spec)) - parameter_count(trained)
    # parameters and state are there before and after the step
    parameters = copies * parameter_count(trained) + 2 * state + 2 * frozen
    evaluated = max(spec.task.test_size, spec.task.train_size if evaluates_train_set(spec) else 0)
    examples = max(spec.batch_size, min(evaluated, evaluation_block(spec)) // 2)
    passes = max(one.passes for one in (*spec.log.probes, *spec.optimizer.parts))
    activations = passes * examples * spec.model.activations(spec.task)
    return BYTES[spec.numerics.params] * (parameters + activations) + example_bytes(spec)


def example_bytes(spec: RunSpec) -> int:
    """A run's examples, as a lane holds them."""
    return 4 * spec.task.example_numbers * (spec.task.train_size + spec.task.test_size)


def snapshot_bytes(spec: RunSpec) -> int:
    """A run's parameters and the state of its optimizer."""
    state = spec.optimizer.state_numbers(trained_shapes(spec))
    return BYTES[spec.numerics.params] * (parameter_count(parameter_shapes(spec)) + state)


def queue_bytes(spec: RunSpec) -> int:
    """Device memory of a run that waits: its starting values and its split, or examples of its own."""
    copies = 2 if spec.log.needs_start else 1
    of_task = example_bytes(spec) if spec.task.is_drawn else 4 * (spec.task.train_size + spec.task.test_size)
    return copies * BYTES[spec.numerics.params] * parameter_count(parameter_shapes(spec)) + of_task


def metric_count(spec: RunSpec) -> int:
    """Columns of a record: five losses and accuracies (with minibatches seven), the total norm, three norms a
    parameter; and those of probes."""
    of_probes = sum(probe.column_count(spec) for probe in spec.log.probes)
    of_train_set = 2 if evaluates_train_set(spec) else 0
    return 6 + of_train_set + 3 * len(parameter_shapes(spec)) + of_probes


def compile_seconds(spec: RunSpec) -> float:
    """CPU seconds that the programs of a bucket take to trace and compile for a CPU: 5.8 of an MLP with 18 columns, 9.0
    of one with 30, 12 of a transformer with 39."""
    return COMPILE_SECONDS * metric_count(spec)


def record_count(spec: RunSpec) -> int:
    """Records of a run that trains to its end: step 0, every `every`, the dense start, the end."""
    steps, every, dense = spec.train.steps, spec.log.every, min(spec.log.dense_first, spec.train.steps)
    return dense + -(-steps // every) - -(-dense // every) + 1
