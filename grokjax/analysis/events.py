"""Events, found after the fact in a run's curves: fit, generalization, its loss, slingshots, divergence."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from grokjax.spec.losses import SPIKE_FLOOR
from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Sizes

OUTCOMES = {  # of a run that has ended, the furthest first
    "generalized": "generalized",
    "lost": "generalized, then lost it",
    "partly_generalized": "fit, and partly generalized",
    "memorized": "fit, and did not generalize",
    "not_fit": "did not fit",
    "diverged": "diverged",
}
MEANINGS = {  # of OUTCOMES, for who reads them for the first time
    "generalized": "reached the test accuracy of generalization, and ended there",
    "lost": "reached the test accuracy of generalization, and ended below it",
    "partly_generalized": "fit, never reached the test accuracy of generalization, and ended well above a guess",
    "memorized": "fit, and ended with about the test accuracy of a guess",
    "not_fit": "never reached the train accuracy of a fit",
    "diverged": "became non-finite, and was frozen at its last finite parameters",
}
SOME_WAY = 0.1  # from chance to the threshold of generalization
ERRORS = 3.0  # standard errors of a guess
SLINGSHOT_FROM = 200  # no slingshot before this step
SLINGSHOT_RISE = 10.0  # over the median train loss of the window
SLINGSHOT_WINDOW = 100  # steps before the record
SLINGSHOT_FEWEST = 5  # records in the window, or else the last so many
SLINGSHOT_APART = 200  # hits at most this many steps apart are one event


@dataclass(frozen=True)
class Thresholds:
    """Accuracies from which on a run has fit and has generalized, for how many records they must hold, and the train
    loss that a slingshot reaches at least.

    is_online: every step has fresh examples: there is no train set, so that to fit is to generalize.
    """

    fit: float = 0.99
    generalization: float = 0.99
    hold: int = 1
    slingshot_floor: float = SPIKE_FLOOR
    is_online: bool = False

    def fit_by(self, recorded: Container[str]) -> tuple[str, float]:
        """The metric that says whether a run has fit, and from which value on."""
        return ("test/accuracy", self.generalization) if self.is_online else (fit_metric(recorded), self.fit)


def thresholds_of(spec: RunSpec) -> Thresholds:
    """Those of a resolved run."""
    events = spec.events
    floor = spec.loss.spike_floor if events.slingshot_floor is None else events.slingshot_floor
    return Thresholds(events.fit, events.generalization, events.hold, floor, spec.task.is_online)


@dataclass(frozen=True)
class Event:
    """Something found in the curves of a run."""

    kind: str  # fit | generalization | loss_of_generalization | slingshot | divergence
    step: int
    value: float  # the accuracy; the spike's largest train loss; the last finite train loss before divergence
    norm_jump: float | None = None  # slingshot: relative change of the last layer's norm
    matrix: str | None = None  # divergence: what went first
    floor: float | None = None  # slingshot: the train loss that it had to reach


def first_holding(above: Bool[np.ndarray, " n"], hold: int) -> int | None:
    """Index of the first of `hold` records in a row that are all above."""
    run = 0
    for index, good in enumerate(above):
        run = run + 1 if good else 0
        if run == hold:
            return index - hold + 1
    return None


def accuracy_events(
    step: Int[np.ndarray, " n"], accuracy: Float[np.ndarray, " n"], threshold: float, hold: int, kind: str
) -> list[Event]:
    """The first record at or over the threshold that holds; for generalization also where it was lost for good:
    the first record of the stretch below the threshold that the run ends with, if at least `hold` long."""
    above = accuracy >= np.float32(threshold)
    first = first_holding(above, hold)
    if first is None:
        return []
    events = [Event(kind, int(step[first]), float(accuracy[first]))]
    last = int(np.nonzero(above)[0][-1])
    if kind == "generalization" and len(above) - 1 - last >= hold:
        events.append(Event("loss_of_generalization", int(step[last + 1]), float(accuracy[last + 1])))
    return events


def slingshot_hits(
    step: Int[np.ndarray, " n"],
    loss: Float[np.ndarray, " n"],
    loss_max: Float[np.ndarray, " n"],
    prior_steps: int = 0,
    floor: float = SPIKE_FLOOR,
) -> Int[np.ndarray, " hits"]:
    """Indices of records at t >= 200 whose loss_max exceeds `floor` and 10 times the median train loss of the
    records in [t - 100, t), or of the last 5 before t if there are fewer.

    prior_steps: steps that the optimizer of a forked run had behind it at t = 0; only the 200 are counted with them."""
    index = np.nonzero((step + prior_steps >= SLINGSHOT_FROM) & (loss_max > floor))[0]
    index = index[index >= 1]
    begin = np.minimum(np.searchsorted(step, step[index] - SLINGSHOT_WINDOW), index - SLINGSHOT_FEWEST)
    begin = np.maximum(begin, 0)
    lengths = index - begin
    median = np.empty(len(index))
    for length in np.unique(lengths):
        rows = lengths == length
        windows = np.lib.stride_tricks.sliding_window_view(loss, length)
        median[rows] = np.median(windows[begin[rows]], axis=1)
    return index[loss_max[index] > SLINGSHOT_RISE * median]


def slingshots(
    step: Int[np.ndarray, " n"],
    loss: Float[np.ndarray, " n"],
    loss_max: Float[np.ndarray, " n"],
    last_norm: Float[np.ndarray, " n"] | None,
    prior_steps: int = 0,
    floor: float = SPIKE_FLOOR,
) -> list[Event]:
    """Hits at most 200 steps apart, as one event at the first of them."""
    hits = slingshot_hits(step, loss, loss_max, prior_steps, floor)
    groups = np.split(hits, np.nonzero(np.diff(step[hits]) > SLINGSHOT_APART)[0] + 1) if len(hits) else []
    events = []
    for group in groups:
        t = int(step[group[0]])
        value = float(loss_max[group].max())
        events.append(Event("slingshot", t, value, _norm_jump(step, last_norm, t), floor=floor))
    return events


def _norm_jump(step: np.ndarray, last_norm: np.ndarray | None, t: int) -> float | None:
    """Largest norm of the last layer in [t, t + 200] over its median in [t - 100, t), less 1."""
    if last_norm is None:
        return None
    before = last_norm[(step >= t - SLINGSHOT_WINDOW) & (step < t)]
    after = last_norm[(step >= t) & (step <= t + SLINGSHOT_APART)]
    if not len(before) or not np.median(before) > 0:
        return None
    return float(after.max() / np.median(before) - 1)


def fit_metric(recorded: Container[str]) -> str:
    """The accuracy that says whether a run has fit: with minibatches that of the whole train set, not the batch's. Runs
    of earlier versions have recorded the batch's only."""
    return "train_set/accuracy" if "train_set/accuracy" in recorded else "train/accuracy"


