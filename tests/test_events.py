"""Events in made-up curves against slow definitions, and the live counts against the events."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.analysis.events import Event, Thresholds, above_chance, find_events, outcome
from grokjax.analysis.tally import Tally
from grokjax.results.segment import End, Rows, Segment
from grokjax.spec.tasks import Sizes

LAST = "W_U"


class Curves:
    """One run's records; test metrics at every `eval_every`-th of them and at the last."""

    def __init__(self, step, loss, loss_max=None, train=None, test=None, norm=None, eval_every: int = 1):
        n = len(step)
        self.step = np.asarray(step, np.int64)
        self.loss = np.asarray(loss, np.float32)
        self.loss_max = self.loss if loss_max is None else np.asarray(loss_max, np.float32)
        self.train = np.zeros(n, np.float32) if train is None else np.asarray(train, np.float32)
        self.test = np.zeros(n, np.float32) if test is None else np.asarray(test, np.float32)
        self.norm = np.ones(n, np.float32) if norm is None else np.asarray(norm, np.float32)
        self.tested = np.array([i % eval_every == 0 or i == n - 1 for i in range(n)], bool)

    def columns(self):
        """As `find_events` takes them: (steps, values) where recorded."""
        return {
            "train/loss": (self.step, self.loss),
            "train/loss_max": (self.step, self.loss_max),
            "train/accuracy": (self.step, self.train),
            "test/accuracy": (self.step[self.tested], self.test[self.tested]),
            f"norm/{LAST}": (self.step, self.norm),
        }

    def events(self, thresholds: Thresholds = Thresholds(), divergence=None) -> list[Event]:  # noqa: B008
        return find_events(self.columns(), thresholds, LAST, divergence)

    def rows(self, begin: int, end: int, lane: int = 0) -> Rows:
        """Records [begin, end) as the engine hands them over."""
        at = slice(begin, end)
        metrics = {
            "train/loss": self.loss[at],
            "train/loss_max": self.loss_max[at],
            "train/accuracy": self.train[at],
            "test/accuracy": np.where(self.tested, self.test, np.float32(0))[at],
        }
        lanes = np.full(end - begin, lane, np.int32)
        return Rows(lanes, self.step[at].astype(np.int32), metrics, {"test/accuracy": self.tested[at]})


# --- slow definitions -----------------------------------------------------------------------------------------


def slow_first(step, accuracy, threshold: float, hold: int) -> int | None:
    """Step of the first record that, with the hold - 1 after it, is at or over the threshold."""
    for i in range(len(step) - hold + 1):
        if all(accuracy[j] >= np.float32(threshold) for j in range(i, i + hold)):
            return int(step[i])
    return None


def slow_loss_of_generalization(step, accuracy, threshold: float, hold: int) -> int | None:
    """After it generalized: step of the first of the records below the threshold that the run ends with."""
    if slow_first(step, accuracy, threshold, hold) is None:
        return None
    below = 0
    while not accuracy[len(step) - 1 - below] >= np.float32(threshold):
        below += 1
    return int(step[len(step) - below]) if below >= hold else None


def slow_hits(curves: Curves) -> list[int]:
    """Steps of the records that DESIGN.md's definition of a slingshot holds for, one by one."""
    hits = []
    for i, t in enumerate(curves.step):
        before = [float(curves.loss[j]) for j in range(i) if t - 100 <= curves.step[j] < t]
        if len(before) < 5:
            before = [float(value) for value in curves.loss[max(0, i - 5) : i]]
        spike = float(curves.loss_max[i])
        if t >= 200 and before and spike > 1e-5 and spike > 10 * np.median(before):
            hits.append(int(t))
    return hits


def slow_slingshots(curves: Curves) -> list[tuple[int, float]]:
    """(first step, largest train loss) of hits no more than 200 steps from the one before."""
    found: list[list[int]] = []
    for t in slow_hits(curves):
        if found and t - found[-1][-1] <= 200:
            found[-1].append(t)
        else:
            found.append([t])
    at = {int(t): float(value) for t, value in zip(curves.step, curves.loss_max, strict=True)}
    return [(group[0], max(at[t] for t in group)) for group in found]


