"""Several results directories beside each other, as text for a terminal."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from grokjax.analysis.keys import short_key
from grokjax.figures.groups import value_texts
from grokjax.figures.style import steps_text, value_text
from grokjax.results.read import Results

MOST = 5  # values of a key that are told one by one


def differences_text(frame: pd.DataFrame) -> str:
    """A line a key; one of a family that an arm has not is left empty there."""
    if frame.empty:
        return "the sweeps have the same values of every key"
    table = [["differs", *frame.columns[1:]]]
    for row in frame.to_dict("records"):
        key, *values = row.values()
        texts = []
        for of_arm in values:
            shown = ", ".join(value_text(value, key) or "none" for value in of_arm[:MOST])
            texts.append(shown + (f", ... ({len(of_arm)})" if len(of_arm) > MOST else ""))
        table.append([str(key), *texts])
    return _aligned(table)


def outcomes_text(results: Results, rows: pd.DataFrame, keys: list[str]) -> str:
    """A line an arm and combination of values of the keys. rows: of `grokjax.analysis.compare.outcomes_by_arm`."""
    planned = results.planned()
    texts = {key: value_texts(results, planned, key) for key in keys}
    counted = ("generalized", "95 %", "median step", "95 %", "fit", "diverged", "not ended")
    table = [["arm", *map(short_key, keys), *counted]]
    for row in rows.to_dict("records"):
        head = [row["arm"], *(texts[key][row[key]] for key in keys)]
        if not row["runs"]:
            table.append([*head, "-", "", "-", "", "-", "-", str(row["unended"])])
            continue
        interval = f"{row['low']:.0%} to {row['high']:.0%}"
        steps = _steps(row["median_low"], row["median_high"])
        counts = [f"{int(row[name])} of {row['runs']}" for name in ("generalized", "fit", "diverged")]
        table.append([*head, counts[0], interval, _step(row["median_step"]), steps, *counts[1:], str(row["unended"])])
    return _aligned(table)


def _step(step: Any) -> str:
    return "not reached" if step == math.inf else "?" if step != step else steps_text(step)


def _steps(low: float, high: float) -> str:
    """An interval of steps; its end may be that fewer than half get there."""
    if low == math.inf:
        return ""
    return f"{_step(low)} or later" if high == math.inf else f"{_step(low)} to {_step(high)}"


def _aligned(table: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)
