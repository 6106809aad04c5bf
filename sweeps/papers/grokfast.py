"""The task of Grokfast's code: x * y mod p over y != 0, as tokens [x, *, y, =]."""

from typing import Literal

import numpy as np

from grokjax.spec import Count, Task
from grokjax.tasks.examples import Table, TaskFunctions


class Products(Task):
    name: Literal["products"] = "products"
    p: Count = 97

    n_ctx = property(lambda self: 4)
    d_vocab = property(lambda self: self.p + 2)
    classes = property(lambda self: self.p)
    d_vocab_out = property(lambda self: self.d_vocab)
    operands = property(lambda self: (0, 2))
    operand_values = property(lambda self: self.p)
    examples = property(lambda self: self.p * (self.p - 1))


def table(task):
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(task.p), np.arange(1, task.p), indexing="ij"))
    times, equals = np.full_like(x, task.p + 1), np.full_like(x, task.p)
    tokens = np.stack([x, times, y, equals], axis=1)
    return Table(tokens.astype(np.int32), (x * y % task.p).astype(np.int32))


TASKS = {"products": TaskFunctions(table)}
