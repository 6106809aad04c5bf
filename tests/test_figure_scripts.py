"""The scripts of single figures as they are run, the CSV behind each picture against the results API, and the numbers
of the equal-norm picture and of a slingshot's anatomy."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import grokjax
from grokjax.figures import anatomy, make
from grokjax.figures.bands import ArmBands
from grokjax.figures.groups import Group, Grouping
from grokjax.figures.norms import apart, final_spreads, set_of
from grokjax.sweep.load import Mistake

SCRIPTS = Path(__file__).parents[1] / "scripts"
MINE = {"grokking_curves": "curves", "norm_dynamics": "norms", "slingshot_anatomy": "anatomy", "phase_diagram": "phase"}
SWEEP = """
base:
  task: {p: 7, train_fraction: 0.7}
  model: {name: mlp, widths: [16]}
  optimizer: {name: adam, lr: 0.1, b1: 0.5, eps: 1e-16, weight_decay: 0}
  loss: {precision: float32}
  train: {steps: 600}
log: {every: 10, eval_every: 20, snapshot_every: 100}
arms:
  rough:
    parameters:
      seed: {values: [0, 1]}
      optimizer.b2: {values: [0.95, 0.98]}
  calm:
    base: {optimizer: {name: sgd, lr: 0.1, weight_decay: 0}, seed: 0, train: {steps: 40}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script with arguments: exit code, what it printed, what it complained of."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", MINE)
def test_help_says_what_is_drawn_and_which_files_are_written(script, name):
    code, out, _ = script(name, "--help")
    assert code == 0
    assert "STEM.png, STEM.svg" in out
    assert "DIR" in out
    assert "Example: scripts/" in out


