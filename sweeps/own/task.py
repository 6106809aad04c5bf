"""A task from arrays: a + b + c mod p, as tokens [a, b, c, =]. Any arrays of inputs and targets will do."""

from typing import Literal

import numpy as np

from grokjax.spec import Count, Task
from grokjax.tasks.examples import Table, TaskFunctions


class ThreeSummands(Task):
    name: Literal["three_summands"] = "three_summands"
    p: Count = 7

    n_ctx = property(lambda self: 4)
    d_vocab = property(lambda self: self.p + 1)
    classes = property(lambda self: self.p)
    operands = property(lambda self: (0, 1, 2))
    operand_values = property(lambda self: self.p)
    examples = property(lambda self: self.p**3)


def table(task):
    operands = np.stack(np.meshgrid(*[np.arange(task.p)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    tokens = np.concatenate([operands, np.full((len(operands), 1), task.p)], axis=1)
    return Table(tokens.astype(np.int32), (operands.sum(1) % task.p).astype(np.int32))


TASKS = {"three_summands": TaskFunctions(table)}
