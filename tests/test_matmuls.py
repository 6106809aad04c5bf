"""`numerics.matmul` as one of JAX's dot algorithms: every product of a program is it, what its numbers lose, and words
where a device has it not. No CPU has one, so products are emulated by `scripts/matmul_accuracy.py`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest
from bits import BASE, write
from typer.testing import CliRunner

from grokjax.bench import report
from grokjax.cli import app
from grokjax.cluster.worker import open_worker
from grokjax.engine import matmuls
from grokjax.engine.devices import describe_device
from grokjax.engine.loop import Program, begin_chunk
from grokjax.launch import load, open_results, plan_into, repair, replay, run, verify_results
from grokjax.plan.plan import make_plan
from grokjax.spec.matmuls import ALGORITHMS, PRECISIONS, jax_name, of_stored
from grokjax.spec.run import Numerics, RunSpec
from grokjax.sweep.load import SweepError
from grokjax.tables import plan_text

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import matmul_accuracy

NETWORKS = {
    "transformer": {"model": {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 16}},
    "two layers": {"model": {"name": "transformer", "layers": 2, "d_model": 8, "heads": 2, "d_mlp": 16}},
    "mlp": {"model": {"name": "mlp", "widths": [6, 5]}},
    "embedded mlp": {"model": {"name": "mlp", "widths": [6], "input": "embedded", "d_model": 4}},
}
PROBES = {"transformer": ["sharpness", "circuits", "neurons", "balance"], "mlp": ["sharpness", "neurons", "balance"]}


def sweep(matmul: str, **base: Any) -> dict[str, Any]:
    own = {"task": {"p": 7}, "train": {"steps": 20}, "numerics": {"matmul": matmul}}
    return {"name": "matmuls", "base": BASE | own | base}


def test_the_names_are_those_of_the_key_and_of_jax():
    assert get_args(Numerics.model_fields["matmul"].annotation) == (*PRECISIONS, *ALGORITHMS)
    for name, algorithm in ALGORITHMS.items():
        preset = jax.lax.DotAlgorithmPreset[jax_name(name)]
        assert preset.accumulation_type == np.float32
        assert preset.supported_lhs_types == (np.float32,)
        assert algorithm.preset.lower().startswith(f"{algorithm.unit}_{algorithm.unit}_f32")
        assert algorithm.preset.endswith(f"_X{algorithm.passes}") == (algorithm.passes > 1)


# --- every product ---------------------------------------------------------------------------------------------


def lowered(base: dict[str, Any], matmul: str, probes: list[str]) -> str:
    """The segment program, evaluations, records and probes included, as JAX hands it to a GPU's compiler."""
    planned = make_plan(load(sweep(matmul, **base) | {"log": {"probes": probes}}), describe_device())
    program = Program(planned.buckets[0], planned.device.count)
    with program.precision():
        lanes, queue, _ = begin_chunk(program, planned.chunks[0])
        numbers = (np.int32(0), np.int32(10), np.int32(10))
        traced: Any = program.segment.trace(lanes, queue._replace(starts={}), program.table, *numbers)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("matmul", ["bf16_x9", "tf32"])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("precision", ["exact", "float64"])
def test_every_product_of_a_program_is_the_algorithm_s(kind: str, matmul: str, precision: str):
    base = NETWORKS[kind] | {"loss": {"precision": precision}}
    text = lowered(base, matmul, PROBES[base["model"]["name"]])
    dots = [line for line in text.splitlines() if "dot_general" in line]
    unit, passes = ALGORITHMS[matmul].unit, ALGORITHMS[matmul].passes
    assert len(dots) > 6
    for line in dots:
        assert re.search(rf"lhs_precision_type = {unit}.*num_primitive_operations = {passes},", line), line
        assert "f64" not in line


def test_highest_has_none():
    assert "algorithm = <" not in lowered(NETWORKS["mlp"], "highest", [])


# --- what a product loses --------------------------------------------------------------------------------------

# of |product - exact| / |exact|: float32's own, and the digits that the parts lack
MOST = {"highest": 1e-6, "bf16_x9": 1e-6, "bf16_x6": 1e-6, "bf16_x3": 2.0**-16, "tf32_x3": 1e-6, "tf32": 2.0**-10}


