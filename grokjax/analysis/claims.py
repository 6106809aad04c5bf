"""Published numbers as statistics of runs, and whether a results directory reproduces them.

A claim says what must lie where: a statistic over runs (of a column, a condition, or a metric), by itself or against
the same statistic of other runs. What was measured is an interval of possible values: a single number, or, where a
median was not reached, all that is later than the runs went. A claim is reproduced where all of it is accepted, not
reproduced where none is, and else not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from grokjax.analysis.cells import ENDED
from grokjax.analysis.censored import mean_interval, median_time, wilson
from grokjax.analysis.claims_file import Claim, Claims, Measure, Size
from grokjax.analysis.where import chosen_runs, meets
from grokjax.results.read import Results

TIMES = ("generalization_step", "fit_step", "delay")  # columns of steps that a run may not come to
Verdict = Literal["reproduced", "not reproduced", "not measured"]
REPRODUCED, NOT_REPRODUCED, NOT_MEASURED = "reproduced", "not reproduced", "not measured"


@dataclass(frozen=True)
class Measured:
    """A statistic lies from `least` to `most`, which are equal where it is known. low, high: its 95 % interval (nan:
    it has none); runs: how many it is of."""

    least: float
    most: float
    low: float
    high: float
    runs: int

    @property
    def value(self) -> float:
        """The statistic; inf where a median was not reached."""
        return self.most

    @property
    def is_known(self) -> bool:
        return self.least == self.most

    @property
    def is_below(self) -> bool:
        """Whether no more is known than what it is below, as of a ratio to a median that was not reached."""
        return not self.is_known and math.isfinite(self.most)

    @property
    def end(self) -> float:
        """The value, or what it is above or below."""
        return self.most if self.is_below else self.least


@dataclass(frozen=True)
class Judged:
    """A claim with what was measured of it (None: nothing, and `why`)."""

    claim: Claim
    verdict: Verdict
    measured: Measured | None = None
    why: str = ""


def judge(claims: Claims, results: Results, size: Size) -> list[Judged]:
    """The verdict on every claim, from the runs of a results directory of a size."""
    return [_judge(claim, results, size) for claim in claims.claims]


def overall(judged: Sequence[Judged]) -> str:
    """The verdict on a paper: `reproduced (4 of 4 claims)`, `partly reproduced (3 of 4 claims)`, ..."""
    verdicts = [each.verdict for each in judged]
    right, measured = verdicts.count(REPRODUCED), len(verdicts) - verdicts.count(NOT_MEASURED)
    if not measured:
        return NOT_MEASURED
    words = REPRODUCED if right == measured else f"partly {REPRODUCED}" if right else NOT_REPRODUCED
    left = f"; {len(verdicts) - measured} not measured" if measured < len(verdicts) else ""
    return f"{words} ({right} of {measured} claims{left})"


def _judge(claim: Claim, results: Results, size: Size) -> Judged:
    if size not in claim.sizes:
        return Judged(claim, NOT_MEASURED, why=f"it is of the size {', '.join(claim.sizes)}")
    try:
        measured = measure(claim, results)
    except ValueError as why:  # no such runs, nothing recorded, ...
        return Judged(claim, NOT_MEASURED, why=str(why))
    low, high = claim.accepted
    never = claim.against is None and not measured.is_known and math.isinf(high)  # what is late must come all the same
    if low <= measured.least and measured.most <= high and not never:
        return Judged(claim, REPRODUCED, measured)
    if measured.most < low or high < measured.least:
        return Judged(claim, NOT_REPRODUCED, measured)
    return Judged(claim, NOT_MEASURED, measured, "it was not reached")


def measure(claim: Claim, results: Results) -> Measured:
    """What a claim measures. Raises ValueError, which says why it cannot be."""
    first = statistic(claim.measure, results, claim.measure.where)
    if claim.against is None:
        return first
    other = statistic(claim.measure, results, claim.against.where)
    if not first.is_known and not other.is_known:
        raise ValueError("neither of the two was reached")
    return _ratio(first, other) if claim.against.by == "ratio" else _difference(first, other)


def _ratio(one: Measured, other: Measured) -> Measured:
    """Each interval covers with 95 %, so that from end to end covers with 90 % or more."""
    if other.least <= 0:
        raise ValueError("what it is divided by is 0")

    def over(above: float, below: float) -> float:
        return 0.0 if math.isinf(below) else above / below

    ends = (over(one.low, other.high), over(one.high, other.low) if other.low else math.nan)
    return Measured(over(one.least, other.most), over(one.most, other.least), *ends, one.runs + other.runs)


def _difference(one: Measured, other: Measured) -> Measured:
    ends = (one.low - other.high, one.high - other.low)
    return Measured(one.least - other.most, one.most - other.least, *ends, one.runs + other.runs)


def statistic(what: Measure, results: Results, where: str | None) -> Measured:
    """A statistic of the runs that meet a condition, all of which must have ended."""
    if where is not None:
        results = chosen_runs(results, where)
    runs = results.runs()
    going = int((~runs["status"].isin(ENDED)).sum())
    if going:
        raise ValueError(f"{going:,} of {len(runs):,} runs have not ended")
    if what.statistic == "share":
        held = meets(results, what.of)
        return _exact(float(held.mean()), wilson(int(held.sum()), len(held)), len(held))
    if what.passes is not None or what.falls_to is not None or what.of in TIMES:
        return _of_times(what, *_times(what, results, runs))
    values = _at_step(results, runs, what.of, what.at) if what.at is not None else _column(what.of, runs)
    return _of_values(what, values)


def _times(what: Measure, results: Results, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The step at which each run got there (nan: it did not), and the one that it was seen until: a run that diverged
    never gets there."""
    until = np.where(runs["status"] == "diverged", np.inf, runs["last_step"].astype(float))
    if what.of in TIMES:
        start = runs["fit_step"].astype(float).fillna(np.inf) if what.of == "delay" else 0.0
        return runs[what.of].to_numpy(float), np.maximum(0.0, until - np.where(np.isinf(start), until, start))
    curves = results.curves(_recorded(results, what.of)).dropna(subset=[what.of])
    if what.passes is not None:
        there = curves[curves[what.of] >= what.passes]
    else:
        after = curves[curves["step"] >= curves["run_id"].map(_peaks(curves, what.of))]
        there = after[after[what.of] <= what.falls_to]
    first = there.groupby("run_id")["step"].min()
    return runs["run_id"].map(first).to_numpy(float), until


