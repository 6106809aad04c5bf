"""The report: what its data are, that nothing in it escapes, its size, and what a browser makes of it."""

import base64
import json
import re
import shutil
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_results import HOSTILE, MATRICES, METRICS, SMALL, SyntheticResults, hostile
from typer.testing import CliRunner

import grokjax
from grokjax.analysis.cells import ordered_values
from grokjax.analysis.events import MEANINGS, OUTCOMES
from grokjax.analysis.question import question
from grokjax.analysis.thinning import log_steps, nearest, shared_records
from grokjax.cli import app
from grokjax.figures.style import value_text
from grokjax.report.axes import group_colors, run_axis, views
from grokjax.report.colors import LEAST_CONTRAST, PAPERS, contrast
from grokjax.report.curves import points_for, thinned
from grokjax.report.metrics import is_log, page_metrics
from grokjax.report.more import deflated
from grokjax.report.pack import StepLists, pack
from grokjax.report.page import SCRIPTS, page, part
from grokjax.report.payload import columns, payload
from grokjax.report.standing import happened, labels, sweep_state
from grokjax.report.words import arm_words, values_text

WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Elements(HTMLParser):
    """Names of all elements, and the text of the data."""

    def __init__(self, text):
        super().__init__()
        self.names, self.data, self._in_data = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self._in_data = ("id", "data") in attrs

    def handle_data(self, data):
        if self._in_data:
            self.data += data

    def handle_endtag(self, tag):
        self._in_data = False


def unpacked(low, high, text, log):
    """What the page's script makes of codes."""
    codes = np.frombuffer(base64.b64decode(text), "<i2").astype(float)
    values = low + (codes + 32766) / 65532 * (high - low)
    values = 10**values if log else values
    values[codes == -32768] = np.nan
    values[codes == 32767] = np.inf
    return np.where((codes == -32767) & log, 0.0, values)


# ---- words


def test_filters_are_values_that_runs_are_told_apart_by():
    ortho, fast = {"name": "orthograd", "lamb": None}, {"name": "grokfast_ema", "alpha": 0.98, "lamb": 2.0}
    column = pd.Series([[], [ortho], [fast, ortho], [ortho]])
    assert ordered_values(column) == [(), ("orthograd",), ("grokfast_ema (alpha 0.98, lamb 2)", "orthograd")]


def test_the_question_is_the_comment_above_a_sweep_without_its_cost():
    text = question(SMALL)
    assert text == ["What does a report of a small sweep show, and what of one that explodes?"]
    assert question("name: none\n# Question: too late\n") == []


def texts_of(values):
    return {value: value_text(value) for value in values}


def test_values_are_told_in_full_or_by_their_range():
    assert values_text(texts_of([0, 1, 2, 3, 4])) == "0 to 4 (5)"
    assert values_text(texts_of([0.1, 1.0])) == "0.1, 1"
    many = [1 + place / 7 for place in range(20)]
    assert values_text(texts_of(many)) == "20 values from 1 to 3.71"
    assert values_text(texts_of(many) | {None: "full batch (768)"}) == "20 values from 1 to 3.71 and full batch (768)"


def test_what_happened_is_counted_with_medians_over_all_runs():
    results = SyntheticResults(12)
    text = happened(results.runs(), list(results.runs()["outcome"]))
    assert text.startswith("Of 12 runs, 12 generalized. 12 of 12 fit, median step 200; 12 of 12 generalized")
    assert text.endswith("3 had slingshots, 6 in all.")


def test_a_median_counts_the_runs_that_never_got_there_as_later():
    runs = SyntheticResults(4).runs().assign(
        outcome=["generalized", "generalized", "memorized", "memorized"],
        fit_step=[100.0, 100.0, 100.0, np.nan],
        generalization_step=[500.0, 900.0, np.nan, np.nan],
        delay=[400.0, 800.0, np.nan, np.nan],
        slingshots=0,
    )  # fmt: skip
    text = happened(runs, list(runs["outcome"]))
    assert "3 of 4 fit, median step 100; 2 of 4 generalized, median step 900" in text
    assert "median delay of those that fit 800 steps" in text
    assert "700" not in text, "the median of the two that did"
    assert "generalized, median step not reached" in happened(runs.iloc[1:], list(runs["outcome"][1:]))