def slow_events(curves: Curves, thresholds: Thresholds) -> list[tuple[str, int]]:
    tested = curves.step[curves.tested], curves.test[curves.tested]
    found = [
        ("fit", slow_first(curves.step, curves.train, thresholds.fit, thresholds.hold)),
        ("generalization", slow_first(*tested, thresholds.generalization, thresholds.hold)),
        (
            "loss_of_generalization",
            slow_loss_of_generalization(*tested, thresholds.generalization, thresholds.hold),
        ),
        *(("slingshot", t) for t, _ in slow_slingshots(curves)),
    ]
    return sorted((kind, t) for kind, t in found if t is not None)


def kinds_and_steps(events: list[Event]) -> list[tuple[str, int]]:
    return sorted((event.kind, event.step) for event in events)


# --- any curves -----------------------------------------------------------------------------------------------


@st.composite
def any_curves(draw) -> Curves:
    """Records like a run's: a dense start, then every `every` steps, then one at the end; losses with spikes."""
    every, dense = draw(st.integers(1, 60)), draw(st.integers(0, 12))
    records = draw(st.integers(1, 45))
    steps = list(dict.fromkeys([*range(dense), *(every * i for i in range(records))]))
    steps = sorted(steps)
    if draw(st.booleans()):
        steps.append(steps[-1] + draw(st.integers(1, every)))
    n = len(steps)
    levels = st.sampled_from([1e-7, 3e-6, 2e-5, 1e-3, 5e-3, 0.05, 0.3, 2.0, float("inf"), float("nan")])
    loss = np.array(draw(st.lists(levels, min_size=n, max_size=n)), np.float32)
    rise = np.array(draw(st.lists(st.sampled_from([1, 1, 1, 8, 12, 300]), min_size=n, max_size=n)), np.float32)
    accuracies = st.lists(st.sampled_from([0.2, 0.98, 0.99, 1.0]), min_size=n, max_size=n)
    return Curves(steps, loss, loss * rise, draw(accuracies), draw(accuracies), eval_every=draw(st.integers(1, 4)))


thresholds = st.builds(
    Thresholds,
    fit=st.sampled_from([0.9, 0.99, 1.0]),
    generalization=st.sampled_from([0.9, 0.99, 1.0]),
    hold=st.integers(1, 6),
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(any_curves(), thresholds)
def test_events_are_those_of_the_slow_definitions(curves: Curves, thresholds: Thresholds):
    assert kinds_and_steps(curves.events(thresholds)) == slow_events(curves, thresholds)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(any_curves())
def test_a_slingshot_is_as_high_as_its_highest_hit(curves: Curves):
    found = [(event.step, event.value) for event in curves.events() if event.kind == "slingshot"]
    assert found == slow_slingshots(curves)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data(), any_curves(), thresholds)
def test_live_counts_agree_with_the_events_however_the_records_are_cut(data, curves, thresholds):
    n = len(curves.step)
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=n)) | {0, n})
    tally = Tally(thresholds)
    for index, (begin, end) in enumerate(itertools.pairwise(cuts)):
        tally.update(Segment(0, index, ("run",), curves.rows(begin, end), (), 0, 0))
    found = {event.kind for event in curves.events(thresholds)}
    expected = {"fit": "fit", "generalization": "generalized", "slingshot": "slingshot"}
    assert tally.counts() == {name: 1 for kind, name in expected.items() if kind in found}


# --- one thing at a time --------------------------------------------------------------------------------------

EVERY_10 = np.arange(0, 1000, 10)
FLAT = np.full(100, 0.01)


