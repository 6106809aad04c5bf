"""What answers are made of: values with intervals, small tables of them, and the command line of a question."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import spearmanr

import grokjax
from grokjax.analysis import cells, outcomes
from grokjax.analysis.censored import LEVEL, mean_interval, median_time, wilson
from grokjax.analysis.keys import short_key
from grokjax.cli.app import bad_value, exit_codes
from grokjax.figures.style import value_text, write, write_table
from grokjax.results.read import Results

Tables = dict[str, pd.DataFrame]
NAMED = {"fraction": ("fraction", "low", "high"), "median_step": ("median_step", "median_low", "median_high")}
TIMES = ("delay", "median_step", "first")  # columns of censored medians: inf is not reached
COUNTS = ("generalized", "fit", "fits", "slingshots", "between")  # columns that count runs of a cell
LIMITS = {"accuracy": (0.0, 1.0), "count": (0.0, np.inf)}  # of columns whose values cannot lie beyond


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (nan: there is none), and how they are written.

    form: of numbers. beyond: what is written for inf, a value that was not reached. head: is written in place of the
    value. unit: behind the interval.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    form: str = ".3g"
    beyond: str = "inf"
    head: str = ""
    unit: str = ""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return self.head or "none"
        value = self.head or self._text(self.value)
        if np.isnan(self.low) or np.isnan(self.high) or self.low == np.inf:
            return value
        return f"{value} ({self._text(self.low)} to {self._text(self.high)}{self.unit})"

    def within(self, least: float, most: float) -> Estimate:
        """With an interval that ends at the least and most possible values."""
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    def _text(self, value: float) -> str:
        return f"{value:{self.form}}" if np.isfinite(value) else self.beyond


def column_names(name: str) -> tuple[str, str, str]:
    """The columns of a value and of its interval."""
    return NAMED.get(name, (name, f"{name}_low", f"{name}_high"))


def flat(**estimates: Estimate) -> dict[str, float]:
    """Estimates as columns of a row."""
    row = {}
    for name, estimate in estimates.items():
        row |= zip(column_names(name), (estimate.value, estimate.low, estimate.high), strict=True)
    return row


def with_interval(row: Mapping[str, Any], name: str) -> Estimate:
    """The estimate that a row holds in the columns of a name."""
    value, low, high = (float(row[column]) for column in column_names(name))
    if name in TIMES:
        return time_within(row["steps"], value, low, high)
    estimate = Estimate(value, low, high)
    return estimate.within(*LIMITS[name]) if name in LIMITS else estimate


def share(count: int, of: int) -> Estimate:
    """`7 of 10 (40 to 89 %)`: the Wilson interval, in percent."""
    if of == 0:
        return Estimate(np.nan, head="none of 0")
    low, high = wilson(int(count), int(of))
    return Estimate(100 * count / of, 100 * low, 100 * high, ".0f", head=f"{count} of {of}", unit=" %")


def share_columns(name: str, count: int, of: int) -> dict[str, float]:
    """A share and its interval as columns of a row, from 0 to 1."""
    return flat(**{name: Estimate(count / of, *wilson(int(count), int(of)))})


def median(times: ArrayLike, steps: float = np.inf) -> Estimate:
    """Censored median (see `median_time`); nan of no times. steps: within which they were waited for."""
    times = np.asarray(times, float)
    return time_within(steps, *median_time(times)) if len(times) else Estimate(np.nan)


def time_within(steps: float, value: float, low: float, high: float) -> Estimate:
    """`1,200 (900 to over 6,000)`: steps, of which at most so many were given."""
    return Estimate(value, low, high, ",.0f", f"over {steps:,.0f}")


def mean(values: ArrayLike, form: str = ".3g") -> Estimate:
    """Mean of values [n], nan left out, and its interval by Student's t; no interval of a single one."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return Estimate(float(values.mean()) if len(values) else np.nan, *mean_interval(values), form)


def geometric_mean(values: ArrayLike) -> Estimate:
    """As `mean`, of the logarithms: for ratios, which are positive; others are left out."""
    values = np.asarray(values, float)
    logs = mean(np.log(values[values > 0]))
    return Estimate(*(float(np.exp(one)) for one in (logs.value, logs.low, logs.high)))


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Spearman's, with its interval on Fisher's scale (Bonett and Wright, Psychometrika 65, 2000).

    inf is later than any other value. nan of fewer than 5 pairs, or where one of the two is constant.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 5 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return Estimate(np.nan)
    rho = float(spearmanr(x, y).statistic)
    half = ndtri(0.5 + LEVEL / 2) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    center = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    return Estimate(rho, float(np.tanh(center - half)), float(np.tanh(center + half)))


