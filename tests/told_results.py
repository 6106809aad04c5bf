"""Results whose outcomes are told, not trained: what questions read of `grokjax.results.read.Results`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grokjax.results.read import Results

NEVER = np.nan
STEPS = 1000


def run(arm: str = "main", generalization: float = NEVER, fit: float = 10.0, **columns: Any) -> dict[str, Any]:
    """A row of `Results.runs()` of a run that ended; keys of the spec with `__` for dots."""
    named = {key.replace("__", "."): value for key, value in columns.items()}
    return {
        "arm": arm,
        "arms": (arm,),
        "status": "ended",
        "seed": 0,
        "fit_step": fit,
        "generalization_step": generalization,
        "delay": generalization - fit,
        "slingshots": 0,
        "train.steps": STEPS,
        "final/test/accuracy": 1.0 if generalization == generalization else 0.1,
        **named,
    }


def results_of(**parts: Any) -> Results:
    """Results that have nothing but these attributes and methods."""
    members = {name: staticmethod(part) if callable(part) else part for name, part in parts.items()}
    return object.__new__(type("ToldResults", (Results,), members))


def answered(module: Any, tables: Any) -> str:
    """The answer's lines, with single spaces between the columns of its tables."""
    lines = [line for text in module.answer(tables) for line in text.splitlines()]
    return "\n".join(" ".join(line.split()) for line in lines)


class Told:
    """Rows of `runs`, curves (a frame with run_id, step and metrics) and events."""

    def __init__(self, rows: list[dict[str, Any]], curves: pd.DataFrame | None = None, events: Any = ()):
        self.rows = pd.DataFrame(rows)
        self.rows.insert(0, "run_id", [f"{place:012x}" for place in range(len(rows))])
        self.path, self.told, self.happened = Path("told"), curves, events
        self.ends = {run_id: {"step": STEPS} for run_id in self.rows["run_id"]}

    def runs(self) -> pd.DataFrame:
        return self.rows

    def metrics(self) -> list[str]:
        return [] if self.told is None else list(self.told.columns.drop(["run_id", "step"]))

    def curves(self, metrics: str | list[str], runs: str | Iterable[str] | None = None) -> pd.DataFrame:
        assert self.told is not None
        wanted = [runs] if isinstance(runs, str) else list(self.rows["run_id"] if runs is None else runs)
        names = [metrics] if isinstance(metrics, str) else metrics
        return self.told[self.told["run_id"].isin(wanted)][["run_id", "step", *names]]

    def events(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.happened), columns=["run_id", "kind", "step"])
