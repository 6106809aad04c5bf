"""What READMEs say is so: their Python runs, their commands parse, links lead somewhere, the key table is current."""

import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from test_help import ROOT as APP
from test_help import parse

import grokjax
from grokjax.spec.table import key_table, with_table
from grokjax.sweep.expand import load_sweep

ROOT = Path(__file__).parents[1]
FRONT, SWEEPS = ROOT / "README.md", ROOT / "sweeps" / "README.md"
PAGES = [
    FRONT,
    *(page for room in ("grokjax", "scripts", "sweeps") for page in sorted((ROOT / room).rglob("README.md"))),
]
STEPS = 2000  # by then the quickstart has runs that generalize, and runs that slingshot


def name(page):
    return str(page.relative_to(ROOT))


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(text, language="python"):
    """(line of the first statement, code) of every block of a language."""
    fenced = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in fenced]


def prose(text):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def command_lines(text):
    """The words of every line of the blocks of shell, without comments."""
    lines = [line for _, code in blocks(text, "sh") for line in code.splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def anchors(text):
    """What `#...` may be of a page: its headings, as GitHub makes links of them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text):
    """Where links and pictures of a page lead that is no address."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    return [target for target in targets if "://" not in target]


def wrong_links(page):
    wrong = []
    for target in links(text_of(page)):
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or (anchor and anchor not in anchors(text_of(to))):
            wrong.append(target)
    return wrong


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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(text_of(page))], ids=name)
def test_the_python_of_a_readme_runs_as_it_stands(page, trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {}
    for line, code in blocks(text_of(page)):
        # so that a traceback has the README's own lines
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    assert namespace.keys() > {"__builtins__"}  # and what a wrong line would have raised was not


def test_there_is_python_to_run():
    assert {name(page) for page in PAGES if blocks(text_of(page))} > {"README.md", "grokjax/README.md"}


def test_blocks_are_found_with_their_lines():
    assert blocks("a\n```python\nx = 1\n```\n```yaml\nb: 1\n```\n```python\ny\n```\n") == [(3, "x = 1\n"), (9, "y\n")]


def test_the_front_page_is_short():
    assert len(FRONT.read_bytes()) < 12_000


def test_every_readme_is_reached_from_the_front_page():
    reached, new = set(), {FRONT}
    while new:
        reached |= new
        targets = {
            (page.parent / target.partition("#")[0]).resolve() for page in new for target in links(text_of(page))
        }
        new = {target for target in targets if target.name == "README.md"} - reached
    assert reached == set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_pictures_of_a_readme_lead_somewhere(page):
    assert not wrong_links(page)


def test_a_link_that_leads_nowhere_would_be_seen(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# A title, of sorts\n[a](README.md#a-title-of-sorts) [b](#b) ![c](c.png) [d](https://d.org)\n")
    assert wrong_links(page) == ["#b", "c.png"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_readme_names_exist(page):
    named = re.findall(r"(?<![\w./])((?:sweeps|scripts|tests|grokjax)/[\w./-]+\w)", text_of(page))
    assert not [path for path in dict.fromkeys(named) if not list(ROOT.glob(path.replace("NAME", "*")))]


def test_pictures_in_the_readmes_are_small():
    pictures = [path for page in PAGES for path in page.parent.glob("gallery/*.png")]
    assert len(pictures) > 15
    assert not [path.name for path in pictures if path.stat().st_size > 150_000]


def test_the_key_table_is_current():
    text = text_of(SWEEPS)
    assert key_table() in text
    assert with_table(text) == text, "write it anew: python -m grokjax.spec.table"


def test_every_key_of_the_table_has_a_meaning():
    rows = [row for row in key_table().splitlines() if row.startswith("| `")]
    assert len(rows) > 70
    assert not [row for row in rows if row.endswith("|  |")]


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="keys: begin"):
        with_table("# Sweeps\n")


def test_the_sweep_on_the_front_page_is_the_quickstart(tmp_path):
    (_, code), *_ = blocks(text_of(FRONT), "yaml")
    (tmp_path / "sweep.yaml").write_text(code)
    shown, shipped = load_sweep(tmp_path / "sweep.yaml"), load_sweep(ROOT / "sweeps" / "quickstart.yaml")
    assert [run.run_id for run in shown.runs] == [run.run_id for run in shipped.runs]


def help_of(script, monkeypatch, capsys):
    """What a Python script says for --help."""
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(text_of(page))], ids=name)
def test_commands_of_a_readme_are_commands(page, monkeypatch, capsys):
    monkeypatch.setattr("grokjax.results.copies.copy_to_read", Path)  # no bucket is asked for anything
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for program, *words in command_lines(text_of(page)):
        if program == "python":
            program, *words = words
        if program == "grokjax":
            assert parse(words)
        elif program == "pip":
            assert words[0] == "install"
            assert set(re.findall(r"\[(\w+)\]", words[-1])) <= extras.keys()
        elif program.endswith(".py"):
            options = {word for word in words if word.startswith("--")}
            told = help_of(ROOT / program, monkeypatch, capsys)
            assert options <= set(re.findall(r"--[\w-]+", told)), program
        elif program not in ("scancel", "ray"):  # of SLURM and of Ray
            assert program in ("scripts/quickstart", "scripts/test"), program
            assert (ROOT / program).is_file()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_a_readme_mentions_exist(page):
    said = re.findall(r"`grokjax ([a-z][\w-]*)(?: ([a-z]\w*) DIR)?", text_of(page))
    assert not [command for command, _ in said if command not in APP.commands]
    kinds = [kind for command, kind in said if command == "figure" and kind]
    assert all(parse(["figure", kind, "runs/quickstart"]) for kind in kinds)
