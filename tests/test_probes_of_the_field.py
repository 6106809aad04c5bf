"""Logit scale, neurons, circularity, RQI, circuits and irreps against planted networks and independent formulas."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import grokjax
from grokjax.models.network import starting_params
from grokjax.probes.all import PROBES
from grokjax.probes.circuits import circuits, circuits_of, kendall_tau
from grokjax.probes.embedding import circularity_of, parallelograms, rqi
from grokjax.probes.irreps import irreps
from grokjax.probes.neurons import neuron_products
from grokjax.probes.progress import progress
from grokjax.spec.families import validate
from grokjax.spec.probes import PROBES as DECLARED
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.resolve import resolve
from grokjax.tasks.groups import multiplication
from grokjax.tasks.irreps import classes_of, irreps_of

RANDOM = np.random.Generator(np.random.PCG64(2))


def run_of(**sections: Any):
    return resolve(validate(sections), set())


@pytest.mark.parametrize(("n", "frequencies"), [(59, (3, 7)), (12, (6, 5))])
def test_waves_are_circles_and_noise_is_not(n: int, frequencies: tuple[int, int]):
    at = 2 * np.pi * np.arange(n)[:, None] / n
    k, other = frequencies
    rows = np.concatenate([np.cos(k * at), 0.5 * np.cos(other * at), 0.5 * np.sin(other * at)], axis=1)
    rows = np.concatenate([rows, 0.25 * np.cos(2 * at)], axis=1) @ RANDOM.normal(size=(4, 8))
    waves = np.linalg.qr(np.concatenate([np.cos(at), np.sin(at), np.cos(2 * at), np.sin(2 * at)], axis=1))[0]
    pure = waves * np.array([4.0, 3.0, 2.0, 1.0])
    assert float(circularity_of(jnp.asarray(pure, jnp.float32))) == pytest.approx(1, abs=1e-4)
    assert float(circularity_of(jnp.asarray(RANDOM.normal(size=(n, 40)), jnp.float32))) < 0.75
    assert float(circularity_of(jnp.asarray(rows, jnp.float32))) > 0.5


def test_a_line_has_every_parallelogram_and_noise_has_none():
    spec = run_of(
        task={"name": "templates", "p": 6, "wraps": False},
        model={"name": "mlp", "input": "embedded", "combine": "sum", "d_model": 1, "widths": [4]},
        loss={"name": "mse"},
    )
    pairs = [(i, j) for i in range(6) for j in range(i, 6)]
    expected = sum(sum(a) == sum(b) for a, b in combinations(pairs, 2))
    assert len(parallelograms(spec)) == expected
    line = {"W_E": jnp.arange(6.0)[:, None] * 0.3 + 1}
    noise = {"W_E": jnp.asarray(RANDOM.normal(size=(6, 4)), jnp.float32)}
    assert float(rqi(spec, line, None, None)["rqi"]) == 1
    assert float(rqi(spec, noise, None, None)["rqi"]) == 0
    wrapped = run_of(task={"p": 5}, model={"name": "mlp", "input": "embedded", "d_model": 2, "widths": [4]})
    angle = 2 * np.pi * np.arange(5) / 5
    assert len(parallelograms(wrapped)) == 5 * 3
    circle = {"W_E": jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), jnp.float32)}
    assert float(rqi(wrapped, circle, None, None)["rqi"]) == 0  # sums on a circle differ in length


def test_neuron_products_are_products_of_norms():
    reads, writes = RANDOM.normal(size=(5, 7)), RANDOM.normal(size=(7, 3))
    expected = [np.linalg.norm(reads[:, j]) * np.linalg.norm(writes[j]) for j in range(7)]
    np.testing.assert_allclose(neuron_products(jnp.asarray(reads), jnp.asarray(writes)), expected, rtol=1e-5)


@pytest.mark.parametrize("ties", [False, True])
def test_kendall_s_tau_counts_pairs(ties: bool):
    x, y = (RANDOM.integers(4, size=9) if ties else RANDOM.permutation(9) for _ in range(2))
    agree = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in combinations(range(9), 2))
    assert float(kendall_tau(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))) == pytest.approx(agree / 36)
    assert float(kendall_tau(jnp.arange(5.0), -jnp.arange(5.0))) == -1


def test_circuits_are_products_of_a_head_s_matrices_and_their_measures_are_theirs():
    spec = run_of(
        task={"name": "signal_pairs"}, model={"d_model": 9, "heads": 2, "d_head": 3, "d_mlp": 0, "positions": "none"}
    )
    params = starting_params(jnp.uint32(3), spec)
    found = circuits_of(params)
    plain = {name: np.asarray(value, float) for name, value in params.items()}
    for head in (0, 1):
        evou = plain["W_E"] @ plain["W_V.0"][head] @ plain["W_O.0"][head] @ plain["W_U"]
        queries, keys = plain["W_E"] @ plain["W_Q.0"][head], plain["W_E"] @ plain["W_K.0"][head]
        np.testing.assert_allclose(found.evou[head], evou, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.eqke[head], queries @ keys.T / 3**0.5, rtol=1e-4, atol=1e-5)
    measured = {name: float(value) for name, value in circuits(spec, params, None, None).items()}
    both = np.concatenate([np.asarray(found.evou[head][1:5], float) for head in (0, 1)], axis=1)
    assert measured["circuits/EVOU_s0"] == pytest.approx(np.linalg.svd(both)[1][0], rel=1e-4)
    assert measured["circuits/rank"] == 4
    assert 0 < measured["circuits/evenness/0"] <= 1
    silent = {name: value * (0 if name == "W_Q.0" else 1) for name, value in params.items()}
    assert float(circuits(spec, silent, None, None)["circuits/evenness/1"]) == pytest.approx(1)


@pytest.mark.parametrize(("group", "degrees"), [
    ("C5", [1, 1, 1]), ("S3", [1, 1, 2]), ("S4", [1, 1, 2, 3, 3]), ("A5", [1, 3, 3, 4, 5]),
    ("D5", [1, 1, 2, 2]), ("S5", [1, 1, 4, 4, 5, 5, 6]), ("C2xS3", [1, 1, 1, 1, 2, 2]),
])  # fmt: skip
def test_representations_have_their_degrees_and_divide_the_functions_on_the_group(group: str, degrees: list[int]):
    found, products = irreps_of(group), multiplication(group)
    n = len(products)
    assert [int(name[1 : name.index("_")]) for name in found.names] == degrees
    np.testing.assert_allclose(found.projections.sum(0), np.eye(n), atol=1e-8)
    np.testing.assert_allclose(found.projections[0], np.full((n, n), 1 / n), atol=1e-8)
    for a, b in product(range(len(degrees)), repeat=2):
        expected = found.projections[a] if a == b else 0
        np.testing.assert_allclose(found.projections[a] @ found.projections[b], expected, atol=1e-8)
    for translation in products[:3]:  # f(g x) of a function of a representation is of it too
        moved = found.projections[-1][translation][:, translation]
        np.testing.assert_allclose(moved, found.projections[-1], atol=1e-8)


def test_classes_of_s4_are_its_cycle_types():
    assert sorted(np.bincount(classes_of(multiplication("S4")))) == [1, 3, 6, 6, 8]


def test_the_power_of_a_representation_is_where_it_was_planted():
    spec = run_of(task={"name": "group", "group": "S4"}, model={"name": "mlp", "widths": [5], "bias": False})
    found = irreps_of("S4")
    planted = found.projections[found.names.index("d3_1")] @ RANDOM.normal(size=(24, 5))
    params = {"W.0": jnp.asarray(np.concatenate([planted, planted]), jnp.float32), "W.1": jnp.ones((5, 24))}
    measured = irreps(spec, params, None, None)
    assert float(measured["irreps/in/d3_1"]) == pytest.approx(1, abs=1e-4)
    assert float(measured["irreps/in/d2_0"]) == pytest.approx(0, abs=1e-4)
    assert "irreps/in/d1_0" not in measured


def test_every_probe_is_declared_and_has_a_function():
    assert set(PROBES) == set(DECLARED)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("task: {name: parity}, loss: {name: hinge}, model: {name: mlp}, log: {probes: [circularity]}", "circularity"),
        ("task: {p: 97}, log: {probes: [rqi]}", "at most 64 operands"),
        ("model: {name: mlp}, log: {probes: [circuits]}", "circuits reads attention, which mlp has not"),
        ("task: {name: repeats}, log: {probes: [circuits]}", "one token that asks, which repeats has not"),
        ("log: {probes: [irreps]}", "irreps measures tasks of groups, which modular is not"),
        ("model: {d_mlp: 0}, log: {probes: [neurons]}", "neurons reads hidden layers"),
        (
            "task: {name: teacher_student}, loss: {name: mse}, model: {name: mlp}, log: {probes: [margin]}",
            "margin compares the logits of classes",
        ),
    ],
)
def test_a_probe_that_cannot_be_is_refused_in_words(base: str, said: str):
    with pytest.raises(SweepError, match=f"log.probes: .*{said}"):
        expand(parse_sweep(f"name: x\nbase: {{{base}}}\n", "x.yaml", Path()))


def test_probes_of_a_run_are_recorded_as_many_as_declared(tmp_path: Path):
    text = (
        "name: x\nbase: {train: {steps: 4}}\nlog: {every: 2, eval_every: 2}\narms:\n"
        "  group: {base: {task: {name: group, group: S3}, model: {name: mlp, widths: [6]},"
        " log: {probes: [irreps, neurons, logit_scale, margin]}}}\n"
        "  pairs: {base: {task: {name: signal_pairs}, model: {d_model: 8, heads: 2, d_mlp: 0},"
        " log: {probes: [circuits]}}}\n"
        "  zhong: {base: {task: {p: 5, format: two_tokens}, model: {d_model: 8, heads: 2, d_mlp: 8, mask: none},"
        " log: {probes: [circularity, rqi]}}}\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    results = grokjax.run(tmp_path / "x.yaml", out=tmp_path / "out")
    curves = results.curves().groupby("run_id")
    for bucket in results.manifest.plan.buckets:
        (run,) = bucket.runs
        names = curves.get_group(run.run_id).dropna(axis=1, how="all").columns
        for probe in bucket.spec.log.probes:
            found = [name for name in names if name.startswith(probe.name)]
            assert 0 < len(found) <= probe.column_count(bucket.spec), (probe.name, found)


def test_progress_of_two_tokens_reads_sequences_of_two():
    spec = run_of(
        task={"p": 7, "format": "two_tokens"},
        model={"d_model": 8, "heads": 2, "d_mlp": 12, "mask": "none", "positions": "none", "attention_mix": 0.0},
    )
    params = starting_params(jnp.uint32(1), spec)
    measured = {name: float(value) for name, value in progress(spec, params, jnp.zeros((3, 2), jnp.int32)).items()}
    assert all(np.isfinite(value) for value in measured.values())
    # without positions and with even attention the operands are only added at b, but b alone stands in the stream
    plain = {name: value * (0 if name in ("W_V.0", "W_in.0") else 1) for name, value in params.items()}
    apart = float(progress(spec, plain, jnp.zeros((3, 2), jnp.int32))["progress/gradient_symmetricity"])
    assert apart == pytest.approx(0, abs=1e-6)  # a reaches no logit
    assert 0 < measured["progress/gradient_symmetricity"] < 1