def test_runs_that_go_on_are_told_as_what_they_are():
    states = ["generalized", "stopped", "queued", "queued"]
    assert sweep_state(states, None) == "1 of 4 runs ended; 1 stopped, 2 queued"
    assert sweep_state(["memorized"] * 3, 0.0) == "All 3 runs ended; last record written 1970-01-01 00:00 UTC"
    runs = SyntheticResults(4).runs()
    assert "1 stopped before its end; 2 not begun. 2 of 2 fit so far" in happened(runs, states)


def test_every_outcome_has_its_words_and_colors_and_no_list_beside_that_of_analysis():
    rows = {row["name"]: row for row in labels()}
    assert list(rows)[: len(OUTCOMES)] == list(OUTCOMES)
    assert list(MEANINGS) == list(OUTCOMES)
    assert all(rows[name]["text"] == text for name, text in OUTCOMES.items())
    script = "".join(part(name) for name in SCRIPTS)
    assert "partly_generalized" not in script
    assert "memorized" not in script


@pytest.mark.parametrize("numeric", [True, False])
@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_lines_have_a_contrast_of_3_on_light_and_on_dark_paper(numeric, count):
    pairs = [*group_colors(numeric, count), *(row["colors"] for row in labels())]
    assert len(group_colors(numeric, count)) == count
    for pair in pairs:
        for color, paper in zip(pair, PAPERS, strict=True):
            assert contrast(color, paper) >= LEAST_CONTRAST
    assert contrast("black", "white") == pytest.approx(21)


# ---- data


@pytest.mark.parametrize("log", [True, False])
def test_packed_curves_are_what_was_packed(log):
    values = np.array([1e-9, 0.0, np.nan, 3.5, np.inf, 1e-3])
    low, high, text = pack([values], log)
    assert unpacked(low, high, text, log) == pytest.approx(values, rel=1e-3, abs=1e-4 if not log else 0, nan_ok=True)


def test_equal_lists_of_steps_are_kept_once():
    steps = StepLists()
    assert [steps.add([0, 10]), steps.add([0, 20]), steps.add(np.array([0, 10]))] == [0, 1, 0]
    assert np.frombuffer(base64.b64decode(steps.texts[1]), "<u4").tolist() == [0, 20]


def test_nearest_records():
    assert nearest(np.array([0, 10, 20]), np.array([0, 4, 6, 90])).tolist() == [0, 1, 2]
    assert nearest(np.array([7]), np.array([0, 4])).tolist() == [0]
    assert log_steps(1000, 4).tolist() == [0, 1, 10, 100, 1000]


def test_few_records_are_kept_log_spaced_and_all_about_an_event():
    steps = np.arange(0, 40_001, 10)
    rows, common = shared_records(steps, steps % 100 == 0, 40_000, 60, [22_220])
    kept = steps[rows]
    assert {0, 40_000, 22_190, 22_200, 22_210, 22_220, 22_230, 22_240, 22_250} <= set(kept)
    assert len(kept) < 130
    assert (np.diff(kept[kept > 1000]) < 0.3 * kept[kept > 1000][:-1]).all()
    assert not common[kept == 22_210].any()


def test_no_spike_is_lost_where_records_are_left_out():
    results = SyntheticResults(1)
    few = thinned(results, METRICS, results.events().iloc[:0], results.steps).curves
    assert few.loc[few["step"] > 1000, "train/loss_max"].max() == pytest.approx(0.5, rel=1e-3)