def test_an_interrupted_script_says_so_in_a_line(script, results, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("grokjax.launch.open_results", interrupted)
    assert script("grokking_curves", results.path) == (75, "", "interrupted\n")


def test_a_reader_that_stops_reading_leaves_the_pictures_and_no_traceback(results, tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, SCRIPTS / "grokking_curves.py", results.path, "--out", tmp_path / "unread"]
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert (tmp_path / "unread.png").exists()


@pytest.mark.parametrize("name", MINE)
def test_a_script_writes_png_svg_and_csv_and_says_where(script, results, name, tmp_path):
    code, out, err = script(name, results.path, "--out", tmp_path / name)
    assert (code, err) == (0, "")
    paths = [Path(line) for line in out.splitlines()]
    assert [path.name for path in paths] == [f"{name}.{ending}" for ending in ("png", "svg", "csv")]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[1].read_text()
    assert len(pd.read_csv(paths[2])) > 0


def test_in_a_results_directory_all_three_files_are_verified(results, tmp_path):
    copy = shutil.copytree(results.path, tmp_path / "out")
    paths = make("curves", grokjax.open_results(copy), copy / "figures" / "curves")
    assert all((path.parent / f".{path.name}.sha256").exists() for path in paths)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("grokking_curves", ["--by", "optimizer.bb2"], "no key 'optimizer.bb2'"),
        ("grokking_curves", ["--arm", "rouh"], "did you mean rough"),
        ("norm_dynamics", ["--arm", "nope"], "there are rough, calm"),
        ("slingshot_anatomy", ["--run", "nope"], "no run 'nope'"),
        ("slingshot_anatomy", ["--event", "9"], "so there is no number 9"),
        ("slingshot_anatomy", ["--before", "-1"], "numbers of steps"),
        ("phase_diagram", ["--x", "seed", "--y", "seed"], "x and y are both seed"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(script, results, name, arguments, message, tmp_path):
    code, out, err = script(name, results.path, "--out", tmp_path / "no", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MINE)
def test_what_is_no_results_directory_is_one_line_and_exit_2(script, name, tmp_path):
    code, _, err = script(name, tmp_path)
    assert code == 2
    assert str(tmp_path) in err
    assert len(err.splitlines()) == 1


def test_a_run_without_slingshots_has_no_anatomy(script, results, tmp_path):
    run = results.runs().query("arm == 'calm'")["run_id"].iloc[0]
    code, _, err = script("slingshot_anatomy", results.path, "--run", run, "--out", tmp_path / "no")
    assert (code, err.strip()) == (2, f"run {run} in {results.path} has no slingshot")


def test_the_curves_csv_holds_the_medians_of_what_the_api_gives(results, tmp_path):
    csv = pd.read_csv(make("curves", results, tmp_path / "curves")[-1])
    runs = results.runs().query("arm == 'rough' and `optimizer.b2` == 0.98")
    values = results.curves("train/loss", runs["run_id"]).query("step == 40")["train/loss"].astype(float)
    row = csv.query("arm == 'rough' and `optimizer.b2` == 0.98 and metric == 'train/loss' and step == 40").iloc[0]
    assert (row["median"], row["low"], row["high"]) == (values.median(), values.min(), values.max())
    assert (row["runs"], row["band"]) == (2, "min to max")


def test_the_slingshots_csv_holds_the_curves_of_its_runs(results, tmp_path):
    csv = pd.read_csv(make("slingshots", results, tmp_path / "slingshots")[-1])
    for run_id, part in csv.groupby("run_id"):
        stored = results.curves(["train/loss", "norm/W.1"], run_id)
        np.testing.assert_array_equal(part["train/loss"].astype(np.float32), stored["train/loss"])
        np.testing.assert_array_equal(part["norm"].astype(np.float32), stored["norm/W.1"])
        steps = results.events().query("kind == 'slingshot' and run_id == @run_id")["step"]
        assert part.loc[part["slingshot"], "step"].tolist() == steps.tolist()


def test_the_phase_csv_holds_a_median_a_cell(results, tmp_path):
    csv = pd.read_csv(make("phase", results, tmp_path / "phase", x="optimizer.b2", y="seed", arm="rough")[-1])
    runs = results.runs().query("arm == 'rough'")
    assert len(csv) == 2 * len(runs)
    for run in runs.to_dict("records"):
        cell = csv[(csv["optimizer.b2"] == run["optimizer.b2"]) & (csv["seed"] == run["seed"])]
        fit = cell.loc[cell["event"] == "fit", "median"].iloc[0]
        assert fit == pytest.approx(run["fit_step"], nan_ok=True)


def test_an_anatomy_replayed_meets_the_stored_records_where_both_are(results):
    replayed = anatomy.data(results, before=60, after=40, replay=grokjax.replay)
    stored = anatomy.data(results, before=60, after=40)
    assert (replayed.replayed, stored.replayed) == (True, False)
    assert "all equal to the bit" in replayed.note
    assert stored.note == "stored records"
    first, last = replayed.step - 60, min(replayed.step + 40, 600)
    assert replayed.curves["step"].tolist() == list(range(first, last + 1))
    both = replayed.curves[replayed.curves["stored"]].reset_index(drop=True)
    assert both["step"].tolist() == stored.curves["step"].tolist()
    for name in ("train/loss", "train/accuracy", "norm", "update_norm", "grad_norm"):
        np.testing.assert_array_equal(both[name].astype(np.float32), stored.curves[name])
    evaluated = stored.curves["test/loss"].notna()
    np.testing.assert_array_equal(
        both.loc[evaluated, "test/loss"].astype(np.float32), stored.curves.loc[evaluated, "test/loss"]
    )


def test_adam_s_gain_is_that_of_the_replayed_second_moments(results):
    data = anatomy.data(results, before=10, after=0, replay=grokjax.replay)
    runs = results.runs()
    b2 = float(runs.loc[runs["run_id"] == data.run_id, "optimizer.b2"].iloc[0])
    for moment in grokjax.replay(results, data.run_id, data.step - 10, data.step - 10):
        v = moment.opt["nu/W.1"].astype(float) / (1 - b2**moment.step)
        assert data.curves[anatomy.GAIN].iloc[0] == pytest.approx(np.median(1 / (np.sqrt(v) + 1e-16)), rel=1e-6)


def test_the_default_event_is_the_first_of_the_run_with_the_most(results):
    data = anatomy.data(results)
    events = results.events().query("kind == 'slingshot'")
    counts = events.groupby("run_id").size()
    assert data.events == counts.max()
    assert data.step == events.loc[events["run_id"] == data.run_id, "step"].min()


def test_where_a_run_cannot_be_replayed_the_stored_records_are_shown_and_that_is_said(results):
    def elsewhere(*_, **__):
        raise grokjax.SweepError(
            [Mistake("out", 0, 0, "", "was trained on another kind of processor; here is this one")]
        )

    data = anatomy.data(results, replay=elsewhere)
    assert not data.replayed
    assert data.note == "stored records; not replayed: trained on another machine"
    assert data.note in anatomy.figure(data).get_suptitle().replace("\n", " ")


def bands_of(ends):
    rows = [(0, f"norm/{name}", step, value) for name, end in ends.items() for step, value in ((0, 7.0), (50, end))]
    frame = pd.DataFrame(rows, columns=["group", "metric", "step", "median"])
    frame = frame.assign(low=frame["median"], high=frame["median"], runs=1)
    return ArmBands(Grouping("main", (), (), (Group((), ("a",), 0, ()),)), frame, (1,))


def test_the_spread_of_a_set_is_its_largest_over_its_least_final_norm():
    ends = {"W_E": 4.0, "W_pos": 0.5, "W_Q.0": 1.0, "W_K.0": 1.25, "W_V.0": 5.0, "W_out.0": 4.5, "total": 99.0}
    spreads = final_spreads(bands_of(ends)).set_index("set")
    on, off = spreads.loc["on the path to the logits"], spreads.loc["others"]
    assert (on["least"], on["most"], on["ratio"], on["step"]) == (4.0, 5.0, 1.25, 50)
    assert (off["least"], off["most"], off["ratio"]) == (0.5, 1.25, 2.5)


def test_all_layers_of_an_mlp_are_on_the_path():
    assert {set_of(f"norm/{name}") for name in ("W.0", "W.1", "W_E")} == {"on the path to the logits"}
    assert {set_of(f"norm/{name}") for name in ("W_Q.0", "W_K.1", "W_pos")} == {"others"}


def test_names_that_would_overlap_are_moved_apart_and_others_stay():
    assert apart(np.array([0.1, 0.5, 0.5, 0.9]), 0.1).tolist() == pytest.approx([0.1, 0.45, 0.55, 0.9])
    assert np.diff(apart(np.zeros(6), 0.1)).tolist() == pytest.approx([0.1] * 5)


def test_the_equal_norm_csv_has_the_spreads(results, tmp_path):
    csv = pd.read_csv(make("norms", results, tmp_path / "norms", equal=True, arm="rough")[-1])
    at_end = csv.query("metric in ['norm/W.0', 'norm/W.1'] and step == 600 and `optimizer.b2` == 0.98")["median"]
    ratio = csv.query("metric == 'ratio' and `optimizer.b2` == 0.98")
    assert ratio["median"].tolist() == pytest.approx([at_end.max() / at_end.min()])