def split_in_numpy(x: np.ndarray, digits: int, parts: int) -> list[np.ndarray]:
    """By rounding the mantissa of float64, which holds any float32 number: written beside the script's."""
    found, rest = [], x.astype(np.float64)
    for _ in range(parts):
        mantissa, exponent = np.frexp(rest)
        found.append(np.ldexp(np.round(mantissa * 2**digits) / 2**digits, exponent))
        rest = rest - found[-1]
    return found


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_emulated_product_is_numpy_s_of_the_same_parts(name: str):
    draw = np.random.default_rng(1)
    a, b = (draw.normal(size=size).astype(np.float32) for size in ((40, 300), (300, 50)))
    digits = {"bf16": 8, "tf32": 11}[ALGORITHMS[name].unit]
    kept = {"bf16_x9": 4, "bf16_x6": 2, "bf16_x3": 1, "tf32_x3": 1, "tf32": 0}[name]
    left, right = (split_in_numpy(side, digits, min(kept, 2) + 1) for side in (a, b))
    wanted = sum(x @ y for i, x in enumerate(left) for j, y in enumerate(right) if i + j <= kept)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    found = np.asarray(matmul_accuracy.emulated(name, a, b, dimension_numbers=(((1,), (0,)), ((), ()))))
    scale = np.linalg.norm(exact)
    assert np.linalg.norm(found - wanted) / scale < 6e-7  # float32's own sum
    assert np.linalg.norm(found - exact) / scale < MOST[name]
    if name in ("bf16_x3", "tf32"):  # more than float32's own, so that the bound is of the algorithm
        assert np.linalg.norm(found - exact) / scale > MOST[name] / 20


@pytest.mark.parametrize(("name", "most"), [("bf16_x9", 0), ("bf16_x6", 0), ("tf32_x3", 2.0**-23),
                                            ("bf16_x3", 2.0**-16), ("tf32", 2.0**-11)])  # fmt: skip
def test_a_look_up_is_exact_where_the_parts_hold_all_digits(name: str, most: float):
    draw = np.random.default_rng(2)
    table = (draw.normal(size=(16, 31)) * 10.0 ** draw.integers(-20, 20, size=(16, 31))).astype(np.float32)
    rows = draw.integers(0, 31, 200)
    one_hot = jax.nn.one_hot(rows, 31, axis=0)
    found = np.asarray(matmul_accuracy.emulated(name, table, one_hot, dimension_numbers=(((1,), (0,)), ((), ()))))
    wanted = table[:, rows]
    off = np.abs(found.astype(np.float64) - wanted) / np.abs(wanted)
    assert off.max() <= most
    assert (off.max() > 0) == (most > 0)


# --- what a device has -----------------------------------------------------------------------------------------


@pytest.fixture
def a_gpu_s() -> Iterator[pytest.MonkeyPatch]:
    """As if the devices here had all algorithms, until it is undone. JAX's CPU takes the name of bf16_x3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matmuls, "missing", lambda matmul: "")
        yield patch


def stored(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Results of bf16_x3, from a device that has it."""
    run(sweep("bf16_x3", **{"train": {"steps": 20}}), folder / "out")
    patch.undo()
    return folder / "out"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_cpu_has_none_and_says_why(name: str):
    why = matmuls.missing(name)
    is_taken = name in ("bf16_x3", "bf16_x6")  # by JAX, and the CPU multiplies in float32
    said = "products are those of highest, bit for bit" if is_taken else "is not supported by dot_general on CPU"
    assert said in why
    assert why.startswith(f"has no {name} (")
    assert why.endswith("it has highest, high, default")
    assert name not in matmuls.available()


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_device_has_the_precisions(name: str):
    assert matmuls.missing(name) == ""