def find_events(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    thresholds: Thresholds,
    last_layer: str,
    divergence: tuple[int, str] | None = None,
    prior_steps: int = 0,
) -> list[Event]:
    """All events of one run, by step.

    curves: metric -> (steps, values) where it was recorded, without metrics that were not. last_layer: the matrix that
    makes the logits.
    divergence: the step and matrix that the engine recorded. prior_steps: as in `slingshot_hits`.
    """
    empty = (np.zeros(0, np.int64), np.zeros(0, np.float32))
    step, loss = curves.get("train/loss", empty)
    norm = curves.get(f"norm/{last_layer}", empty)[1]
    metric, fit = thresholds.fit_by(curves)
    events = accuracy_events(*curves.get(metric, empty), fit, thresholds.hold, "fit")
    events += accuracy_events(
        *curves.get("test/accuracy", empty), thresholds.generalization, thresholds.hold, "generalization"
    )
    if len(step):
        loss_max = curves["train/loss_max"][1]
        norms = norm if len(norm) == len(step) else None
        events += slingshots(step, loss, loss_max, norms, prior_steps, thresholds.slingshot_floor)
    if divergence:
        finite = loss[np.isfinite(loss)]
        value = float(finite[-1]) if len(finite) else float("nan")
        events.append(Event("divergence", divergence[0], value, matrix=divergence[1]))
    return sorted(events, key=lambda event: event.step)


def above_chance(sizes: Sizes, generalization: float) -> float:
    """The test accuracy above which a run has learned something of the rule.

    Chance is one answer of all there are (0 where answers are vectors). It is passed by a tenth of the way from there
    to the threshold of generalization, and by three standard errors of a guess on so many test examples.
    """
    chance = 1 / sizes.classes if sizes.classes else 0.0
    error = math.sqrt(chance * (1 - chance) / sizes.test)
    return chance + max(SOME_WAY * (generalization - chance), ERRORS * error)


def outcome(events: list[Event], test_accuracy: float = math.nan, partly_from: float = math.nan) -> str:
    """What a run that has ended came to, one of OUTCOMES.

    test_accuracy: its last, nan where it has none. partly_from: the accuracy above which it has partly generalized.
    """
    kinds = {event.kind for event in events}
    if "divergence" in kinds:
        return "diverged"
    if "generalization" in kinds:
        return "lost" if "loss_of_generalization" in kinds else "generalized"
    if "fit" not in kinds:
        return "not_fit"
    return "partly_generalized" if test_accuracy > partly_from else "memorized"
