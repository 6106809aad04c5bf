"""The open questions as shipped; answers about norms, decay, data, slingshots and activations from told outcomes."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import activation_multiply
import answers
import critical_fraction
import effective_lr
import numpy as np
import pandas as pd
import pytest
import slingshot_cause
import weight_decay_time
import yaml
from told_results import NEVER, STEPS, Told, answered, run

from grokjax.figures import style
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError

ROOT = Path(__file__).parents[1]
NAMES = [
    "effective_lr",
    "sgd_momentum",
    "norm_balance",
    "embedding_scale",
    "slingshot_cause",
    "weight_decay_time",
    "critical_fraction",
    "circuit_efficiency",
    "depth_slingshot",
    "activation_multiply",
    "signal_pairs",
]
SWEEPS = sorted((ROOT / "sweeps/questions").rglob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_its_sweeps_script_module_and_picture(name: str):
    for path in ("sweeps/questions/{}.yaml", "sweeps/questions/full/{}.yaml", "scripts/questions/{}.py"):
        assert (ROOT / path.format(name)).is_file()
    assert (ROOT / f"sweeps/questions/gallery/{name}.png").stat().st_size < 150_000
    module = importlib.import_module(name)
    assert all(callable(getattr(module, part)) for part in ("data", "answer", "figure"))
    assert f"`{name}`" in (ROOT / "sweeps/questions/README.md").read_text()


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: str(path.relative_to(ROOT / "sweeps/questions")))
def test_shipped_questions_plan_or_name_the_parents_they_are_forked_from(path: Path):
    text = path.read_text()
    sweep = yaml.safe_load(text)
    assert sweep["name"] == path.stem + ("_full" if path.parent.name == "full" else "")
    parents = sweep["base"].get("init", {}).get("from_run", {}).get("results")
    if parents is None:
        assert len(load_sweep(path).runs) == cost(text)
        return
    own = path.parent / (Path(parents).name.removesuffix("_full") + ".yaml")
    assert own.is_file()
    assert f"First train the parents: grokjax run {own.relative_to(ROOT)}" in text
    with pytest.raises(SweepError) as wrong:  # nothing else than that there are no parents to look up
        load_sweep(path)
    assert {mistake.key.rpartition(".")[0] for mistake in wrong.value.mistakes} == {"init.from_run"}


def cost(text: str) -> int:
    """The number of runs that a sweep's comment promises."""
    found = re.search(r"# Cost: ([\d,]+) ", text)
    assert found
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("name", NAMES)
def test_scripts_tell_what_they_take(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / f"scripts/questions/{name}.py"), run_name="__main__")
    assert f"sweeps/questions/{name}.yaml" in " ".join(capsys.readouterr().out.split())


def asked(module: Any, *told: Told) -> Any:
    return module.data(*told)


def drawn(module, tables, tmp_path: Path) -> None:
    """The picture is written, and what it shows as a table."""
    assert all(path.stat().st_size for path in style.write(module.figure(tables), tmp_path / "picture"))
    csv = style.write_table(answers.csv_table(tables, module.CSV), tmp_path / "picture")
    assert len(csv.read_text().splitlines()) > 1


def decays(exponent: float, values: tuple[float, ...], noise: float = 0.1, seeds: int = 6, **columns) -> list[dict]:
    """Runs whose median delay is 100 weight_decay^exponent, and whose spread over seeds is the same everywhere."""
    spread = np.exp(noise * np.linspace(-1, 1, seeds))
    return [
        run(
            optimizer__weight_decay=value, seed=seed,
            generalization=10 + 100 * value**exponent * spread[seed], **columns,
        )
        for value in values for seed in range(seeds)
    ]  # fmt: skip


def test_a_delay_in_proportion_to_one_over_weight_decay_is_told_until_it_ends(tmp_path: Path):
    """lr 1e-3: proportional from 0.2 to 3.2, then no fit. lr 4e-3: no run ever generalizes."""
    law = decays(-1, (0.2, 0.4, 0.8, 1.6, 3.2), 0.3, optimizer__lr=1e-3)
    unfit = [run(optimizer__weight_decay=6.4, optimizer__lr=1e-3, seed=seed, fit=NEVER) for seed in range(6)]
    never = [run(optimizer__weight_decay=value, optimizer__lr=4e-3) for value in (0.2, 0.4, 6.4)]
    found = asked(weight_decay_time, Told(law + unfit + never))
    whole = found["whole"].set_index("lr").loc[1e-3]
    assert whole["exponent_low"] <= -1 <= whole["exponent_high"]
    assert abs(whole["exponent"] + 1) < 0.15
    slow = found["cells"][found["cells"]["lr"] == 1e-3]
    assert weight_decay_time.proportional(slow) == (0.2, 3.2)
    text = answered(weight_decay_time, found)
    assert "lr exponent local exponent -1, not 0 half generalize up to half fit up to" in text
    assert "0.2 to 3.2 3.2 (at 6.4: 0 of 6) 3.2 (at 6.4: 0 of 6)" in text
    assert "6.4 none 0 of 6 (0 to 39 %) 0 of 6 (0 to 39 %) none" in text
    assert "0.004 none nowhere nowhere 6.4" in text
    assert "No lr x weight decay has a median delay at both" in text
    drawn(weight_decay_time, found, tmp_path)


