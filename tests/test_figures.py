"""The data behind every picture against values computed by hand, and that pictures are written."""

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import grokjax
from grokjax.analysis.cells import runs_of
from grokjax.figures import KINDS, curves, draw, make, norms, phase, save, slingshots
from grokjax.figures.groups import check_key, group_runs
from grokjax.figures.phase import _cell

SWEEP = """
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [16]}
  optimizer: {lr: 0.03}
  train: {steps: 60}
log: {every: 10, eval_every: 20, probes: [margin]}
arms:
  decay:
    parameters:
      seed: {values: [0, 1, 2]}
      optimizer.weight_decay: {values: [0, 1]}
  batches:
    parameters:
      train.batch: {values: [8, null]}
  exploding:
    base: {optimizer: {name: sgd, lr: 1e30}, seed: 5}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.mark.parametrize("kind", ["curves", "norms", "slingshots", "phase"])
def test_a_picture_is_written_as_png_svg_and_csv(results, kind, tmp_path):
    paths = make(kind, results, tmp_path / kind)
    assert [path.name for path in paths] == [f"{kind}.png", f"{kind}.svg", f"{kind}.csv"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[1].read_text()
    assert len(pd.read_csv(paths[2])) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_data_table_and_figure(kind):
    module = importlib.import_module(f"grokjax.figures.{kind}")
    assert next(iter(inspect.signature(module.data).parameters)) == "results"
    assert callable(module.table)
    assert callable(module.figure)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("lr.0.1", ["lr.0.1.png", "lr.0.1.svg", "lr.0.1.csv"]),
        ("lr.0.1.png", ["lr.0.1.png", "lr.0.1.csv"]),
        ("lr.0.1.SVG", ["lr.0.1.svg", "lr.0.1.csv"]),
        ("lr.0.1.pdf", ["lr.0.1.pdf", "lr.0.1.csv"]),
        ("lr.0.1.csv", ["lr.0.1.png", "lr.0.1.svg", "lr.0.1.csv"]),
    ],
)
def test_the_ending_of_a_path_says_which_picture_is_written(results, name, written, tmp_path):
    assert [path.name for path in make("curves", results, tmp_path / name, metric=["norm/total"])] == written
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)


def test_equal_pictures_give_equal_files(results, tmp_path):
    first, second = (save(draw("norms", results), tmp_path / name)[1].read_text() for name in ("a", "b"))
    assert first == second


def test_curves_are_the_median_and_range_over_seeds(results):
    arm = next(arm for arm in curves.data(results).arms if arm.grouping.arm == "decay")
    assert arm.grouping.keys == ("optimizer.weight_decay",)
    assert [group.values for group in arm.grouping.groups] == [(0.0,), (1.0,)]
    assert arm.sizes == (3, 3)
    assert arm.note == "median and min–max band over 3 seeds"
    runs = results.runs().query("arm == 'decay' and `optimizer.weight_decay` == 1")
    values = results.curves("train/loss", runs["run_id"]).query("step == 40")["train/loss"].astype(float)
    row = arm.bands.query("group == 1 and metric == 'train/loss' and step == 40").iloc[0]
    assert (row["median"], row["low"], row["high"]) == pytest.approx((values.median(), values.min(), values.max()))


def test_another_key_pools_what_it_does_not_color(results):
    grouping = group_runs(results, results.planned(), "decay", by="seed")
    assert [group.values for group in grouping.groups] == [(0,), (1,), (2,)]
    assert grouping.pooled == ("optimizer.weight_decay",)


def test_not_recorded_is_left_out_and_does_not_count(results):
    arm = next(arm for arm in curves.data(results).arms if arm.grouping.arm == "decay")
    steps = arm.bands.query("group == 0 and metric == 'test/loss'")["step"].tolist()
    assert steps == [0, 20, 40, 60]


def test_any_metric_is_drawn_in_a_panel_of_its_own(results):
    metrics = ["margin/min", "grad_norm/W.0", "update_norm/W.1", "train/loss_max"]
    data = curves.data(results, arm="decay", metric=metrics)
    assert list(dict.fromkeys(curves.table(data)["metric"])) == metrics
    titles = [axes.get_title() for axes in curves.figure(data).axes if axes.get_title()]
    assert titles == [metric.replace("/", " ") for metric in metrics]


@pytest.mark.parametrize(("x", "factor"), [("step", 1), ("epoch", 8 / 29), ("examples", 8)])
def test_steps_epochs_and_examples_lie_across(results, x, factor):
    (arm,) = curves.data(results, arm="batches", x=x, metric=["train/loss"]).arms
    assert arm.across == x
    told = curves.table(curves.data(results, arm="batches", x=x, metric=["train/loss"]))
    small = told[told["train.batch"] == 8]
    np.testing.assert_allclose(small[x], np.arange(0, 61, 10) * factor)
    assert arm.bands.query("group == 1")[x].max() == pytest.approx(60 * {"step": 1, "epoch": 1, "examples": 29}[x])


def test_runs_of_one_group_at_different_places_are_drawn_straight_between_their_records(results):
    (arm,) = curves.data(results, arm="batches", x="examples", by="seed", metric=["norm/total"]).arms
    assert "straight between the records of each run" in arm.note
    runs = runs_of(results.runs(), "batches")
    full, small = (runs.loc[runs["train.batch"].isna() == is_full, "run_id"].iloc[0] for is_full in (True, False))
    at = 29 * 10  # a record of the full batch, between two of the small one
    values = results.curves("norm/total")
    of_small = values[values["run_id"] == small]
    between = np.interp(at, of_small["step"] * 8, of_small["norm/total"].astype(float))
    whole = float(values[(values["run_id"] == full) & (values["step"] == 10)]["norm/total"].iloc[0])
    assert arm.bands.query("examples == @at")["median"].iloc[0] == pytest.approx((between + whole) / 2)


def test_norms_show_matrices_and_the_total_but_no_biases(results):
    arm = norms.data(results, arm="decay").arms[0]
    assert list(dict.fromkeys(arm.bands["metric"])) == ["norm/W.0", "norm/W.1", "norm/total"]


@pytest.mark.parametrize(
    ("steps", "cell"),
    [
        ([100, 300, 200], (200.0, 3, 3, False)),
        ([100, np.nan, 200], (200.0, 2, 3, False)),  # who never got there is later than any other
        ([100, np.nan, np.nan, 200], (200.0, 2, 4, False)),
        ([100, np.nan, np.nan], (np.nan, 1, 3, True)),
        ([np.nan, np.nan], (np.nan, 0, 2, True)),
    ],
)
def test_a_phase_cell_is_a_censored_median(steps, cell):
    median, *rest = _cell(np.array(steps, float))
    assert median == pytest.approx(cell[0], nan_ok=True)
    assert tuple(rest) == cell[1:]


def test_phase_cells_hold_the_runs_of_their_values(results):
    data = phase.data(results, x="optimizer.weight_decay", y="seed", arm="decay")
    assert (data.x_values, data.y_values) == (("0", "1"), ("0", "1", "2"))
    assert len(data.cells) == 2 * 6
    runs = results.runs()
    run = runs[(runs["arm"] == "decay") & (runs["seed"] == 2) & (runs["optimizer.weight_decay"] == 1)].iloc[0]
    cell = data.cells.query("panel == 'fit' and x == '1' and y == '2'").iloc[0]
    assert cell["median"] == pytest.approx(run["fit_step"], nan_ok=True)
    assert cell["marked"] == np.isnan(run["fit_step"])


def test_without_slingshots_the_picture_says_so(results):
    data = slingshots.data(results, arm="decay")
    assert data.count == 0
    assert len(data.contrast) > 0
    assert "No slingshot was found in 6 runs." in slingshots.figure(data).get_suptitle()


def test_diverged_runs_are_counted_in_the_legend(results):
    grouping = group_runs(results, results.planned(), "exploding")
    assert grouping.groups[0].diverged == 1
    assert "1/1 diverged" in grouping.groups[0].label


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("curvs", {}, "did you mean curves"),
        ("phase", {"by": "seed"}, "the figure phase takes no 'by'"),
        ("curves", {"by": "weight_decy"}, "did you mean optimizer.weight_decay"),
        ("curves", {"arm": "decai"}, "did you mean decay"),
        ("curves", {"metric": ["nrm/W.0"]}, r"no metric 'nrm/W.0' in .* \(did you mean norm/W.0\?\)"),
        ("curves", {"metric": ["zzz"]}, r"no metric 'zzz' in .*; there are grad_norm"),
        ("curves", {"x": "epochs"}, "x cannot be 'epochs'; it is one of step, epoch, examples"),
        ("curves", {"x_scale": "logarithmic"}, "x_scale is log or linear, not 'logarithmic'"),
        ("norms", {"width": "wide"}, "a width is page, column or inches from 2.5 to 40, not 'wide'"),
        ("norms", {"where": "sed == 1"}, "did you mean seed"),
        ("phase", {"x": "seed", "y": "seed"}, "x and y are both seed"),
        ("slingshots", {"runs": ["nope"]}, "no run 'nope'"),
    ],
)
def test_a_wrong_option_is_an_error_that_says_what_there_is(results, kind, options, message):
    with pytest.raises(ValueError, match=message):
        draw(kind, results, **options)


def test_the_last_part_of_a_key_is_enough_where_one_key_ends_so(results):
    assert check_key(results, "weight_decay") == "optimizer.weight_decay"
    with pytest.raises(ValueError, match=r"'name' is one of task\.name, model\.name, .*: say which"):
        check_key(results, "name")


def test_importing_figures_does_not_import_matplotlib():
    code = "import sys, grokjax.figures; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
