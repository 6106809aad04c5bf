"""The lines shown while a sweep trains, on terminals of any size and without one."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from grokjax.analysis.events import Thresholds
from grokjax.analysis.tally import KINDS, Tally
from grokjax.live import Line, LiveScreen, duration, line_of, size
from grokjax.plan.plan import Device, make_plan
from grokjax.results.segment import End, Rows, Segment
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep


def screen(width, height, buckets, **progress):
    """A screen of a terminal with so many buckets of two runs of 500 steps; progress: Line's values of all of them."""
    shown = LiveScreen(Console(file=io.StringIO(), force_terminal=True, width=width, height=height))
    for index in range(buckets):
        steps = {f"{index}a": 500, f"{index}b": 500}
        bucket = SimpleNamespace(index=index)
        shown.lines[index] = Line(bucket, Tally(Thresholds(0.9, 0.9, 1), {}), steps, {}, **progress)  # pyright: ignore
    return shown


def lines(shown):
    console = shown.console
    return [str(line) for line in shown._render().wrap(console, console.width, no_wrap=True, overflow="ellipsis")]


def segment(line, steps, ends=()):
    """One of a line's runs, in which they took so many steps together."""
    none = {
        name: np.zeros(0, np.float32) for name in ("train/loss", "train/loss_max", "train/accuracy", "test/accuracy")
    }
    empty = np.zeros(0, np.int32)
    rows = Rows(empty, empty, metrics=none, recorded={})
    return Segment(0, 0, tuple(line.steps), rows, tuple(ends), steps, steps)


def plan(seeds, steps):
    text = f"base: {{task: {{p: 7}}, train: {{steps: {steps}}}}}\nparameters: {{seed: {{min: 0, max: {seeds - 1}}}}}\n"
    return make_plan(expand(parse_sweep(text, "s.yaml", Path())), Device("cpu", "cpu", 1, 2**33, "test"))


def test_a_bucket_says_progress_speed_time_left_lanes_and_counts():
    (line,) = lines(screen(200, 24, 1, done=250, lane_steps=500, speed=10.0, ended=1))
    assert line == (
        "25%, 10 run-steps/s, 0:01:15 left, lanes 50% used | "
        "1 of 2 ended: 0 fit, 0 generalized, 0 slingshots, 0 diverged"
    )


@pytest.mark.parametrize("width", [120, 100, 80, 60])
def test_a_narrow_line_keeps_the_counts_and_drops_the_rest(width):
    shown = screen(width, 24, 2, done=250, lane_steps=500, speed=1234.5, ended=1)
    for index, line in enumerate(lines(shown)):
        assert len(line) <= width
        assert "…" not in line
        assert line.startswith(f"bucket {index}: 25%")
        counts = line.split(" | ")[1]
        assert counts.replace(":", ",").split(", ")[0] in ("1 of 2 ended", "1/2 ended")
        assert [part.split()[0] for part in counts.replace(":", ",").split(", ")[1:]] == ["0"] * len(KINDS)
    assert ("left" in lines(shown)[0]) == (width >= 80)


def test_a_line_of_large_numbers_still_fits_60_columns():
    shown = screen(60, 24, 1, done=250, lane_steps=500, speed=1e6, ended=1)
    shown.lines[0].steps |= {str(index): 500 for index in range(4998)}
    shown.lines[0].tally.begin({str(index): set(KINDS) for index in range(4321)})
    (line,) = lines(shown)
    assert "1/5000 ended, 4321 fit, 4321 gen, 4321 sling, 4321 div" in line
    assert len(line) <= 60


def test_run_steps_of_an_earlier_process_count_as_done():
    (line,) = lines(screen(200, 24, 1, before=500, done=250, lane_steps=250, speed=10.0))
    assert line.startswith("75%, 10 run-steps/s, 0:00:25 left, lanes 100% used")


def test_the_segment_that_waited_for_the_compiler_tells_no_speed():
    (line,) = screen(200, 24, 1).lines.values()
    line.update(segment(line, 100), now=60.0)  # a minute of compiling
    assert line.speed == 0.0
    assert "left" not in line.text(many=False)
    line.update(segment(line, 100), now=62.0)
    assert line.speed == 50.0
    assert "0:00:16 left" in line.text(many=False)


def test_runs_that_go_on_with_shorter_ones_count_what_is_left():
    of = plan(seeds=3, steps=5000)
    begun = {of.sweep.runs[0].run_id: 1500}
    line = line_of(of.buckets[0], of.chunks, begun)
    assert line.total == 2 * 5000 + 3500
    first, second, _ = (run.run_id for run in of.sweep.runs)
    line.resume({first: 2500, second: 1000}, {second}, {second: {"fit"}})  # the second was ended by its stop rule
    assert (line.before, line.total, line.ended) == (2000, 1000 + 3500 + 5000, 1)
    line.update(segment(line, 500, [End(first, 3000, False, None)]), now=1.0)
    assert line.left == 5000
    assert "2 of 3 ended: 1 fit" in line.text(many=False)


class Unread(dict):
    """A mapping of runs that tells of those asked for, and fails when all are looked at."""

    def __iter__(self):
        raise AssertionError("all runs were looked at")

    values = items = keys = __iter__


def test_an_end_and_the_line_after_it_look_at_no_other_run():
    (line,) = screen(200, 24, 1).lines.values()
    line.tally.begin({str(index): {"fit"} for index in range(500)})
    last = segment(line, 500, [End("0a", 400, True, "W_E")])
    line.steps, line.begun, line.tally._seen = Unread(line.steps), Unread(), Unread(line.tally._seen)
    line.update(last, now=1.0)
    assert line.left == 400 + 500 - 500
    assert "1 of 2 ended: 500 fit, 0 generalized, 0 slingshots, 1 diverged" in line.text(many=False)


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
    assert len(first) <= 60
    assert last == "... 12 buckets in all"


def test_durations_and_sizes_are_read_at_a_glance():
    assert [duration(seconds) for seconds in (0.4, 72, 3 * 3600 + 5)] == ["0:00:00", "0:01:12", "3:00:05"]
    assert [size(count) for count in (12, 1500, 12.6e9)] == ["12 bytes", "1.5 kB", "12.6 GB"]
