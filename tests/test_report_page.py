"""What a browser makes of the report: pictures, choices, links, keyboard, light and dark, paper."""

import os
import re
import shutil

import numpy as np
import pytest
from report_results import DECAYS, HOSTILE, MATRICES, SyntheticResults, hostile

from grokjax.analysis.median_text import reached
from grokjax.figures import phase
from grokjax.report import write_report


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """The report of 1,000 runs, of less than 15 MB."""
    return write_report(SyntheticResults(1000), tmp_path_factory.mktemp("thousand") / "report.html")


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

    def __init__(self, browser, path, width=1400, height=900, scheme="light", address=None, metered=False):
        self.faults = []
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:", "blob:")) or self.faults.append(request.url),
        )
        if metered:
            self.meter = self.page.context.new_cdp_session(self.page)
            self.meter.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(address or path.as_uri())
        self.page.wait_for_selector("body[data-ready]")

    def draw(self, where):
        """Scroll to a section, and wait until its pictures are drawn."""
        self.page.locator(where).scroll_into_view_if_needed()
        self.page.wait_for_function(
            "where => [...panels].every(([plot, panel]) => !plot.closest(where) || !panel.stale)", arg=where
        )

    def busy_seconds(self):
        """The processor's time that the page took so far."""
        metrics = self.meter.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

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


def test_a_real_sweep_is_shown(browser, small_report):
    opened = Shown(browser, small_report / "report.html")
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
    """Of the processor's time, not the clock's: other tests may run beside this one."""
    opened = Shown(browser, thousand, metered=True)
    opened.draw("#curves")
    assert opened.faults == []
    assert 0 < opened.busy_seconds() < 3
    opened.page.close()


# ---- metrics, time, links


@pytest.fixture(scope="module")
def batches(folder):
    """The report of runs of two batch sizes, full batch among them, with more metrics than the page opens with."""
    more = tuple(f"grad_norm/{name}" for name in MATRICES)
    return write_report(SyntheticResults(24, batches=(32, None), more=more), folder / "batches.html")


def test_any_metric_can_be_added_over_any_time_and_a_link_opens_the_same(browser, batches):
    opened = Shown(browser, batches)
    assert opened.page.evaluate("MORE") is None, "what is not asked for is not unpacked"
    opened.page.select_option("#metric", label="grad_norm/W_U")
    opened.page.wait_for_function("() => state.metrics.includes('grad_norm/W_U')")
    opened.page.locator("#curves .close").first.click()
    opened.page.select_option("#unit", label="epochs")
    opened.page.uncheck("#log")
    opened.page.select_option("#color", label="batch")
    opened.page.locator("#run-table tbody tr").nth(1).click()
    opened.page.locator("#run-table th button", has_text="seed").click()
    opened.page.fill("#event-table input[aria-label='filter step']", "> 300")
    opened.draw("#curves")
    titles = ["test loss (nats)", "train accuracy (fraction)", "test accuracy (fraction)", "grad_norm W_U"]
    assert opened.texts("#curves h3") == titles
    opened.page.evaluate("Plotly.relayout(document.querySelector('#curves .plot'), {'xaxis.range': [1, 5]})")
    opened.page.wait_for_function("() => state.zoom.size === 1")
    link = opened.page.url
    data = opened.page.evaluate("document.querySelector('#curves .panel:nth-child(4) .plot').data.map(t => t.x.at(-1))")
    opened.page.close()

    again = Shown(browser, batches, address=link)
    again.draw("#curves")
    assert again.texts("#curves h3") == titles
    assert again.chosen() == [1]
    assert again.page.url == link
    assert again.texts("#legend button span") == ["32", "full batch (768)"]
    last = "document.querySelector('#curves .panel:nth-child(4) .plot').data.map(t => t.x.at(-1))"
    assert again.page.evaluate(last) == data
    assert max(data) == 20_000, "epochs of the full batch are its steps"
    assert min(data) == pytest.approx(20_000 * 32 / 768)
    assert again.page.evaluate("document.querySelector('#curves .plot')._fullLayout.xaxis.range") == [1, 5]
    assert again.page.input_value("#event-table input[aria-label='filter step']") == "> 300"
    assert again.page.get_attribute("#run-table th[aria-sort=ascending]", "aria-sort") == "ascending"
    again.page.click("#reset-zoom")
    assert "zoom" not in again.page.url
    again.page.keyboard.press("Escape")
    assert "runs=" not in again.page.url
    assert again.faults == []
    again.page.close()


def test_runs_of_a_group_that_differ_in_their_epochs_have_one_band(browser, batches):
    opened = Shown(browser, batches, address=f"{batches.as_uri()}#color=weight_decay&across=epoch&scale=linear")
    band = opened.page.evaluate("bandsOf(metricAt('train/loss'), 'epoch')[0]")
    assert band["across"][0] == 0
    assert band["across"][-1] == pytest.approx(20_000)
    examples = opened.page.evaluate("bandsOf(metricAt('train/loss'), 'examples')[0].across.at(-1)")
    assert examples == pytest.approx(20_000 * 768)
    assert opened.faults == []
    opened.page.close()


def test_null_comes_last_in_a_sorted_table(browser, batches):
    opened = Shown(browser, batches)
    column = opened.texts("#run-table th button").index("batch") + 1
    opened.page.locator("#run-table th button", has_text="batch").click()
    texts = opened.texts(f"#run-table td:nth-child({column})")
    assert texts == ["32"] * 12 + ["full batch (768)"] * 8
    assert opened.faults == []
    opened.page.close()