def test_a_flat_delay_is_not_in_proportion(tmp_path: Path):
    found = asked(weight_decay_time, Told(decays(0, (0.2, 0.4, 0.8, 1.6), optimizer__lr=1e-3)))
    assert weight_decay_time.proportional(found["cells"]) is None
    text = answered(weight_decay_time, found)
    assert ") nowhere 1.6 1.6" in text  # the exponent over all, then where it is -1, half generalize and fit
    assert "Warning" in text or found["cells"]["median_step"].idxmin() in (1, 2)  # unless the best lies inside


def test_a_censored_delay_counts_as_late_not_as_missing():
    runs = decays(-1, (0.1, 0.2, 0.4, 0.8), optimizer__lr=1e-3)
    late = [dict(row) | {"generalization_step": NEVER, "delay": NEVER} if row["delay"] > 600 else row for row in runs]
    cells = asked(weight_decay_time, Told(late))["cells"]
    assert np.isinf(cells["delay"].iloc[0])
    assert np.isfinite(cells["delay"].iloc[1:]).all()
    assert abs(cells["exponent"].iloc[1] + 1) < 0.3


def test_equal_products_of_lr_and_weight_decay_are_compared():
    runs = decays(-1, (0.4, 0.8), 1e-6, optimizer__lr=1e-3) + decays(-1, (0.1, 0.2), 1e-6, optimizer__lr=4e-3)
    text = answered(weight_decay_time, asked(weight_decay_time, Told(runs)))
    assert text.endswith("product ratio\n0.0004 0.25\n0.0008 0.25")


def shares(accuracies: dict[float, float], **columns) -> list[dict]:
    return [
        run(
            task__train_fraction=share, final__test__accuracy=accuracy, seed=seed,
            generalization=100 if accuracy > 0.9 else NEVER, **columns,
        ) | {"final/test/accuracy": accuracy}
        for share, accuracy in accuracies.items() for seed in range(4)
    ]  # fmt: skip


def test_the_critical_fraction_is_where_the_accuracy_crosses_one_half():
    x = np.array([0.2, 0.4, 0.6])
    assert critical_fraction.crossing(x, np.array([0.0, 0.25, 1.0])) == pytest.approx(0.4 + 0.2 / 3)
    assert critical_fraction.crossing(x[::-1], np.array([1.0, 0.25, 0.0])) == pytest.approx(0.4 + 0.2 / 3)
    assert critical_fraction.crossing(x, np.array([0.9, 0.1, 0.9])) == pytest.approx(0.5)  # the last time
    assert critical_fraction.crossing(x, np.array([0.6, 0.7, 0.9])) == 0.2
    assert np.isnan(critical_fraction.crossing(x, np.array([0.6, 0.7, 0.1])))


def test_a_generalized_network_that_keeps_what_a_fresh_start_does_not_find_is_told(tmp_path: Path):
    fresh = Told(shares({0.2: 0.0, 0.4: 0.0, 0.6: 1.0}))
    kept = shares({0.1: 0.2, 0.2: 0.8, 0.4: 1.0})
    forks = Told([row | {"init.from_run.run": f"parent{row['seed']}"} for row in kept])
    found = asked(critical_fraction, fresh, forks)
    text = answered(critical_fraction, found)
    assert "smallest that generalizes largest that does not between" in text
    assert "fresh start 4 0.50 (0.50 to 0.50) 0 0 0.2 0.6 0.6 0.4 0 of 12 (0 to 24 %)" in text
    assert "generalized network 4 0.15 (0.15 to 0.15) 0 0 0.1 0.4 0.4 0.2 8 of 12 (39 to 86 %)" in text
    assert "A generalized network keeps what it can do" in text
    drawn(critical_fraction, found, tmp_path)
    lost = asked(critical_fraction, Told(shares({0.1: 0.0, 0.2: 1.0})), Told([
        row | {"init.from_run.run": "parent"} for row in shares({0.2: 0.0, 0.4: 1.0})[::4]
    ]))  # fmt: skip
    assert "forgets at shares of data at which a fresh start generalizes" in critical_fraction.answer(lost)[-1]


