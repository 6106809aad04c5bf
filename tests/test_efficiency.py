"""Circuit efficiency: logits against plain NumPy, a planted solution, who counts as what, the picture, the command."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import reference
import slow_progress
from safetensors.numpy import save_file
from test_progress import gromov, quick, run_spec, small, weights
from typer.testing import CliRunner

import grokjax
from grokjax.analysis.efficiency import LOGITS, MEASURES, _kind, efficiency, logits_of
from grokjax.analysis.stored import examples_of, specs_of
from grokjax.cli import app
from grokjax.figures import efficiency as picture
from grokjax.figures import make
from grokjax.spec.models import MLP, Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.tasks import Modular

P, KEYS = 11, [2, 5]
SQUARES = {"name": "mlp", "widths": [32], "activation": "square", "bias": False, "logit_scale": 3.0}
SWEEP = {
    "name": "efficiency",
    "base": {"task": {"p": P}, "model": SQUARES, "train": {"steps": 20}},
    "log": {"every": 10, "eval_every": 10, "snapshot_every": 10},
    "arms": {
        "planted": {
            "base": {
                "task": {"train_fraction": 0.5},
                "init": {"from_file": "planted.safetensors"},
                "optimizer": {"lr": 0},
            },
            "parameters": {"init.scale": {"values": [1, 2]}},
        },
        "trained": {
            "base": {"task": {"op": "random"}, "optimizer": {"lr": 0.01}},
            "parameters": {
                "task.train_fraction": {"values": [0.3, 0.5]},
                "seed": {"min": 0, "max": 2},
                "optimizer.weight_decay": {"values": [0, 1]},
            },
        },
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("efficiency")
    held = {name: value.astype(np.float32) for name, value in gromov(P, KEYS).items()}
    save_file(held, folder / "planted.safetensors")
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    return grokjax.run(folder / "sweep.yaml", folder / "out")


def of_arm(results, arm: str) -> list[str]:
    return list(results.planned().query(f"arm == '{arm}'")["run_id"])


# --- against NumPy --------------------------------------------------------------------------------------------


def correct_and_margin(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Of logits [n, classes], example by example."""
    correct, margin = [], []
    for row, label in zip(logits, labels, strict=True):
        correct.append(row[label] - row.mean())
        margin.append(row[label] - np.delete(row, label).max())
    return float(np.mean(correct)), float(np.mean(margin))


def by_hand(params, spec: RunSpec, scale: float, keys: list[int]) -> dict[str, float]:
    """MEASURES of cross-entropy in float64, the key frequencies' part wave by wave over all pairs."""
    found, p = {}, spec.task.p
    for name, part in zip(("train", "test"), examples_of(spec), strict=True):
        logits = scale * reference.network(params, np.asarray(part.inputs), spec.model.activation)[0]
        losses = [slow_progress.loss(row, label, False) for row, label in zip(logits, part.targets, strict=True)]
        found[f"{name}/loss"], found[f"{name}/accuracy"] = np.mean(losses), np.mean(logits.argmax(1) == part.targets)
        correct, margin = correct_and_margin(logits[:, :p], part.targets)
        found |= (
            {"logit/test_correct": correct} if name == "test" else {"logit/correct": correct, "logit/margin": margin}
        )
    elements, sign = slow_progress.group(spec.task.op, p)
    if not sign:
        return found
    n = len(elements)
    tokens = np.array([[a, b, p] for a in elements for b in elements])
    logits = scale * reference.network(params, tokens, spec.model.activation)[0][:, elements]
    i, j = np.divmod(np.arange(n * n), n)
    kept = np.tile(logits.mean(0), (n * n, 1))
    for k in keys:
        for wave in slow_progress.unit_waves(i + sign * j, n, k):
            kept += np.outer(wave, wave @ logits)
    found["trig/correct"], found["trig/margin"] = correct_and_margin(kept, (i + sign * j) % n)
    return found


CASES = {
    "transformer": run_spec(model=small()),
    "quotient, embedded": run_spec("divide", 7, MLP(widths=[6], input="embedded", d_model=4, activation="gelu")),
    "random labels": run_spec("random", 6, MLP(widths=[9])),
}


