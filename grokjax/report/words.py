"""The question and the sweep, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokjax.analysis.cells import is_number, runs_of
from grokjax.analysis.keys import short_key
from grokjax.figures.groups import value_texts
from grokjax.results.read import Results
from grokjax.spec.constraints import NoConstraint
from grokjax.spec.families import FAMILIES
from grokjax.spec.losses import Loss
from grokjax.spec.models import Model
from grokjax.spec.nulls import null_of
from grokjax.spec.section import Family
from grokjax.spec.tasks import Task
from grokjax.spec.wording import number_text

APART = ("log.", "events.", "engine.")  # sections that decide no run
MOST_VALUES = 12
SWEPT = "swept"


@dataclass(frozen=True)
class ArmWords:
    """One arm: what it trains, what it sweeps (name, values), what all its runs share (key, value)."""

    name: str
    runs: int
    setup: str
    swept: tuple[tuple[str, str], ...]
    fixed: tuple[tuple[str, str], ...]


def arm_words(results: Results, runs: pd.DataFrame) -> list[ArmWords]:
    """Every arm of the sweep."""
    words = []
    for name, axes in results.manifest.axes.items():
        of_arm = runs_of(runs, name)
        if of_arm.empty:
            continue
        keys = [key for key in results.manifest.keys if not key.startswith(APART)]
        texts = {key: value_texts(results, of_arm, key) for key in keys}
        fixed = {key: next(iter(some.items())) for key, some in texts.items() if len(some) == 1}
        swept = tuple((short_key(key), values_text(value_texts(results, of_arm, key))) for key in axes)
        told = {key: text for key, (value, text) in fixed.items() if value is not None or null_of(key)}
        words.append(ArmWords(name, len(of_arm), setup(fixed), swept, tuple(told.items())))
    return words


def values_text(texts: Mapping[Any, str]) -> str:
    """All values in their texts, or how many there are and between which; null, which is no number, is always told."""
    numbers = [value for value in texts if value is not None]
    whole = len(texts) > 3 and numbers == list(texts) and all(isinstance(value, int) for value in numbers)
    if whole and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]} ({len(numbers)})"
    if len(texts) <= MOST_VALUES:
        return ", ".join(texts.values())
    if all(is_number(value) for value in numbers):
        low, high = (number_text(float(f"{value:.3g}")) for value in (numbers[0], numbers[-1]))
        null = [f"and {texts[None]}"] if None in texts else []
        return " ".join([f"{len(numbers)} values from {low} to {high}", *null])
    return f"{', '.join([*texts.values()][: MOST_VALUES - 1])}, … ({len(texts)})"


def setup(fixed: Mapping[str, tuple[Any, str]]) -> str:
    """What the runs train, on what and how; values that differ between them are `swept`. fixed: key -> value, text."""
    values = {key: value for key, (value, _) in fixed.items()}

    def text_of(key: str) -> str:
        return fixed[key][1] if key in fixed else SWEPT

    def described(kind: str, base: type[Family]) -> str:
        family = FAMILIES[kind].get(values.get(f"{kind}.name", ""), base)
        return family.describe(lambda name: text_of(f"{kind}.{name}"))

    share = values.get("task.train_fraction")
    part = f"{share:.3g} of all pairs" if share is not None else "a share of the pairs that is swept"
    rates = f"lr {text_of('optimizer.lr')}, weight decay {text_of('optimizer.weight_decay')}"
    steps = f"{int(values['train.steps']):,}" if "train.steps" in fixed else SWEPT
    batch = text_of("train.batch") if values.get("train.batch", 0) is None else f"batch size {text_of('train.batch')}"
    parts = [
        f"Learns {described('task', Task)} from {part}",
        described("model", Model),
        f"{described('loss', Loss)} with {text_of('optimizer.name')}, {rates}",
        f"{batch}, at most {steps} steps",
        described("constraint", NoConstraint),
    ]
    return "; ".join(part for part in parts if part)
