"""What the scripts of questions share: DIR and --out, the written paths, and errors in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from grokjax.cli.app import bad_value, exit_codes
from grokjax.figures.style import write, write_table
from grokjax.results.read import Results


def run_question(
    question: Any, parser: argparse.ArgumentParser, open_results: Callable[[Path], Results], **stages: str
) -> list[Path]:
    """Read the arguments, print the answer to a question, draw its picture; print and return the paths written.

    question: a module of `grokjax.figures.questions`. stages: option -> help, of further results directories that it
    can read. Exit 2: bad input; 1: a file is damaged or cannot be read or written; 75: interrupted.
    """
    name = question.__name__.rpartition(".")[2]
    parser.add_argument("directory", metavar="DIR", type=Path, help=f"results of sweeps/questions/{name}.yaml")
    for option, text in stages.items():
        parser.add_argument(f"--{option}", metavar="DIR", type=Path, help=text)
    parser.add_argument("--out", metavar="STEM", type=Path, help=f"where to write; default DIR/figures/{name}")
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    directory = given.pop("directory")
    stem = given.pop("out", directory / "figures" / name)
    with _ends():
        opened = {key: open_results(value) if key in stages else value for key, value in given.items()}
        found = question.data(open_results(directory), **opened)
        print(*question.answer(found), sep="\n")
        paths = [*write(question.figure(found), stem), write_table(question.table(found), stem)]
        print(*paths, sep="\n", flush=True)
    return paths


@contextmanager
def _ends() -> Iterator[None]:
    """Errors end a script as they end a command."""
    try:
        with exit_codes(), bad_value():
            yield
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