@pytest.mark.parametrize("spec", CASES.values(), ids=CASES)
def test_logits_are_those_of_plain_numpy(spec: RunSpec):
    spec = spec.model_copy(update={"task": Modular(op=spec.task.op, p=spec.task.p, split={"seed": 4})})  # pyright: ignore[reportArgumentType]
    params = {name: 2 * value for name, value in weights(spec).items()}
    n = spec.task.p - (spec.task.op == "divide")
    keys = [1, 3] if spec.task.op != "random" else []
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        held = {name: jnp.asarray(value, jnp.float64) for name, value in params.items()}
        marks = jnp.array([k + 1 in keys for k in range(n // 2)])
        found = quick(partial(logits_of, spec))(held, *examples_of(spec), 1.7, marks)
    wanted = by_hand(params, spec, 1.7, keys)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-6, abs=1e-8), name


def test_stored_rows_are_those_of_plain_numpy(results):
    found, specs = efficiency(results), specs_of(results)
    assert [*zip(found["run_id"], found["step"], strict=True)] == [
        (run_id, step) for run_id in results.run_ids for step in results.snapshots(run_id)
    ]
    for row in found.to_dict("records"):
        params = {name: value.astype(np.float64) for name, value in results.params(row["run_id"], row["step"]).items()}
        wanted = by_hand(params, specs[row["run_id"]], 3.0, KEYS)
        for name in MEASURES:
            assert row[name] == pytest.approx(wanted.get(name, np.nan), rel=1e-3, abs=1e-5, nan_ok=True), name
        norm = np.sqrt(sum((value**2).sum() for value in params.values()))
        assert row["norm"] == pytest.approx(norm, rel=1e-6)
        assert row["efficiency/correct"] == pytest.approx(wanted["logit/correct"] / norm, rel=1e-3, abs=1e-6)
        assert row["efficiency/normalized"] == pytest.approx(wanted["logit/margin"] / norm**3, rel=1e-3, abs=1e-6)
        assert row["train_size"] == len(examples_of(specs[row["run_id"]])[0].targets)


# --- planted truths -------------------------------------------------------------------------------------------


def test_all_logits_of_the_analytic_network_are_in_its_key_frequencies(results):
    found = efficiency(results, of_arm(results, "planted"), "last")
    assert list(found["kind"]) == ["generalizing", "generalizing"]
    for name in ("correct", "margin"):
        assert list(found[f"trig/{name}"]) == pytest.approx(list(found[f"logit/{name}"]), rel=1e-2)
    assert list(found["trig/correct"]) == pytest.approx(list(found["logit/test_correct"]), rel=1e-4)
    # each frequency's cos w(a + b - c) is 1 at the answer, of mean 0 over the classes
    first, second = found.to_dict("records")
    assert first["efficiency/trig_correct"] == pytest.approx(first["trig/correct"] / first["norm"])
    assert second["logit/correct"] == pytest.approx(8 * first["logit/correct"], rel=1e-5)
    assert second["efficiency/correct"] == pytest.approx(4 * first["efficiency/correct"], rel=1e-5)
    assert second["efficiency/normalized"] == pytest.approx(first["efficiency/normalized"], rel=1e-5)


def test_random_labels_are_only_memorized(results):
    found = efficiency(results, of_arm(results, "trained"), "last")
    assert found[["trig/correct", "efficiency/trig_margin"]].isna().all(axis=None)
    assert not (found["kind"] == "generalizing").any()


@pytest.mark.parametrize(
    ("op", "train", "test", "kind"),
    [
        ("add", 1.0, 1.0, "generalizing"),
        ("add", 1.0, 0.3, "memorizing"),
        ("add", 1.0, 0.7, "neither"),
        ("random", 1.0, 0.7, "memorizing"),
        ("random", 0.9, 0.1, "neither"),
        ("add", 0.9, 0.1, "neither"),
        ("add", 0.9, 0.995, "generalizing"),
    ],
)
def test_what_a_network_counts_as(op: str, train: float, test: float, kind: str):
    assert _kind(run_spec(op), {"train/accuracy": train, "test/accuracy": test}, 0.5) == kind


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (MLP(widths=[6], activation="square", bias=False), 3),
        (MLP(widths=[6, 5], activation="square", bias=False), 7),
        (MLP(widths=[6, 5], activation="relu", bias=False, input="embedded", d_model=4), 4),
        (MLP(widths=[6], activation="identity", bias=False), 2),
        (MLP(widths=[6], activation="relu"), None),
        (MLP(widths=[6], activation="gelu", bias=False), None),
        (Transformer(), None),
    ],
)
def test_the_degree_is_how_logits_scale_with_the_parameters(model: MLP | Transformer, wanted: int | None):
    spec = run_spec("add", 5, model)
    assert spec.model.degree == wanted
    if wanted:
        params, tokens = weights(spec), np.array([[0, 1, 5], [3, 2, 5], [4, 4, 5]])
        scaled = {name: 1.5 * value for name, value in params.items()}
        one, more = (reference.network(each, tokens, model.activation)[0] for each in (params, scaled))
        np.testing.assert_allclose(more, 1.5**wanted * one, rtol=1e-9)