def test_a_band_is_that_of_all_runs_of_its_value():
    results = SyntheticResults(48)
    few = thinned(results, METRICS, results.events(), results.steps)
    view = views(results, results.runs())[0]
    assert [group.label for group in view.groups] == ["0.1", "0.3", "1", "3"]
    bands = view.bands(few.curves, ["test/loss"], set())
    ids = results.runs().query("`optimizer.weight_decay` == 3.0")["run_id"]
    curves = results.curves(["test/loss"], list(ids))
    for step in (0, 2000, 20_000):
        values = curves.loc[curves["step"] == step, "test/loss"].astype(float)
        row = bands.query("group == 3 and step == @step").iloc[0]
        expected = values.quantile([0.1, 0.5, 0.9]).tolist()
        assert [row["low"], row["median"], row["high"]] == pytest.approx(expected, rel=1e-5)
    assert view.note(set(results.run_ids)) == "median and 10–90% band over 12 runs, pooled over init.scale"


def test_values_of_one_name_in_different_folders_stay_apart():
    runs = pd.DataFrame({"run_id": ["a", "b"], "init.from_file": ["one/w.safetensors", "two/w.safetensors"]})
    assert run_axis(SyntheticResults(1), runs, "init.from_file").labels == ("one/w.safetensors", "two/w.safetensors")


def test_null_is_a_value_with_its_word_and_its_place():
    results = SyntheticResults(24, batches=(32, None))
    runs = results.runs()
    axis = run_axis(results, runs, "train.batch")
    assert (axis.labels, axis.numeric) == (("32", "full batch (768)"), True)
    view = next(view for view in views(results, runs) if view.name == "batch")
    assert [(group.label, len(group.run_ids)) for group in view.groups] == [("32", 12), ("full batch (768)", 12)]
    (column,) = (column for column in columns(results, runs) if column["name"] == "batch")
    assert set(column["texts"]) == {"32", "full batch (768)"}
    assert column["numbers"][-1] is None
    assert arm_words(results, runs)[0].swept[-1] == ("batch", "32, full batch (768)")
    assert "batch size swept" in arm_words(results, runs)[0].setup


def test_a_key_that_a_run_has_not_is_no_null():
    results = SyntheticResults(2, batches=(None, 32), absent=("train.batch",))
    (column,) = (column for column in columns(results, results.runs()) if column["name"] == "batch")
    assert column["texts"] == ["", ""]


# ---- metrics and time


def test_all_metrics_are_in_the_page_and_small():
    others = tuple(f"grad_norm/{name}" for name in MATRICES)
    few, many = payload(SyntheticResults(48)), payload(SyntheticResults(48, more=others))
    assert [metric["name"] for metric in many.data["metrics"][many.data["opened"] :]] == list(others)
    assert len(few.data["views"][0]["bands"]) == len(many.data["views"][0]["bands"])
    assert len(deflated(many.more)) < 700_000
    read = json.loads(zlib.decompress(base64.b64decode(deflated(many.more))))
    assert len(read["views"][0]["bands"]) == len(others) * 4
    assert len(read["curves"]) == 48


def test_metrics_without_room_are_named(monkeypatch):
    monkeypatch.setattr("grokjax.report.metrics.MORE_BYTES", 10_000)
    results = SyntheticResults(24, more=tuple(f"probe/{place}" for place in range(9)))
    metrics = page_metrics(results, views(results, results.runs()), 24)
    assert metrics.points == 0
    assert [*metrics.more, *metrics.left_out] == list(results.more)
    assert metrics.left_out


def test_what_spans_a_wide_range_is_packed_by_its_logarithms():
    curves = pd.DataFrame({"a": [1e-6, 1.0, 0.0], "b": [-1.0, 1.0, 5e3], "c/accuracy": [1e-6, 0.5, 1.0]})
    assert [is_log(curves, str(name)) for name in curves] == [True, False, False]


