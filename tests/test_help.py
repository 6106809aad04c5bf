"""What --help says of every command, that its example is one, and what is said of a wrong command line."""

import importlib.metadata
import inspect
import re
import shlex

import pytest
import typer
from typer.testing import CliRunner

import grokjax
from grokjax.cli import COMMANDS as GROUPS
from grokjax.cli import app
from grokjax.figures import KINDS, figure_module

ROOT = typer.main.get_command(app)
COMMANDS = [[], *([name] for name in ROOT.list_commands(typer.Context(ROOT))), *(["figure", kind] for kind in KINDS)]


def call(*words):
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(words))


def parse(words):
    """The values of a command line, read as the command would, which is not called. Raises for a wrong one."""
    command, context = ROOT, None
    while hasattr(command, "commands"):
        context = typer.Context(command, parent=context)
        _, command, words = command.resolve_command(context, words)
    return command.make_context(command.name, list(words), parent=context).params


def examples(text):
    """The command lines after `Example: grokjax` of a help."""
    return [line.split("Example: grokjax ")[1] for line in text.splitlines() if "Example: grokjax " in line]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command_that_parses_in_lines_of_80_columns(words):
    done = call(*words, "--help")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    (example,) = examples(done.output)
    assert shlex.split(example)[: len(words)] == words
    assert parse(shlex.split(example))


@pytest.mark.parametrize("wrong", ["run", "run a.yaml --ste 3", "params d r --out f --step x", "figure curves"])
def test_a_wrong_command_line_would_be_no_example(wrong):
    with pytest.raises(typer.TyperException):
        parse(shlex.split(wrong))


@pytest.mark.parametrize("words", [[], ["figure"]], ids=" ".join)
def test_every_command_is_told_in_one_whole_line(words):
    said = call(*words, "--help").output
    listed = re.findall(r"^  ([a-z_-]+)  +[A-Z]", said.partition("Show this message")[2], re.MULTILINE)
    assert listed == [name for *above, name in filter(None, COMMANDS) if above == words]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_sentence_of_a_help_is_cut(words):
    for flag in ("-h", "--help"):
        told = call(*words, flag).output.partition("Options:")[2]
        assert told
        assert not re.search(r"\w(\.\.\.|…)$", told, re.MULTILINE)


def test_commands_stand_in_groups_with_those_first_that_one_needs_first():
    said = call("--help").output
    titles = [line.rstrip(":") for line in said.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert titles == ["Options", *GROUPS]
    assert said.index("  plan ") < said.index("  run ") < said.index("  status ") < said.index("  bench ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_says_in_the_list_what_it_shows_and_needs(kind):
    assert re.fullmatch(r"[A-Z][^.]+(\.\d[^.]*)*\. Needs .+\.", KINDS[kind])


@pytest.mark.parametrize("command", GROUPS["Instruments on stored parameters"])
def test_an_instrument_s_help_names_the_files_that_it_writes(command):
    written = set(re.findall(r'directory / "(\w+\.csv)"', inspect.getsource(command)))
    told = call(command.__name__.replace("_", "-"), "--help").output
    assert written
    assert set(re.findall(r"DIR/(\w+\.csv)", re.sub(r"\n +", "", told))) == written


def test_the_version_is_that_of_the_package():
    assert call("--version").output == f"grokjax {grokjax.__version__}\n"
    assert grokjax.__version__ == importlib.metadata.version("grokjax")


def test_completion_is_for_every_command_and_option(monkeypatch):
    done = CliRunner(env={"_GROKJAX_COMPLETE": "complete_bash", "COMP_WORDS": "grokjax st", "COMP_CWORD": "1"})
    assert done.invoke(app, [], prog_name="grokjax").output.split() == ["status"]
    for words, wanted in [
        ("figure no", "norms"),
        ("run x.yaml --oth", "--other-device"),
        ("figure norms d --eq", "--equal"),
    ]:
        env = {"_GROKJAX_COMPLETE": "complete_bash", "COMP_WORDS": f"grokjax {words}"}
        env["COMP_CWORD"] = str(len(words.split()))
        assert wanted in CliRunner(env=env).invoke(app, [], prog_name="grokjax").output.split()


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_s_options_are_those_of_its_data_each_with_a_word_about_it(kind):
    parameters = list(inspect.signature(figure_module(kind).data).parameters)[1:]
    _, command, _ = ROOT.commands["figure"].resolve_command(typer.Context(ROOT.commands["figure"]), [kind])
    options = {parameter.name: parameter for parameter in command.params}
    of_kind = [name for name in parameters if name != "replay"]
    assert [*options] == ["directories", *of_kind, "out", "width", "where"]
    assert all(option.help for option in options.values())


def test_values_of_a_figure_have_the_types_of_its_signature():
    values = parse(shlex.split("figure anatomy out --event 2 --before 100"))
    assert (values["event"], values["before"], values["after"]) == (2, 100, 200)
    assert parse(["figure", "norms", "out", "--equal"])["equal"] is True
    assert parse(["figure", "norms", "out"])["equal"] is False
    assert parse(shlex.split("figure slingshots out --runs a --runs b"))["runs"] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("figure curvs out", "Did you mean 'curves'?"),
        ("figure norms out --equl", "--equal"),
        ("figure phase out --by seed", "No such option: --by"),
        ("figure anatomy out --event two", "'--event': Input should be a valid integer"),
        ("figure times out --measure dely", "'dely' is not one of 'generalization_step', 'delay'"),
        ("figure times", "Missing argument"),
        ("rnu sweep.yaml", "Did you mean 'run'?"),
        ("run sweep.yaml --ste a=1", "--set"),
        ("--hlp", "--help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(words, said):
    done = call(*shlex.split(words))
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.splitlines()) == 1
