"""W&B's distributions: the numbers each one has, and how a value is drawn from it.

Names, numbers and their defaults are those of the package `sweeps` of W&B (config/schema.json, params.py): a plain
variate, maybe its exponential, maybe rounded to multiples of q.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from grokjax.sweep.nodes import shown

Numbers = Mapping[str, float]
NORMAL = {"mu": 0.0, "sigma": 1.0}
BETA = {"a": 1.0, "b": 1.0}
RANGE = {"min": None, "max": None}
MOST_EXPONENT = 700  # of e, in a float


def _uniform(rng: np.random.Generator, n: Numbers) -> float:
    return float(rng.uniform(n["min"], n["max"]))


def _whole(rng: np.random.Generator, n: Numbers) -> int:
    return int(rng.integers(int(n["min"]), int(n["max"]) + 1))


def _exp_uniform(rng: np.random.Generator, n: Numbers) -> float:
    return _exp(_uniform(rng, n))


def _inverse_exp_uniform(rng: np.random.Generator, n: Numbers) -> float:
    """1 / x is the exponential of a uniform variate."""
    return _exp(-_uniform(rng, n))


def _log_uniform(rng: np.random.Generator, n: Numbers) -> float:
    return _within(_exp(float(rng.uniform(math.log(n["min"]), math.log(n["max"])))), n)


def _inverse_log_uniform(rng: np.random.Generator, n: Numbers) -> float:
    """log(1 / x) is uniform between log(1 / max) and log(1 / min)."""
    return _within(_exp(-float(rng.uniform(-math.log(n["max"]), -math.log(n["min"])))), n)


def _normal(rng: np.random.Generator, n: Numbers) -> float:
    return float(rng.normal(n["mu"], n["sigma"]))


def _log_normal(rng: np.random.Generator, n: Numbers) -> float:
    return _exp(_normal(rng, n))


def _beta(rng: np.random.Generator, n: Numbers) -> float:
    return float(rng.beta(n["a"], n["b"]))


def _exp(exponent: float) -> float:
    return math.exp(exponent) if exponent < MOST_EXPONENT else math.inf


def _within(value: float, n: Numbers) -> float:
    """Without the rounding that leads out of the range."""
    return min(max(value, n["min"]), n["max"])


class Kind(NamedTuple):
    numbers: Mapping[str, float | None]  # word of the entry -> its default; None: needed
    draw: Callable[[np.random.Generator, Numbers], float]


PLAIN = {
    "int_uniform": Kind(RANGE, _whole),
    "uniform": Kind(RANGE, _uniform),
    "log_uniform": Kind(RANGE, _exp_uniform),
    "log_uniform_values": Kind(RANGE, _log_uniform),
    "inv_log_uniform": Kind(RANGE, _inverse_exp_uniform),
    "inv_log_uniform_values": Kind(RANGE, _inverse_log_uniform),
    "normal": Kind(NORMAL, _normal),
    "log_normal": Kind(NORMAL, _log_normal),
    "beta": Kind(BETA, _beta),
}
ROUNDED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
KINDS = PLAIN | {f"q_{name}": Kind({**PLAIN[name].numbers, "q": 1}, PLAIN[name].draw) for name in ROUNDED}
EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")  # whose min and max are exponents of e
COUNTABLE = ("int_uniform", "q_uniform")  # those of a grid, as W&B has it


@dataclass(frozen=True)
class Distribution:
    kind: str
    numbers: Numbers

    def draw(self, rng: np.random.Generator) -> float:
        """A value; of a `q_...` one round(X / q) * q, an integer where q is one."""
        value = KINDS[self.kind].draw(rng, self.numbers)
        if "q" not in self.numbers:
            return value
        q = self.numbers["q"]
        return without_dust(round(value / q) * q) if math.isfinite(value) else value

    @property
    def is_one_value(self) -> bool:
        """Whether all that it draws is the same."""
        n = self.numbers
        return n["sigma"] == 0 if "sigma" in n else "min" in n and n["min"] == n["max"]

    @property
    def example(self) -> float:
        """A value that it may have: its key is checked with it where nothing can be drawn."""
        n = self.numbers
        if self.kind in EXPONENTS:
            return _exp(-n["max"] if self.kind.startswith("inv") else n["min"])
        if "mu" in n:
            return _exp(n["mu"]) if "log" in self.kind else n["mu"]
        return n.get("min", 0.5)

    @property
    def note(self) -> str | None:
        """What is to be said of exponents that look like values."""
        low, high = self.numbers.get("min", 0), self.numbers.get("max", 0)
        if self.kind not in EXPONENTS or not 0 < low <= high <= 1:
            return None
        ends = sorted(_exp(-end if self.kind.startswith("inv") else end) for end in (low, high))
        return (
            f"min and max of {self.kind} are exponents: {shown(low)} and {shown(high)} mean {ends[0]:.4g} to "
            f"{ends[1]:.4g}; {self.kind}_values takes the values themselves"
        )


def number_problem(word: str, value: Any, kind: str) -> str | None:
    """What a number of a distribution must be, where it is not that."""
    whole = kind == "int_uniform"
    needed = "a whole number" if whole else "a finite number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return needed
    if not -1e15 <= value <= 1e15:
        return f"{needed} between -1e15 and 1e15" if abs(value) > 1e15 else needed
    if word in RANGE and kind in EXPONENTS and abs(value) > MOST_EXPONENT:
        return f"an exponent of e, from -{MOST_EXPONENT} to {MOST_EXPONENT}"
    return needed if whole and value != int(value) else None


def range_problem(kind: str, n: Numbers) -> tuple[str, str] | None:
    """The word of the entry that is wrong, and how."""
    low, high = n.get("min", 0), n.get("max", 0)
    if low > high:
        return "min", f"an empty axis: min {shown(low)} is above max {shown(high)}"
    if kind.endswith("log_uniform_values") and low <= 0:
        return "min", f"{kind} needs min above 0, got {shown(low)}"
    if n.get("sigma", 0) < 0:
        return "sigma", f"sigma must not be negative, got {shown(n['sigma'])}"
    for word in ("q", *BETA):
        if n.get(word, 1) <= 0:
            return word, f"{word} must be above 0, got {shown(n[word])}"
    return None


def listed(distribution: Distribution, most: int) -> list[float]:
    """The values of a whole or quantized range, both ends included; none where there are `most` or more."""
    n = distribution.numbers
    q = n.get("q", 1)
    if distribution.kind not in COUNTABLE or (n["max"] - n["min"]) / q >= most:
        return []
    if distribution.kind == "int_uniform":
        return list(range(int(n["min"]), int(n["max"]) + 1))
    return [without_dust(n["min"] + i * q) for i in range(int((n["max"] - n["min"]) / q + 1e-9) + 1)]


def without_dust(value: float) -> float:
    """A multiple of q without the last digits that binary multiplication adds; an integer stays one."""
    return value if isinstance(value, int) else float(f"{value:.12g}")
