"""The bench: all contestants train the same networks; widths that were measured are used by plans from then on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from grokjax.bench import measure, report, tune
from grokjax.bench.cases import BATCHES, CASES, Case, Data, planned
from grokjax.bench.contestants import CONTESTANTS, starting_values
from grokjax.cli import app
from grokjax.engine.devices import describe_device
from grokjax.plan import cost
from grokjax.plan.plan import Device, make_plan
from grokjax.plan.tuning import Tuned, read_tuning, tuning_file, write_tuning
from grokjax.shipped import shipped_sweeps
from grokjax.spec.identity import tuning_key
from grokjax.sweep.expand import expand, load_sweep
from grokjax.sweep.load import SweepError, parse_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))  # of torch_peers
TINY = {
    "transformer": {"task": {"p": 5, "train_fraction": 0.6}, "model": {"d_model": 8, "heads": 2, "d_mlp": 16}},
    "mlp": {"task": {"p": 5, "train_fraction": 0.6}, "model": {"name": "mlp", "widths": [16]}},
}
SMALLER = {
    "papers/merrill": {
        "task": {"bits": 8, "examples": 30, "test_examples": 10},
        "model": {"widths": [16]},
        "train": {"batch": 8},
    },
    "papers/chughtai_a5": {"task": {"group": "S3"}, "model": {"d_model": 8, "widths": [16]}},
    "papers/power_operations": {"task": {"p": 5}, "model": {"d_model": 8, "d_mlp": 16}, "train": {"batch": 5}},
}


def smaller(setup: str) -> dict[str, Any]:
    """The base of a case, with less of everything."""
    base, less = Case("", setup, ()).base, SMALLER[setup]
    return {key: {**section, **less.get(key, {})} for key, section in base.items()}


EVERY_KIND = TINY | {setup: smaller(setup) for setup in SMALLER}
CPU = Device("cpu", "core", 1, 2**33, "test")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("base", EVERY_KIND.values(), ids=EVERY_KIND)
def test_all_contestants_train_the_same_networks(base: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure, "CALL_SECONDS", 0.001)
    monkeypatch.setattr(measure, "MATMUL_SIZE", {"cpu": 64})
    rows = measure.measure(Case("tiny", base, ()), 3, describe_device(), CONTESTANTS, "highest", 1)
    assert [row.contestant for row in rows] == list(CONTESTANTS)
    assert rows[0].loss == pytest.approx(rows[1].loss, rel=1e-5)
    assert all(row.ms_per_run_step > 0 and row.compile_seconds > 0 and row.peak_bytes > 2**20 for row in rows)
    useful = cost.useful_flops(planned(base, 1, CPU).buckets[0].spec)
    for row in rows:
        assert row.useful_gflops == pytest.approx(useful / row.ms_per_run_step / 1e6)


@pytest.mark.parametrize("base", EVERY_KIND.values(), ids=EVERY_KIND)
def test_networks_in_pytorch_are_the_same_for_longer_than_rounding_hides(base: dict):
    pytest.importorskip("torch", reason="PyTorch is no dependency: only its own times need it")
    import torch_peers

    plan = planned(base, 3, describe_device())
    train = CONTESTANTS["grokjax"](plan)
    losses = [train(1) for _ in range(15)]  # past the warm-up, and more than an epoch of batches
    for peer in (torch_peers.eager, torch_peers.stacked):
        train = peer(plan.buckets[0].spec, starting_values(plan), Data.of(plan.chunks[0]))
        np.testing.assert_allclose([train(1) for _ in losses], losses, rtol=2e-5)


def test_what_trains_another_network_is_not_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure, "CALL_SECONDS", 0.001)
    contestants = {"one": lambda plan: lambda steps: 1.0, "other": lambda plan: lambda steps: 1.001}
    with pytest.raises(ValueError, match=r"tiny: no comparison, .*'one': 1\.0, 'other': 1\.001"):
        measure.measure(Case("tiny", TINY["mlp"], ()), 3, CPU, contestants, "highest", 1)


def test_every_lane_of_a_contestant_has_its_own_seed_s_data():
    (chunk,) = planned(TINY["mlp"], 3, CPU).chunks
    data = Data.of(chunk)
    assert data.inputs.shape == (3, 15, 3)
    assert (data.answers == data.inputs[..., :2].sum(-1) % 5).all()
    assert len({row.tobytes() for row in data.answers}) == 3
    assert data.rows is None


def test_batches_of_a_contestant_are_each_example_once_an_epoch():
    (chunk,) = planned(smaller("papers/merrill"), 2, CPU).chunks
    rows = Data.of(chunk).rows
    assert rows is not None
    assert rows.shape == (2, BATCHES, 8)
    for epoch in (rows[:, :3], rows[:, 3:6]):
        assert all(len(np.unique(lane)) == 3 * 8 for lane in epoch)
    assert not np.array_equal(rows[0], rows[1])


def test_a_case_of_a_paper_is_what_the_paper_trains():
    for case in CASES[-3:]:
        assert isinstance(case.setup, str)
        of_paper = load_sweep(shipped_sweeps()[case.setup]).runs[0].spec
        ours = planned(case.base, 1, CPU).buckets[0].spec
        assert tuning_key(ours) == tuning_key(of_paper)
        assert ours.stop.after_generalization is None, "no lane ends while it is timed"


def test_the_cases_are_those_that_the_readme_names_and_cost_what_they_should():
    specs = {
        case.name.split()[0]: planned(case.base, 1, CPU).buckets[0].spec for case in CASES if "5x" not in case.name
    }
    assert cost.useful_flops(specs["nanda"]) == pytest.approx(3.74e9, rel=0.01)
    n = specs["mlp"].batch_size
    assert cost.useful_flops(specs["mlp"]) == 3 * 2 * n * (200 * 200 + 200 * 97 + 200 + 200 + 97)
    for case in CASES:
        for lanes in case.lanes:
            plan = planned(case.base, lanes, CPU)
            assert len(plan.chunks) == 1
            assert plan.buckets[0].width == lanes


def test_the_cost_of_logging_is_a_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measure, "CALL_SECONDS", 0.01)
    share = measure.logging_cost(Case("tiny", TINY["mlp"], ()), 4, describe_device(), 1)
    assert -1 < share < 1


def test_tuning_takes_the_width_with_the_least_time_a_lane(monkeypatch: pytest.MonkeyPatch):
    seconds = {1: 4.0, 2: 2.5, 4: 2.0, 8: 2.1, 16: 2.3, 32: 3.0, 64: 1.0}
    asked = []

    def fake(plan):
        asked.append(plan.buckets[0].width // plan.device.count)
        return seconds[asked[-1]]

    monkeypatch.setattr(tune, "lane_seconds", fake)
    sweep = planned(TINY["mlp"], 1, CPU).sweep
    assert tune.best_width(sweep, CPU, lambda _: None) == Tuned(4, 2.0)
    assert asked == [1, 2, 4, 8, 16, 32], "two widths over 10 % slower end the search"
    asked.clear()
    lane = cost.lane_bytes(sweep.runs[0].spec)
    small = replace(CPU, memory=3 * lane)
    assert tune.best_width(sweep, small, lambda _: None) == Tuned(2, 2.5)
    assert asked == [1, 2], "what does not fit into memory is not tried"


SWEEP = """\
base: {task: {p: 31, train_fraction: 0.6}, model: {d_model: 32, d_mlp: 128}}
parameters: {seed: {min: 0, max: 63}}
"""


def test_a_plan_uses_what_was_measured_on_such_a_device_and_says_so():
    sweep = expand(parse_sweep(SWEEP, "s.yaml", Path(".")))
    key = tuning_key(sweep.runs[0].spec)
    by_model = make_plan(sweep, CPU)
    write_tuning(CPU.text, {key: Tuned(16, 1e-3), "other": Tuned(1, 1.0)})
    by_table = make_plan(sweep, CPU, read_tuning(CPU.text))
    assert by_model.buckets[0].width != by_table.buckets[0].width == 16
    assert by_table.tuning == {key: Tuned(16, 1e-3)}
    assert by_table.buckets[0].schedule.steps * 16 * 1e-3 <= 8, "segments keep to their seconds"
    assert make_plan(sweep, CPU, read_tuning("another device")) == by_model
    fixed = expand(parse_sweep(SWEEP + "engine: {lanes: 3}\n", "s.yaml", Path(".")))
    assert make_plan(fixed, CPU, read_tuning(CPU.text)).buckets[0].width == 3


def test_the_tuning_of_one_program_keeps_that_of_others():
    write_tuning("a", {"x": Tuned(1, 1.0)})
    write_tuning("a", {"y": Tuned(2, 2.0)})
    write_tuning("b", {"x": Tuned(3, 3.0)})
    assert read_tuning("a") == {"x": Tuned(1, 1.0), "y": Tuned(2, 2.0)}
    assert read_tuning("b") == {"x": Tuned(3, 3.0)}


BROKEN = [
    "", "{", "[]", '{"d": 3}', '{"d": {"x": {"lanes": 0, "seconds": 1}}}', '{"d": {"x": {"lanes": 1}}}',
    '{"d": {"x": {"lanes": 1, "seconds": NaN}}}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_tuning_table_is_an_error_that_names_the_file(text: str):
    tuning_file().parent.mkdir(parents=True)
    tuning_file().write_text(text)
    with pytest.raises(SweepError, match=r"tuning\.json.*remove it"):
        read_tuning("d")


def test_what_a_directory_was_planned_with_stays_when_the_table_changes(tmp_path: Path):
    runner, sweep, out = CliRunner(), tmp_path / "s.yaml", tmp_path / "out"
    text = {"base": TINY["mlp"] | {"train": {"steps": 20}}, "parameters": {"seed": {"min": 0, "max": 15}}}
    sweep.write_text(json.dumps(text))
    key, device = tuning_key(expand(parse_sweep(sweep.read_text(), "s", tmp_path)).runs[0].spec), describe_device()
    write_tuning(device.text, {key: Tuned(2, 1e-4)})
    assert runner.invoke(app, ["run", str(sweep), "--out", str(out)]).exit_code == 0
    assert json.loads((out / "plan.json").read_text())["buckets"][0]["width"] == 2 * device.count
    write_tuning(device.text, {key: Tuned(1, 1e-4)})
    again = runner.invoke(app, ["run", str(sweep), "--out", str(out)])
    assert again.exit_code == 0, again.output
    assert f"on {device.count} lanes (tuned)" in runner.invoke(app, ["plan", str(sweep)]).output


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "CASES", (Case("tiny mlp", TINY["mlp"], (2,)),))
    monkeypatch.setattr(measure, "CALL_SECONDS", 0.001)
    monkeypatch.setattr(measure, "MATMUL_SIZE", {"cpu": 64})
    done = CliRunner().invoke(app, ["bench", "--repeats", "1", "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    for word in ("tiny mlp", "plain vmap", "grokjax", "roofline", "logging costs"):
        assert word in done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["contestant"] for row in found["rows"]} == {"plain vmap", "grokjax"}
    assert set(found["logging_share"]) == {"tiny mlp"}
    assert np.isfinite([row["roofline_share"] for row in found["rows"]]).all()


def test_the_device_bench_has_both_matmul_modes_and_lanes_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "MOST_LANES", 8)
    monkeypatch.setattr(measure, "CALL_SECONDS", 0.001)
    monkeypatch.setattr(measure, "MATMUL_SIZE", {"cpu": 64})
    ours = {"grokjax": CONTESTANTS["grokjax"]}
    found = report.bench([Case("tiny", TINY["mlp"], (2,))], describe_device(), ours, 1, full=True, say=lambda _: None)
    assert [(row["matmul"], row["lanes"]) for row in found["rows"]] == [
        (matmul, lanes) for matmul in ("highest", "default") for lanes in (2, 8)
    ]
    assert set(found["roofline_gflops"]) == {"highest", "default"}


def test_a_busy_machine_is_measured_against_its_fair_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import bench_shared

    assert bench_shared.fair_seconds(10, threads=2, load=8, cores=2) == 50
    assert bench_shared.fair_seconds(10, threads=1, load=1, cores=2) == 10, "each has a core"
    monkeypatch.setattr(report, "CASES", (Case("tiny mlp", TINY["mlp"], (2,)),))
    started: list[Any] = []
    popen = bench_shared.subprocess.Popen
    monkeypatch.setattr(
        bench_shared.subprocess, "Popen", lambda *given, **more: started.append(popen(*given, **more)) or started[-1]
    )
    line = f"--case tiny --lanes 2 --seconds 0.1 --load 1 --load 2 --repeats 2 --json {tmp_path / 'found.json'}"
    bench_shared.main(line.split())
    assert len(started) == 2 * (1 + 2)
    assert all(process.returncode is not None for process in started), "the load ends with what it was for"
    rows = json.loads((tmp_path / "found.json").read_text())
    assert [row["load"] for row in rows] == [1, 2]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["under_load"] / row["fair"])
        assert row["fair"] >= row["alone"] > 0
    assert capsys.readouterr().out.count("tiny, 2 lanes") == 2


@pytest.mark.slow
def test_a_whole_command_is_measured_beside_a_load(tmp_path: Path):
    import bench_shared

    sweep, found = tmp_path / "tiny.yaml", tmp_path / "found.json"
    sweep.write_text(json.dumps({"base": TINY["mlp"]}))
    bench_shared.main(f"--run {sweep} --steps 20 --load 1 --repeats 1 --json {found}".split())
    (row,) = json.loads(found.read_text())
    assert row["case"] == "run tiny.yaml"
    assert row["under_load"] > 0
    assert row["cpu_alone"] > 0.1, "the command did nothing"


def test_an_unknown_case_is_bad_input():
    done = CliRunner().invoke(app, ["bench", "--case", "nandaa"])
    assert done.exit_code == 2
    assert "no case 'nandaa'" in done.output
    done = CliRunner().invoke(app, ["bench", "sweep.yaml"])
    assert done.exit_code == 2
