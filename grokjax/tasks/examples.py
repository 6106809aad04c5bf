"""What a run is shown: rows of a table that all lanes share, or examples of its own, and how answers score."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from grokjax.spec.files import stamp_of, stored_rows
from grokjax.spec.task import Task
from grokjax.tasks.keys import seed_key

Either = Array | np.ndarray  # on the device, or on its way there


class Table(NamedTuple):
    """Every example of a task. Inputs are tokens [n, L], or vectors [n, d] of floats; targets are classes, one for each
    position that is scored (a single one without an axis of its own), or vectors [n, d] of floats. weights: how much a
    row counts, or a position of it; None: all alike."""

    inputs: Num[Either, "n L"]
    targets: Num[Either, n * scored]
    weights: Float[Either, n * at] | None = None


class Examples(NamedTuple):
    """Examples of one run, as in a `Table`. rule: what all of a drawn task's share, such as a teacher's weights."""

    inputs: Num[Array, "n L"]
    targets: Num[Array, n * scored]
    weights: Float[Array, n * at] | None = None
    rule: Any = None


class Indices(NamedTuple):
    """Rows of the table that a run trains and tests on."""

    train: Int[Either, " n_train"]
    test: Int[Either, " n_test"]


class Own(NamedTuple):
    """Examples that a run trains and tests on, where there is no table for all. Online there are none to train on, but
    for their rule."""

    train: Examples
    test: Examples


Scores = dict[str, Shaped[Array, "_"]]
Outputs = Float[Array, "v m"]


class TaskFunctions(NamedTuple):
    """What a task computes.

    table: task -> every example. scores: (task, outputs [v, n * scored], examples) -> name -> a score of each example
    [n], or of each scored position [n * scored]; `accuracy` is needed. wanted: (task, examples) -> what the loss is
    given: classes [n, *scored], or vectors [n, d]. Of a task that is drawn: rule: (task, key) -> what all examples
    share; draw: (task, rule, key, n) -> n examples; own: task -> the examples of a run, where no sampler makes them.
    """

    table: Callable[..., Table] | None = None
    scores: Callable[..., Scores] | None = None
    wanted: Callable[..., Any] | None = None
    rule: Callable[..., Any] | None = None
    draw: Callable[..., Examples] | None = None
    own: Callable[..., Own] | None = None


def right_classes(task: Task, outputs: Outputs, examples: Examples) -> Scores:
    """Whether the largest output is the target's, at every position that is scored; of one output, whether its sign
    is (class 1 above 0)."""
    return {"accuracy": is_right(outputs, jnp.asarray(examples.targets))}


def is_right(outputs: Outputs, targets: Int[Array, n * scored]) -> Bool[Array, " n"]:
    answers = outputs.argmax(0) if outputs.shape[0] > 1 else outputs[0] > 0
    right = answers == targets.reshape(-1)
    return right.reshape(targets.shape).all(1) if targets.ndim > 1 else right


def small_errors(task: Any, outputs: Outputs, examples: Examples) -> Scores:
    """Whether the mean squared error of an answer is below the task's threshold."""
    errors = jnp.square(outputs - jnp.asarray(examples.targets).T).mean(0)
    return {"accuracy": errors < task.threshold}


def mean_of(values: Shaped[Array, " m"], weights: Float[Array, n * at] | None) -> Float[Array, ""]:
    """The mean of a value of each example, or of each scored position, as they are weighted."""
    if weights is None:
        return values.mean(dtype=None if jnp.issubdtype(values.dtype, jnp.floating) else jnp.float32)
    spread = _weights_of(values.shape[0], weights)
    return (values * spread).sum() / spread.sum()


def _weights_of(count: int, weights: Float[Array, n * at]) -> Float[Array, " m"]:
    """Weights of so many values: of each example, or of each position."""
    flat = weights.reshape(-1)
    if flat.shape[0] == count:
        return flat
    if flat.shape[0] < count:
        return jnp.repeat(flat, count // flat.shape[0])
    return weights.reshape(count, -1).sum(1)


def split(task: Task, n: int, n_train: int) -> Indices:
    """Train and test rows of a table of n examples; a smaller number is a subset at the same seed.

    Raises FileError where stored indices have changed.
    """
    if task.tests_on_all:
        return Indices(np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32))
    if task.split.rows is not None and task.split.stored is not None:
        train, test, digest = stored_rows(task.split.rows, n, stamp_of(task.split.rows))
        if digest != task.split.stored.digest:
            raise ValueError(f"{task.split.rows} has changed since the sweep was planned")
        return Indices(train, test)
    if task.tests_apart:
        apart = n - task.tests_apart
        return Indices(_shuffled(task, apart)[:n_train], np.arange(apart, n, dtype=np.int32))
    rows = _shuffled(task, n)
    return Indices(rows[:n_train], rows[n_train:])


def _shuffled(task: Task, n: int) -> Int[np.ndarray, " n"]:
    seed = task.split.seed
    assert seed is not None, "a resolved spec has its split seed"
    if task.split.method == "first":
        return np.arange(n, dtype=np.int32)
    if task.split.method == "python":
        order = list(range(n))
        random.Random(seed).shuffle(order)
    elif task.split.method == "numpy_legacy":
        order = np.arange(n)
        np.random.RandomState(seed).shuffle(order)
    else:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(n)
    return np.asarray(order, np.int32)


def at_rows(table: Table, rows: Int[Either, "*lanes m"]) -> Examples:
    """Some rows of a table."""
    weights = None if table.weights is None else jnp.asarray(table.weights)[rows]
    return Examples(jnp.asarray(table.inputs)[rows], jnp.asarray(table.targets)[rows], weights)


def some_of(examples: Examples, rows: Int[Either, " m"]) -> Examples:
    """Some of a run's examples."""
    weights = None if examples.weights is None else examples.weights[rows]
    return Examples(examples.inputs[rows], examples.targets[rows], weights, examples.rule)


def drawn(functions: TaskFunctions, task: Task) -> Own:
    """The examples of a run whose task has a sampler: a function of its split's seed."""
    assert functions.draw is not None
    key = seed_key(np.uint32(task.split.seed or 0))
    of_rule, of_train, of_test = (jax.random.fold_in(key, index) for index in range(3))
    rule = None if functions.rule is None else functions.rule(task, of_rule)
    train, test = (
        functions.draw(task, rule, *more) for more in ((of_train, task.train_size), (of_test, task.test_size))
    )
    return Own(train, test)
