"""`grokjax compare`: several results directories beside each other, as tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grokjax.cli.app import bad_value

if TYPE_CHECKING:
    import pandas as pd

    from grokjax.results.read import Results

Directories = Annotated[list[Path], typer.Argument(metavar="DIR", help="Results directories, two or more.")]
By = Annotated[list[str] | None, typer.Option("--by", metavar="KEY", help="A row a value of this key; repeatable.")]
Where = Annotated[str | None, typer.Option(metavar="TEXT", help="Only runs with KEY OP VALUE [and ...].")]
Out = Annotated[Path | None, typer.Option(help="CSV file for the second table.")]
MOST = 5  # values of a key that are told one by one


@bad_value()
def compare(directories: Directories, by: By = None, where: Where = None, out: Out = None) -> None:
    """Say how sweeps differ, and what their runs did.

    A row an arm, called sweep/arm: runs generalized of those that ended with their 95 % interval, and the median step
    of generalization with its own, in which who never generalized counts as later than any other. A run that two
    directories have is one run, of both. To draw them: grokjax figure curves DIR DIR2 --out FILE.
    """
    from grokjax.analysis.compare import differences, outcomes_by_arm
    from grokjax.analysis.where import chosen_runs
    from grokjax.cli.app import write_rows
    from grokjax.figures.groups import check_key
    from grokjax.launch import open_results
    from grokjax.results.joined import join

    if len(directories) < 2:
        one = directories[0]
        raise ValueError(f"{one} alone has nothing beside it: name two or more; of one tells grokjax status {one}")
    if out is not None and out.suffix.lower() != ".csv":
        raise ValueError(f"{out}: the table is written as .csv")
    results = join([open_results(directory) for directory in directories])
    if where is not None:
        results = chosen_runs(results, where)
    keys = [check_key(results, key) for key in by or []]
    rows = outcomes_by_arm(results, keys)
    typer.echo("\n\n".join(filter(None, [_differences(differences(results)), _outcomes(results, rows, keys)])))
    if out is not None:
        write_rows(rows, out)


def _differences(frame: pd.DataFrame) -> str:
    """A line a key; one of a family that an arm has not is left empty there."""
    from grokjax.figures.style import value_text

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


def _outcomes(results: Results, rows: pd.DataFrame, keys: list[str]) -> str:
    from grokjax.analysis.keys import short_key
    from grokjax.figures.groups import value_texts

    planned = results.planned()
    texts = {key: value_texts(results, planned, key) for key in keys}
    table = [
        ["arm", *map(short_key, keys), "generalized", "95 %", "median step", "95 %", "fit", "diverged", "not ended"]
    ]
    for row in rows.to_dict("records"):
        head = [row["arm"], *(texts[key][row[key]] for key in keys)]
        if not row["runs"]:
            table.append([*head, "-", "", "-", "", "-", "-", str(row["unended"])])
            continue
        interval = f"{row['low']:.0%} to {row['high']:.0%}"
        steps = _steps(row["median_low"], row["median_high"])
        counts = [f"{row[name]} of {row['runs']}" for name in ("generalized", "fit", "diverged")]
        table.append([*head, counts[0], interval, _step(row["median_step"]), steps, *counts[1:], str(row["unended"])])
    return _aligned(table)


def _step(step: Any) -> str:
    from grokjax.figures.style import steps_text

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
