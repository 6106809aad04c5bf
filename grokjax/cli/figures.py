"""`grokjax figure KIND`: a command a kind, its options read off the signature and docstring of the kind's `data`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from grokjax.cli.app import bad_value, exit_codes, read_place, telling
from grokjax.cli.groups import HELP_NAMES, Listed, usage_errors
from grokjax.figures import KINDS, figure_module, make

WRITTEN = "Writes PATH.png and PATH.svg, or one picture if PATH ends in .png, .svg or .pdf; its numbers as PATH.csv."
Directories = Annotated[
    list[Path],
    typer.Argument(parser=read_place, metavar="DIR", help="Results directory; of several the arms lie side by side."),
]
Target = Annotated[Path | None, typer.Option(metavar="PATH", help="Where to write; default DIR/figures/KIND.")]
Width = Annotated[
    str | None, typer.Option(metavar="INCHES", help="Of the picture, or `column` or `page`; default as each kind is.")
]
Where = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Only runs with KEY OP VALUE [and ...]: `seed < 3 and task.p in [31, 59]`."),
]
SHARED = {"out": Target, "width": Width, "where": Where}


class Kinds(Listed):
    """Makes a kind's command when it is called: only then its module, and Matplotlib, are imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, kind_command(name) if name else None, rest


def figure_group() -> typer.Typer:
    """The commands of all kinds, each with what it shows and needs."""
    group = typer.Typer(
        cls=Kinds,
        help="Draw a picture as PNG and SVG, its numbers as CSV.",
        subcommand_metavar="KIND DIR... [OPTIONS]",
        epilog="Example: grokjax figure curves runs/quickstart --by optimizer.weight_decay",
        no_args_is_help=True,
    )
    for kind, shows in KINDS.items():
        group.command(kind, help=shows)(lambda: None)
    return group


def kind_command(kind: str, about: str | None = None, **defaults: Any) -> Any:
    """The command that draws one kind.

    about: its help, instead of the docstring of `data`. defaults: of options whose default is not that of `data`.
    """
    data = figure_module(kind).data
    summary, texts = read_docstring(data)
    needs = KINDS[kind].partition(". ")[2]
    about = about or f"{summary}\n\n{needs}\n\n{WRITTEN}\n\nExample: {texts['Example']}"

    def command(directories: list[Path], out: Path | None, **options: Any) -> list[Path]:
        return draw_and_write(kind, directories, out, options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, keyword, annotation=of, default=None) for name, of in SHARED.items()]
    parameters = [
        inspect.Parameter("directories", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Directories),
        *options_of(data, texts, defaults),
        *shared,
    ]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    settings = {"help_option_names": HELP_NAMES}
    app = typer.Typer(
        context_settings=settings, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.command(kind, help=about)(command)
    return typer.main.get_command(app)


def draw_and_write(kind: str, directories: list[Path], out: Path | None, options: dict[str, Any]) -> list[Path]:
    """Draw a kind with the options that are given (None: not), say and return the paths written."""
    with exit_codes(), bad_value(), telling():
        from grokjax.launch import open_results, replay
        from grokjax.results.joined import join

        given = {name: value for name, value in options.items() if value is not None}
        if "replay" in inspect.signature(figure_module(kind).data).parameters:
            given["replay"] = replay
        if out is None and len(directories) > 1:
            raise ValueError("of several directories none is the place for the picture: say where with --out")
        results = join([open_results(directory) for directory in directories])
        paths = make(kind, results, out or directories[0] / "figures" / kind, **given)
        for path in paths:
            typer.echo(path)
        return paths


def options_of(data: Callable, texts: dict[str, str], defaults: dict[str, Any]) -> list[inspect.Parameter]:
    """The options of a figure: every parameter of `data` but its results and what is no value."""
    options = []
    for parameter in list(inspect.signature(data, eval_str=True).parameters.values())[1:]:
        if parameter.name == "replay":  # a function, which every figure that replays steps is given
            continue
        annotation = Annotated[parameter.annotation, typer.Option(help=_sentence(texts.get(parameter.name, "")))]
        default = defaults.get(parameter.name, parameter.default)
        options.append(parameter.replace(annotation=annotation, default=default, kind=parameter.KEYWORD_ONLY))
    return options


def read_docstring(function: Callable) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and its lines of the form `name: text`, which may go on in the next line."""
    summary, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    texts: dict[str, str] = {}
    for line in rest.splitlines():
        named = re.match(r"(\w+): (.*)", line)
        if named:
            texts[named[1]] = named[2]
        elif texts:
            texts[next(reversed(texts))] += f" {line.strip()}"
    return summary, texts


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def run_script(kind: str, about: str, **defaults: Any) -> list[Path]:
    """Run the command of a kind as a script of its own; return the paths written. Arguments as of `kind_command`."""
    try:
        with usage_errors():
            ended = kind_command(kind, about, **defaults).main(prog_name=Path(sys.argv[0]).name, standalone_mode=False)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
    if isinstance(ended, int):
        raise SystemExit(ended)
    return ended
