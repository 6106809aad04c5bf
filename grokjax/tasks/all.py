"""What every task computes, by its name."""

from __future__ import annotations

from grokjax.spec.section import implementation
from grokjax.spec.tasks import Task
from grokjax.tasks import modular
from grokjax.tasks.examples import Scores, Table, TaskFunctions

TASKS: dict[str, TaskFunctions] = {"modular": TaskFunctions(modular.table)}


def table(task: Task) -> Table:
    """Every example of a task."""
    return implementation(TASKS, task).table(task)


def scores(task: Task, logits, targets) -> Scores:
    """Scores of logits [v, n * scored] against targets [n, *scored], by name."""
    return implementation(TASKS, task).scores(logits, targets)
