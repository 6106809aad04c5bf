"""Censored power laws and Wilson's interval against references, and the picture of times to generalize."""

import math
import runpy
import sys
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from told_results import results_of

import grokjax
from grokjax.analysis.censored import fit_censored, wilson
from grokjax.figures import make, times

SCRIPT = Path(__file__).parents[1] / "scripts" / "time_to_generalize.py"
SWEEP = """
base:
  task: {p: 5, train_fraction: 0.7}
  model: {name: mlp, widths: [8]}
  train: {steps: 40}
log: {every: 10, eval_every: 10}
parameters:
  seed: {values: [0, 1]}
  optimizer.weight_decay: {values: [0, 0.1, 1, 10]}
"""


def sample(seed, n=40, slope=-1.0, sigma=0.4, until=np.inf):
    rng = np.random.default_rng(seed)
    x = np.repeat([0.1, 0.3, 1.0, 3.0], n // 4)
    t = np.exp(5.0 + slope * np.log(x) + sigma * rng.normal(size=n))
    return x, np.minimum(t, until), t <= until


def test_without_censoring_it_is_least_squares():
    x, t, happened = sample(0)
    fit = fit_censored(x, t, happened)
    reference = stats.linregress(np.log(x), np.log(t))
    assert (fit.slope, fit.intercept) == pytest.approx((reference.slope, reference.intercept), rel=1e-6)
    # maximum likelihood divides the squares by n, linregress by n - 2
    assert math.sqrt(fit.covariance[1, 1]) == pytest.approx(reference.stderr * math.sqrt(38 / 40), rel=1e-5)
    # profile of a Gaussian: n log(1 + (b - best)^2 Sxx / RSS) = q
    rss = fit.sigma**2 * 40
    half = math.sqrt(math.expm1(stats.chi2.ppf(0.95, 1) / 40) * rss / np.sum((np.log(x) - np.log(x).mean()) ** 2))
    assert (fit.low, fit.high) == pytest.approx((fit.slope - half, fit.slope + half), rel=1e-5)


def normal_log_likelihood(a, b, sigma, x, t, happened):
    total = 0.0
    for each_x, each_t, event in zip(x, t, happened, strict=True):
        place = NormalDist(a + b * math.log(each_x), sigma)
        total += math.log(place.pdf(math.log(each_t)) if event else 1 - place.cdf(math.log(each_t)))
    return total


def test_with_censoring_no_point_of_a_grid_is_likelier():
    x, t, happened = sample(1, until=400.0)
    assert 5 < (~happened).sum() < 20
    fit = fit_censored(x, t, happened)
    best = normal_log_likelihood(fit.intercept, fit.slope, fit.sigma, x, t, happened)
    assert fit.log_likelihood == pytest.approx(best)
    steps = (-0.05, -0.003, 0.0, 0.003, 0.05)
    for da in steps:
        for db in steps:
            for ds in steps:
                there = fit.intercept + da, fit.slope + db, fit.sigma * math.exp(ds)
                assert normal_log_likelihood(*there, x, t, happened) <= best + 1e-9


def test_at_the_interval_s_ends_the_best_of_a_grid_is_lower_by_half_a_quantile():
    x, t, happened = sample(2, until=400.0)
    fit = fit_censored(x, t, happened)
    cut = stats.chi2.ppf(0.95, 1) / 2
    log_x, log_t = np.log(x)[:, None, None], np.log(t)[:, None, None]
    a, sigma = np.linspace(4.5, 5.5, 201)[:, None], np.linspace(0.2, 0.8, 151)[None, :]
    for b in (fit.low, fit.high):
        r = (log_t - a - b * log_x) / sigma
        each = np.where(happened[:, None, None], stats.norm.logpdf(r) - np.log(sigma), stats.norm.logsf(r))
        assert each.sum(axis=0).max() == pytest.approx(fit.log_likelihood - cut, abs=5e-3)


def test_the_interval_covers_the_slope_in_about_95_of_100_samples():
    covered = 0
    for seed in range(120):
        x, t, happened = sample(1000 + seed, until=400.0)
        fit = fit_censored(x, t, happened)
        covered += fit.low <= -1.0 <= fit.high
    assert 0.91 <= covered / 120 <= 0.985


def test_leaving_censored_runs_out_would_flatten_the_slope():
    x, t, happened = sample(3, n=400, until=400.0)
    assert fit_censored(x, t, happened).slope == pytest.approx(-1.0, abs=0.06)
    assert fit_censored(x[happened], t[happened], happened[happened]).slope > -0.9


@pytest.mark.parametrize(
    ("x", "t", "happened", "message"),
    [
        ([1, 2, 1, 2], [5, 6, 7, 8], [True, True, False, False], "fewer than 3 events"),
        ([1, 1, 1, 2], [5, 6, 7, 8], [True, True, True, False], "events at one value only"),
        ([1, 2, 4, 8], [8, 4, 2, 1], [True] * 4, "on one line"),
        ([0, 2, 4, 8], [8, 4, 2, 1], [True] * 4, "positive"),
    ],
)
def test_what_has_no_slope_is_an_error(x, t, happened, message):
    with pytest.raises(ValueError, match=message):
        fit_censored(x, t, happened)


@pytest.mark.parametrize(("k", "n"), [(0, 4), (4, 4), (1, 4), (7, 30), (15, 30)])
def test_wilson_is_scipy_s(k, n):
    reference = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((reference.low, reference.high), abs=1e-12)


LAST = 5000


def told(decays=(0.0, 0.1, 0.3, 1.0, 3.0), lrs=(0.001,), seeds=8, until=LAST):
    """Results whose times are told, not trained: 400 / weight decay, with a spread."""
    rng = np.random.default_rng(0)
    rows = []
    for decay in decays:
        for lr in lrs:
            for seed in range(seeds):
                step = np.round(400 / decay * np.exp(0.3 * rng.normal())) if decay else np.inf
                rows.append((f"{decay}-{lr}-{seed}", decay, lr, seed, step if step <= until else np.nan))
    runs = pd.DataFrame(
        rows, columns=["run_id", "optimizer.weight_decay", "optimizer.lr", "seed", "generalization_step"]
    )
    runs = runs.assign(arm="main", arms=[["main"]] * len(runs), status="ended", fit_step=100.0)
    axes = {"main": ["optimizer.lr", "optimizer.weight_decay", "seed"][len(lrs) < 2 :]}
    return results_of(
        path=Path("told"),
        manifest=SimpleNamespace(axes=axes, keys=("optimizer.weight_decay", "optimizer.lr", "seed")),
        planned=lambda: runs,
        runs=lambda: runs,
        ends={run_id: {"step": until} for run_id in runs["run_id"]},
        table=runs,
    )


def test_weight_decay_is_the_axis_and_zero_has_no_place_on_it():
    data = times.data(told())
    assert (data.x, data.arm, data.pooled) == ("optimizer.weight_decay", "main", ("seed",))
    assert data.left_out == {"at weight_decay 0": 8}
    assert len(data.points) == 32
    fit = data.groups[0].fit
    assert fit.low < -1 < fit.high
    assert fit.events + fit.censored == 32


def test_who_never_generalized_is_censored_at_its_last_step_and_drawn_open():
    data = times.data(told(decays=(0.05, 0.1, 1.0)))
    never = data.points[data.points["censored"]]
    assert len(never) == 8
    assert set(never["time"]) == {LAST}
    axes = times.figure(data).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "^"]
    assert sum(len(line.get_xdata()) for line in marks) == len(never)
    assert {line.get_markerfacecolor() for line in marks} == {"white"}
    assert "8/8" in [text.get_text() for text in axes.texts]


