"""How pictures of every kind look at the widths of a paper: contrast, texts that do not touch, dashes, units, fonts."""

import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

sys.path.insert(0, str(Path(__file__).parent / "golden"))

import pictures  # pyright: ignore[reportMissingImports]
import record  # pyright: ignore[reportMissingImports]

import grokjax
from grokjax.figures import KINDS, draw, figure_module, make
from grokjax.figures.bands import ArmBands
from grokjax.figures.finish import apart, finish, touch
from grokjax.figures.groups import Group, Grouping
from grokjax.figures.panels import ENDED, arm_panels, draw_metric, legend_columns
from grokjax.figures.style import DPI, GREY, PALETTE, SCALE, drawn_at, formats_of, group_colors, width_of
from grokjax.figures.together import clusters, lying_together
from grokjax.figures.units import unit_of

LEAST_CONTRAST = 3.0  # of graphics, WCAG 2.1, 1.4.11
# kind -> options with which it has something to show; the others are drawn of one arm
OPTIONS = pictures.COMPUTED | {kind: pictures.EXACT[kind] for kind in ("curves", "anatomy", "phase", "optimizers")}


@pytest.fixture(scope="module")
def results():
    with record.stored_results() as folder:
        yield grokjax.open_results(folder / "finished")


@pytest.fixture(scope="module")
def drawn(results):
    """Kind, width -> its picture as it is written."""
    data_of = cache(lambda kind: figure_module(kind).data(results, **OPTIONS.get(kind, {"arm": "decay"})))

    @cache
    def drawn(kind, width):
        with drawn_at(width_of(width)):
            figure = figure_module(kind).figure(data_of(kind))
        finish(figure)
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        return figure

    return drawn


def luminance(color):
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(color):
    """With white paper."""
    return 1.05 / (luminance(color) + 0.05)


def test_lines_have_a_contrast_of_3_to_1_with_paper():
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)  # WCAG's example
    colors = [*PALETTE, GREY, *SCALE(np.linspace(0, 1, 64)), *group_colors(True, 8), *group_colors(False, 8)]
    assert min(map(contrast, colors)) >= LEAST_CONTRAST


@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_every_kind_are_as_dark(drawn, kind):
    figure = drawn(kind, "page")
    for axes in figure.axes:
        for line in axes.lines:
            assert contrast(line.get_color()) >= LEAST_CONTRAST
            assert line.get_linestyle() == "None" or line.get_alpha() in (None, 1)


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", KINDS)
def test_names_of_ticks_do_not_touch(drawn, kind, width):
    for axes in drawn(kind, width).axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
            shown = [label for place, label in labels if low <= place <= high and label.get_text()]
            boxes = [label.get_window_extent() for label in shown if label.get_visible()]
            for at, box in enumerate(boxes):
                assert not any(box.overlaps(other) for other in boxes[at + 1 :]), [label.get_text() for label in shown]


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_and_legends_lie_within_the_picture_and_titles_beside_each_other(drawn, kind, width):
    figure = drawn(kind, width)
    axes = [each for each in figure.axes if each.axison]
    titles = [each.title for each in axes if each.get_title()]
    texts = [*titles, *figure.texts, *figure.legends, *(each.xaxis.label for each in axes if each.get_xlabel())]
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert min(box.x0, box.y0, figure.bbox.width - box.x1, figure.bbox.height - box.y1) >= -1, text
    for at, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[at + 1 :]), texts[at]


@pytest.mark.parametrize("kind", KINDS)
def test_axes_with_numbers_say_what_they_are(drawn, kind):
    figure = drawn(kind, "page")
    for axes in figure.axes:
        if (
            axes.axison
            and axes.yaxis.get_visible()
            and any(tick.label1.get_visible() for tick in axes.yaxis.majorTicks)
        ):
            row = [other for other in figure.axes if other.axison and _in_one_row(axes, other)]
            assert axes.get_ylabel() or any(other.get_ylabel() for other in row) or kind == "optimizers", (
                axes.get_title()
            )


def _in_one_row(axes, other):
    one, two = axes.get_position(), other.get_position()
    return abs(one.y0 - two.y0) < 0.01 and two.x0 < one.x0


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("train/loss", "nats"),
        ("progress/restricted_loss", "nats"),
        ("test/accuracy", "share of examples"),
        ("norm/W_E", "L2 norm"),
        ("update_norm/W.0", "L2 norm"),
        ("margin/min", "logits"),
        ("angular_step/update/total", "radians"),
        ("my/own", ""),
    ],
)
def test_units_of_metrics(metric, unit):
    assert unit_of(metric, "nats") == unit