def test_a_band_over_epochs_of_runs_of_different_batches_is_between_their_records():
    results = SyntheticResults(24, batches=(32, None))
    data = payload(results).data
    assert data["units"]["epoch"] == [32 / 768 if run // 12 == 0 else 1 for run in range(24)]
    by_decay = next(view for view in data["views"] if view["name"] == "weight_decay")
    by_batch = next(view for view in data["views"] if view["name"] == "batch")
    assert {row[0] for row in by_decay["timed"]["epoch"]} == {0, 1, 2, 3}
    assert by_batch["timed"]["epoch"] == [], "there a group's epochs are a multiple of its steps"
    row = by_decay["timed"]["epoch"][0]
    places = np.frombuffer(base64.b64decode(data["places"][row[2]]), "<f4")
    assert places[0] == 0
    assert (np.diff(places) > 0).all()
    assert len(base64.b64decode(row[5])) / 2 == 3 * len(places)


# ---- the page


def test_more_runs_have_fewer_points():
    assert points_for(24, 15) > points_for(1000, 15) > points_for(5000, 15) >= 24


def test_equal_results_give_equal_pages():
    first = page(SyntheticResults(12), WHEN)
    assert first == page(SyntheticResults(12), WHEN)
    assert "Written 2026-01-02 03:04 UTC by grokjax" in first
    assert "All 12 runs ended" in first


def test_the_page_allows_its_own_scripts_and_nothing_else():
    text = page(SyntheticResults(12), WHEN)
    rule = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert rule
    assert rule[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in rule[1]
    assert "unsafe-inline'; img" in rule[1]  # of styles only
    assert not {"link", "iframe", "img", "base", "object"} & set(Elements(text).names)


def test_what_comes_from_a_file_stays_text():
    elements = Elements(page(hostile(), WHEN))
    assert elements.names.count("script") == 4
    assert not {"img", "b"} & set(elements.names)
    data = json.loads(elements.data)
    assert data["name"] == HOSTILE
    assert data["arms"][1] == "<img src=x onerror=alert(2)>"


def test_the_data_are_numbers_and_text():
    data = payload(SyntheticResults(12)).data
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text)["runs"]["slingshots"][0] == 2
    steps, codes = data["curves"][0]
    assert len(base64.b64decode(codes[0][3])) / 2 == len(base64.b64decode(data["steps"][steps])) / 4


def test_of_very_many_runs_only_some_can_be_looked_at_one_by_one(monkeypatch):
    monkeypatch.setattr("grokjax.report.payload.MOST_CURVES", 48 * 300 * len(METRICS))
    curves = payload(SyntheticResults(48)).data["curves"]
    assert 0 < sum(curve is not None for curve in curves) < 48


# ---- commands


def undated(text):
    """A page without when it was written."""
    return re.sub(rb"Written [\d-]+ [\d:]+ UTC", b"", text)


def test_run_writes_the_report_that_the_command_writes_and_verify_knows_it(small_report, tmp_path):
    path = small_report / "report.html"
    first = path.read_bytes()
    assert "What does a report of a small sweep show" in first.decode()
    done = CliRunner().invoke(app, ["report", str(small_report)])
    assert (done.exit_code, done.output.strip()) == (0, str(path))
    assert undated(path.read_bytes()) == undated(first)
    done = CliRunner().invoke(app, ["report", str(small_report), "--out", str(tmp_path / "new" / "mail.html")])
    assert done.exit_code == 0
    assert undated((tmp_path / "new" / "mail.html").read_bytes()) == undated(first)
    checked = CliRunner().invoke(app, ["verify", str(small_report)])
    assert checked.exit_code == 0
    assert "report.html" not in checked.output
    first = path.read_bytes()
    path.write_bytes(first + b" ")
    assert CliRunner().invoke(app, ["verify", str(small_report)]).exit_code == 1
    path.write_bytes(first)


def test_what_is_no_results_directory_is_bad_input(tmp_path):
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "no plan.json" in done.output
    assert not (tmp_path / "report.html").exists()


def test_a_sweep_without_records_yet_has_a_page(small_report, tmp_path):
    shutil.copy(small_report / "plan.json", tmp_path / "plan.json")
    shutil.copytree(small_report / "plan", tmp_path / "plan")
    text = page(grokjax.open_results(tmp_path), WHEN)
    assert "0 of 5 runs ended; 5 queued" in text
    assert json.loads(Elements(text).data)["runs"]["outcome"] == ["queued"] * 5
