"""A user's own families, from a file that a sweep names: trained as ours are, and run by nothing but training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import grokjax
from grokjax.cli import app
from grokjax.spec.own import load_own
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.load import SweepError

EXAMPLES = Path(__file__).parents[1] / "sweeps" / "own"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
SHORT = {"train.steps": 12, "log.every": 4, "task.p": 5, "engine.lanes": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of an example -> results of a short run of it, whose file of families then fails when it is run."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(EXAMPLES, folder / "sweeps")
    outs = {}
    for name in NAMES:
        outs[name] = folder / name
        grokjax.run(folder / "sweeps" / f"{name}.yaml", outs[name], set=SHORT)
        with (folder / "sweeps" / f"{name}.py").open("a") as file:
            file.write("\nraise RuntimeError('this was run')\n")
    return outs


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_each_kind_has_an_example_of_under_40_lines():
    assert {"network", "optimizer", "loss", "task", "probe"} <= set(NAMES)
    for name in NAMES:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 40, name


@pytest.mark.parametrize("name", NAMES)
def test_results_are_opened_verified_and_drawn_without_the_user_s_code(name: str, trained: dict[str, Path]):
    results = grokjax.open_results(trained[name])
    runs = results.runs()
    assert set(runs["status"]) == {"ended"}
    assert runs["uses.file"].str.endswith(f"{name}.py").all()
    assert results.curves("train/loss")["train/loss"].notna().all()
    shapes = {name: value.shape for name, value in results.params(results.run_ids[0]).items()}
    assert len(shapes) >= 3
    assert command("verify", trained[name])[0] == 0
    assert command("status", trained[name])[0] == 0
    assert command("figure", "curves", trained[name])[0] == 0


def test_analyses_that_would_need_the_user_s_code_say_so(trained: dict[str, Path]):
    code, text = command("figure", "landscape", trained["network"])
    assert code == 2
    assert "network.py" in text


def test_a_file_that_has_changed_is_not_taken_for_the_one_that_trained(trained: dict[str, Path]):
    run_id = grokjax.open_results(trained["probe"]).run_ids[0]
    code, text = command("replay", trained["probe"], run_id, "--from", 0, "--to", 4)
    assert code != 0
    assert "probe.py" in text


def test_run_says_whose_code_it_runs_and_replay_is_equal_to_the_bit(tmp_path: Path):
    shutil.copytree(EXAMPLES, tmp_path / "own")
    settings = [part for key, value in SHORT.items() for part in ("--set", f"{key}={value}")]
    code, text = command("run", tmp_path / "own" / "optimizer.yaml", "--out", tmp_path / "out", *settings)
    assert code == 0
    assert f"runs the code of {tmp_path / 'own' / 'optimizer.py'}" in text
    results = grokjax.open_results(tmp_path / "out")
    run_id = results.runs().query("arm == 'cautious'")["run_id"].iloc[0]
    replay = grokjax.replay(results, run_id, 0, 12)
    assert len(list(replay)) == 13
    assert replay.difference is None
    assert replay.compared > 0


def test_the_content_of_the_file_is_part_of_every_run_s_id(tmp_path: Path):
    shutil.copytree(EXAMPLES, tmp_path / "own")
    before = {run.run_id for run in load_sweep(tmp_path / "own" / "loss.yaml").runs}
    assert before == {run.run_id for run in load_sweep(tmp_path / "own" / "loss.yaml").runs}
    with (tmp_path / "own" / "loss.py").open("a") as file:
        file.write("# another thought\n")
    assert not before & {run.run_id for run in load_sweep(tmp_path / "own" / "loss.yaml").runs}


def test_a_family_s_values_are_checked_as_ours_are(tmp_path: Path):
    shutil.copytree(EXAMPLES, tmp_path / "own")
    sweep = tmp_path / "own" / "optimizer.yaml"
    sweep.write_text(sweep.read_text().replace("weight_decay: 1.0", "weight_decay: 1.0, b1: 1.5, betta: 2"))
    with pytest.raises(SweepError) as error:
        load_sweep(sweep)
    said = str(error.value)
    assert "optimizer.b1: out of range: must be below 1, got 1.5" in said
    assert "optimizer.betta: unknown key: optimizer cautious has no betta" in said


HINGE = (EXAMPLES / "loss.py").read_text().replace("import Loss, Positive", "import Hyper, Loss, Positive")
PROBE = (EXAMPLES / "probe.py").read_text().replace("import Probe", "import Hyper, Positive, Probe")
CAUTIOUS = (EXAMPLES / "optimizer.py").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("1 / 0\n", "setup.py fails at line 1: ZeroDivisionError"),
        ("def f(:\n", "setup.py fails"),
        ("x = 1\n", "has none of TASKS, MODELS, LOSSES, OPTIMIZERS"),
        ("OPTIMIZERS = {'mine': print}\n", "has 'mine', but no class"),
        (CAUTIOUS.replace('"cautious"', '"adamw"'), "grokjax has a optimizer 'adamw' already"),
        (
            PROBE.replace("    columns", "    scale: Hyper[Positive] = 1.0\n    columns"),
            "Entropy.scale is Hyper, and a probe's",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_mistake_at_its_line(content: str | None, said: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "setup.py").write_text(content)
    (tmp_path / "sweep.yaml").write_text("name: x\nuses: setup.py\nbase: {train: {steps: 5}}\n")
    with pytest.raises(SweepError) as error:
        load_sweep(tmp_path / "sweep.yaml")
    (mistake,) = error.value.mistakes
    assert (mistake.line, mistake.key) == (2, "uses")
    assert said in mistake.what


def test_a_number_of_a_loss_that_is_hyper_flows_into_one_program(tmp_path: Path):
    (tmp_path / "setup.py").write_text(HINGE.replace("margin: Positive", "margin: Hyper[Positive]"))
    (tmp_path / "sweep.yaml").write_text(
        "name: x\nuses: setup.py\n"
        "base: {task: {p: 5}, model: {name: mlp, widths: [8]}, loss: {name: multiclass_hinge}, train: {steps: 4}}\n"
        "parameters: {loss.margin: {values: [0.5, 2.0]}}\n"
    )
    results = grokjax.run(tmp_path / "sweep.yaml", out=tmp_path / "out")
    assert len(results.manifest.plan.buckets) == 1
    first = results.curves("train/loss").query("step == 0")["train/loss"]
    assert first.iloc[1] - first.iloc[0] == pytest.approx(1.5, abs=1e-5)  # all examples are within both margins


def test_uses_stands_at_the_top_level_only(tmp_path: Path):
    (tmp_path / "sweep.yaml").write_text("name: x\nbase: {uses: setup.py}\n")
    with pytest.raises(SweepError, match=r"uses: unknown key: it stands at the top level of the file"):
        load_sweep(tmp_path / "sweep.yaml")


def test_a_flax_module_starts_from_its_seed_and_scales_by_its_names(trained: dict[str, Path]):
    results = grokjax.open_results(trained["network"])
    runs = results.runs()
    first = {
        seed: results.curves("norm/W.hidden", run).iloc[0, 2] for seed, run in zip(runs.seed, runs.run_id, strict=True)
    }
    assert len(set(first.values())) == len(first)
    assert list(results.params(runs.run_id[0])) == ["W.embed", "b.hidden", "W.hidden", "W.out"]


def test_the_longer_task_is_learnt_by_both_networks(tmp_path: Path):
    """Four tokens through the general forward: the train loss falls far below that of a guess."""
    settings = {"train.steps": 300, "task.p": 5, "log.every": 100, "seed": 0}
    results = grokjax.run(EXAMPLES / "task.yaml", tmp_path, set=settings)
    final = results.runs().set_index("arm")["final/train/loss"]
    assert (final < 0.2 * np.log(5)).all(), final


def test_the_same_file_is_run_once_and_its_classes_stay_the_same():
    first, second = load_own(EXAMPLES / "loss.py"), load_own(EXAMPLES / "loss.py")
    assert first.families["loss"]["multiclass_hinge"] is second.families["loss"]["multiclass_hinge"]