def bands(values, labels=("a", "b", "c"), ended=0):
    """Bands of told medians, one list a group; in the last `ended` records no run trains."""
    groups = tuple(Group((label,), (f"{label}0", f"{label}1"), 0, (label,)) for label in labels[: len(values)])
    rows = []
    for group, medians in enumerate(values):
        for step, median in enumerate(medians):
            live = 0 if step >= len(medians) - ended else 2
            row = {"group": group, "metric": "test/loss", "step": step, "median": median, "low": median, "high": median}
            rows.append(row | {"runs": 2, "live": live})
    grouping = Grouping("main", ("loss.precision",), (), groups, "nats")
    return ArmBands(grouping, pd.DataFrame(rows), (2,) * len(groups))


def test_lines_that_lie_on_each_other_all_the_way_are_told():
    falling = [3.0, 1.0, 0.1, 0.001]
    told = bands([falling, [value * 1.02 for value in falling], [3.0, 1.0, 0.1, 0.1]])
    assert clusters(told, "test/loss") == [[0, 1]]
    assert lying_together(told, ["test/loss"]) == "lines on each other: test loss (a = b)"
    assert lying_together(told, ["train/loss"]) == ""
    assert clusters(bands([falling, [3.0, 1.0, 0.1, 0.01]]), "test/loss") == []
    assert clusters(bands([[1.0, 1.0], [1.0, 1.0]]), "test/loss") == [[0, 1]]


def test_what_is_told_of_many_lines_is_short():
    told = bands([[1.0, 2.0]] * 8, [f"a rather long value {at}" for at in range(8)])
    assert lying_together(told, ["test/loss"]) == "lines on each other: some in test loss"


def dashes(line):
    return line._unscaled_dash_pattern, line.get_linewidth()


def test_a_line_of_the_legend_is_that_of_the_plot():
    told = bands([[3.0, 1.0], [2.0, 1.0], [1.0, 0.5]])
    picture, ((panels),) = arm_panels([told], [[["test/loss"]]], [1.0])
    draw_metric(panels["test/loss"], told, "test/loss")
    (legend,) = filter(None, [axes.get_legend() for axes in picture.axes])
    in_legend = [dashes(line) for line in legend.get_lines()]
    assert in_legend == [dashes(line) for line in panels["test/loss"].lines]
    assert len({pattern[1] if pattern[1] is None else tuple(pattern[1]) for pattern, _ in in_legend}) == 3


