"""What runs of equal settings did, over their seeds, with its uncertainty: fractions, censored medians, edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import binom, spearmanr, t

from grokjax.analysis.censored import LEVEL, wilson

ENDED = ("ended", "diverged")


def cells(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row a combination of the values of `keys` (rows of `Results.runs()`): the keys, then as `outcome` says.

    Runs that go on are left out. Sorted by the keys; none comes first. Raises ValueError where no run has ended.
    """
    ended = runs[runs["status"].isin(ENDED)]
    if ended.empty:
        raise ValueError("no run has ended yet: there is nothing to answer with")
    plain = ended.assign(**{key: [plain_value(value) for value in ended[key]] for key in keys})
    if not keys:
        return pd.DataFrame([outcome(plain)])
    groups = plain.groupby(list(keys), dropna=False, sort=True)
    rows = [dict(zip(keys, values, strict=True)) | outcome(part) for values, part in groups]
    return pd.DataFrame(rows)


def outcome(runs: pd.DataFrame) -> dict[str, Any]:
    """Of runs that ended: runs, fit, generalized, diverged, slingshots (runs that had one); fraction generalized with
    its 95 % Wilson interval, low and high; median_step, median_low, median_high of generalization (`median_time`);
    accuracy, the median of the final test accuracy; steps, what the longest was given."""
    steps = runs["generalization_step"].to_numpy(np.float64)
    reached, count = int((~np.isnan(steps)).sum()), len(runs)
    low, high = wilson(reached, count)
    median, median_low, median_high = median_time(steps)
    accuracy = runs["final/test/accuracy"].to_numpy(np.float64) if "final/test/accuracy" in runs else np.array([])
    return {
        "runs": count,
        "fit": int(runs["fit_step"].notna().sum()),
        "generalized": reached,
        "diverged": int((runs["status"] == "diverged").sum()),
        "slingshots": int((runs["slingshots"] > 0).sum()),
        "fraction": reached / count,
        "low": low,
        "high": high,
        "median_step": median,
        "median_low": median_low,
        "median_high": median_high,
        "accuracy": float(np.nanmedian(accuracy)) if np.isfinite(accuracy).any() else np.nan,
        "steps": int(runs["train.steps"].max()),
    }


def median_time(steps: ArrayLike, level: float = LEVEL) -> tuple[float, float, float]:
    """Median of times and its interval. nan: it never happened, which is later than any time; so inf is a median that
    was not reached.

    The interval is that of the sign test, between two of the ordered times: it assumes nothing about them, and covers
    the median with at least `level`; with under six runs no such two exist at 95 %, and it is all of their range.
    Where just half of the runs got there, the median is the last of these.
    """
    ordered = np.sort(np.where(np.isnan(np.asarray(steps, float)), np.inf, np.asarray(steps, float)))
    count = len(ordered)
    lower, upper = ordered[(count - 1) // 2], ordered[count // 2]
    median = lower if np.isinf(upper) else (lower + upper) / 2
    # the median lies below ordered[cut] with the probability of at most `cut` heads in `count` tosses
    cut = max((at for at in range((count + 1) // 2) if binom.cdf(at, count, 0.5) <= (1 - level) / 2), default=0)
    return float(median), float(ordered[cut]), float(ordered[count - 1 - cut])


def fraction_text(count: int, of: int) -> str:
    """`7 of 10 (40 to 89 %)`: the 95 % Wilson interval."""
    low, high = wilson(count, of)
    return f"{count} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def time_text(median: float, low: float, high: float, steps: float | int) -> str:
    """`1,200 (900 to 1,500)`, or `over 6,000` where it was not reached within `steps`."""

    def one(value: float) -> str:
        return f"{value:,.0f}" if np.isfinite(value) else f"over {steps:,.0f}"

    return one(median) if np.isinf(median) and np.isinf(low) else f"{one(median)} ({one(low)} to {one(high)})"


def ranking(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells, the best first: the largest fraction generalized, then the smallest median, then the largest accuracy."""
    return frame.sort_values(["fraction", "median_step", "accuracy"], ascending=[False, True, False], kind="stable")


def edges(frame: pd.DataFrame, best: Any, keys: Iterable[str]) -> list[tuple[str, Any, str]]:
    """(key, value, `largest` or `smallest`) for each numeric axis on whose edge the best cell lies: the truly best
    value may lie beyond. 0 is no edge: nothing lies below."""
    found = []
    for key in keys:
        values = {plain_value(value) for value in frame[key]} - {None}
        value = plain_value(frame.loc[best, key])
        numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        if numeric and len(values) > 1 and value in (min(values), max(values)) and value != 0:
            found.append((key, value, "largest" if value == max(values) else "smallest"))
    return found


def interval_of_mean(values: ArrayLike) -> tuple[float, float, float]:
    """Mean of values [n], nan left out, and its 95 % interval by Student's t; no interval (nan) of a single one."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if len(values) < 2:
        return mean, np.nan, np.nan
    half = float(t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def interval_of_geometric_mean(values: ArrayLike) -> tuple[float, float, float]:
    """As `interval_of_mean`, of the logarithms: for ratios, which are positive; others are left out."""
    values = np.asarray(values, float)
    mean, low, high = np.exp(interval_of_mean(np.log(values[values > 0])))
    return float(mean), float(low), float(high)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """Spearman's, with its 95 % interval on Fisher's scale (Bonett and Wright, Psychometrika 65, 2000); inf is later
    than any other value. nan of fewer than 5 pairs, or where one of the two is constant."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < 5 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return np.nan, np.nan, np.nan
    rho = float(spearmanr(x, y).statistic)  # pyright: ignore[reportAttributeAccessIssue]
    half = ndtri(0.5 + LEVEL / 2) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    center = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    return rho, float(np.tanh(center - half)), float(np.tanh(center + half))


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as column -> value."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def groups(frame: pd.DataFrame, keys: str | list[str], sort: bool = False) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The value of a key (a tuple, of several) and the rows that have it; by size, or as they come."""
    yield from frame.groupby(keys, sort=sort)


def plain_value(value: Any) -> Any:
    """A value that can be compared and hashed: nan is None, lists are tuples."""
    if isinstance(value, list):
        return tuple(value)
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