# ---- seen whole, on paper, in the dark, by keyboard


def test_a_tall_window_has_all_pictures_when_the_page_is_ready(browser, folder):
    opened = Shown(browser, two_arms(folder), height=9000)
    assert opened.page.evaluate("[...panels.values()].filter((panel) => panel.stale).length") == 0
    opened.page.close()


def test_pictures_out_of_sight_are_drawn_too(browser, folder):
    opened = Shown(browser, two_arms(folder))
    opened.page.wait_for_function("() => [...panels.values()].every((panel) => !panel.stale)")
    assert opened.faults == []
    opened.page.close()


def test_print_is_light_fits_the_paper_and_says_which_rows_it_has(browser, thousand, folder):
    opened = Shown(browser, thousand, scheme="dark")
    dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate("[...panels.values()].filter((panel) => panel.stale).length") == 0
    widths = opened.page.evaluate("[...panels.keys()].map((plot) => plot._fullLayout.width - plot.clientWidth)")
    assert max(map(abs, widths)) <= 1
    assert opened.page.evaluate("document.querySelector('main').scrollWidth") <= 700
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.evaluate("document.querySelector('.plot')._fullLayout.paper_bgcolor") == "#ffffff"
    assert opened.texts("#run-table .tools span") == ["First 50 of 1,000 rows; all are in the page itself."]
    assert len(opened.texts("#run-table tbody tr")) == 50
    assert opened.page.evaluate("getComputedStyle(document.querySelector('.bar i')).printColorAdjust") == "exact"
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert opened.page.evaluate("document.querySelector('.plot')._fullLayout.width") > 400
    assert len(opened.texts("#run-table tbody tr")) == 20
    assert opened.page.pdf()[:4] == b"%PDF"
    assert opened.faults == []
    opened.page.close()


def test_dark_pages_have_dark_pictures_and_turn_light_with_the_system(browser, folder):
    opened = Shown(browser, two_arms(folder), scheme="dark")
    opened.draw("#curves")
    look = "[document.querySelector('#curves .plot')._fullLayout.paper_bgcolor, getComputedStyle(document.body).color]"
    assert opened.page.evaluate(look) == ["#15181b", "rgb(230, 230, 230)"]
    opened.page.emulate_media(color_scheme="light")
    opened.page.wait_for_function(
        "() => document.querySelector('#curves .plot')._fullLayout.paper_bgcolor === '#ffffff'"
    )
    assert opened.faults == []
    opened.page.close()


def test_points_cells_lines_and_bars_are_chosen_by_keyboard(shown):
    shown.draw("#times")
    shown.page.locator("#times .keys").first.focus()
    shown.page.keyboard.press("ArrowRight")
    told = shown.page.inner_text("#times .told >> nth=0")
    assert re.match(r"run 0{8}, weight_decay .*: fit at step 2\d0, ", told)
    shown.page.keyboard.press("Enter")
    assert len(shown.chosen()) == 1
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Shift+Enter")
    assert len(shown.chosen()) == 2
    shown.page.keyboard.press("Escape")
    shown.draw("#phases")
    shown.page.locator("#phases .keys").first.focus()
    shown.page.keyboard.press("ArrowUp")
    shown.page.keyboard.press(" ")
    assert shown.chosen() == [run for run in range(48) if run % 4 == 0 and run // 4 % 3 == 1]
    shown.page.keyboard.press("Escape")
    shown.draw("#curves")
    shown.page.locator("#curves .keys").first.focus()
    shown.page.keyboard.press("Enter")
    assert len(shown.chosen()) == 12
    shown.page.locator("#outcomes button").first.focus()
    shown.page.keyboard.press("Enter")
    assert len(shown.chosen()) > 12
    shown.page.locator("#legend button").first.focus()
    shown.page.keyboard.press("Space")
    assert shown.chosen() == list(range(0, 48, 4))


def test_headings_are_in_order_and_pictures_say_what_is_seen(shown):
    levels = shown.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((head) => Number(head.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    shown.page.wait_for_function("() => [...panels.values()].every((panel) => !panel.stale)")
    labels = shown.page.evaluate("[...document.querySelectorAll('.plot')].map((plot) => plot.ariaLabel)")
    assert labels[0].startswith("train loss (nats). Against step, log; values log. By weight_decay")
    assert "0.1: median from 3." in labels[0]
    runs = SyntheticResults(48).runs()
    fit, generalized = (reached(runs[name]) for name in ("fit_step", "generalization_step"))
    assert f"{fit.text('fit')}; {generalized.text('generalized')}." in labels[4]
    assert all(len(label) > 30 for label in labels)
    unnamed = "[...document.querySelectorAll('input, select')].filter((one) => !one.ariaLabel && !one.labels.length)"
    assert shown.page.evaluate(f"{unnamed}.length") == 0
    assert shown.page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0


def test_a_place_of_the_page_is_not_covered_by_the_legend(shown):
    shown.page.click("#contents a:has-text('Norm of every matrix')")
    shown.page.wait_for_function(
        """() => {
            const top = document.querySelector("#norms-of-matrices").getBoundingClientRect().top;
            return top < 400 && top >= document.querySelector("#controls").getBoundingClientRect().bottom;
        }"""
    )
    assert shown.page.evaluate("document.activeElement.id") == "norms-of-matrices"


def test_the_table_of_runs_fits_a_window_of_1400_pixels(shown):
    sizes = (
        "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.querySelector('#run-table .scroll'))"
    )
    wide, room = shown.page.evaluate(sizes)
    assert wide <= room
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= 1400