def test_a_median_is_dotted_where_its_runs_have_ended_and_the_head_says_so():
    told = bands([[3.0, 2.0, 1.0, 1.0, 1.0]], ended=2)
    picture, ((panels),) = arm_panels([told], [[["test/loss"]]], [1.0])
    draw_metric(panels["test/loss"], told, "test/loss")
    solid, dotted = panels["test/loss"].lines
    np.testing.assert_array_equal(solid.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(dotted.get_xdata(), [2, 3, 4])
    assert dashes(dotted)[0] == dashes(Line2D([], [], linestyle=ENDED))[0]
    head = next(axes for axes in picture.axes if axes.texts)
    assert "dotted where most have ended" in head.texts[0].get_text().replace("\n", " ")


def test_many_numbers_have_a_color_bar_below_the_words_and_no_bands():
    groups = tuple(Group((at,), (f"{at}0", f"{at}1"), 0, (str(at),)) for at in range(12))
    told = bands([[3.0, 1.0 + at] for at in range(12)], [str(at) for at in range(12)])
    many = ArmBands(Grouping("main", ("optimizer.lr",), (), groups), told.bands, told.sizes)
    with drawn_at(3.3):
        picture, ((panels),) = arm_panels([many], [[["test/loss"]]], [1.0], "step")
    draw_metric(panels["test/loss"], many, "test/loss")
    finish(picture)
    picture.draw_without_rendering()
    head = next(axes for axes in picture.axes if axes.texts)
    (bar,) = head.child_axes
    boxes = [head.texts[0].get_window_extent(), bar.get_tightbbox(), panels["test/loss"].get_tightbbox()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert "median over 2 seeds" in head.texts[0].get_text().replace("\n", " ")
    assert not panels["test/loss"].collections


def test_every_panel_has_its_arm_where_there_are_several(drawn, results):
    titles = [axes.get_title().replace("\n", " ") for axes in drawn("curves", "page").axes if axes.get_title()]
    metrics = ("train loss", "test loss", "train accuracy", "test accuracy")
    assert titles == [f"{arm}: {metric}" for arm in results.manifest.axes for metric in metrics]
    assert not any(":" in axes.get_title() for axes in drawn("norms", "page").axes)


def test_the_kinds_that_measure_networks_say_on_what(drawn):
    said = {
        "progress": r"measured at \d+ snapshots, steps 0|measured at \d+ snapshots, steps? \d+",
        "neurons": r"R² over all pairs of operands at \d+ snapshots, steps? \d+.*; one by one: \d+ neurons",
        "learning_coefficient": r"lambda by 2 chains of 20 draws at \d+ snapshots, .*; \d+ trusted",
        "kernel": r"kernels on 16 train examples of \d+ snapshots",
        "landscape": r"all parameters times 41 factors from 0.25 to 4",
    }
    for kind, pattern in said.items():
        texts = [text.get_text() for axes in drawn(kind, "page").axes for text in axes.texts]
        assert re.search(pattern, " ".join(texts).replace("\n", " ")), kind
    title = drawn("efficiency", "page").get_suptitle().replace("\n", " ")
    assert re.search(r"\d+ runs, \d.* a color and weight_decay; medians and min–max bands", title)


boxes = st.lists(st.tuples(st.floats(0, 500), st.floats(1, 60)), max_size=12)


@given(boxes)
def test_names_that_are_kept_do_not_touch_and_the_last_is_among_them(places):
    row = [Bbox.from_bounds(x, 0, width, 8) for x, width in sorted(places)]
    kept = [row[index] for index in apart(row)]
    assert bool(kept) == bool(row)
    assert not any(touch(one, other) for one, other in pairwise(kept))
    assert not row or kept[-1] is row[-1]


@given(st.lists(st.text("abc ", min_size=1, max_size=30), min_size=1, max_size=9), st.floats(2, 12))
def test_a_legend_has_as_many_columns_as_fit(labels, inches):
    assert 1 <= legend_columns(labels, inches) <= len(labels)
    assert legend_columns(labels, 1000.0) == len(labels)


def test_a_pdf_holds_its_text_as_text_in_fonts_of_type_42(results, tmp_path):
    picture, _ = make("phase", results, tmp_path / "phase.pdf", **OPTIONS["phase"], width="column")
    content = picture.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert matplotlib.rcParams["pdf.fonttype"] != 42  # nothing stays set

    again, _ = make("phase", results, tmp_path / "again.pdf", **OPTIONS["phase"], width="column")
    assert again.read_bytes() == content


@pytest.mark.parametrize("ending", ["eps", "jpg", "JPEG", "gif", "tiff", "webp", "pgf", "html", "txt", "json"])
def test_other_endings_are_refused_in_words(ending):
    with pytest.raises(
        ValueError, match=rf"x\.{ending}: pictures are written as png, svg, pdf, not as {ending.lower()}"
    ):
        formats_of(Path(f"x.{ending}"))


@pytest.mark.parametrize("name", ["curves", "lr.0.1", "run.1e-3", "curves.v2", "a.b/c", "curves."])
def test_what_is_no_ending_is_part_of_the_name(name):
    assert formats_of(Path(name)) == ("png", "svg")


@given(st.one_of(st.floats(), st.integers(-10, 100), st.text(max_size=8)))
def test_a_width_is_one_of_a_paper_or_inches_or_refused_in_words(width):
    try:
        inches = width_of(width)
    except ValueError as error:
        inches, said = 3.0, str(error)
    else:
        said = "a width is page, column or inches from 2.5 to 40"
    assert 2.5 <= inches <= 40
    assert "a width is page, column or inches from 2.5 to 40" in said


@pytest.mark.parametrize(("width", "inches"), [("column", 3.3), ("page", 7.0), ("4.5", 4.5), (12, 12.0), (2.5, 2.5)])
def test_a_picture_is_as_wide_as_it_is_asked_to_be(results, width, inches):
    assert draw("norms", results, arm="rough", width=width).get_size_inches()[0] == inches
