"""Examples from files of the user's."""

from __future__ import annotations

from grokjax.spec.array_task import Arrays
from grokjax.tasks.examples import Table


def table(task: Arrays) -> Table:
    """All rows; those to test on that stand apart come last. Raises ValueError where a file has changed."""
    contents = task.contents()
    if task.found is not None and contents.digest != task.found.digest:
        raise ValueError(f"{task.file}, or a file beside it, has changed since the sweep was planned")
    return Table(contents.inputs, contents.targets, contents.weights)
