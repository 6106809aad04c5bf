"""Medians over the runs of a group: which runs count at a step, and with what."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.analysis.over_runs import over_runs, solid_points

GROUP = {"a": 0, "b": 0, "c": 0}


def frame_of(**runs: dict[int, float]) -> pd.DataFrame:
    rows = [(run, step, value) for run, values in runs.items() for step, value in values.items()]
    return pd.DataFrame(rows, columns=["run_id", "step", "x"])


def test_of_five_runs_on_the_band_is_10_to_90_percent():
    frame = pd.DataFrame({"run_id": list("abcdefghijk"), "step": 0, "x": np.arange(11.0)})
    bands = over_runs(frame, dict.fromkeys("abcdefghijk", 0), ["x"])
    assert bands[["median", "low", "high"]].to_numpy().tolist() == [[5.0, 1.0, 9.0]]


def test_a_line_ends_where_less_than_half_of_its_runs_go_on():
    rows = [("a", step, 1.0) for step in (0, 10, 20)] + [("b", 0, 3.0), ("b", 10, 3.0), ("c", 0, 5.0)]
    frame = pd.DataFrame(rows, columns=["run_id", "step", "x"])
    bands = over_runs(frame, {"a": 0, "b": 0, "c": 0}, ["x"])
    assert bands["step"].tolist() == [0, 10]
    assert bands["median"].tolist() == [3.0, 2.0]
    assert bands["runs"].tolist() == [3, 2]


def test_runs_that_stopped_count_on_with_their_last_value():
    """Two of three generalize and stop: the median is not that of the one that is left."""
    frame = frame_of(a={0: 0.0, 10: 1.0, 12: 1.0}, b={0: 0.0, 10: 0.5, 14: 1.0}, c={0: 0.0, 10: 0.0, 20: 0.1, 30: 0.1})
    bands = over_runs(frame, GROUP, ["x"], ended=["a", "b"])
    assert bands["step"].tolist() == [0, 10, 20, 30]
    assert bands["median"].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert bands["runs"].tolist() == [3, 3, 3, 3]
    assert bands["live"].tolist() == [3, 3, 1, 1]
    assert solid_points(bands) == 2


def test_runs_that_diverged_or_still_train_do_not_count_on():
    frame = frame_of(a={0: 1.0, 10: 1.0}, b={0: 5.0, 10: 5.0, 20: 5.0}, c={0: 3.0, 10: 3.0, 20: 3.0})
    bands = over_runs(frame, GROUP, ["x"], ended=["c"])
    assert bands["runs"].tolist() == [3, 3, 2]
    assert bands["median"].tolist() == [3.0, 3.0, 4.0]


def test_the_last_record_of_one_run_makes_no_kink():
    frame = frame_of(a={0: 1.0, 10: 1.0, 13: 9.0, 20: 1.0}, b={0: 1.0, 10: 1.0, 20: 1.0}, c={0: 1.0, 10: 1.0, 20: 1.0})
    assert over_runs(frame, GROUP, ["x"])["step"].tolist() == [0, 10, 20]


@given(stops=st.lists(st.integers(1, 9), min_size=1, max_size=7), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_median_is_that_of_runs_drawn_out_to_the_longest(stops, seed):
    """Against a table filled to its right by pandas."""
    values = np.random.default_rng(seed).normal(size=(len(stops), 10))
    full = pd.DataFrame(values)
    for row, stop in enumerate(stops):
        full.iloc[row, stop:] = np.nan
    long = full.T.reset_index(names="step").melt("step", var_name="run_id", value_name="x").dropna()
    bands = over_runs(
        long.astype({"run_id": str}),
        {str(row): 0 for row in range(len(stops))},
        ["x"],
        [str(row) for row in full.index],
    )
    expected = full.ffill(axis=1).median().iloc[: max(stops)]
    assert np.allclose(bands["median"], expected)
    assert bands["live"].tolist() == full.notna().sum().iloc[: max(stops)].tolist()
