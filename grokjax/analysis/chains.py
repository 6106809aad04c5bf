"""How far chains of a sampler can be trusted: do they agree, how many draws are they worth, do they still move?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Traces = Float[np.ndarray, "chains draws"]


def split_rhat(traces: Traces) -> float:
    """Gelman and Rubin's potential scale reduction over halves of chains (Gelman et al. 2013, section 11.4): 1 where
    all have one distribution, larger where they differ, or drift. nan for fewer than 4 draws."""
    halves = _halves(traces)
    within, both = _variances(halves)
    return float(np.sqrt(both / within)) if within > 0 else float("nan")


def effective_size(traces: Traces) -> float:
    """Independent draws that would tell the mean as well (Geyer 1992's initial monotone sequence over halves of chains,
    as Stan has it). nan for fewer than 4 draws."""
    halves = _halves(traces)
    count, draws = halves.shape
    within, both = _variances(halves)
    if not both > 0:
        return float("nan")
    correlation = 1 - (within - _autocovariance(halves).mean(0) * draws / (draws - 1)) / both
    correlation[0] = 1
    pairs = correlation[: draws // 2 * 2].reshape(-1, 2).sum(1)
    end = np.argmax(pairs <= 0) if (pairs <= 0).any() else len(pairs)
    time = 2 * np.minimum.accumulate(pairs[:end]).sum() - 1
    return float(count * draws / max(time, 1 / np.log10(count * draws)))


def drift(traces: Traces) -> float:
    """By how much the mean over chains rises from the first draw to the last, along its least-squares line."""
    draws = traces.shape[1]
    if draws < 2:
        return float("nan")
    return float(np.polyfit(np.arange(draws), traces.mean(0), 1)[0] * (draws - 1))


def _halves(traces: Traces) -> Traces:
    half = traces.shape[1] // 2
    return np.concatenate([traces[:, :half], traces[:, -half:]]) if half else traces[:, :0]


def _variances(halves: Traces) -> tuple[float, float]:
    """(within a half, of all draws together as the halves estimate it)"""
    draws = halves.shape[1]
    if draws < 2:
        return float("nan"), float("nan")
    within = halves.var(1, ddof=1).mean()
    return float(within), float((draws - 1) / draws * within + halves.mean(1).var(ddof=1))


def _autocovariance(halves: Traces) -> Traces:
    """[halves, lag], each lag's sum divided by all draws."""
    draws = halves.shape[1]
    spectrum = np.fft.rfft(halves - halves.mean(1, keepdims=True), 2 * draws, axis=1)
    return np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :draws] / draws