def ended_runs(runs: pd.DataFrame, **floats: str) -> pd.DataFrame:
    """Rows of `Results.runs()` that ended, with further columns (name=the column that holds it) as floats.

    Raises ValueError where none has ended.
    """
    ended = cells.ended_runs(runs)
    if ended.empty:
        raise ValueError("no run has ended yet: there is nothing to answer with")
    return ended.assign(**{name: ended[column].astype(float) for name, column in floats.items()})


def unended(results: Results) -> list[str]:
    """A sentence if some runs go on."""
    runs = results.runs()
    ended = len(cells.ended_runs(runs))
    return [] if ended == len(runs) else [f"Only {ended} of {len(runs)} runs have ended; the others are left out."]


def forked_from(forks: pd.DataFrame) -> pd.Series:
    """The run that each row of `Results.runs()` was forked from. Raises ValueError where they are no forks."""
    if "init.from_run.run" not in forks:
        raise ValueError("the runs of the second stage are no forks: none has an init.from_run")
    return forks["init.from_run.run"]


def summary(frame: pd.DataFrame, keys: list[str], **measures: Callable[[pd.DataFrame], Any]) -> pd.DataFrame:
    """One row a combination of the values of `keys`, as they come: these, and each measure of its rows."""
    rows = []
    for values, part in frame.groupby(keys, sort=False):
        rows.append(dict(zip(keys, values, strict=True)) | {name: of(part) for name, of in measures.items()})
    return pd.DataFrame(rows, columns=[*keys, *measures])


def best_of(frame: pd.DataFrame) -> pd.Index:
    """Label of the best cell of those in which a run generalizes, if there is any."""
    return outcomes.ranking(frame[frame["generalized"] > 0]).index[:1]


def edge_warnings(frame: pd.DataFrame, best: Iterable[Any], keys: list[str], what: str) -> list[str]:
    """Sentences for the axes on whose edge the best cell lies (see `grokjax.analysis.outcomes.edges`)."""
    return [
        f"Warning: {what}, {short_key(key)} {value_text(value)} is the {end} tried; what is best may lie beyond."
        for row in best
        for key, value, end in outcomes.edges(frame, row, keys)
    ]


def text_table(title: str, frame: pd.DataFrame, columns: Iterable[str] | None = None) -> str:
    """Rows under a title: estimates with their intervals, and counts of runs as shares of `runs`."""
    names = list(frame.columns if columns is None else columns)
    rows = [[cell_text(row, name) for name in names] for row in frame.to_dict("records")]
    text = pd.DataFrame(rows, columns=[name.rpartition(".")[2].replace("_", " ") for name in names])
    return "\n  ".join([f"{title}:", *text.to_string(index=False).splitlines()])


def cell_text(row: Mapping[Any, Any], name: str) -> str:
    value = row[name]
    if name in COUNTS and "runs" in row:
        value = share(int(value), int(row["runs"]))
    elif column_names(name)[1] in row:
        value = with_interval(row, name)
    return str(value) if isinstance(value, Estimate) else value_text(value)


def csv_table(tables: Tables, kinds: tuple[str, ...]) -> pd.DataFrame:
    """One of the tables; or several as one, whose first column `row` says of which a row is."""
    if len(kinds) == 1:
        return tables[kinds[0]]
    frame = pd.concat([tables[kind].assign(row=kind) for kind in kinds if kind in tables], ignore_index=True)
    return frame[["row", *frame.columns.drop("row")]]


def run_question(question: str, **stages: str) -> None:
    """Print the answer to a question, draw its picture, and print the paths written.

    question: `__name__` of its script, which has data, answer, figure and CSV (names of the tables that are written).
    stages: option -> help, of further results directories that `data` takes. Exit 2: bad input; 1: a file is damaged or
    cannot be read or written; 75: interrupted.
    """
    module = sys.modules[question]
    name = Path(str(module.__file__)).stem
    about = f"{module.__doc__}\nPrints the answer; writes STEM.png, STEM.svg and the numbers drawn as STEM.csv.\n"
    more = "".join(f" --{option} runs/{name}_{option}" for option in stages)
    about += f"Example: scripts/questions/{name}.py runs/{name}{more}"
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR", type=Path, help=f"results of sweeps/questions/{name}.yaml")
    for option, text in stages.items():
        parser.add_argument(f"--{option}", metavar="DIR", type=Path, help=text)
    parser.add_argument("--out", metavar="STEM", type=Path, help=f"where to write; default DIR/figures/{name}")
    given = vars(parser.parse_args())
    stem = given["out"] or given["directory"] / "figures" / name
    try:
        with exit_codes(), bad_value():
            results = grokjax.open_results(given["directory"])
            opened = {key: grokjax.open_results(given[key]) for key in stages if given[key] is not None}
            tables = module.data(results, **opened)
            notes = [line for stage in (results, *opened.values()) for line in unended(stage)]
            print(*notes, *module.answer(tables), sep="\n")
            paths = [*write(module.figure(tables), stem), write_table(csv_table(tables, module.CSV), stem)]
            print(*paths, sep="\n", flush=True)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
