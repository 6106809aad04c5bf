"""`grokjax init`: the template and every shipped sweep are accepted as they are written, and nothing is lost."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.shipped import shipped_sweeps
from grokjax.sweep.expand import load_sweep
from grokjax.sweep.keys import RUN_KEYS, TOP
from grokjax.sweep.load import SweepError

SWEEPS = Path(__file__).parents[1] / "sweeps"
SHIPPED = sorted(
    path.relative_to(SWEEPS).with_suffix("").as_posix()
    for path in SWEEPS.rglob("*.yaml")
    if path.parent.name != "claims"
)
NEEDY = [name for name in SHIPPED if name.endswith("omnigrok_mnist")]  # they need a file of the user's
FORKS = [name for name in SHIPPED if "from_run" in (SWEEPS / f"{name}.yaml").read_text()]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(*words):
    return CliRunner().invoke(app, list(words))


def comments(text):
    return [line for line in text.splitlines() if line.startswith("#")]


def test_the_template_is_a_sweep_that_plan_accepts():
    assert call("init", "mine").exit_code == 0
    done = call("plan", "mine.yaml")
    assert done.exit_code == 0, done.output
    assert "sweep mine: 8 runs, 1 bucket" in done.output


def test_the_template_has_every_section_and_a_comment_on_every_value():
    call("init", "mine")
    lines = Path("mine.yaml").read_text().splitlines()
    data = YAML(typ="safe").load("\n".join(lines))
    observed = {"log", "events", "engine"}
    assert set(data["base"]) == set(RUN_KEYS) - observed
    assert {"name", "base", "method", "parameters", *observed} <= set(data) <= set(TOP)
    assert "# arms:" in "\n".join(lines)
    values = [line for line in lines if ": " in line and not line.startswith(("#", "name:"))]
    assert not [
        line for line in values if "#" not in line and "optimizer.weight_decay" not in line and "name:" not in line
    ]
    assert 40 <= len(lines) <= 70


def test_the_template_s_comments_name_its_own_file_and_results():
    call("init", "mine")
    text = Path("mine.yaml").read_text()
    assert "grokjax run mine.yaml" in text
    assert "grokjax figure curves runs/mine" in text
    assert "template" not in text


def test_an_installed_grokjax_ships_the_sweeps_of_the_checkout():
    assert sorted(shipped_sweeps()) == SHIPPED
    assert {"nanda", "quickstart", "weight_decay"} <= set(SHIPPED)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in FORKS + NEEDY])
def test_a_shipped_sweep_under_another_name_trains_the_same_runs(name):

    done = call("init", "copy", "--from", name)
    assert done.exit_code == 0, done.output
    copy, original = load_sweep("copy.yaml"), load_sweep(SWEEPS / f"{name}.yaml")
    assert copy.name == "copy"
    assert [run.run_id for run in copy.runs] == [run.run_id for run in original.runs]
    kept = comments(Path("copy.yaml").read_text())
    assert len(kept) == len(comments((SWEEPS / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", FORKS)
def test_a_shipped_fork_lacks_nothing_but_its_parents_which_it_looks_for_beside_it(name, tmp_path):
    asked = []

    def find_parents(wanted):
        asked.append(wanted)
        raise SweepError([])

    call("init", "copy", "--from", name)
    with pytest.raises(SweepError):
        load_sweep("copy.yaml", None, find_parents)
    found = re.search(r"grokjax init (\S+) --from (\S+); grokjax run (\S+)\.yaml", Path("copy.yaml").read_text())
    assert found, "the commands that train the parents"
    parents, source, trained = found.groups()
    assert parents == trained
    assert f"{tmp_path}/runs/{parents}" in str(asked)
    assert call("init", parents, "--from", source).exit_code == 0
    assert load_sweep(f"{parents}.yaml").name == parents


def test_a_file_that_exists_is_kept_unless_forced():
    Path("mine.yaml").write_text("mine: true\n")
    done = call("init", "mine")
    assert (done.exit_code, done.output) == (2, "mine.yaml exists; --force writes over it\n")
    assert Path("mine.yaml").read_text() == "mine: true\n"
    assert call("init", "mine", "--force").exit_code == 0
    assert "name: mine\n" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["copy", "--from", "nandaa"], "no shipped sweep 'nandaa' (did you mean nanda?)"),
        (["../mine"], "'../mine' is no name of a sweep"),
        (["a b"], "'a b' is no name of a sweep"),
    ],
)
def test_a_wrong_name_is_one_line_and_writes_nothing(words, said):
    done = call("init", *words)
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.splitlines()) == 1
    assert not list(Path().iterdir())


def test_without_a_name_a_shipped_sweep_keeps_its_own():
    done = call("init", "--from", "questions/effective_lr")
    assert done.exit_code == 0, done.output
    assert load_sweep("effective_lr.yaml").name == "effective_lr"
    script = done.output.splitlines()[1].split(" python ")[1].split()
    assert Path(script[0]).is_file()
    assert script[1] == "runs/effective_lr"


def test_a_sweep_of_own_families_comes_with_their_file():
    assert call("init", "--from", "own/optimizer").exit_code == 0
    assert Path("optimizer.py").read_text() == (SWEEPS / "own" / "optimizer.py").read_text()
    assert call("init", "again", "--from", "own/optimizer").exit_code == 0  # the same file is no other one
    Path("optimizer.py").write_text("mine = 1\n")
    assert "optimizer.py exists; --force writes over it" in call("init", "third", "--from", "own/optimizer").output
    assert not Path("third.yaml").exists()


def test_a_name_that_is_a_number_is_written_as_text():
    assert call("init", "113").exit_code == 0
    assert load_sweep("113.yaml").name == "113"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the sweep a NAME: grokjax init NAME"),
        (["--from", "wandb"], "--from wandb needs the file: grokjax init --from wandb FILE"),
        (["a", "b.yaml"], "b.yaml is one argument too many: a FILE goes with --from wandb"),
        (["--from", "wandb", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_what_init_lacks_is_said(words, said):
    done = call("init", *words)
    assert (done.exit_code, done.output) == (2, said + "\n")
    assert not list(Path().iterdir())
