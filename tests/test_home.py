"""A home that cannot be written: others get a place without a page of warnings, and it is told once."""

import os
import subprocess
import sys

import pytest

from grokjax.cli.train import show_plan
from grokjax.home import OTHERS, can_be_made, make_room_for_others
from grokjax.planning import plan_sweep
from grokjax.sweep.expand import sweep_of_values

BASES = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    """A file for a home: nothing can be made in it, whoever asks."""
    (tmp_path / "home").write_text("")
    for name in (*OTHERS, *BASES):
        monkeypatch.setenv(name, "x")  # so that it is put back, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_home_that_can_be_written_is_used(tmp_path, monkeypatch):
    for name in (*OTHERS, *BASES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    make_room_for_others()
    assert not set(OTHERS) & set(os.environ)


def test_without_one_others_get_folders_that_can_be_made(no_home):
    make_room_for_others()
    places = [os.environ[name] for name in OTHERS]
    assert len(set(places)) == len(OTHERS)
    assert all(map(can_be_made, map(type(no_home), places)))


def test_what_the_user_has_named_stays(no_home, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(no_home))
    make_room_for_others()
    assert os.environ["MPLCONFIGDIR"] == "mine"
    assert "WANDB_CONFIG_DIR" not in os.environ
    assert "WANDB_CACHE_DIR" in os.environ


QUIET = {
    "matplotlib": "import matplotlib; matplotlib.get_configdir(); matplotlib.get_cachedir()",
    "jax": (
        "import grokjax.planning; grokjax.planning.prepare_jax(); import jax\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0); jax.jit(lambda x: x + 1)(1.0)"
    ),
    "wandb": "import wandb; wandb.init(mode='offline', dir='.', settings=wandb.Settings(silent=True)).finish()",
}


@pytest.mark.parametrize("code", QUIET.values(), ids=QUIET)
def test_nothing_is_said_by_others(no_home, code):
    keep = ("PATH", "PYTHONPATH")
    env = {name: os.environ[name] for name in keep if name in os.environ} | {"HOME": str(no_home / "home")}
    told = f"from grokjax.home import make_room_for_others; make_room_for_others()\n{code}"
    done = subprocess.run([sys.executable, "-c", told], cwd=no_home, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


def test_what_it_costs_is_told_once(no_home, capsys):
    sweep = sweep_of_values({"name": "a", "base": {"task": {"p": 7}, "train": {"steps": 3}}})
    show_plan(plan_sweep(sweep))
    told = capsys.readouterr().out
    assert told.count("cannot be written") == 1
    assert f"{no_home}/home/.cache/grokjax cannot be written, so what is compiled is not kept" in told
