"""Tasks: what a network is taught. What each one's examples are is in `grokjax/tasks/`."""

from __future__ import annotations

from grokjax.spec.array_task import Arrays
from grokjax.spec.drawn_tasks import Parity, TeacherStudent
from grokjax.spec.pair_tasks import GroupTask, Modular, Templates, is_prime
from grokjax.spec.sequence_tasks import Addition, Repeats, SignalPairs, SkipTrigrams
from grokjax.spec.task import Sizes, Split, Task

__all__ = ["TASKS", "Modular", "Sizes", "Split", "Task", "is_prime"]

TASKS: dict[str, type[Task]] = {
    "modular": Modular,
    "group": GroupTask,
    "parity": Parity,
    "addition": Addition,
    "repeats": Repeats,
    "skip_trigrams": SkipTrigrams,
    "signal_pairs": SignalPairs,
    "teacher_student": TeacherStudent,
    "templates": Templates,
    "arrays": Arrays,
}