def raised(*places: tuple[int, float]) -> np.ndarray:
    """A train loss of 0.01 every 10 steps, with other values at some steps."""
    loss = FLAT.copy()
    for step, value in places:
        loss[step // 10] = value
    return loss


def slingshot_steps(curves: Curves) -> list[int]:
    return [event.step for event in curves.events() if event.kind == "slingshot"]


def test_fit_is_the_first_record_at_the_threshold_not_over_it():
    curves = Curves([0, 10, 20], [1, 1, 1], train=[0.98, 0.99, 1.0])
    assert [(event.kind, event.step, event.value) for event in curves.events()] == [("fit", 10, pytest.approx(0.99))]


def test_hold_asks_for_records_in_a_row():
    train = [1, 0.5, 1, 1, 0.5, 1, 1, 1]
    curves = Curves(range(0, 80, 10), np.ones(8), train=train)
    for hold, step in [(1, 0), (2, 20), (3, 50)]:
        assert kinds_and_steps(curves.events(Thresholds(hold=hold))) == [("fit", step)]
    assert curves.events(Thresholds(hold=4)) == []


def test_hold_counts_evaluations_for_generalization():
    curves = Curves(range(0, 80, 10), np.ones(8), test=[0, 0.1, 1, 0.1, 1, 0.1, 1, 0.1], eval_every=2)
    # evaluated at 0, 20, 40, 60 and at the end
    assert kinds_and_steps(curves.events(Thresholds(hold=3))) == [("generalization", 20)]


def test_generalization_is_lost_only_if_it_does_not_come_back():
    steps, ones = range(0, 60, 10), np.ones(6)
    dips = Curves(steps, ones, test=[0, 1, 0, 0, 0, 1])
    assert kinds_and_steps(dips.events()) == [("generalization", 10)]
    lost = Curves(steps, ones, test=[0, 1, 0, 1, 0.5, 0.4])
    (event,) = [event for event in lost.events() if event.kind == "loss_of_generalization"]
    assert (event.step, event.value) == (40, 0.5)
    assert outcome(lost.events()) == "lost"


def test_generalization_is_not_lost_in_fewer_records_than_hold():
    curves = Curves(range(0, 60, 10), np.ones(6), test=[1, 1, 1, 1, 0, 0])
    assert kinds_and_steps(curves.events(Thresholds(hold=3))) == [("generalization", 0)]
    assert kinds_and_steps(curves.events(Thresholds(hold=2))) == [
        ("generalization", 0),
        ("loss_of_generalization", 40),
    ]


def test_a_slingshot_is_more_than_ten_times_the_median():
    assert slingshot_steps(Curves(EVERY_10, raised((500, 0.1001)))) == [500]
    assert slingshot_steps(Curves(EVERY_10, raised((500, 0.0999)))) == []


def test_a_slingshot_between_records_counts_through_the_largest_loss():
    assert slingshot_steps(Curves(EVERY_10, FLAT, loss_max=raised((500, 0.2)))) == [500]


def test_the_median_is_of_the_100_steps_before():
    """0.3 is ten times 0.01 and not ten times 0.05, the median where five of ten records are 0.09."""
    half = [(t, 0.09) for t in range(400, 450, 10)]
    assert slingshot_steps(Curves(EVERY_10, raised(*half, (500, 0.3)))) == []
    one_too_early = [(t, 0.09) for t in range(390, 440, 10)]
    assert slingshot_steps(Curves(EVERY_10, raised(*one_too_early, (500, 0.3)))) == [500]


def test_no_slingshot_before_step_200_or_under_the_floor():
    assert slingshot_steps(Curves(EVERY_10, raised((190, 5.0)))) == []
    assert slingshot_steps(Curves(EVERY_10, raised((200, 5.0)))) == [200]
    assert slingshot_steps(Curves(EVERY_10, raised((500, 5.0)) * 1e-6)) == []


def test_hits_within_200_steps_of_the_one_before_are_one_slingshot():
    one = Curves(EVERY_10, raised((300, 1.0), (500, 3.0), (700, 2.0)))
    (event,) = [event for event in one.events() if event.kind == "slingshot"]
    assert (event.step, event.value) == (300, 3.0)
    assert slingshot_steps(Curves(EVERY_10, raised((300, 1.0), (510, 3.0)))) == [300, 510]


def test_sparse_records_compare_with_the_last_five():
    steps = np.arange(0, 3000, 300)  # no record has another within the 100 steps before it
    loss = np.array([1.0, 1.0, 1.0, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3])
    late, early = loss.copy(), loss.copy()
    late[8] = 0.05  # the last five before it are 1e-3
    early[5] = 0.05  # of the last five before it three are 1
    assert slingshot_steps(Curves(steps, late)) == [2400]
    assert slingshot_steps(Curves(steps, early)) == []


def test_the_norm_jump_is_of_the_last_layer_after_the_spike():
    norm = np.full(100, 4.0)
    norm[52], norm[80] = 6.0, 50.0  # at 520, within 200 steps; at 800, too late
    curves = Curves(EVERY_10, raised((500, 1.0)), norm=norm)
    (event,) = curves.events()
    assert event.norm_jump == pytest.approx(0.5)


def test_divergence_has_the_engines_step_and_matrix_and_the_last_loss():
    curves = Curves([0, 10], [2.0, 7.0], train=[1, 1])
    events = curves.events(divergence=(17, "W_in.0"))
    assert [(event.kind, event.step) for event in events] == [("fit", 0), ("divergence", 17)]
    assert (events[-1].value, events[-1].matrix) == (7.0, "W_in.0")
    assert outcome(events) == "diverged"


def test_a_run_without_a_record_has_no_events_but_its_divergence():
    nothing = find_events({}, Thresholds(), LAST)
    assert nothing == []
    assert outcome(nothing) == "not_fit"
    (event,) = find_events({}, Thresholds(), LAST, (0, "W_E"))
    assert event.kind == "divergence"
    assert np.isnan(event.value)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ([0, 0.5], [0, 0.5], "not_fit"),
        ([0, 1.0], [0, 0.5], "memorized"),
        ([0, 1.0], [0, 1.0], "generalized"),
        ([0, 1.0], [1.0, 0], "lost"),
    ],
)
def test_outcome(train, test, expected: str):
    assert outcome(Curves([0, 10], [1, 1], train=train, test=test).events()) == expected


