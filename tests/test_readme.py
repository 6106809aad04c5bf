"""The README's Python runs as it stands there, from top to bottom in one namespace, and its files exist."""

import re
from pathlib import Path

import pytest

import grokjax

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
STEPS = 2000  # by then the quickstart has runs that generalize, and runs that slingshot


def blocks(text):
    """(line of the first statement, code) of every block of Python."""
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in found]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder like a checkout after the quickstart, with one seed of it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "sweeps").mkdir()
    sweep = (ROOT / "sweeps" / "quickstart.yaml").read_text()
    sweep, count = re.subn(r"seed: \{min: 0, max: \d\}", "seed: {values: [0]}", sweep)
    assert count == 2
    sweep = sweep.replace("{values: [float32, exact]}", "{values: [float32]}")  # one program less to compile
    (folder / "sweeps" / "quickstart.yaml").write_text(sweep)
    grokjax.run(folder / "sweeps" / "quickstart.yaml", folder / "runs" / "quickstart", {"train.steps": STEPS})
    return folder


def test_the_readme_s_python_runs_as_it_stands(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"grokjax": grokjax}
    found = blocks(README.read_text(encoding="utf-8"))
    assert found
    for line, code in found:
        # so that a traceback has the README's own lines
        exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)


def test_pictures_and_files_that_the_readme_shows_exist():
    text = README.read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]*\]\(([^)#]+)\)", text) + re.findall(r"\b((?:sweeps|scripts|tests)/[\w./-]+\w)", text)
    files = [path.replace("NAME", "*") for path in dict.fromkeys(shown) if "://" not in path]
    missing = [path for path in files if not list(ROOT.glob(path))]
    assert not missing


def test_pictures_in_the_readme_are_small():
    gallery = ROOT / "sweeps" / "gallery"
    assert not [path.name for path in gallery.glob("*.png") if path.stat().st_size > 150_000]


def test_blocks_are_found_with_their_lines():
    assert blocks("a\n```python\nx = 1\n```\n```yaml\nb: 1\n```\n```python\ny\n```\n") == [(3, "x = 1\n"), (9, "y\n")]
