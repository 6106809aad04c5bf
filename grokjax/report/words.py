"""The question, the sweep and what came of it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from grokjax.analysis.cells import is_number, ordered_values, plain_value, runs_of
from grokjax.figures.style import number_text, short_key, value_text
from grokjax.results.read import Results
from grokjax.spec.constraints import NoConstraint
from grokjax.spec.families import FAMILIES
from grokjax.spec.losses import Loss
from grokjax.spec.models import Model
from grokjax.spec.section import Family
from grokjax.spec.tasks import Task

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
        values = {key: ordered_values(of_arm[key]) for key in keys}
        fixed = {key: some[0] for key, some in values.items() if len(some) == 1}
        swept = tuple((short_key(key), values_text(ordered_values(of_arm[key]))) for key in axes)
        shared = tuple((key, value_text(value)) for key, value in fixed.items() if value is not None)
        words.append(ArmWords(name, len(of_arm), setup(fixed), swept, shared))
    return words


def values_text(values: list[Any]) -> str:
    """All values, or how many there are and between which."""
    whole = len(values) > 3 and all(isinstance(value, int) for value in values)
    if whole and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]} ({len(values)})"
    if len(values) <= MOST_VALUES:
        return ", ".join(value_text(value) for value in values)
    if all(is_number(value) for value in values):
        low, high = (number_text(float(f"{value:.3g}")) for value in (values[0], values[-1]))
        return f"{len(values)} values from {low} to {high}"
    return f"{', '.join(value_text(value) for value in values[: MOST_VALUES - 1])}, … ({len(values)})"


def setup(fixed: Mapping[str, Any]) -> str:
    """What the runs train, on what and how; values that differ between them are `swept`."""

    def text_of(key: str) -> str:
        return value_text(plain_value(fixed[key])) if key in fixed else SWEPT

    def described(kind: str, base: type[Family]) -> str:
        family = FAMILIES[kind].get(fixed.get(f"{kind}.name", ""), base)
        return family.describe(lambda name: text_of(f"{kind}.{name}"))

    share = fixed.get("task.train_fraction")
    part = f"{share:.3g} of all pairs" if share is not None else "a share of the pairs that is swept"
    rates = f"lr {text_of('optimizer.lr')}, weight decay {text_of('optimizer.weight_decay')}"
    steps = f"{int(fixed['train.steps']):,}" if "train.steps" in fixed else SWEPT
    batch = "full batch" if fixed.get("train.batch", 0) is None else f"batch size {text_of('train.batch')}"
    parts = [
        f"Learns {described('task', Task)} from {part}",
        described("model", Model),
        f"{described('loss', Loss)} with {text_of('optimizer.name')}, {rates}",
        f"{batch}, at most {steps} steps",
        described("constraint", NoConstraint),
    ]
    return "; ".join(part for part in parts if part)


def happened(runs: pd.DataFrame, events: pd.DataFrame) -> str:
    """How many runs did what."""
    counts = runs["outcome"].value_counts()
    going = int(runs["outcome"].isna().sum())
    names = {
        "generalized": "generalized", "lost": "generalized and lost it", "memorized": "fit and did not generalize",
        "not_fit": "did not fit", "diverged": "diverged",
    }  # fmt: skip
    parts = [f"{counts[key]} {text}" for key, text in names.items() if counts.get(key, 0)]
    if going:
        parts.append(f"{going} have not ended" if going > 1 else "1 has not ended")
    text = f"Of {len(runs):,} run{'' if len(runs) == 1 else 's'}, {', '.join(parts)}."
    step, delay = runs["generalization_step"].median(), runs["delay"].median()
    if step > 0:  # not nan, and no forks of runs that had generalized
        text += f" Those that generalized did so at step {step:,.0f}, {delay:,.0f} steps after they fit (medians)."
    spikes = int((events["kind"] == "slingshot").sum())
    who = int((runs["slingshots"] > 0).sum())
    if spikes:
        return f"{text} {who} had slingshots, {spikes:,} in all."
    return f"{text} No slingshot was found."
