"""Answers of the questions about balanced norms, the embedding and efficiency, from outcomes that are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import answers
import circuit_efficiency
import embedding_scale
import norm_balance
import numpy as np
import pandas as pd
import pytest
from told_results import NEVER, STEPS, Told, answered, run

from grokjax.figures import style


def asked(module: Any, *told: Any) -> Any:
    return module.data(*told)


def drawn(module: Any, tables: Any, tmp_path: Path) -> None:
    """The picture is written, and what it shows as a table."""
    assert all(path.stat().st_size for path in style.write(module.figure(tables), tmp_path / "picture"))
    csv = style.write_table(answers.csv_table(tables, module.CSV), tmp_path / "picture")
    assert len(csv.read_text().splitlines()) > 1


def test_norms_have_met_where_their_ratio_stays_small():
    steps = [0, 10, 20, 30]
    assert norm_balance.met(steps, [2, 1.2, 1.5, 1.1]) == 30
    assert norm_balance.met(steps, [2, 1.2, 1.1, 1.0]) == 10
    assert norm_balance.met(steps, [1.1, 1.2, 1.1, 1.0]) == 0
    assert np.isnan(norm_balance.met(steps, [1, 1, 1, 1.4]))
    assert np.isnan(norm_balance.met(steps, [1, 1, 1, np.nan]))


MATRICES = {"W_E": 8.0, "W_U": 8.4, "W_Q": 2.0}  # the last is off the path


def balanced(arm: str, decay: float, meets: float, generalization: float) -> tuple[dict, pd.DataFrame]:
    """A run whose two matrices on the path meet at a step, with <W, grad W> of 1 and 3 to the end."""
    steps = np.arange(0, STEPS + 1, 100)
    ratio = np.where(steps >= meets, 1.05, 3.0) if meets == meets else np.full(len(steps), 3.0)
    curve = pd.DataFrame({"step": steps, norm_balance.RATIO: ratio})
    for name, value in MATRICES.items():
        curve[f"norm/{name}"] = value
        curve[f"{norm_balance.INNER}{name}"] = {"W_E": 1.0, "W_U": 3.0, "W_Q": 7.0}[name]
    ends = {f"final/norm/{name}": value for name, value in MATRICES.items()}
    row = run(arm, generalization, optimizer__weight_decay=decay, optimizer__eps=1e-8) | ends
    return row | {f"final/{norm_balance.RATIO}": ratio[-1], f"final/{norm_balance.SHARE}": 0.25}, curve


def told(runs: list[tuple[dict, pd.DataFrame]]) -> Told:
    curves = [curve.assign(run_id=f"{place:012x}") for place, (_, curve) in enumerate(runs)]
    return Told([row for row, _ in runs], pd.concat(curves, ignore_index=True))


def test_balance_is_told_before_or_after_generalization(tmp_path: Path):
    runs = [
        balanced("even", 1.0, 300, 600),  # meets first
        balanced("even", 1.0, 800, 400),  # generalizes first
        balanced("even", 3.0, NEVER, 500),
        balanced("uneven", 1.0, 200, NEVER),
    ]
    found = asked(norm_balance, told(runs))
    text = answered(norm_balance, found)
    assert "balance both balance first generalize first only generalize only balance" in text
    assert "even 3 800 (300 to over 1,000) 500 (400 to 600) 2 2 1 1 1 0" in text
    assert "uneven 1 200 (200 to 200) over 1,000 1 0 0 0 0 1" in text
    assert "even 3 1e-8 3 0 of 1" in text  # never within 1.3
    assert "others over path spread of inner products below eps" in text
    assert "1 1e-8 0.24 0.5 0.25\n3 1e-8 0.24 0.5 0.25" in text  # inner products of 1 and 3: mean 2, deviation 1
    drawn(norm_balance, found, tmp_path)


def test_balance_needs_its_probe_and_a_run_that_ended():
    rows = [run(optimizer__weight_decay=1.0, optimizer__eps=1e-8)]
    with pytest.raises(ValueError, match="probe `balance`"):
        asked(norm_balance, Told(rows))
    with pytest.raises(ValueError, match="probe `balance`"):
        asked(embedding_scale, Told(rows))
    row, curve = balanced("even", 1.0, 300, 600)
    with pytest.raises(ValueError, match="no run has ended"):
        asked(norm_balance, told([(row | {"status": "running"}, curve)]))


def embedded(delays: dict[float, float], arm: str = "lr", share: float = 0.2) -> tuple[list[dict], pd.DataFrame]:
    """Three runs a factor of W_E's lr, that generalize this late; W_E's share of the gradient is share / factor."""
    rows, shares = [], []
    for factor, delay in delays.items():
        for seed in range(3):
            rows.append(
                run(arm, 10 + delay, optimizer__weight_decay=1.0, model__d_model=16, seed=seed)
                | {embedding_scale.FACTOR[arm]: factor}
            )
            shares.append(share / max(factor, 0.1) + 1e-3 * seed)
    ids = [f"{place:012x}" for place in range(len(rows))]
    early = pd.DataFrame({"run_id": ids, "step": 10, embedding_scale.SHARE: shares})
    late = early.assign(step=50, **{embedding_scale.SHARE: 1.0})  # after the fit: does not count
    return rows, pd.concat([early, late])


def test_the_embeddings_share_is_that_until_fit_and_is_held_against_the_delay(tmp_path: Path):
    found = asked(embedding_scale, Told(*embedded({0: NEVER, 1: 300, 10: 100})))
    text = answered(embedding_scale, found)
    assert "lr of W_E 0 2\nlr of W_E 1 0.2\nlr of W_E 10 0.021" in text
    assert "factor delay generalized\n0 over 1,000 0 of 3 (0 to 56 %)\n1 300 (300 to 300) 3 of 3" in text
    assert "setting of factor delay\nd_model 16, wd 1 lr of W_E 10 100 (100 to 100)" in text  # the best
    assert "factor 10 is the largest tried" in text
    rho = float(text.split("setting of runs correlation\nd_model 16, wd 1 lr of W_E 9 ")[1].split(" ")[0])
    assert rho > 0.9  # the more share, the later
    drawn(embedding_scale, found, tmp_path)


def test_nobody_generalizes_whatever_the_embedding_does(tmp_path: Path):
    found = asked(embedding_scale, Told(*embedded({0.3: NEVER, 1: NEVER}, arm="init")))
    text = answered(embedding_scale, found)
    assert "times the start of W_E: median delay:\nfactor delay generalized\n0.3 over 1,000 0 of 3" in text
    assert "most generalize" not in text
    drawn(embedding_scale, found, tmp_path)


def efficient(p: int = 7) -> list[dict]:
    """Train loss exp(-norm) times a size's factor: random labels take a norm that grows with the size, the generalizing
    solution takes 10 at a loss of exp(-10)."""
    rows = []
    for fraction, random in ((0.25, 8.0), (0.5, 10.5), (0.75, 13.0)):
        for decay, loss in ((0.3, np.exp(-12.0)), (1.0, np.exp(-10.0)), (3.0, np.exp(-8.0))):
            for seed in range(2):
                for op, norm in (("add", 10.0), ("random", random)):
                    there = op == "add" and fraction > 0.4
                    rows.append(
                        run(op, 100 if there else NEVER, task__op=op, task__p=p, task__train_fraction=fraction,
                            optimizer__weight_decay=decay, seed=seed, events__generalization=0.99)
                        | {"final/norm/total": norm - np.log(loss) - 10, "final/train/loss": loss}
                    )  # fmt: skip
    return rows


def test_random_labels_become_the_less_efficient_where_their_norm_passes(tmp_path: Path, monkeypatch):
    def measured(results, run_ids, step, sampling):
        return pd.DataFrame({"run_id": run_ids, "lambda": 5.0, "trusted": True})

    monkeypatch.setattr(circuit_efficiency, "learning_coefficient", measured)
    found = asked(circuit_efficiency, Told(efficient()))
    # random labels: norm 8 at 12 examples, 10.5 at 24: they take the norm 10 between, linear in logarithms
    between = 12 * (24 / 12) ** (np.log(10 / 8) / np.log(10.5 / 8))
    critical = found["critical"]["critical"].iloc[0]
    assert critical == pytest.approx(between, rel=0.02)
    ratios = found["ratios"].set_index("size")["norm"]
    assert ratios[12] == pytest.approx(0.8, rel=0.02)
    assert ratios[36] == pytest.approx(1.3, rel=0.02)
    text = answered(circuit_efficiency, found)
    assert "random labels become the less efficient at" in text
    assert "learning coefficient within a factor 3 of that loss:\nkind size coefficient trusted\ngeneralizing" in text
    drawn(circuit_efficiency, found, tmp_path)


def test_without_a_generalizing_network_efficiency_is_not_compared(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        circuit_efficiency, "learning_coefficient",
        lambda results, run_ids, step, sampling: pd.DataFrame({"run_id": run_ids, "lambda": 5.0, "trusted": False}),
    )  # fmt: skip
    none = [row | {"final/test/accuracy": 0.1} for row in efficient()]
    found = asked(circuit_efficiency, Told(none))
    assert found["critical"].empty
    text = answered(circuit_efficiency, found)
    assert "memorizing" in text
    assert "0 of 2" in text  # trusted
    drawn(circuit_efficiency, found, tmp_path)


def test_without_random_labels_efficiency_is_not_compared(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        circuit_efficiency, "learning_coefficient",
        lambda results, run_ids, step, sampling: pd.DataFrame({"run_id": run_ids, "lambda": 5.0, "trusted": True}),
    )  # fmt: skip
    found = asked(circuit_efficiency, Told([row for row in efficient() if row["task.op"] != "random"]))
    text = answered(circuit_efficiency, found)
    assert "p 7: no run with random labels to compare with." in text
    drawn(circuit_efficiency, found, tmp_path)