# --- the picture, the command, wrong input --------------------------------------------------------------------


def test_the_picture_has_a_point_a_run_and_their_circuits(results, tmp_path: Path):
    data = picture.data(results, arm="trained")
    assert (data.x, data.grouping.keys, data.left_out) == ("task.train_fraction", ("optimizer.weight_decay",), 0)
    wanted = efficiency(results, of_arm(results, "trained"), "last").set_index("run_id")
    runs = results.planned().set_index("run_id")
    for row in data.points.to_dict("records"):
        assert row["x"] == runs.loc[row["run_id"], "task.train_fraction"]
        assert data.grouping.groups[row["group"]].values == (runs.loc[row["run_id"], "optimizer.weight_decay"],)
        memorizing = wanted.loc[row["run_id"], "kind"] == "memorizing"
        circuit = wanted.loc[row["run_id"], "efficiency/correct"] if memorizing else np.nan
        assert row["circuit"] == pytest.approx(circuit, nan_ok=True)
    for arm, more in (("trained", {"step": 10}), ("planted", {})):
        paths = make("efficiency", results, tmp_path / arm, arm=arm, **more)
        rows = pd.read_csv(paths[2])
        assert len(rows) == len(of_arm(results, arm))
        assert set(LOGITS) < set(rows.columns)
    # of generalizing networks it is what lies in the key frequencies
    assert rows["circuit"].tolist() == pytest.approx(rows["efficiency/trig_correct"].tolist())


def test_wrong_input_is_said_in_words(results):
    with pytest.raises(ValueError, match="no run 'abc'"):
        efficiency(results, "abc")
    with pytest.raises(ValueError, match="none at 7"):
        efficiency(results, steps=7)
    with pytest.raises(ValueError, match="memorized is a test accuracy"):
        efficiency(results, memorized=-1.0)
    with pytest.raises(ValueError, match="not all numbers"):
        picture.data(results, x="task.op")
    with pytest.raises(ValueError, match="no key"):
        picture.data(results, by="optimizer.wd")


def test_the_command_writes_a_row_a_snapshot(results, tmp_path: Path):
    out, run_id = tmp_path / "it.csv", of_arm(results, "planted")[0]
    for more, rows in (([], 2), (["--last"], 1)):
        result = CliRunner().invoke(app, ["efficiency", str(results.path), "--run", run_id, "--out", str(out), *more])
        assert result.exit_code == 0, result.output
        assert len(pd.read_csv(out)) == rows
    wrong = {
        "none at 7": ["efficiency", str(results.path), "--step", "7"],
        "memorized is": ["efficiency", str(results.path), "--memorized", "2"],
        "constraint.name fixed_norm": ["reduced", str(results.path)],
    }
    for words, command in wrong.items():
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert words in result.output
