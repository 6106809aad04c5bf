"""Sequences of two operands, in the formats that the field writes them in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from grokjax.spec.pair_tasks import Pairs
from grokjax.tasks.examples import Table

Elements = Int[np.ndarray, " n"]


def pair_tokens(task: Pairs, a: Elements, b: Elements, answers: Elements | None = None) -> Int[np.ndarray, "n L"]:
    """Operands are tokens 0 to n - 1; of `equals`, n is `=`; of `openai`, n is eos, n + 1 `=`, n + 2 the operator."""
    n = task.elements

    def all_of(token: int) -> Elements:
        return np.full_like(a, token)

    match task.format:
        case "equals":
            columns = [a, b, all_of(n)]
        case "two_tokens":
            columns = [a, b]
        case "openai":
            columns = [all_of(n), a, all_of(n + 2), b, all_of(n + 1)]
            if task.scores == "answer_and_end":
                assert answers is not None, "the answer is read, to predict the end"
                columns.append(answers)
    return np.stack(columns, axis=1).astype(np.int32)


def pair_table(task: Pairs, a: Elements, b: Elements, answers: Elements) -> Table:
    """All pairs as tokens, with their answers, some of which are noise."""
    answers = _with_noise(task, answers)
    tokens = pair_tokens(task, a, b, answers)
    targets = answers
    if task.scores == "answer_and_end":
        targets = np.stack([answers, np.full_like(answers, task.elements)], axis=1)
    return Table(tokens, targets.astype(np.int32))


def _with_noise(task: Pairs, answers: Elements) -> Elements:
    """Some rows take the answer of a random row (as in openai/grok, which draws with seed 0 whatever the run's)."""
    if not task.noisy:
        return answers
    random = np.random.Generator(np.random.PCG64(0))
    rows = random.permutation(len(answers))[: task.noisy]
    noisy = answers.copy()
    noisy[rows] = answers[random.integers(len(answers), size=task.noisy)]
    return noisy