def _peaks(curves: pd.DataFrame, metric: str) -> pd.Series:
    """run id -> the step at which a metric is largest."""
    ordered = curves.sort_values(metric, kind="stable").drop_duplicates("run_id", keep="last")
    return ordered.set_index("run_id")["step"]


def _of_times(what: Measure, times: np.ndarray, until: np.ndarray) -> Measured:
    """Of steps some of which are only known to be later than a run went."""
    if what.statistic == "median":
        median, low, high = median_time(times)
        least = median if np.isfinite(median) else float(np.median(np.where(np.isnan(times), until, times)))
        return Measured(least, median, low, high, len(times))
    came = np.where(np.isnan(times), np.inf, times)
    seen = np.where(np.isnan(times), until, times)
    number = {"min": np.min, "max": np.max, "mean": np.mean}[what.statistic]
    return Measured(float(number(seen)), float(number(came)), math.nan, math.nan, len(times))


def _of_values(what: Measure, values: np.ndarray) -> Measured:
    values = values[np.isfinite(values)]
    if not len(values):
        raise ValueError(f"no run has a finite {what.of}")
    match what.statistic:
        case "median":
            value, low, high = median_time(values)
            return _exact(value, (low, high), len(values))
        case "mean":
            return _exact(float(values.mean()), mean_interval(values), len(values))
        case _:
            value = float(values.min() if what.statistic == "min" else values.max())
            return _exact(value, (math.nan, math.nan), len(values))


def _exact(value: float, interval: tuple[float, float], runs: int) -> Measured:
    return Measured(value, value, *interval, runs)


def _column(name: str, runs: pd.DataFrame) -> np.ndarray:
    if name not in runs:
        raise ValueError(f"these runs have no {name}")
    return runs[name].to_numpy(float)


def _at_step(results: Results, runs: pd.DataFrame, metric: str, step: int) -> np.ndarray:
    """A metric at the last record up to a step. A run that has ended before counts with its last value, one that
    diverged before does not."""
    curves = results.curves(_recorded(results, metric))
    last = curves[(curves["step"] <= step) & curves[metric].notna()].groupby("run_id")[metric].last()
    values = runs["run_id"].map(last).to_numpy(float)
    diverged = (runs["status"] == "diverged") & (runs["last_step"] < step)
    short = (runs["last_step"] < step) & (runs["train.steps"] < step)
    if short.any():
        raise ValueError(f"the runs have {int(runs['train.steps'].max()):,} steps, and it is of step {step:,}")
    return np.where(diverged, np.nan, values)


def _recorded(results: Results, metric: str) -> str:
    if metric not in results.metrics():
        raise ValueError(f"{metric} was not recorded")
    return metric