def test_a_device_that_multiplies_otherwise_has_it(monkeypatch: pytest.MonkeyPatch):
    products = {"bf16_x3": b"a", "highest": b"b", "default": b"b"}
    monkeypatch.setattr(matmuls, "_products", lambda name, device: products[name])
    matmuls.missing.cache_clear()
    assert matmuls.missing("bf16_x3") == ""
    products |= {"bf16_x3": b"b", "default": b"c"}  # as a TPU, whose highest is such passes
    matmuls.missing.cache_clear()
    assert matmuls.missing("bf16_x3") == ""
    matmuls.missing.cache_clear()


def test_that_a_device_is_full_is_no_reason(monkeypatch: pytest.MonkeyPatch):
    def is_full(matmul: str, device: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(matmuls, "_compiled", is_full)
    with pytest.raises(jax.errors.JaxRuntimeError):
        matmuls.missing_elsewhere("bf16_x3", None)


def test_a_sweep_is_refused_before_anything_is_written(tmp_path: Path):
    for refused in (lambda out: run(sweep("tf32"), out), lambda out: plan_into(load(sweep("tf32")), out, print, 1)):
        with pytest.raises(
            SweepError, match=r"numerics.matmul: \d+ x .* has no tf32 .*; it has highest, high, default"
        ):
            refused(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_commands_say_so(tmp_path: Path):
    path, out = write(tmp_path, sweep("bf16_x9")), tmp_path / "out"
    for line in (["run", path, "--out", out], ["work", out, "--plan", path], ["plan", path, "--measure"],
                 ["bench", "--tune", path]):  # fmt: skip
        said = CliRunner().invoke(app, [str(word) for word in line])
        assert said.exit_code == 2, said.output
        assert "numerics.matmul: " in said.output
        assert "has no bf16_x9" in said.output
    assert not out.exists()
    said = CliRunner().invoke(app, ["plan", str(path)])
    assert said.exit_code == 0
    assert "adamw; matmul bf16_x9 (bf16 passes a product: 9)" in said.output
    assert "note: cannot be trained here: " in said.output


def test_a_plan_says_what_is_unusual():
    texts = [plan_text(make_plan(load(sweep(matmul)), describe_device())) for matmul in ("highest", "high", "tf32")]
    assert ["; matmul" in text for text in texts] == [False, True, True]
    assert "; matmul tf32 (tf32 passes a product: 1)\n" in texts[2]


def test_what_others_trained_is_not_gone_on_with(tmp_path: Path, a_gpu_s: pytest.MonkeyPatch):
    out = stored(tmp_path, a_gpu_s)
    before = files(out)
    results = open_results(out)
    (run_id,) = results.run_ids
    longer, explain = sweep("bf16_x3", train={"steps": 40}), str
    fork = sweep("bf16_x3", init={"from_run": {"results": str(out), "run": run_id}})
    for refused in (
        lambda: run(longer, out),
        lambda: plan_into(load(longer), out, print, 1),
        lambda: open_worker(out, True, explain, print),
        lambda: replay(results, run_id, 0, 5),
        lambda: repair(out, verify_results(out)),
        lambda: run(fork, tmp_path / "fork"),
    ):
        with pytest.raises(SweepError, match="has no bf16_x3"):
            refused()
    assert files(out) == before
    assert not (tmp_path / "fork").exists()


def test_a_stored_network_is_looked_at_in_full(tmp_path: Path, a_gpu_s: pytest.MonkeyPatch):
    results = open_results(stored(tmp_path, a_gpu_s))
    (run_id,) = results.run_ids
    asked: list[str | None] = []

    def precision(spec: RunSpec, matmul: str | None = None) -> Any:
        asked.append(matmul)
        return jax.enable_x64(False)

    a_gpu_s.setattr("grokjax.results.network.precision", precision)
    results.network(run_id).logits(np.array([[1, 2, 7]]))
    assert asked == ["highest"]
    assert of_stored("tf32") == "highest"
    assert [of_stored(name) for name in PRECISIONS] == list(PRECISIONS)


def test_the_device_bench_has_what_the_device_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "available", lambda: ("bf16_x3",))
    monkeypatch.setattr(report, "roofline", lambda device, matmul: 1.0)
    found = report.bench([], describe_device(), {}, 1, full=True, say=lambda _: None)
    assert list(found["roofline_gflops"]) == ["highest", "default", "bf16_x3"]
