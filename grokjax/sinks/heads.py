"""What W&B is told of each finished run and of each finished cell, apart from their curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.cells import SEEDS, by_values, runs_of, values_of, varied_keys
from grokjax.analysis.censored import median_time
from grokjax.analysis.question import question
from grokjax.results.read import Results
from grokjax.results.rebuild import nested
from grokjax.sinks.page import Head, short_hash, wandb_id
from grokjax.spec.nulls import null_of
from grokjax.sweep.keys import split_key

TOLD = ("status", "outcome", "fit_step", "generalization_step", "delay", "slingshots", "diverged_matrix")
CELL = "cell"


def run_names(results: Results) -> dict[str, str]:
    """run id -> what W&B calls the run: by its arm and axes, and the beginning of its id where two are called so."""
    values, axes = values_of(results), results.manifest.axes
    arms = {run.run_id: run.arms[0] for run in results.manifest.runs}
    names = {run_id: run_name(arm, axes.get(arm, ()), values[run_id]) for run_id, arm in arms.items()}
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    return {run_id: f"{name} {run_id[:4]}" if name in twice else name for run_id, name in names.items()}


def run_heads(results: Results, runs: pd.DataFrame) -> list[Head]:
    """Every run that has ended, in the order of the sweep."""
    values, name = values_of(results), results.manifest.name
    names, notes = run_names(results), notes_of(results)
    heads = []
    rows: list[Any] = runs[runs["outcome"].notna()].to_dict("records")
    for row in rows:
        run_id, arms = row["run_id"], list(row["arms"])
        about = {"sweep": name, "run_id": run_id, "arm": arms[0], "arms": arms, "lineage": _plain(row["lineage"])}
        summary = {key: _plain(row[key]) for key in row if key in TOLD or str(key).startswith("final/")}
        heads.append(
            Head(
                wandb_id(run_id, name),
                names[run_id],
                arms[0],
                _tags(row, arms),
                nested(values[run_id]) | about,
                {key: value for key, value in summary.items() if value is not None},
                (run_id,),
                notes,
            )
        )
    return heads


def cell_heads(results: Results, runs: pd.DataFrame) -> list[Head]:
    """Every cell (an arm's runs that differ in seeds only) all of whose runs have ended. Its id is that of its runs: a
    cell that gains seeds is another."""
    values, notes = values_of(results), notes_of(results)
    heads = []
    for arm in results.manifest.axes:
        keys, of_arm = varied_keys(results, arm), runs_of(runs, arm)
        for positions in by_values(of_arm, keys).values():
            cell = of_arm.iloc[positions]
            if cell["outcome"].notna().all():
                head = _cell(results.manifest.name, arm, keys, values[cell["run_id"].iloc[0]], cell)
                heads.append(replace(head, notes=notes))
    return heads


def _cell(sweep: str, arm: str, keys: list[str], values: Mapping[str, Any], runs: pd.DataFrame) -> Head:
    """runs: the rows of the cell. values: those of one of its runs; all but the seeds are those of all."""
    run_ids, count = list(runs["run_id"]), len(runs)
    outcomes = Counter(runs["outcome"])
    # over all seeds: one that did not get there is later than any
    medians = {name: median_time(runs[name])[0] for name in ("fit_step", "generalization_step", "delay")}
    fractions = {
        "fit": runs["fit_step"].notna(),
        "generalized": runs["generalization_step"].notna(),
        "slingshot": runs["slingshots"] > 0,
        "diverged": runs["outcome"] == "diverged",
    }
    summary: dict[str, Any] = {"seeds": count, "slingshots": float(runs["slingshots"].median())}
    summary |= {name: float(median) for name, median in medians.items() if math.isfinite(median)}
    summary |= {f"seeds/{name}": int(did.sum()) for name, did in fractions.items()}
    summary |= {f"fraction/{name}": float(did.mean()) for name, did in fractions.items()}
    summary |= {f"outcomes/{outcome}": number for outcome, number in outcomes.items()}
    shared = {key: value for key, value in values.items() if key not in SEEDS}
    return Head(
        wandb_id(f"cell-{short_hash(arm + ' ' + ' '.join(sorted(run_ids)))}", sweep),
        f"{run_name(arm, keys, values)} ({count} seed{'s' * (count > 1)})",
        CELL,
        tuple(dict.fromkeys([f"arm:{arm}"[:64], *sorted(outcomes)])),
        nested(shared) | {"sweep": sweep, "arm": arm, "seeds": count, "run_ids": run_ids},
        summary,
        tuple(run_ids),
    )


def notes_of(results: Results) -> str:
    """The question that the sweep asks."""
    return "\n\n".join(question(results.manifest.text))


def _tags(row: Mapping[str, Any], arms: list[str]) -> tuple[str, ...]:
    tags = [row["status"], row["outcome"], *(f"arm:{arm}"[:64] for arm in arms)]
    return tuple(dict.fromkeys(tags + ["slingshot"] * bool(row["slingshots"])))


def run_name(arm: str, keys: Iterable[str], values: Mapping[str, Any]) -> str:
    """arm weight_decay=0.5 seed=3"""
    last = {key: split_key(key)[-1] for key in keys}
    twice = {name for name, count in Counter(last.values()).items() if count > 1}
    parts = [f"{key if name in twice else name}={_text(key, values.get(key))}" for key, name in last.items()]
    return " ".join([arm, *parts])[:128]


def _text(key: str, value: Any) -> str:
    null = null_of(key)
    if value is None and null:
        return null.text
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """As JSON has it: what is missing is None, whole numbers are whole."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return list(value) if isinstance(value, np.ndarray) else value