def test_a_fraction_that_is_never_reached_lies_beyond_the_largest(tmp_path: Path):
    found = asked(critical_fraction, Told(shares({0.2: 0.0, 0.4: 0.2})))
    text = answered(critical_fraction, found)
    assert "start parents critical share above all below all smallest largest" in text
    assert "fresh start 4 over 0.4 4 0 0.2 0.4 none 0.4" in text
    drawn(critical_fraction, found, tmp_path)


def causes(slings: dict[tuple[str, bool, float], int], lr: float = 1e-3) -> list[dict]:
    return [
        run(
            loss__precision=precision, loss__center_gradient=centered, optimizer__eps=eps, optimizer__b2=0.98,
            optimizer__lr=lr, seed=seed, slingshots=count,
        )
        for (precision, centered, eps), count in slings.items() for seed in range(5)
    ]  # fmt: skip


def test_slingshots_are_counted_by_loss_eps_and_learning_rate(tmp_path: Path):
    rows = causes({("float32", False, 1e-8): 6, ("float32", True, 1e-8): 0, ("exact", False, 1e-8): 0})
    rows += causes({("float32", True, 1e-8): 1}, lr=1e-2)
    found = asked(slingshot_cause, Told(rows))
    text = answered(slingshot_cause, found)
    assert "lr treatment eps slingshot values of b2" in text
    assert "0.001 float32 1e-8 5 of 5 (57 to 100 %)" in text
    assert "0.001 float32 centered 1e-8 0 of 5 (0 to 43 %)" in text
    assert "0.01 float32 centered 1e-8 5 of 5" in text
    assert "survive a loss that loses nothing in 0 of 5 (0 to 43 %)" in text
    assert "lr b2 eps count\n0.001 0.98 1e-8 6 (6 to 6)" in text
    drawn(slingshot_cause, found, tmp_path)


def test_forks_are_compared_parent_by_parent(tmp_path: Path):
    parents = causes({("float32", False, 1e-8): 6})
    ends = {"unchanged": 0.8, "exact": 0.75, "centered": 0.8}
    rows = [
        run(arm, init__from_run__run=f"parent{seed}", slingshots=int(arm != "exact"))
        | {"final/test/accuracy": end + seed / 10}
        for arm, end in ends.items() for seed in range(2)
    ]  # fmt: skip
    ids = [f"{place:012x}" for place in range(len(rows))]
    curves = pd.DataFrame({"run_id": ids, "step": 0, "test/accuracy": 0.7})
    events = [(run_id, "slingshot", 40) for run_id, row in zip(ids, rows, strict=True) if row["slingshots"]]
    found = asked(slingshot_cause, Told(parents), Told(rows, curves, events))
    text = answered(slingshot_cause, found)
    assert "arm parents slingshot a run first accuracy at the fork at the end generalize less than unchanged" in text
    assert "unchanged 2 2 1.0 40 0.700 0.850" in text
    assert "exact 2 0 0.0 none 0.700 0.800 (0.165 to 1.435) 0 of 2 (0 to 66 %) 0.050 (0.050 to 0.050)" in text
    assert re.search(r"centered 2 2 .* 0 of 2 \(0 to 66 %\) 0\.000 \(0\.000 to 0\.000\)", text)
    drawn(slingshot_cause, found, tmp_path)


def test_runs_that_go_on_are_left_out_and_said():
    rows = causes({("float32", False, 1e-8): 6, ("exact", False, 1e-8): 0})
    some = [row | {"status": "running"} if row["seed"] == 4 else row for row in rows]
    assert answers.unended(Told(some)) == ["Only 8 of 10 runs have ended; the others are left out."]
    assert asked(slingshot_cause, Told(some))["cell"]["runs"].tolist() == [4, 4]
    none = Told([row | {"status": "running"} for row in rows])
    for module in (slingshot_cause, weight_decay_time, critical_fraction, activation_multiply):
        with pytest.raises(ValueError, match="no run has ended yet"):
            asked(module, none)


def test_results_of_another_sweep_are_told_so():
    plain, parents = Told([run("adam", task__train_fraction=0.3)]), Told(causes({("float32", False, 1e-8): 1}))
    for other in (plain, Told([run("base", constraint__radius=10.0)])):  # no norm, no such arm
        with pytest.raises(ValueError, match="has a fixed norm and has ended"):
            asked(effective_lr, other)
    for module, first in ((slingshot_cause, parents), (critical_fraction, Told(shares({0.3: 0.5})))):
        with pytest.raises(ValueError, match="the runs of the second stage are no forks"):
            asked(module, first, plain)
    twice = [run("exact", init__from_run__run="parent"), run("exact", init__from_run__run="parent")]
    with pytest.raises(ValueError, match="parent has 2 forks in the arm exact"):
        asked(slingshot_cause, parents, Told(twice, pd.DataFrame({"run_id": [], "step": [], "test/accuracy": []})))


