"""The questions sgd_momentum and depth_slingshot on results that are told, not trained."""

from __future__ import annotations

import answers
import depth_slingshot
import numpy as np
import pandas as pd
import pytest
import sgd_momentum
from blow_up import blow_up
from told_results import answered

NEVER = np.nan
MATRICES = ["W_E", "W_pos", "W_U"]


class Told:
    """Results that are tables, not files."""

    def __init__(self, runs, curves, events=None):
        self.told, self.stored, self.found = runs, curves, events

    def runs(self):
        return self.told

    def events(self):
        return self.found

    def params(self, run_id):
        return {"W.0": np.zeros((2, 3)), "b.0": np.zeros(3)}

    def metrics(self):
        return [name for name in self.stored if name not in ("run_id", "step")]

    def curves(self, metrics, runs=None):
        metrics, runs = ([value] if isinstance(value, str) else value for value in (metrics, runs))
        chosen = self.stored if runs is None else self.stored[self.stored["run_id"].isin(runs)]
        return chosen[["run_id", "step", *metrics]]


def curve(steps, losses, run_id="a", **norms):
    """Records of a run; a norm that is not given stays at 1."""
    still = {f"norm/{name}": np.ones(len(steps)) for name in MATRICES}
    given = {f"norm/{name}": values for name, values in norms.items()}
    table = {"run_id": run_id, "step": steps, "train/loss": losses, "train/loss_max": losses}
    return pd.DataFrame(table | still | given)


def found(records, diverged=False):
    return blow_up(records.rename(columns=lambda name: name.removeprefix("norm/")), MATRICES, diverged)


STEPS = np.arange(40)
CALM = np.full(40, 3.0)
SPIKE = np.where(STEPS < 38, 3.0, 31.0)  # over 10 times that at the start, at step 38


def growing(since, by=1.3):
    return by ** np.maximum(STEPS - since, 0)


def test_a_run_that_stays_low_and_finite_does_not_blow_up():
    assert found(curve(STEPS, CALM, W_U=growing(0))) is None


def test_the_first_matrix_is_the_first_to_double_within_the_last_steps():
    records = curve(STEPS, SPIKE, W_U=growing(34), W_pos=growing(32))
    assert found(records)[:3] == (38, "W_pos", True)


def test_growth_before_the_last_steps_counts_from_the_start_only():
    slow = np.where(STEPS < 18, 1 + STEPS / 6, 4.0)  # W_U has doubled by step 7, and stands still from 18 on
    assert found(curve(STEPS, SPIKE, W_U=slow, W_pos=growing(32)))[1:] == ("W_pos", True, "W_U")


def test_of_several_in_one_record_the_most_grown_counts_and_none_is_alone():
    jump = np.where(STEPS < 37, 1.0, 3.0)
    assert found(curve(STEPS, SPIKE, W_E=jump, W_U=2 * jump - 1))[1:3] == ("W_U", False)


def test_a_run_that_diverged_blew_up_where_it_ended_without_a_high_loss_too():
    assert found(curve(STEPS, CALM, W_E=growing(36)), diverged=True)[:2] == (39, "W_E")
    infinite = np.where(STEPS < 39, 1.0, np.inf)
    assert found(curve(STEPS, np.where(STEPS < 39, 3.0, np.nan), W_pos=infinite))[:2] == (39, "W_pos")


def test_records_too_far_apart_do_not_tell_which_matrix_went_first():
    assert found(curve(STEPS * 20, SPIKE, W_E=growing(30))) == (760, None, False, None)


def momentum_runs(times, arm="clipped", lrs=(0.1, 0.2, 0.4), clip=1.0, decay=0.01, **more):
    """Two seeds of each lr; times: lr -> their steps of generalization."""
    size = 2 * len(lrs)
    table = {
        "run_id": [f"{arm}{place}" for place in range(size)],
        "arm": arm,
        "seed": [0, 1] * len(lrs),
        "status": "ended",
        "optimizer.lr": np.repeat(lrs, 2),
        "optimizer.weight_decay": decay,
        "optimizer.clip_norm": clip,
        "init.scale_by_matrix.W_E": NEVER,
        "fit_step": 50.0,
        "generalization_step": np.ravel([times.get(lr, [NEVER, NEVER]) for lr in lrs]),
        "slingshots": 0,
        "final/test/accuracy": 0.5,
        "train.steps": 900,
    }
    return pd.DataFrame(table | more)


def calm_curves(runs):
    return pd.concat([curve(STEPS, CALM, run_id) for run_id in runs["run_id"]])


def momentum(*frames, curves=None):
    runs = pd.concat(frames, ignore_index=True)
    return sgd_momentum.data(Told(runs, calm_curves(runs) if curves is None else curves))


