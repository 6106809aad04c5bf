"""What every task computes, by its name."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from grokjax.spec.section import implementation
from grokjax.spec.task import Task
from grokjax.tasks import (
    addition,
    arrays,
    groups,
    modular,
    parity,
    repeats,
    signal_pairs,
    skip_trigrams,
    teacher,
    templates,
)
from grokjax.tasks.examples import (
    Examples,
    Indices,
    Own,
    Table,
    TaskFunctions,
    at_rows,
    drawn,
    mean_of,
    right_classes,
    small_errors,
    split,
)
from grokjax.tasks.keys import ONLINE, key_for

TASKS: dict[str, TaskFunctions] = {
    "modular": TaskFunctions(modular.table),
    "group": TaskFunctions(groups.table),
    "parity": TaskFunctions(draw=parity.draw),
    "addition": TaskFunctions(draw=addition.draw, scores=addition.scores),
    "repeats": TaskFunctions(draw=repeats.draw, scores=repeats.scores),
    "skip_trigrams": TaskFunctions(draw=skip_trigrams.draw),
    "signal_pairs": TaskFunctions(signal_pairs.table, draw=signal_pairs.draw),
    "teacher_student": TaskFunctions(rule=teacher.rule, draw=teacher.draw),
    "templates": TaskFunctions(own=templates.own, scores=templates.scores, wanted=templates.wanted),
    "arrays": TaskFunctions(arrays.table),
}


def functions_of(task: Task) -> TaskFunctions:
    return implementation(TASKS, task)


def table(task: Task) -> Table:
    """Every example of a task; of one that is drawn there are none."""
    if task.is_drawn:
        return Table(np.zeros((0, 1), np.int32), np.zeros(0, np.int32))
    make = functions_of(task).table
    assert make is not None, f"{task.name} has a table"
    return make(task)


def choice(task: Task, table: Table) -> Indices | Own:
    """What a run trains and tests on: rows of the table, or examples of its own. A function of the task, its split's
    seed with it, so that no lane, width or resume changes it."""
    if not task.is_drawn:
        return split(task, len(table.targets), task.train_size)
    functions = functions_of(task)
    own = drawn(functions, task) if functions.own is None else functions.own(task)
    return jax.tree.map(np.asarray, own)


def chosen_examples(table: Table, choice: Indices | Own) -> tuple[Examples, Examples]:
    """Train and test examples of a choice."""
    if isinstance(choice, Own):
        return choice.train, choice.test
    return at_rows(table, choice.train), at_rows(table, choice.test)


def fresh_examples(task: Task, rule: Any, seed: UInt32[Array, ""], step: Int[Array, ""], size: int) -> Examples:
    """The examples of one step of a run that is trained online, from its seed and the step alone."""
    draw = functions_of(task).draw
    assert draw is not None, f"{task.name} has a sampler"
    return draw(task, rule, jax.random.fold_in(key_for(ONLINE, seed), step), size)


def wanted(task: Task, examples: Examples) -> Any:
    """What a loss is given: classes [n, *scored], or vectors [n, d]."""
    functions = functions_of(task)
    return examples.targets if functions.wanted is None else functions.wanted(task, examples)


def scores(task: Task, outputs: Float[Array, "v m"], examples: Examples) -> dict[str, Float[Array, ""]]:
    """Mean scores of outputs [v, n * scored], by name."""
    score = functions_of(task).scores or (small_errors if task.d_target else right_classes)
    return {name: mean_of(values, examples.weights) for name, values in score(task, outputs, examples).items()}
