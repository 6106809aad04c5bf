"""The report: what its data are, that nothing in it escapes, its size, and what a browser makes of it."""

import base64
import json
import os
import re
import shutil
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_results import DECAYS, HOSTILE, MATRICES, METRICS, SyntheticResults
from typer.testing import CliRunner

import grokjax
from grokjax.analysis.cells import ordered_values
from grokjax.analysis.events import MEANINGS, OUTCOMES
from grokjax.analysis.question import question
from grokjax.analysis.thinning import log_steps, nearest, shared_records
from grokjax.cli import app
from grokjax.figures import phase
from grokjax.figures.style import value_text
from grokjax.report import write_report
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
SWEEP = """
# Question: what does a report of a small sweep show,
# and what of one that explodes?
# Cost: nothing.
name: small
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  train: {steps: 40}
log: {every: 10, eval_every: 20}
arms:
  calm: {parameters: {seed: {min: 0, max: 1}, optimizer.lr: {values: [1e-3, 3e-2]}}}
  exploding: {base: {optimizer: {name: sgd, lr: 1e30}}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep run with --report."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.yaml").write_text(SWEEP)
    done = CliRunner().invoke(app, ["run", str(folder / "small.yaml"), "--out", str(folder / "out"), "--report"])
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """The report of 1,000 runs."""
    return write_report(SyntheticResults(1000), tmp_path_factory.mktemp("thousand") / "report.html")


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
    text = question(SWEEP)
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
    assert [is_log(curves, name) for name in curves] == [True, False, False]


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


def test_a_thousand_runs_are_less_than_20_megabytes(thousand):
    assert thousand.stat().st_size < 15_000_000


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


def hostile():
    arms = (HOSTILE, "<img src=x onerror=alert(2)>")
    return SyntheticResults(48, name=HOSTILE, arms=arms, texts=(HOSTILE, "$style <b>x</b>", "%{x}"))


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


def test_run_writes_the_report_that_the_command_writes_and_verify_knows_it(trained, tmp_path):
    path = trained / "report.html"
    first = path.read_bytes()
    assert "What does a report of a small sweep show" in first.decode()
    done = CliRunner().invoke(app, ["report", str(trained)])
    assert (done.exit_code, done.output.strip()) == (0, str(path))
    assert path.read_bytes() == first
    done = CliRunner().invoke(app, ["report", str(trained), "--out", str(tmp_path / "new" / "mail.html")])
    assert done.exit_code == 0
    assert (tmp_path / "new" / "mail.html").read_bytes() == first
    checked = CliRunner().invoke(app, ["verify", str(trained)])
    assert checked.exit_code == 0
    assert "report.html" not in checked.output
    path.write_bytes(first + b" ")
    assert CliRunner().invoke(app, ["verify", str(trained)]).exit_code == 1
    path.write_bytes(first)


def test_what_is_no_results_directory_is_bad_input(tmp_path):
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "no plan.json" in done.output
    assert not (tmp_path / "report.html").exists()


def test_a_sweep_without_records_yet_has_a_page(trained, tmp_path):
    shutil.copy(trained / "plan.json", tmp_path / "plan.json")
    text = page(grokjax.open_results(tmp_path), WHEN)
    assert "0 of 5 runs ended; 5 queued" in text
    assert json.loads(Elements(text).data)["runs"]["outcome"] == ["queued"] * 5


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, driven by playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no chromium to show the report in (apt-get install chromium)")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield opened
        opened.close()


class Shown:
    """A page that is open, and what went wrong in it: errors, requests, dialogs."""

    def __init__(self, browser, path, width=1400):
        self.faults = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:", "blob:")) or self.faults.append(request.url),
        )
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-ready]")

    def draw(self, where):
        """Scroll to a section, and wait until its pictures are drawn."""
        self.page.locator(where).scroll_into_view_if_needed()
        self.page.wait_for_function(
            "where => [...panels].every(([plot, panel]) => !plot.closest(where) || !panel.stale)", arg=where
        )

    def texts(self, where):
        return self.page.locator(where).all_text_contents()

    def chosen(self):
        return self.page.evaluate("[...state.chosen].sort((a, b) => a - b)")

    def click_at(self, plot, trace, point):
        """Click on a point of a picture."""
        self.page.locator(plot).first.scroll_into_view_if_needed()
        place = self.page.evaluate(
            """([plot, trace, point]) => {
                const found = document.querySelector(plot), { xaxis, yaxis } = found._fullLayout;
                const box = found.getBoundingClientRect();
                const { x, y, type } = found.data[trace], at = type === "heatmap" ? point : [x[point], y[point]];
                return [box.x + xaxis._offset + xaxis.d2p(at[0]), box.y + yaxis._offset + yaxis.d2p(at[1])];
            }""",
            [plot, trace, point],
        )
        self.page.mouse.move(*place)
        self.page.wait_for_timeout(120)  # a picture finds out what is hovered, and only that is clicked
        self.page.mouse.click(*place)
        self.page.wait_for_timeout(400)  # it waits whether a second click follows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


def two_arms(folder):
    """The report of a sweep of two arms, written once."""
    path = folder / "arms.html"
    return path if path.exists() else write_report(SyntheticResults(48, arms=("left", "right")), path)


@pytest.fixture
def shown(browser, folder):
    """The report of 48 runs, freshly opened; at the end nothing may have gone wrong in it."""
    path = folder / "report.html"
    if not path.exists():
        write_report(SyntheticResults(48), path)
    opened = Shown(browser, path)
    yield opened
    opened.page.close()
    assert opened.faults == []


@pytest.mark.parametrize("width", [1400, 420])
def test_every_picture_is_drawn_wide_and_narrow(browser, folder, width):
    path = two_arms(folder)
    opened = Shown(browser, path, width)
    for section in ("#curves", "#times", "#phases", "#norms", "#slingshots", "#anatomy"):
        opened.draw(section)
    assert opened.page.locator(".plot .main-svg").count() >= 2 * (4 + 2 + 2 + 10 + 4)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    note = opened.page.inner_text("#curves >> xpath=.. >> .note")
    assert note.startswith("Median and 10–90% band over 12 runs, pooled over init.scale. Steps are optimizer updates")
    assert opened.faults == []


def test_a_real_sweep_is_shown(browser, trained):
    opened = Shown(browser, trained / "report.html")
    for section in ("#curves", "#times", "#norms"):
        opened.draw(section)
    assert opened.texts("#legend button span") == ["calm, lr 0.001", "calm, lr 0.03", "exploding"]
    assert opened.texts("#legend button small")[2] == "n = 1, 1 diverged"
    assert opened.faults == []


def test_a_click_in_the_table_highlights_the_run_everywhere(shown):
    for section in ("#curves", "#times", "#phases"):
        shown.draw(section)
    before = shown.page.evaluate("document.querySelector('#curves .plot').data.length")
    shown.page.locator("#run-table tbody tr").nth(3).click()
    assert shown.chosen() == [3]
    shown.draw("#curves")
    assert shown.page.evaluate("document.querySelector('#curves .plot').data.length") == before + 1
    shown.draw("#times")
    selected = shown.page.evaluate(
        "document.querySelector('#times .plot').data.map(trace => trace.selectedpoints.length)"
    )
    assert selected == [0, 0, 0, 1]
    shown.draw("#phases")
    assert shown.page.evaluate("document.querySelector('#phases .plot').layout.shapes.length") == 1
    assert set(shown.texts("#event-table td:first-child")) == {f"{3:012x}"}
    assert len(shown.texts("#run-table tbody tr")) == 20, "the table in which runs are chosen shows the others too"
    shown.page.keyboard.press("Escape")
    assert shown.chosen() == []


def test_a_click_on_a_point_filters_the_tables(shown):
    shown.draw("#times")
    shown.click_at("#times .plot", 1, 0)
    (chosen,) = shown.chosen()
    at = ["fit_step", "generalization_step"]
    runs = SyntheticResults(48).runs()[at].to_numpy()
    assert (runs[chosen] == runs[1]).all(), "the run itself, or one that lies on it"
    assert shown.texts("#run-table td:first-child") == [f"{chosen:012x}"]
    assert set(shown.texts("#event-table td:first-child")) == {f"{chosen:012x}"}


def test_a_click_on_a_line_chooses_its_group_and_on_a_run_the_run(shown):
    shown.draw("#curves")
    plot = "#curves .panel:nth-child(4) .plot"
    shown.click_at(plot, 11, 30)  # low, high and median of each of four groups
    assert shown.chosen() == [run for run in range(48) if DECAYS[run % 4] == 3.0]
    assert shown.page.get_attribute("#legend button:nth-child(4)", "aria-pressed") == "true"
    assert len(shown.texts("#run-table tbody tr")) == 12


def test_a_phase_cell_is_that_of_the_figure_and_chooses_its_runs(shown):
    shown.draw("#phases")
    cells = phase.data(SyntheticResults(48)).cells.query("panel == 'generalization'")
    found = shown.page.evaluate("document.querySelectorAll('#phases .plot')[1].data[1].z")
    labels = shown.page.evaluate("DATA.axes[0].map(axis => axis.labels)")
    for cell in cells.to_dict("records"):
        height = found[labels[1].index(cell["y"])][labels[0].index(cell["x"])]
        expected = None if cell["marked"] else pytest.approx(np.log10(cell["median"]))
        assert height == expected
    shown.click_at("#phases .panel:nth-child(2) .plot", 1, [2, 1])
    assert shown.chosen() == [run for run in range(48) if run % 4 == 2 and run // 4 % 3 == 1]


def test_bars_and_the_legend_choose_and_shift_adds(shown):
    shown.page.click("#outcomes button:has-text('did not generalize') .bar")
    memorized = shown.chosen()
    assert memorized
    assert shown.texts("#outcomes .count")[1] == f"{len(memorized)} of {len(memorized)}"
    shown.page.locator("#legend button").nth(3).click(modifiers=["Shift"])
    assert shown.chosen() == sorted({*memorized, *range(3, 48, 4)})
    assert f"{len(memorized) + 12} of 48 runs chosen" in shown.page.inner_text("#chosen")


def test_tables_sort_both_ways(shown):
    head = shown.page.locator("#run-table th button", has_text="generalization step")
    column = shown.texts("#run-table th button").index("generalization step") + 1
    for order in ("ascending", "descending"):
        head.click()
        values = [float(text) for text in shown.texts(f"#run-table td:nth-child({column})") if text]
        assert values == sorted(values, reverse=order == "descending")
        assert len(values) == 20, "runs without a value come last"
        assert shown.page.get_attribute(f"#run-table th:nth-child({column})", "aria-sort") == order


@pytest.mark.parametrize(
    ("column", "text", "fits"),
    [
        ("step", "> 8000", lambda row: row["step"] > 8000),
        ("step", "1000..4000", lambda row: 1000 <= row["step"] <= 4000),
        ("event", "sling", lambda row: row["kind"] == "slingshot"),
        ("weight_decay", "= 0.3", lambda row: int(row["run_id"], 16) % 4 == 1),
    ],
)
def test_the_event_table_filters(shown, column, text, fits):
    shown.page.fill(f"#event-table input[aria-label='filter {column}']", text)
    wanted = [row["run_id"] for row in SyntheticResults(48).events().to_dict("records") if fits(row)]
    assert f"{len(wanted)} of " in shown.page.inner_text("#event-table .tools span")
    assert shown.texts("#event-table td:first-child") == wanted[:20]
    shown.page.click("#event-table .tools button:has-text('Choose')")
    assert shown.chosen() == sorted({int(run_id, 16) for run_id in wanted})


def test_a_filter_that_makes_no_sense_is_marked_and_filters_nothing(shown):
    box = "#run-table input[aria-label='filter seed']"
    shown.page.fill(box, "> many")
    assert shown.page.get_attribute(box, "aria-invalid") == "true"
    assert "of 48 runs" in shown.page.inner_text("#run-table .tools span")


def test_colors_and_arms_can_be_chosen(browser, folder):
    path = two_arms(folder)
    opened = Shown(browser, path)
    opened.page.select_option("#scope", label="right")
    opened.page.select_option("#color", label="init.scale")
    assert opened.texts("#legend button span") == ["0.5", "1", "2"]
    assert "24 of 48 runs" in opened.page.inner_text("#run-table .tools span")
    opened.draw("#curves")
    assert opened.faults == []


def test_hostile_names_are_text_in_the_browser(browser, folder):
    opened = Shown(browser, write_report(hostile(), folder / "hostile.html"))
    assert opened.page.inner_text("h1") == HOSTILE
    opened.page.select_option("#color", label="op")
    opened.page.locator("#run-table tbody tr").first.click()
    for section in ("#curves", "#times", "#phases", "#slingshots"):
        opened.draw(section)
    opened.page.locator("#phases select").nth(1).select_option(label="op")
    opened.draw("#phases")
    assert opened.page.locator("img, main b:has(*)").count() == 0
    assert "script>" in "".join(opened.texts("#phases .ytick, #phases .xtick, #phases text"))
    assert opened.faults == []


def test_a_thousand_runs_open_in_less_than_3_seconds(browser, thousand):
    times = []
    while len(times) < 3 and (not times or times[-1] >= 3):  # once is enough; other tests may run beside this one
        opened = Shown(browser, thousand)
        opened.draw("#curves")
        times.append(opened.page.evaluate("performance.now()") / 1000)
        assert opened.faults == []
        opened.page.close()
    assert times[-1] < 3, times
