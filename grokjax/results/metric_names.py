"""Names of recorded metrics: what is meant, and what is said of one that there is not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from grokjax.spec.families import FAMILIES
from grokjax.sweep.spelling import did_you_mean

MOST_OF_GROUP = 3  # names that begin alike which are all told


def checked_metrics(given: str | Iterable[str], recorded: list[str], where: Path) -> list[str]:
    """The names that are given, each once. Raises ValueError for one that is not recorded; where nothing is recorded
    yet, any may be."""
    names = list(dict.fromkeys([given] if isinstance(given, str) else given))
    unknown = [name for name in names if name not in recorded]
    if unknown and recorded:
        hint = did_you_mean(unknown[0], recorded) or f"{_of_probe(unknown[0])}; there are {_shown(recorded)}"
        raise ValueError(f"no metric {unknown[0]!r} in {where}{hint}")
    return names


def _of_probe(metric: str) -> str:
    probe = metric.partition("/")[0]
    return f": it is recorded with log.probes: [{probe}]" if probe in FAMILIES["probe"] else ""


def _shown(metrics: Iterable[str]) -> str:
    """`train/loss, train/accuracy, norm/W_E (and 8 more of norm/)`."""
    groups: dict[str, list[str]] = {}
    for metric in metrics:
        groups.setdefault(metric.partition("/")[0], []).append(metric)
    texts = []
    for group, names in groups.items():
        if len(names) > MOST_OF_GROUP:
            texts.append(f"{names[0]} (and {len(names) - 1} more of {group}/)")
        else:
            texts += names
    return ", ".join(texts)
