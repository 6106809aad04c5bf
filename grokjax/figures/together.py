"""Which lines of a picture lie on each other all the way, so that a reader sees fewer than its legend tells."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from grokjax.figures.bands import ArmBands

APART = 0.015  # of a panel's height: about what a line is wide
LOG_FROM = 20.0  # largest over least median from which a panel is logarithmic
MOST_LETTERS = 90  # of what is told of them one by one


def is_log_metric(arm: ArmBands, metric: str) -> bool:
    """Whether a metric is drawn on a logarithmic axis: losses, and what is positive and spans a wide range."""
    median = arm.bands.loc[arm.bands["metric"] == metric, "median"]
    median = median[np.isfinite(median)]
    wide = len(median) > 0 and median.min() > 0 and median.max() > LOG_FROM * median.min()
    return "loss" in metric or (bool(wide) and "accuracy" not in metric)


def lying_together(arm: ArmBands, metrics: Collection[str]) -> str:
    """Which groups' medians lie on each other in which metric, in words; empty where none do."""
    found = {metric: clusters(arm, metric) for metric in dict.fromkeys(arm.bands["metric"]) if metric in metrics}
    found = {metric: lines for metric, lines in found.items() if lines}
    if not found:
        return ""
    labels = arm.grouping.labels
    texts = []
    for metric, lines in found.items():
        equal = ", ".join(" = ".join(labels[group] for group in cluster) for cluster in lines)
        texts.append(f"{metric.replace('/', ' ')} ({equal})")
    text = f"lines on each other: {'; '.join(texts)}"
    if len(text) <= MOST_LETTERS:
        return text
    return f"lines on each other: some in {', '.join(metric.replace('/', ' ') for metric in found)}"


def clusters(arm: ArmBands, metric: str) -> list[list[int]]:
    """Groups of two or more lines that lie on each other (indices), each with those that lie on its first."""
    bands = arm.bands[arm.bands["metric"] == metric]
    medians = bands.pivot_table(index=arm.across, columns="group", values="median", dropna=False)
    heights = _heights(medians, is_log_metric(arm, metric))
    free, found = list(heights.columns), []
    while free:
        first, *others = free
        cluster = [first, *(other for other in others if _equal(heights[first], heights[other]))]
        free = [group for group in others if group not in cluster]
        if len(cluster) > 1:
            found.append([int(group) for group in cluster])
    return found


def _heights(medians: pd.DataFrame, log: bool) -> pd.DataFrame:
    """Where medians lie in their panel, from 0 to 1."""
    values = medians.where(np.isfinite(medians.astype(float)))
    if log:
        positive = values.where(values > 0)
        values = pd.DataFrame(np.log10(positive.fillna(positive.min().min()).where(values.notna())))
    low, high = values.min().min(), values.max().max()
    return (values - low) / (high - low) if high > low else values * 0.0


def _equal(one: pd.Series, other: pd.Series) -> bool:
    distance = (one - other).abs().dropna()
    return len(distance) > 0 and bool((distance < APART).all())