def said(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_best_setting_is_named_with_its_interval_and_a_censored_median():
    text = answered(sgd_momentum, momentum(momentum_runs({0.2: [100, NEVER]})))
    assert "group lr weight decay generalized median step accuracy settings of all lr that fits" in text
    best = "clipped 0.2 0.01 1 of 2 (9 to 91 %) 100 (100 to over 900) 0.5 3 1 of 6 (3 to 56 %) 0.4 (the largest tried)"
    assert said(text, "clipped") == best
    assert "Warning" not in text
    assert "\nNo run blew up" in text


def test_a_best_on_the_edge_of_an_axis_is_warned_of():
    text = answered(sgd_momentum, momentum(momentum_runs({0.4: [100, 200]})))
    assert said(text, "Warning") == "Warning: clipped, lr 0.4 is the largest tried; what is best may lie beyond."


def test_where_nobody_generalized_that_is_said_with_what_it_rules_out():
    data = momentum(momentum_runs({}))
    line = said(answered(sgd_momentum, data), "clipped")
    assert line.endswith("over 900 0.5 3 0 of 6 (0 to 39 %) 0.4 (the largest tried)")  # at most 39 % would
    assert len(sgd_momentum.figure(data).axes) == 6


def test_runs_that_go_on_are_left_out_and_counted():
    runs = momentum_runs({0.2: [100, 200]})
    going = runs.assign(status=["ended"] * 4 + ["running"] * 2)
    assert momentum(going)["cell"]["runs"].tolist() == [2, 2]
    assert answers.unended(Told(going, None)) == ["Only 4 of 6 runs have ended; the others are left out."]
    with pytest.raises(ValueError, match="no run has ended"):
        momentum(runs.assign(status="planned"))


def test_steps_along_normalized_gradients_are_compared_in_their_length():
    data = momentum(momentum_runs({}, "normalized", lrs=(1000, 3000), clip=1e-4, decay=1e-6))
    assert data["cell"]["lr"].tolist() == [0.1, 0.3]
    assert data["cell"]["weight_decay"].tolist() == [0.01, 0.01]


def test_starts_are_told_apart_and_blow_ups_counted_for_each():
    plain = momentum_runs({0.2: [10, 20]}, "raw", clip=NEVER)
    fixed = plain.assign(**{"init.scale_by_matrix.W_E": 3.0}, run_id=[f"fixed{place}" for place in range(6)])
    fixed.loc[4:, "status"] = "diverged"
    curves = calm_curves(pd.concat([plain, fixed[:4]]))
    wild = [curve(STEPS, SPIKE, run_id, W_pos=growing(32)) for run_id in ("fixed4", "fixed5")]
    data = momentum(plain, fixed, curves=pd.concat([curves, *wild]))
    assert data["blown"][["start", "lr", "matrix"]].drop_duplicates().to_numpy().tolist() == [
        ["by matrix", 0.4, "W_pos"]
    ]
    assert data["cell"].query("start == 'by matrix'")["share"].tolist() == [0, 0, 1]
    text = answered(sgd_momentum, data)
    blown = text[text.index("group blow up non finite step seen first alone since start") :]
    fixed = "raw; by matrix start 2 of 6 (10 to 70 %) 2 38 (38 to 38) 2 W_pos 2 of 2 (34 to 100 %) 2 W_pos 2 of 2"
    assert said(blown, "raw; by matrix").startswith(fixed)
    assert said(blown, "raw; plain").startswith("raw; plain start 0 of 6 (0 to 39 %) none")
    growth = data["example"].query("matrix == 'W_pos' and step == 38")["growth"].item()
    assert growth == pytest.approx(1.3**6)
    assert len(sgd_momentum.figure(data).axes) == 6
    assert answers.csv_table(data, sgd_momentum.CSV)["row"].value_counts().to_dict() == {"cell": 6, "blown": 2}


def test_blow_ups_between_records_are_counted_without_a_first_matrix():
    runs = momentum_runs({}, "raw", lrs=(0.1,))
    wild = [curve(STEPS * 20, SPIKE, run_id, W_pos=growing(32)) for run_id in runs["run_id"]]
    data = momentum(runs, curves=pd.concat(wild))
    text = answered(sgd_momentum, data)
    blown = text[text.index("group blow up non finite step seen first alone since start") :]
    assert said(blown, "raw") == "raw 2 of 2 (34 to 100 %) 0 760 (760 to 760) 0 0"  # none seen closely: no first
    assert len(sgd_momentum.figure(data).axes) == 6


DEPTHS = {1: [284], 2: [110, 110], 4: [70, 70, 70, 70]}


def depth(slingshots, generalized=None, status="ended", first=300, arm="mlp"):
    """Told results of two seeds a depth; slingshots and generalized: depth -> of its seeds the number, the step."""
    keys = [(deep, seed) for deep in DEPTHS for seed in (0, 1)]
    generalized = generalized or {}
    runs = pd.DataFrame(
        {
            "run_id": [f"{deep}-{seed}" for deep, seed in keys],
            "arm": arm,
            "seed": [seed for _, seed in keys],
            "status": status,
            "optimizer.lr": 0.001,
            "model.widths": [DEPTHS[deep] for deep, _ in keys],
            "fit_step": 100.0,
            "generalization_step": [generalized.get(deep, [NEVER, NEVER])[seed] for deep, seed in keys],
            "slingshots": [slingshots[deep][seed] for deep, seed in keys],
            "final/test/accuracy": 0.5,
            "train.steps": 900,
        }
    )
    rows = [
        (row["run_id"], "slingshot", first + 100 * time)
        for row in runs.to_dict("records")
        for time in range(row["slingshots"])
    ]
    events = pd.DataFrame([("1-0", "fit", 10), *rows], columns=["run_id", "kind", "step"])
    curves = pd.concat([curve(20 * STEPS, 3 - STEPS / 20, run_id) for run_id in runs["run_id"]])
    return Told(runs, curves, events)


def test_depth_shape_and_size_of_each_network():
    found = depth_slingshot.data(depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}))["cells"]
    assert found["depth"].tolist() == [1, 2, 4]
    assert found["shape"].tolist() == ["284 x 1", "110 x 2", "70 x 4"]
    assert found["parameters"].tolist() == [9, 9, 9]
    assert found["count"].tolist() == [0, 0.5, 2]
    assert found["share"].tolist() == [0, 0.5, 1]