@pytest.mark.parametrize(
    ("sizes", "final", "expected"),
    [
        (Sizes(113, 3830, 8939), 0.93, "partly_generalized"),
        (Sizes(113, 3830, 8939), 0.11, "partly_generalized"),  # a tenth of the way from 1 / 113 to 0.99 is 0.107
        (Sizes(113, 3830, 8939), 0.10, "memorized"),
        (Sizes(2, 40, 24), 0.75, "memorized"),  # within three standard errors of a guess, 0.31
        (Sizes(2, 40, 24), 0.85, "partly_generalized"),
    ],
)
def test_what_is_above_chance_is_partly_generalized(sizes: Sizes, final: float, expected: str):
    events = Curves([0, 10], [1, 1], train=[0, 1], test=[0, final]).events()
    assert outcome(events, final, above_chance(sizes, 0.99)) == expected


def test_with_minibatches_fit_is_that_of_the_whole_train_set():
    """One batch that is all right makes no fit."""
    steps = np.arange(0, 60, 10)
    batch = np.array([0, 1, 0.5, 0.5, 0.75, 1], np.float32)
    whole = np.array([0, 0.5, 1], np.float32)
    curves = {
        "train/loss": (steps, np.ones(6, np.float32)),
        "train/loss_max": (steps, np.ones(6, np.float32)),
        "train/accuracy": (steps, batch),
    }
    assert [event.step for event in find_events(curves, Thresholds(), LAST)] == [10]
    both = curves | {"train_set/accuracy": (steps[::2], whole)}
    assert [event.step for event in find_events(both, Thresholds(), LAST)] == [40]
    assert [event.step for event in find_events(both, Thresholds(fit=0.5), LAST)] == [20]


def test_the_tally_remembers_the_last_five_records_of_a_sparse_run():
    loss = [1e-3, 8e-3, 8e-3, 1e-3, 1e-3, 0.03]  # the median of five is 1e-3, that of four 4.5e-3
    curves = Curves(range(0, 1800, 300), loss)
    tally = Tally(Thresholds())
    for index in range(6):
        tally.update(Segment(0, index, ("run",), curves.rows(index, index + 1), (), 0, 0))
    assert slingshot_steps(curves) == [1500]
    assert tally.counts() == {"slingshot": 1}


def test_the_tally_keeps_runs_apart_and_counts_each_once():
    spiky, dull = Curves(EVERY_10, raised((300, 1.0), (700, 1.0))), Curves(EVERY_10, FLAT, train=np.ones(100))
    tally = Tally(Thresholds())
    for index in range(10):
        rows = [curves.rows(10 * index, 10 * index + 10, lane) for lane, curves in enumerate([spiky, dull])]
        both = Rows(
            np.concatenate([part.run for part in rows]),
            np.concatenate([part.step for part in rows]),
            {name: np.concatenate([part.metrics[name] for part in rows]) for name in rows[0].metrics},
            {name: np.concatenate([part.recorded[name] for part in rows]) for name in rows[0].recorded},
        )
        ends = (End("b", 1000, True, "W_E"),) if index == 9 else ()
        tally.update(Segment(0, index, ("a", "b"), both, ends, 0, 0))
    assert tally.counts() == {"slingshot": 1, "fit": 1, "diverged": 1}
