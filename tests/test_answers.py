"""What answers are made of: censored medians and fractions over seeds, and whether the best lies on an edge."""

from __future__ import annotations

import itertools

import answers
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from grokjax.analysis.censored import median_time
from grokjax.analysis.outcomes import cell_outcomes, edges, ranking

NEVER = np.nan


def runs(**columns):
    size = len(next(iter(columns.values())))
    plain = {
        "status": ["ended"] * size,
        "fit_step": [1.0] * size,
        "slingshots": [0] * size,
        "train.steps": [900] * size,
    }
    return pd.DataFrame(plain | columns)


def test_the_median_of_times_that_never_came_is_later_than_all():
    assert median_time([10, 30, 20])[0] == 20
    assert median_time([10, 30, NEVER])[0] == 30
    assert median_time([10, 20, NEVER, NEVER])[0] == 20  # half got there by 20
    assert median_time([10, NEVER, NEVER])[0] == np.inf


def slow_interval(count: int, level: float) -> tuple[int, int]:
    """Places of the narrowest symmetric pair of ordered times that covers the median, by counting all coin tosses."""
    for cut in reversed(range((count + 1) // 2)):
        tosses = itertools.product((0, 1), repeat=count)
        missed = sum(2 * (sum(toss) <= cut) for toss in tosses) / 2**count
        if 1 - missed >= level:
            return cut, count - 1 - cut
    return 0, count - 1


@pytest.mark.parametrize("count", range(1, 14))
def test_the_interval_of_a_median_is_that_of_the_sign_test(count):
    first, last = slow_interval(count, 0.95)
    assert median_time(np.arange(count))[1:] == (first, last)


def test_the_interval_covers_the_median_of_repeated_samples():
    draw = np.random.default_rng(0)
    samples = draw.exponential(size=(2000, 12))
    found = np.array([median_time(sample)[1:] for sample in samples])
    assert ((found[:, 0] <= np.log(2)) & (np.log(2) <= found[:, 1])).mean() > 0.95


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.just(NEVER), st.integers(1, 10_000).map(float)), min_size=1, max_size=20))
def test_a_median_lies_in_its_interval_whatever_the_order(times):
    median, low, high = median_time(times)
    assert low <= median <= high
    assert median_time(times[::-1]) == (median, low, high)


def test_texts_say_what_was_not_reached():
    assert str(answers.time_within(6000, 1200.0, 900.0, np.inf)) == "1,200 (900 to over 6,000)"
    assert str(answers.time_within(6000, np.inf, np.inf, np.inf)) == "over 6,000"
    assert str(answers.time_within(6000, np.inf, 5000.0, np.inf)) == "over 6,000 (5,000 to over 6,000)"
    assert str(answers.share(7, 10)) == "7 of 10 (40 to 89 %)"


def test_a_cell_counts_what_its_runs_did():
    frame = runs(
        key=[1, 1, 1, 2, 2],
        status=["ended", "diverged", "ended", "ended", "running"],
        generalization_step=[10.0, NEVER, 30.0, NEVER, NEVER],
        slingshots=[2, 0, 1, 0, 5],
    )
    found = cell_outcomes(frame, ["key"]).set_index("key")
    assert found.loc[1, ["runs", "generalized", "diverged", "slingshots"]].tolist() == [3, 2, 1, 2]
    assert found.loc[1, "median_step"] == 30
    assert found.loc[2, ["runs", "generalized"]].tolist() == [1, 0]
    assert np.isinf(found.loc[2, "median_step"])


def test_none_is_a_value_of_a_key_like_others():
    found = cell_outcomes(runs(clip=[None, None, 1.0], generalization_step=[5.0, 7.0, NEVER]), ["clip"])
    assert sorted(found["runs"]) == [1, 2]


def test_without_a_run_that_ended_there_is_no_answer():
    with pytest.raises(ValueError, match="no run has ended yet"):
        cell_outcomes(runs(key=[1], status=["running"], generalization_step=[NEVER]), ["key"])


def test_the_best_is_warned_of_on_an_edge_but_not_at_zero_or_within():
    steps = [50.0, 20.0, 10.0]
    frame = cell_outcomes(runs(lr=[0.1, 0.2, 0.3], decay=[0.0, 0.0, 0.0], generalization_step=steps), ["lr", "decay"])
    best = ranking(frame).index[0]
    assert edges(frame, best, ["lr", "decay"]) == [("lr", 0.3, "largest")]
    assert edges(frame, 1, ["lr"]) == []
    at_zero = cell_outcomes(runs(decay=[0.0, 1.0], generalization_step=[5.0, 9.0]), ["decay"])
    assert edges(at_zero, ranking(at_zero).index[0], ["decay"]) == []
    words = cell_outcomes(runs(name=["a", "b"], generalization_step=[5.0, 9.0]), ["name"])
    assert edges(words, 0, ["name"]) == []


def test_the_interval_of_a_mean_is_students():
    mean = answers.mean([1.0, 2.0, 6.0, NEVER])
    half = t.ppf(0.975, 2) * np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    assert (mean.value, mean.low, mean.high) == pytest.approx((3, 3 - half, 3 + half))
    assert np.isnan(answers.mean([2.0]).low)