def norms(window: dict[float, tuple[float, float]]) -> tuple[list[dict], pd.DataFrame]:
    """Runs that generalize where norm lies in the window of their logit scale; a radial share of 1 / norm. At norm 10
    both arms have the same run, which is told once."""
    rows, metrics = [], []
    for arm, lrs in (("adam", (1e-3, 4e-3)), ("adam_with_norm", (None,))):
        for scale, (low, high) in window.items():
            for norm in (10.0, 20.0, 40.0):
                for lr in lrs:
                    if lr is None and norm == 10:
                        continue
                    there = 100.0 if low <= norm <= high else NEVER
                    rows.append(run(arm, there, constraint__radius=norm, model__logit_scale=scale,
                                    optimizer__lr=lr or norm * 1e-4))  # fmt: skip
                    if norm == 10 and lr == 1e-3:
                        rows[-1]["arms"] = ("adam", "adam_with_norm")
                    metrics.append(1 / norm)
    ids = [f"{place:012x}" for place in range(len(rows))]
    names = [effective_lr.ANGLE, effective_lr.SHARE]
    return rows, pd.DataFrame({"run_id": ids, "step": 100} | dict.fromkeys(names, metrics))


def test_the_norms_that_generalize_are_told_by_temperature(tmp_path: Path):
    found = asked(effective_lr, Told(*norms({0.1: (30, 50), 1.0: (15, 30)})))
    text = answered(effective_lr, found)
    assert "Runs that generalize with any lr, by norm:\nfamily logit scale" in text
    assert "Adam 0.1 10: 0 of 2, 20: 0 of 3, 40: 3 of 3" in text
    assert "Adam 1 10: 0 of 2, 20: 3 of 3, 40: 0 of 3" in text
    assert "Warning: Adam, where most generalize, soonest, lr 0.001 is the smallest tried" in text
    assert "family norm radial share\nAdam 10 0.1\nAdam 20 0.05\nAdam 40 0.025" in text
    assert "Adam 1 0.025 to 0.1 10 to 10 100 to 100, never at norm 10 40" in text  # angle, fit, generalization
    drawn(effective_lr, found, tmp_path)
    nobody = asked(effective_lr, Told(*norms({1.0: (99, 99)})))
    assert "Adam 1 0.025 to 0.1 10 to 10 none, never at norm 10 20 40" in answered(effective_lr, nobody)
    drawn(effective_lr, nobody, tmp_path)


def test_activations_are_ranked_and_a_best_lr_on_the_edge_is_warned_of(tmp_path: Path, monkeypatch):
    times = {("square", 1e-3): 300.0, ("square", 1e-2): 100.0, ("relu", 1e-3): 200.0, ("relu", 1e-2): 400.0,
             ("tanh", 1e-3): NEVER, ("tanh", 1e-2): NEVER}  # fmt: skip
    rows = [
        run("mlp", step + seed, model__activation=name, optimizer__lr=lr, seed=seed)
        for (name, lr), step in times.items() for seed in range(3)
    ]  # fmt: skip
    told = Told(rows)
    squares = {"square": 0.6, "relu": 0.3, "tanh": 0.1}
    frame = pd.DataFrame({"run_id": told.rows["run_id"], "beyond": [squares[row["model.activation"]] for row in rows]})
    frame["beyond"] += -0.01 * told.rows["seed"]  # the later, the less square
    monkeypatch.setattr(activation_multiply, "neurons", lambda results, ids, steps: frame)
    found = asked(activation_multiply, told)
    text = answered(activation_multiply, found)
    rows = ("square 0.01 101 (100 to 102) 3 of 3", "relu 0.001 201", f"tanh 0.001 over {STEPS:,} 0 of 3 (0 to 56 %)")
    order = [text.index(row) for row in rows]
    assert order == sorted(order)
    assert re.search(r"tanh 0\.001 .* 0\.1$", text, re.MULTILINE)  # test accuracy
    assert "Warning: mlp, square, lr 0.01 is the largest tried" in text
    assert "Warning: mlp, tanh" not in text
    assert "relu yes 6 0.29 (0.2" in text
    assert "tanh no 6 0.09 (0.0" in text
    assert "relu/tanh) and lr" in text
    drawn(activation_multiply, found, tmp_path)