def test_runs_that_diverged_or_go_on_are_left_out_and_counted():
    results = told()
    results.table.loc[results.table["run_id"] == "1.0-0.001-0", ["status", "generalization_step"]] = [
        "diverged",
        np.nan,
    ]
    results.table.loc[results.table["run_id"] == "1.0-0.001-1", "status"] = "diverged"  # after it generalized
    results.table.loc[results.table["run_id"] == "1.0-0.001-2", "status"] = "running"
    data = times.data(results)
    assert data.left_out["diverged before they generalized"] == 1
    assert data.left_out["have not ended"] == 1
    assert "1.0-0.001-1" in set(data.points.loc[~data.points["censored"], "run_id"])
    assert "left out: 1 diverged before they generalized" in times.figure(data).get_suptitle()


def test_the_delay_starts_at_the_fit():
    results = told(decays=(0.02, 1.0))
    results.table.loc[results.table["run_id"] == "1.0-0.001-0", "fit_step"] = np.nan
    data = times.data(results, measure="delay")
    assert data.left_out == {"never fit": 1}
    assert set(data.points.loc[data.points["censored"], "time"]) == {LAST - 100}
    merged = data.points[~data.points["censored"]].merge(results.table, on="run_id")
    assert (merged["time"] == merged["generalization_step"] - 100).all()


