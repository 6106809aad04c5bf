"""Every figure that is frozen: of the stored results, and of the open questions' told outcomes.

Those of the first kind go by the name of their CSV; EXACT are read from stored curves and are equal text, the others
compute and are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adapter
import pandas as pd
import pytest

EXACT: dict[str, dict[str, Any]] = {
    "curves": {},
    "curves by seed": {"kind": "curves", "by": "seed", "arm": "decay"},
    "norms": {"arm": "rough"},
    "norms equal": {"kind": "norms", "equal": True, "arm": "decay"},
    "slingshots": {},
    "phase": {"x": "optimizer.weight_decay", "y": "seed", "arm": "decay"},
    "anatomy": {},
    "optimizers": {"x": "optimizer.weight_decay", "arm": "decay"},
}
COMPUTED: dict[str, dict[str, Any]] = {
    # a censored fit, whose last digit depends on the processor
    "times delay": {"kind": "times", "x": "optimizer.weight_decay", "arm": "decay", "measure": "delay"},
    "times": {"x": "optimizer.weight_decay", "arm": "decay"},
    "reduced_loss": {"arm": "sphere"},
    "progress": {"arm": "decay"},
    "landscape": {"arm": "decay"},
    "efficiency": {"arm": "decay"},
    "neurons": {"arm": "sphere"},
    "learning_coefficient": {"arm": "decay", "chains": 2, "draws": 20},
    "kernel": {"arm": "sphere", "examples": 16},
}


def drawn(name: str, results: Any, folder: Path) -> str:
    """The CSV that is written beside a picture."""
    options = dict((EXACT | COMPUTED)[name])
    paths = adapter.make_figure(options.pop("kind", name), results, folder / "picture", **options)
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"]
    return paths[-1].read_text()


def effective_lr() -> tuple:
    from test_questions import Told, norms

    return (Told(*norms({0.1: (30, 50), 1.0: (15, 30)})),)


def sgd_momentum() -> tuple:
    import test_questions_optimizer_and_depth as told

    plain = told.momentum_runs({0.2: [10, 20]}, "raw", clip=told.NEVER)
    clipped = told.momentum_runs({0.2: [100, told.NEVER]})
    wild = [told.curve(told.STEPS, told.SPIKE, run_id, W_pos=told.growing(32)) for run_id in plain["run_id"][4:]]
    runs = pd.concat([plain, clipped], ignore_index=True)
    calm = told.calm_curves(runs[~runs["run_id"].isin(plain["run_id"][4:])])
    return (told.Told(runs, pd.concat([calm, *wild])),)


def norm_balance() -> tuple:
    from test_questions_of_norms import NEVER, balanced, told

    runs = [balanced("even", 1.0, 300, 600), balanced("even", 1.0, 800, 400), balanced("uneven", 1.0, 200, NEVER)]
    return (told(runs),)


def embedding_scale() -> tuple:
    from test_questions_of_norms import NEVER, Told, embedded

    return (Told(*embedded({0: NEVER, 1: 300, 10: 100})),)


def slingshot_cause() -> tuple:
    from test_questions import Told, causes

    rows = causes({("float32", False, 1e-8): 6, ("float32", True, 1e-8): 0, ("exact", False, 1e-8): 0})
    return (Told(rows + causes({("float32", True, 1e-8): 1}, lr=1e-2)),)


def weight_decay_time() -> tuple:
    from test_questions import Told, decays

    return (Told(decays(-1, (0.2, 0.4, 0.8, 1.6, 3.2), 0.3, optimizer__lr=1e-3)),)


def critical_fraction() -> tuple:
    from test_questions import Told, shares

    kept = [row | {"init.from_run.run": f"parent{row['seed']}"} for row in shares({0.1: 0.2, 0.2: 0.8, 0.4: 1.0})]
    return Told(shares({0.2: 0.0, 0.4: 0.0, 0.6: 1.0})), Told(kept)


def circuit_efficiency() -> tuple:
    from test_questions_of_norms import Told, efficient

    return (Told(efficient()),)


def depth_slingshot() -> tuple:
    from test_questions_optimizer_and_depth import NEVER, depth

    return (depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}, {4: [500, NEVER]}),)


def activation_multiply() -> tuple:
    from test_questions import Told, run

    times = {("square", 1e-3): 300.0, ("square", 1e-2): 100.0, ("relu", 1e-3): 200.0, ("relu", 1e-2): 400.0}
    rows = [
        run("mlp", step + seed, model__activation=name, optimizer__lr=lr, seed=seed)
        for (name, lr), step in times.items()
        for seed in range(3)
    ]
    return (Told(rows),)


QUESTIONS: dict[str, Callable[[], tuple]] = {
    question.__name__: question
    for question in (
        effective_lr,
        sgd_momentum,
        norm_balance,
        embedding_scale,
        slingshot_cause,
        weight_decay_time,
        critical_fraction,
        circuit_efficiency,
        depth_slingshot,
        activation_multiply,
    )
}


@contextmanager
def nothing_computed(module: Any) -> Iterator[None]:
    """Told runs have no parameters: what a question measures of these is told too."""

    def coefficients(results: Any, run_ids: Any, *_: Any) -> pd.DataFrame:
        return pd.DataFrame({"run_id": run_ids, "lambda": 5.0, "trusted": True})

    def neurons(results: Any, *_: Any) -> pd.DataFrame:
        return pd.DataFrame({"run_id": results.rows["run_id"], "beyond": 0.6 - 0.01 * results.rows["seed"]})

    with pytest.MonkeyPatch.context() as patch:
        for name, told in {"learning_coefficient": coefficients, "neurons": neurons}.items():
            if hasattr(module, name):
                patch.setattr(module, name, told)
        yield


def answered(name: str) -> tuple[str, list[str]]:
    """The CSV of an open question's picture, and its answer in tables."""
    module = adapter.question(name)
    with nothing_computed(module):
        tables = module.data(*QUESTIONS[name]())
        return adapter.question_table(module, tables).to_csv(index=False, lineterminator="\n"), module.answer(tables)


def tables(results: Any) -> dict[str, str]:
    """Runs and events as CSV."""
    return {"runs": results.runs().to_csv(index=False), "events": results.events().to_csv(index=False)}
