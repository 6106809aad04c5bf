"""The reduced loss: slopes against NumPy and planted ones, and runs on a sphere against their own curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import grokjax
from grokjax.analysis.reduced import METRICS, PACE, reduced, slope
from grokjax.figures import make, reduced_loss

SWEEP = {
    "name": "reduced",
    "base": {
        "task": {"p": 7, "train_fraction": 0.6},
        "model": {"name": "mlp", "widths": [16]},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"steps": 200},
    },
    "log": {"every": 10, "eval_every": 50},
    "parameters": {"seed": {"min": 0, "max": 2}},
    "arms": {
        "held": {
            "base": {"constraint": {"name": "fixed_norm"}},
            # as large a norm as 15 never rests within 200 steps; at 0.5 there is little to learn
            "parameters": {"constraint.radius": {"values": [15, 0.5, 3]}, "optimizer.lr": {"values": [0.01, 0.02]}},
        },
        "start": {"base": {"constraint": {"name": "fixed_norm"}}, "parameters": {"init.scale": {"values": [1, 2]}}},
        "free": {"parameters": {"init.scale": {"values": [1, 3]}}},
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("reduced")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def of_arm(results: grokjax.Results, arm: str):
    return results.runs().query(f"arm == '{arm}'").set_index("run_id")


# --- the slope ------------------------------------------------------------------------------------------------

STEPS = np.arange(0, 2001, 10)


def test_the_slope_is_that_of_plain_least_squares():
    loss = np.random.Generator(np.random.PCG64(0)).lognormal(size=len(STEPS))
    late = STEPS >= 1500
    wanted, _ = np.polyfit(np.log10(STEPS[late]), np.log10(loss[late]), 1)
    assert slope(STEPS, loss) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("power", [-2.0, -PACE, 0.0, 1.5])
def test_a_power_law_has_its_exponent(power: float):
    loss = 3 * np.maximum(STEPS, 1.0) ** power
    assert slope(STEPS, loss) == pytest.approx(power, abs=1e-9)
    early = np.where(STEPS < 1500, 1e6, loss)  # what was before the last quarter does not count
    assert slope(STEPS, early) == pytest.approx(power, abs=1e-9)


def test_few_records_zeros_and_what_is_not_finite():
    assert np.isnan(slope(STEPS[:3], np.ones(3)))  # that at step 0 does not count
    assert slope(STEPS[:4], np.array([9.0, 0.1, 0.01, 0.001])) < -4
    assert slope(STEPS, np.zeros(len(STEPS))) == pytest.approx(0, abs=1e-9)
    assert np.isnan(slope(STEPS, np.where(STEPS == 2000, np.inf, 1.0)))
    assert slope(STEPS, np.where(STEPS == 10, np.inf, 1.0)) == pytest.approx(0, abs=1e-9)


# --- runs -----------------------------------------------------------------------------------------------------


def test_every_run_has_its_final_values_and_its_norm(results: grokjax.Results):
    runs = of_arm(results, "held")
    found = reduced(results, list(runs.index)).set_index("run_id")
    assert list(found.index) == list(runs.index)
    np.testing.assert_allclose(found["norm"], runs["constraint.radius"], rtol=1e-5)
    for name in METRICS:
        np.testing.assert_array_equal(found[name], runs[f"final/{name}"])
    assert (found["step"] == 200).all()


def test_a_loss_that_falls_has_not_settled_and_one_at_rest_has(results: grokjax.Results):
    runs = of_arm(results, "held")
    found = reduced(results, list(runs.index)).set_index("run_id")
    curves = results.curves("train/loss", list(runs.index))
    for run_id, own in curves[curves["step"] >= 150].groupby("run_id"):
        wanted = np.polyfit(np.log10(own["step"]), np.log10(own["train/loss"].astype(float)), 1)[0]
        assert found.loc[run_id, "slope"] == pytest.approx(wanted, rel=1e-6)
        assert found.loc[run_id, "settled"] == (abs(wanted) <= PACE)
    assert not found[runs["constraint.radius"] == 15]["settled"].any()
    assert found[runs["constraint.radius"] == 0.5]["settled"].all()
    assert reduced(results, list(runs.index), pace=1e3)["settled"].all()


def test_wrong_input_is_said_in_words(results: grokjax.Results):
    with pytest.raises(ValueError, match="fixed_norm; 6 of 30"):
        reduced(results)
    with pytest.raises(ValueError, match="no run 'abc'"):
        reduced(results, ["abc"])
    with pytest.raises(ValueError, match="pace must be positive"):
        reduced(results, pace=0.0)
    with pytest.raises(ValueError, match="fixed_norm; 6 of 6"):
        reduced_loss.data(results, arm="free")
    with pytest.raises(ValueError, match="give one of them"):
        reduced_loss.data(results, by="optimizer.lr", y="optimizer.lr")
    with pytest.raises(ValueError, match="across already"):
        reduced_loss.data(results, by="constraint.radius")
    with pytest.raises(ValueError, match=r"no key 'optimizer\.rl'"):
        reduced_loss.data(results, y="optimizer.rl")


# --- the picture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_map", [False, True])
def test_points_are_medians_over_seeds_and_marked_where_half_have_not_settled(
    results: grokjax.Results, as_map: bool, tmp_path: Path
):
    key = {"y" if as_map else "by": "optimizer.lr"}
    data = reduced_loss.data(results, **key)
    assert (data.x, data.as_map, data.left_out) == ("constraint.radius", as_map, 0)
    rows = reduced_loss.table(data)
    assert len(rows) == 2 * 3 * len(METRICS)
    runs = of_arm(results, "held")
    settled = reduced(results, list(runs.index)).set_index("run_id")["settled"]
    for row in rows.to_dict("records"):
        same = (runs["constraint.radius"] == row["constraint.radius"]) & (runs["optimizer.lr"] == float(row["group"]))
        own = runs[same][f"final/{row['metric']}"]
        assert (row["median"], row["low"], row["high"]) == pytest.approx((own.median(), own.min(), own.max()))
        assert (row["runs"], row["unsettled"]) == (3, (~settled[same]).sum())
        assert row["marked"] == (row["unsettled"] >= 2)
    assert all(path.stat().st_size for path in make("reduced_loss", results, tmp_path / "it", **key))


def test_without_another_axis_there_is_one_line_at_the_norms_of_the_start(results: grokjax.Results):
    data = reduced_loss.data(results, arm="start")
    assert [group.label for group in data.bands.grouping.groups] == [""]
    norms = results.curves("norm/total", list(of_arm(results, "start").index)).groupby("run_id")["norm/total"].last()
    scale = of_arm(results, "start")["init.scale"]
    bands = data.bands.bands[data.bands.bands["metric"] == "train/loss"]
    assert bands["x"].tolist() == pytest.approx([norms[scale[scale == at].index].median() for at in (1, 2)])
    assert reduced_loss.figure(data).axes