def test_each_color_has_its_own_fit():
    data = times.data(told(lrs=(0.001, 0.003)), by="optimizer.lr")
    assert [group.label for group in data.groups] == ["0.001", "0.003"]
    for place, group in enumerate(data.groups):
        points = data.points[data.points["group"] == place]
        assert group.fit.slope == fit_censored(points["x"], points["time"], ~points["censored"]).slope


@pytest.mark.parametrize("decays", [(1.0,), (0.01, 0.02)])
def test_without_a_slope_the_picture_says_so(decays):
    data = times.data(told(decays=decays))
    assert data.groups[0].fit is None
    labels = [text.get_text() for text in times.figure(data).legends[0].get_texts()]
    assert any("no fit: " in label for label in labels)


def test_the_table_holds_every_run_the_fit_and_its_line():
    data = times.data(told())
    rows = times.table(data)
    runs, fit, line = (rows[rows["row"] == kind] for kind in ("run", "fit", "line"))
    assert (len(runs), len(fit)) == (32, 1)
    assert fit[["slope", "low", "high"]].iloc[0].tolist() == [
        getattr(data.groups[0].fit, k) for k in ("slope", "low", "high")
    ]
    at = line["optimizer.weight_decay"].astype(float)
    expected = math.exp(fit["intercept"].iloc[0]) * at ** fit["slope"].iloc[0]
    assert line["generalization_step"].tolist() == pytest.approx(expected.tolist())
    assert ((line["low"] < expected) & (expected < line["high"])).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "optimizer.weight_decy"}, "did you mean optimizer.weight_decay"),
        ({"arm": "mian"}, "did you mean main"),
        ({"measure": "step"}, "there are generalization_step, delay"),
    ],
)
def test_a_wrong_option_says_what_there_is(options, message):
    with pytest.raises(ValueError, match=message):
        times.data(told(), **options)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("times")
    (folder / "sweep.yaml").write_text(SWEEP)
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def test_of_trained_runs_the_times_are_those_of_the_api(results, tmp_path):
    csv = pd.read_csv(make("times", results, tmp_path / "times")[-1]).query("row == 'run'").set_index("run_id")
    runs = results.runs().query("`optimizer.weight_decay` > 0").set_index("run_id")
    assert set(csv.index) == set(runs.index)
    expected = runs["generalization_step"].fillna(40)[csv.index]
    assert csv["generalization_step"].tolist() == expected.tolist()
    assert csv["censored"].astype(str).eq("True").tolist() == runs["generalization_step"].isna()[csv.index].tolist()


def test_the_script_writes_three_files(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(results.path), "--out", str(tmp_path / "picture")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in lines] == ["picture.png", "picture.svg", "picture.csv"]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_the_script_has_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 0
    assert "STEM.png, STEM.svg" in capsys.readouterr().out
