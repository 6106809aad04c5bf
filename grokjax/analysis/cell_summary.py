"""What the runs of each cell came to, as a table to look at, to print and to put into a paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.cells import ended_runs, in_value_order, is_missing, null_text, runs_of, varied_keys
from grokjax.analysis.keys import whole_key
from grokjax.analysis.outcomes import cell_outcome
from grokjax.results.read import Results

COUNTS = ("fit", "generalized", "diverged", "slingshots")
LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}"}
NEVER = "not reached"


class Summary(pd.DataFrame):
    """A data frame of cells that is written as papers have such tables: k of n, a median with its interval.

    pandas needs further packages to write Markdown and LaTeX; this needs none. nulls: key -> what null of it is called.
    """

    _metadata = ("nulls",)
    nulls: Mapping[str, str] = {}

    @property
    def _constructor(self) -> type[Summary]:
        return Summary

    def as_text(self) -> pd.DataFrame:
        """The cells in words: the keys, `runs`, each count as `k of n`, `median step`, `accuracy`."""
        rows = [_in_words(row, self.nulls) for row in self.to_dict("records")]
        return pd.DataFrame(rows)

    def to_markdown(self, *_: Any, **__: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The table in Markdown."""
        text = self.as_text()
        lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def to_latex(self, *_: Any, **__: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The table as a LaTeX tabular, with the rules of the package booktabs."""
        text = self.as_text()
        head, *rows = (
            " & ".join(map(_escaped, line)) + r" \\" for line in [list(text.columns), *text.to_numpy().tolist()]
        )
        begin = rf"\begin{{tabular}}{{{'l' * len(text.columns)}}}"
        return "\n".join([begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"])


def summarize(results: Results, by: str | Sequence[str] | None = None) -> Summary:
    """One row a cell: the values of its keys, `runs` that have ended, `going` (runs that have not), and what those that
    have came to, as in `grokjax.analysis.outcomes.cell_outcome`: fit, generalized, diverged, slingshots; the fraction
    that generalized with its 95 % Wilson interval low, high; median_step of generalization, in which a run that never
    did is later than any (inf: fewer than half did), with its interval median_low, median_high; accuracy.

    by: keys whose values tell the cells apart; default: the arm, where there are several, and its axes but the seeds.
    Raises ValueError for a key that is none.
    """
    runs = results.runs()
    if by is not None:
        given = [by] if isinstance(by, str) else by
        keys = [whole_key(key, map(str, runs), results.path) for key in given]
        return _summary(results, runs, cell_table(runs, keys), keys)
    arms = list(results.manifest.axes)
    parts = [cell_table(runs_of(runs, arm), varied_keys(results, arm)).assign(arm=arm) for arm in arms]
    frame = pd.concat(parts, ignore_index=True)
    keys = dict.fromkeys(key for arm in arms for key in varied_keys(results, arm))
    head = [*(["arm"] if len(arms) > 1 else []), *keys]
    ordered = frame[[*head, *(name for name in frame if name not in keys and name != "arm")]]
    return _summary(results, runs, ordered, keys)


def _summary(results: Results, runs: pd.DataFrame, cells: pd.DataFrame, keys: Iterable[str]) -> Summary:
    summary = Summary(cells)
    summary.nulls = {key: null_text(results, key, runs) for key in keys}
    return summary


def cell_table(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row a combination of values of the keys, in their order: these, going, and what `cell_outcome` has."""
    rows = []
    for values, members in in_value_order(runs, keys).items():
        part = runs.iloc[members]
        ended = ended_runs(part)
        going = {"going": len(part) - len(ended)}
        came_to = cell_outcome(ended) if len(ended) else {"runs": 0}
        rows.append(dict(zip(keys, values, strict=True)) | going | came_to)
    return pd.DataFrame(rows)


def _in_words(row: dict[Any, Any], nulls: Mapping[str, str]) -> dict[str, str]:
    known = {"going", "runs", *COUNTS, "fraction", "low", "high", "steps", "accuracy"}
    known |= {"median_step", "median_low", "median_high"}
    words = {str(key): _value(value, nulls.get(str(key), "none")) for key, value in row.items() if key not in known}
    count = int(row["runs"])
    words["runs"] = str(count) + (f" (+ {row['going']} going)" if row["going"] else "")
    if not count:
        return words | dict.fromkeys([*COUNTS, "median step", "accuracy"], "")
    words |= {name: f"{int(row[name])} of {count}" for name in COUNTS}
    words["generalized"] += f" [{row['low']:.2f}, {row['high']:.2f}]"
    span = f" [{_step(row['median_low'])}, {_step(row['median_high'])}]"
    words["median step"] = _step(row["median_step"]) + ("" if np.isinf(row["median_low"]) else span)
    return words | {"accuracy": "" if is_missing(row["accuracy"]) else f"{row['accuracy']:.3g}"}


def _step(step: float) -> str:
    return NEVER if np.isinf(step) else f"{step:,.0f}"


def _value(value: Any, null: str) -> str:
    if is_missing(value):
        return null
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
