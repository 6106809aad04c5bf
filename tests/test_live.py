"""The lines shown while a sweep trains, on terminals of any size and without one."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from grokjax.analysis.events import Thresholds
from grokjax.analysis.tally import Tally
from grokjax.live import Line, LiveScreen, duration, size


def screen(width, height, buckets, **progress):
    """A screen of a terminal with so many buckets of 1,000 run-steps; progress: Line's values of all of them."""
    shown = LiveScreen(Console(file=io.StringIO(), force_terminal=True, width=width, height=height))
    for index in range(buckets):
        bucket = SimpleNamespace(index=index, runs=(object(), object()))
        shown.lines[index] = Line(bucket, Tally(Thresholds(0.9, 0.9, 1), {}), total=1000, **progress)  # pyright: ignore
    return shown


def lines(shown):
    console = shown.console
    return [str(line) for line in shown._render().wrap(console, console.width, no_wrap=True, overflow="ellipsis")]


def test_a_bucket_says_progress_speed_time_left_lanes_and_outcomes():
    (line,) = lines(screen(200, 24, 1, done=250, lane_steps=500, speed=10.0))
    assert line.startswith("25%, 10 run-steps/s, 0:01:15 left, lanes 50% used | 2 runs: 0 fit, 0 generalized")


def test_run_steps_of_an_earlier_process_count_as_done():
    (line,) = lines(screen(200, 24, 1, before=500, done=250, lane_steps=250, speed=10.0))
    assert line.startswith("75%, 10 run-steps/s, 0:00:25 left, lanes 100% used")


def test_several_buckets_are_told_apart_and_those_that_wait_say_so():
    shown = screen(200, 24, 2)
    shown.lines[0].done = shown.lines[0].lane_steps = 1000
    assert [line.split(",")[0] for line in lines(shown)] == ["bucket 0: 100%", "bucket 1: waiting"]


@pytest.mark.parametrize("height", [5, 8])
def test_a_terminal_with_few_lines_shows_the_buckets_that_train(height):
    shown = screen(60, height, 12)
    shown.lines[7].done = shown.lines[7].lane_steps = 10
    first, last = lines(shown)
    assert first.startswith("bucket 7: 1%")
    assert first.endswith("…")
    assert len(first) <= 60
    assert last == "... 12 buckets in all"


def test_durations_and_sizes_are_read_at_a_glance():
    assert [duration(seconds) for seconds in (0.4, 72, 3 * 3600 + 5)] == ["0:00:00", "0:01:12", "3:00:05"]
    assert [size(count) for count in (12, 1500, 12.6e9)] == ["12 bytes", "1.5 kB", "12.6 GB"]
