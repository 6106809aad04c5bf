"""Statistics of runs that may never get there: a power law of censored times, their median, a proportion, a mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize
from scipy.special import log_ndtr, ndtri
from scipy.stats import binom, binomtest
from scipy.stats import t as student

LEVEL = 0.95  # of all intervals
DEVIATIONS = float(ndtri(0.5 + LEVEL / 2))  # so many hold LEVEL of a normal distribution, on both sides together
FEWEST = 3  # events: intercept, slope and spread
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class CensoredFit:
    """log(t) = intercept + slope log(x) + sigma eps, eps ~ N(0, 1): the median of t at x is exp(intercept) x^slope.

    low, high: interval of the slope at LEVEL, by profile likelihood.
    covariance: [2, 2], of (intercept, slope), from the observed information.
    """

    intercept: float
    slope: float
    sigma: float
    low: float
    high: float
    covariance: np.ndarray
    log_likelihood: float  # of the logarithms of t
    events: int
    censored: int

    def median(self, x: ArrayLike) -> np.ndarray:
        """The median of t at x [...]."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(x, float)))

    def band(self, x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """The interval of that median at each x, by the delta method."""
        at = np.log(np.asarray(x, float))
        rows = np.stack([np.ones_like(at), at], axis=-1)
        half = DEVIATIONS * np.sqrt(np.einsum("...i,ij,...j->...", rows, self.covariance, rows))
        middle = self.intercept + self.slope * at
        return np.exp(middle - half), np.exp(middle + half)


def fit_censored(x: ArrayLike, t: ArrayLike, happened: ArrayLike) -> CensoredFit:
    """A log-normal accelerated failure time model by maximum likelihood, with times censored to the right.

    x, t: [n], positive. happened: [n] bool; where false, t is a time until which it had not happened. With
    r = (log t - a - b log x) / sigma, an event adds log phi(r) - log sigma to the likelihood and a censored run
    log(1 - Phi(r)): Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data (2002), chapter 3; on log
    times it is the regression of Tobin (Econometrica 26, 1958). It has one maximum only (Olsen, Econometrica 46, 1978).
    The slope's interval holds the b whose profile log-likelihood is within chi2(1)'s quantile / 2 of the best.

    Raises ValueError where the slope cannot be told: fewer than 3 events, events at one x only, or all on one line.
    """
    log_x, log_t, event = _checked(x, t, happened)
    center, scale = float(log_x.mean()), float(log_x.std())
    z = (log_x - center) / scale  # so that all that is searched is of order 1
    design = np.stack([np.ones_like(z), z], axis=1)
    (a, b, log_sigma), loss = _fit(design, log_t, event)
    covariance = np.linalg.inv(_curvature(np.array([a, b, log_sigma]), design, log_t, event))[:2, :2]
    allowed = loss + 0.5 * DEVIATIONS**2
    low, high = (_edge(b, side * math.sqrt(covariance[1, 1]), allowed, z, log_t, event) for side in (-1, 1))
    back = np.array([[1.0, -center / scale], [0.0, 1.0 / scale]])
    return CensoredFit(
        intercept=a - b * center / scale,
        slope=b / scale,
        sigma=math.exp(log_sigma),
        low=low / scale,
        high=high / scale,
        covariance=back @ covariance @ back.T,
        log_likelihood=-loss,
        events=int(event.sum()),
        censored=int((~event).sum()),
    )


def _checked(x: ArrayLike, t: ArrayLike, happened: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, t, event = np.asarray(x, float), np.asarray(t, float), np.asarray(happened, bool)
    if not (x.ndim == 1 and x.shape == t.shape == event.shape):
        raise ValueError(
            f"x, t and happened must be as long as each other; they are {x.shape}, {t.shape}, {event.shape}"
        )
    if not (np.all(np.isfinite(x) & (x > 0)) and np.all(np.isfinite(t) & (t > 0))):
        raise ValueError("x and t must be positive and finite: their logarithms are fitted")
    if event.sum() < FEWEST:
        raise ValueError(f"fewer than {FEWEST} events")
    if len(np.unique(x[event])) < 2:
        raise ValueError("events at one value only")
    log_x, log_t = np.log(x), np.log(t)
    design = np.stack([np.ones_like(log_x), log_x], axis=1)[event]
    line = np.linalg.lstsq(design, log_t[event])[0]
    if np.ptp(log_t[event] - design @ line) < 1e-9:
        raise ValueError("the events lie on one line, without spread")
    return log_x, log_t, event


def _fit(design: np.ndarray, y: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and log sigma that lose the least [k + 1], and the loss. design: [n, k]; y, event: [n]."""
    start = np.linalg.lstsq(design, y)[0]
    spread = max(float(np.std((y - design @ start)[event])), 1e-3)
    first = np.append(start, math.log(spread))
    optimum = minimize(
        _loss, first, (design, y, event), "trust-exact", jac=_gradient, hess=_curvature,
        options={"gtol": 1e-7, "maxiter": 1000},
    )  # fmt: skip
    return optimum.x, float(optimum.fun)


def _edge(b: float, step: float, allowed: float, z: np.ndarray, y: np.ndarray, event: np.ndarray) -> float:
    """Where, from b in the direction of step, the profile loss comes to `allowed`.

    There is such a place: events at two x make the loss grow without bound as the slope leaves b.
    """
    ones = np.ones((len(z), 1))

    def excess(slope: float) -> float:
        return _fit(ones, y - slope * z, event)[1] - allowed

    near, far = b, b + 2 * step
    while excess(far) < 0:
        near, far = far, far + 2 * (far - near)
    return float(brentq(excess, near, far, xtol=1e-7))  # pyright: ignore[reportArgumentType]


def _residuals(at: np.ndarray, design: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    sigma = math.exp(at[-1])
    return (y - design @ at[:-1]) / sigma, sigma


def _hazard(r: np.ndarray) -> np.ndarray:
    """phi(r) / (1 - Phi(r)), also where both are tiny."""
    return np.exp(-0.5 * r**2 - HALF_LOG_2PI - log_ndtr(-r))


def _loss(at: np.ndarray, design: np.ndarray, y: np.ndarray, event: np.ndarray) -> float:
    """Minus the log-likelihood at (coefficients, log sigma)."""
    r, _ = _residuals(at, design, y)
    return float(np.sum(np.where(event, 0.5 * r**2 + HALF_LOG_2PI + at[-1], -log_ndtr(-r))))


def _gradient(at: np.ndarray, design: np.ndarray, y: np.ndarray, event: np.ndarray) -> np.ndarray:
    r, sigma = _residuals(at, design, y)
    pull = np.where(event, r, _hazard(r))
    return np.append(-design.T @ pull / sigma, event.sum() - pull @ r)


def _curvature(at: np.ndarray, design: np.ndarray, y: np.ndarray, event: np.ndarray) -> np.ndarray:
    """The Hessian [k + 1, k + 1] of the loss: at the best, the observed information."""
    r, sigma = _residuals(at, design, y)
    hazard = _hazard(r)
    pull, weight = np.where(event, r, hazard), np.where(event, 1.0, hazard * (hazard - r))
    cross = design.T @ (weight * r + pull) / sigma
    inner = (design.T * weight) @ design / sigma**2
    return np.block([[inner, cross[:, None]], [cross[None, :], np.array([[(weight * r + pull) @ r]])]])


def median_time(times: ArrayLike) -> tuple[float, float, float]:
    """Median of times [n] and its interval (median, low, high). nan: it never happened, which is later than any time.

    So inf is a median that was not reached. Where just half of the runs got there, the median is the last of these.
    The interval is that of the sign test, between two of the ordered times: it assumes nothing about them, and covers
    the median with at least LEVEL. With under six runs no such two exist at 95 %, and it is all of their range.
    """
    times = np.asarray(times, float)
    ordered = np.sort(np.where(np.isnan(times), np.inf, times))
    count = len(ordered)
    lower, upper = ordered[(count - 1) // 2], ordered[count // 2]
    median = lower if np.isinf(upper) else (lower + upper) / 2
    # the median lies below ordered[cut] with the probability of at most `cut` heads in `count` tosses
    cuts = np.arange((count + 1) // 2)
    possible = cuts[binom.cdf(cuts, count, 0.5) <= (1 - LEVEL) / 2]
    cut = int(possible[-1]) if len(possible) else 0
    return float(median), float(ordered[cut]), float(ordered[count - 1 - cut])


def wilson(k: int, n: int) -> tuple[float, float]:
    """The interval of a proportion of which k of n were seen (Wilson, JASA 22, 1927): 0 of 8 is not surely 0."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no proportion")
    interval = binomtest(int(k), int(n)).proportion_ci(LEVEL, "wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Interval of the mean of values [n], by Student's t; nan of fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    half = float(student.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    middle = float(values.mean())
    return middle - half, middle + half