def test_a_transformer_s_depth_is_its_layers():
    told = depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}, arm="transformer")
    told.told = told.told.drop(columns="model.widths").assign(
        **{"model.layers": [1, 1, 2, 2, 4, 4], "model.d_model": 32}
    )
    found = depth_slingshot.data(told)["cells"]
    assert found[["depth", "shape"]].to_numpy().tolist() == [[1, "d_model 32"], [2, "d_model 32"], [4, "d_model 32"]]


def test_the_first_slingshot_is_censored_where_there_is_none():
    data = depth_slingshot.data(depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}, {4: [500, NEVER]}))
    text = answered(depth_slingshot, data)
    assert "depth shape parameters slingshot count first before fit generalized accuracy" in text
    assert "1 284 x 1 9 0 of 2 (0 to 66 %) 0 (0 to 0) over 900 none 2 of 2" in text
    assert "300 (300 to over 900) 2 2 of 2 (34 to 100 %)" in said(text, "2 110 x 2 9")
    deep = said(text, "4 70 x 4 9 2 of 2 (34 to 100 %)")
    assert "300 (300 to 300) 2 2 of 2 (34 to 100 %) 1 of 2 (9 to 91 %)" in deep
    assert "(not the same networks), by slingshots:\nslingshots generalize accuracy\nwith 1 of 3 (6 to 79 %)" in text


def test_most_slingshots_at_the_deepest_tried_are_warned_of_but_not_within():
    text = answered(depth_slingshot, depth_slingshot.data(depth({1: [0, 0], 2: [1, 0], 4: [3, 1]})))
    assert "Rank correlations with depth, over runs:\ngroup runs number of slingshots first accuracy" in text
    assert "mlp, lr 0.001 6 0.8" in text
    assert said(text, "Warning") == "Warning: mlp, lr 0.001, depth 4 is the largest tried; there may be more beyond."
    within = answered(depth_slingshot, depth_slingshot.data(depth({1: [0, 0], 2: [5, 4], 4: [3, 1]})))
    assert said(within, "mlp, lr 0.001: most") == "mlp, lr 0.001: most slingshots at depth 2, 4.5 (0 to 10.9) a run."
    assert "Warning" not in within


def test_without_a_slingshot_or_a_generalized_run_there_is_an_answer_and_a_picture():
    data = depth_slingshot.data(depth({1: [0, 0], 2: [0, 0], 4: [0, 0]}))
    text = answered(depth_slingshot, data)
    assert "mlp, lr 0.001 6 none none none" in text  # no correlation
    assert text.endswith(
        "slingshots generalize accuracy\nwith none of 0 none\nwithout 0 of 6 (0 to 39 %) 0.5 (0.5 to 0.5)"
    )
    assert len(depth_slingshot.figure(data).axes) == 6
    assert len(answers.csv_table(data, depth_slingshot.CSV)) == 3


def test_networks_that_still_train_are_left_out_and_counted():
    status = ["ended"] * 4 + ["running"] * 2
    told = depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}, status=status)
    data = depth_slingshot.data(told)
    assert answers.unended(told) == ["Only 4 of 6 runs have ended; the others are left out."]
    assert data["cells"]["depth"].tolist() == [1, 2]
    assert set(data["examples"]["shape"]) == {"284 x 1", "110 x 2"}
    with pytest.raises(ValueError, match="no run has ended"):
        depth_slingshot.data(depth({1: [0, 0], 2: [0, 1], 4: [3, 1]}, status="planned"))
